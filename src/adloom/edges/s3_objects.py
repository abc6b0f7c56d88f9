"""Single objects of any bucket, by their address: reference images that a campaign names."""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from adloom.core.errors import StoreRefused
from adloom.edges.s3_client import IMAGES, Connection
from adloom.edges.s3_errors import code_of, is_missing

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ADDRESS = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([^\0-\x1f\x7f]{1,1024})")


class ObjectUnreadable(Exception):
    """An object that cannot be read, and why."""


def read_object(address: str, most_bytes: int) -> bytes:
    """The first ``most_bytes`` of the object at ``s3://bucket/key``. Raises ObjectUnreadable. Blocks."""
    match = _ADDRESS.fullmatch(address)
    if match is None or any(part in ("", ".", "..") for part in match[2].split("/")):
        raise ObjectUnreadable("it is not an address like s3://bucket/folder/picture.png")
    bucket, key = match[1], match[2]
    try:
        with closing(Connection()) as connection:
            return connection.do(IMAGES, lambda client: _start_of(client, bucket, key, most_bytes))
    except StoreRefused as error:
        raise ObjectUnreadable(error.message) from error
    except (ClientError, BotoCoreError) as error:
        if is_missing(error):
            raise ObjectUnreadable("there is no such object") from error
        raise ObjectUnreadable(f"S3 says {code_of(error) or type(error).__name__}") from error


def _start_of(client: S3Client, bucket: str, key: str, most_bytes: int) -> bytes:
    with client.get_object(Bucket=bucket, Key=key)["Body"] as body:
        return body.read(most_bytes)
