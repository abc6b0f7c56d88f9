"""Single objects of any bucket, by their address: campaigns, their tables, and reference images."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from botocore.response import StreamingBody

from adloom.core.errors import StoreRefused
from adloom.edges.s3.client import IMAGES, TRIES_PER_READ, Connection
from adloom.edges.s3.errors import code_of, is_missing

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK_BYTES = 1 << 20
_Result = TypeVar("_Result")
_ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([^\0-\x1f\x7f]{1,1024})")


class ObjectUnreadable(Exception):
    """An object that cannot be read, and why."""


class ObjectMissing(ObjectUnreadable):
    """The object does not exist."""


def read_object(address: str, most_bytes: int) -> bytes:
    """The first ``most_bytes`` of the object at ``s3://bucket/key``. Raises ObjectUnreadable. Blocks."""
    return _with_body(address, lambda body: body.read(most_bytes))


def copy_object(address: str, path: Path, most_bytes: int) -> None:
    """Write an object to a file that does not exist. Raises ObjectUnreadable, also when it is too large. Blocks."""

    def copy(body: StreamingBody) -> None:
        written = 0
        with path.open("xb") as file:
            for chunk in body.iter_chunks(_CHUNK_BYTES):
                written += file.write(chunk)
                if written > most_bytes:
                    raise ObjectUnreadable(f"it has more than {most_bytes / 1e6:,.0f} MB")

    _with_body(address, copy)


def _with_body(address: str, use: Callable[[StreamingBody], _Result]) -> _Result:
    match = _ADDRESS.fullmatch(address)
    if match is None or any(part in ("", ".", "..") for part in match[2].split("/")):
        raise ObjectUnreadable("it is not an address like s3://bucket/folder/picture.png")
    bucket, key = match[1], match[2]

    def get(client: S3Client) -> _Result:
        with closing(client.get_object(Bucket=bucket, Key=key)["Body"]) as body:
            return use(body)

    try:
        with closing(Connection(tries=TRIES_PER_READ)) as connection:
            return connection.do(IMAGES, get)
    except StoreRefused as error:
        raise ObjectUnreadable(error.message) from error
    except (ClientError, BotoCoreError) as error:
        if is_missing(error):
            raise ObjectMissing("there is no such object") from error
        raise ObjectUnreadable(f"S3 says {code_of(error) or type(error).__name__}") from error
