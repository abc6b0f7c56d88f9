"""The store in an S3 bucket, on AWS or any server that supports ``If-None-Match: *`` on writes.

An object is put in one request with its SHA-256, which the server checks. A create carries ``If-None-Match: *``, so of
any number of concurrent creates one wins. 412 does not always mean that another writer won: the next try also meets an
earlier one whose reply was lost, or that succeeded but was answered with an error. So after a repetition the object is
read back and compared; records and images of two writers are never equal. 409 decides nothing and is tried again.

Browsers may keep images indefinitely under their name, which no other bytes ever get; all else is marked ``no-store``.
Nothing is ever deleted, and only documents that are rewritten (``replace``) are overwritten.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import closing
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from adloom.core.backoff import STORE
from adloom.core.errors import SettingInvalid
from adloom.core.retrying import retried
from adloom.edges.s3.client import IMAGES, RECORDS, Connection, Lane
from adloom.edges.s3.errors import Failure, Where, has_expired, is_missing, is_taken, may_pass, translated
from adloom.edges.s3.protection import Protection
from adloom.ports import Content, Listed, Spool

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

PATIENCE_S = 10.0
"""What lasts longer is an outage, which a run waits out without buying: see ``guards.retrying_store``."""

FIRST_PATIENCE_S = 2.0
"""Before the first success a wrong address is more likely than an outage."""

LEAST_TRIES = 2
"""Whatever the clock says: a slow machine can spend the whole patience on its first request."""

_LISTED_AT_ONCE = 1000
_LONGEST_METADATA = 256
_BULK = ("assets", "extras", "quarantine", "thumbs")
"""Folders of an edition that hold images: written once, large."""

_FOR_EVER = "max-age=31536000, immutable"
_NEVER = "no-store"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_Result = TypeVar("_Result")


def split_address(address: str) -> tuple[str, str]:
    """Bucket and prefix of ``s3://bucket/prefix``. Raises SettingInvalid for an address that names no bucket."""
    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    prefix = prefix.strip("/")
    if not _BUCKET.fullmatch(bucket) or (prefix and not _is_key(prefix)):
        raise SettingInvalid(
            f"{address}: this is not an S3 address",
            remedy="Write it like s3://bucket/prefix, with letters, digits, dots, dashes and underscores.",
        )
    return bucket, prefix


class S3Store:
    """A store under one prefix of one bucket. Nothing is opened before the first use."""

    def __init__(self, address: str, protection: Protection | None = None, *, patience_s: float = PATIENCE_S) -> None:
        self._bucket, self._prefix = split_address(address)
        self._protection = protection or Protection()
        self._patience_s = patience_s
        self._reached = False
        self._connection = Connection(tries=1)
        self._random = Random()

    @property
    def address(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    async def create(
        self,
        key: str,
        content: bytes,
        *,
        media_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        put = self._put(key, content, media_type, metadata)
        request = {**put, **self._protection.for_creates(), "IfNoneMatch": "*"}
        repeated = False

        async def once() -> bool:
            nonlocal repeated
            try:
                await self._do(_lane_of(key), lambda client: client.put_object(**request))
            except ClientError as error:
                if not is_taken(error):
                    raise
                if not repeated:
                    return False
                if (standing := await self.read(key)) is None:  # taken, and gone: another create was undone
                    raise
                return standing == content
            finally:
                repeated = True
            return True

        return await self._insist(f"PutObject IfNoneMatch {key}", once)

    async def replace(self, key: str, content: Content, *, media_type: str = "application/json") -> None:
        request = self._put(key, content, media_type, None)
        await self._insist(
            f"PutObject {key}", lambda: self._do(_lane_of(key), lambda client: _put_from_its_beginning(client, request))
        )

    async def read(self, key: str) -> bytes | None:
        return await self._get(key, lambda body: body.read())

    async def open(self, key: str) -> Spool | None:
        return await self._get(key, Spool.of)

    async def _get(self, key: str, take: Callable[[StreamingBody], _Result]) -> _Result | None:
        request = {"Bucket": self._bucket, "Key": self._full(key), **self._protection.for_requests()}
        return await self._insist(
            f"GetObject {key}", lambda: self._do(_lane_of(key), lambda client: _get(client, request, take))
        )

    async def metadata(self, key: str) -> Mapping[str, str]:
        request = {"Bucket": self._bucket, "Key": self._full(key), **self._protection.for_requests()}
        return await self._insist(
            f"HeadObject {key}", lambda: self._do(_lane_of(key), lambda client: _metadata(client, request))
        )

    async def list(self, prefix: str) -> AsyncIterator[Listed]:
        root = f"{self._prefix}/" if self._prefix else ""
        request: dict[str, Any] = {
            "Bucket": self._bucket,
            "Prefix": root + prefix,
            "MaxKeys": _LISTED_AT_ONCE,
            **self._protection.for_requests(),
        }
        while True:
            page = await self._insist(
                f"ListObjectsV2 {prefix}",
                lambda: self._do(RECORDS, lambda client: client.list_objects_v2(**request)),
            )
            for found in page.get("Contents", ()):
                if not found["Key"].endswith("/"):  # consoles mark their folders with empty objects
                    yield Listed(found["Key"].removeprefix(root))
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def link(self, key: str) -> str:
        return f"s3://{self._bucket}/{self._full(key)}"

    async def has_room(self) -> bool:
        return True

    async def aclose(self) -> None:
        await asyncio.to_thread(self._connection.close)

    def _full(self, key: str) -> str:
        if not _is_key(key):
            raise ValueError(f"not a key: {key!r}")
        return f"{self._prefix}/{key}".lstrip("/")

    def _put(self, key: str, content: Content, media_type: str, metadata: Mapping[str, str] | None) -> dict[str, Any]:
        return {
            "Bucket": self._bucket,
            "Key": self._full(key),
            "Body": content if isinstance(content, Spool) else bytes(content),  # no other view of them
            "ContentType": media_type,
            "ContentDisposition": f'inline; filename="{key.rsplit("/", 1)[-1]}"',
            "CacheControl": f"{self._protection.cache}, {_FOR_EVER}" if _lane_of(key) is IMAGES else _NEVER,
            "Metadata": {name: _header(value) for name, value in (metadata or {}).items()},
            "ChecksumSHA256": base64.b64encode(_sha256(content)).decode(),
            **self._protection.for_requests(),
            **self._protection.for_puts(),
        }

    async def _insist(self, action: str, once: Callable[[], Awaitable[_Result]]) -> _Result:
        """Do something idempotent, retrying for some seconds. Raises StoreRefused, StoreUnavailable."""
        time = asyncio.get_running_loop().time
        until = time() + (self._patience_s if self._reached else FIRST_PATIENCE_S)
        try:
            return await retried(
                once,
                again=lambda error: isinstance(error, Failure) and (may_pass(error) or is_taken(error)),
                wait_s=lambda _, failures: STORE.wait_s(failures, self._random.random()),
                sleep=asyncio.sleep,
                ends=lambda tries: tries >= LEAST_TRIES and time() > until,
            )
        except (ClientError, BotoCoreError) as error:
            raise translated(error, Where(self.address, self._bucket, action, self._protection.owner)) from error

    async def _do(self, lane: Lane, work: Callable[[S3Client], _Result]) -> _Result:
        try:
            result = await self._in_thread(lane, work)
        except ClientError as error:
            if not has_expired(error):
                raise
            self._connection.renew()  # somebody may have logged in again
            result = await self._in_thread(lane, work)
        self._reached = True
        return result

    async def _in_thread(self, lane: Lane, work: Callable[[S3Client], _Result]) -> _Result:
        pool = self._connection.pool(lane)
        return await asyncio.get_running_loop().run_in_executor(pool, self._connection.do, lane, work)


def _sha256(content: Content) -> bytes:
    if not isinstance(content, Spool):
        return hashlib.sha256(content).digest()
    content.seek(0)
    return hashlib.file_digest(content, "sha256").digest()


def _put_from_its_beginning(client: S3Client, request: Mapping[str, Any]) -> None:
    if isinstance(request["Body"], Spool):  # a try before this one may have read it
        request["Body"].seek(0)
    client.put_object(**request)


def _get(client: S3Client, request: dict[str, Any], take: Callable[[StreamingBody], _Result]) -> _Result | None:
    try:
        with closing(client.get_object(**request)["Body"]) as body:
            return take(body)
    except ClientError as error:
        if is_missing(error):
            return None
        raise


def _metadata(client: S3Client, request: dict[str, Any]) -> Mapping[str, str]:
    try:
        return client.head_object(**request)["Metadata"]
    except ClientError as error:
        if is_missing(error):
            return {}
        raise


def _lane_of(key: str) -> Lane:
    """Images have their own lane: ``<campaign>/<edition>/assets/…``."""
    return IMAGES if any(part in _BULK for part in key.split("/")[2:3]) else RECORDS


def _is_key(key: str) -> bool:
    parts = key.split("/")
    return key.isascii() and key.isprintable() and all(part[:1] not in ("", ".") for part in parts)


def _header(value: str) -> str:
    """A value in a form that a header can carry."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in value)[:_LONGEST_METADATA]
