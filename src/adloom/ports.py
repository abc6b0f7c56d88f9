"""What the steps need from the outside: one protocol for each outside system.

The steps (spend, collect, archive, run) are written against these; the adapters in ``edges`` implement them.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Protocol, TypeAlias

from adloom.core.task import Accepted, Credits, Download, ListedTask, Picture, Task

if TYPE_CHECKING:
    from _typeshed import SupportsRead


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a listing: its key relative to the store's root."""

    key: str


IN_MEMORY_BYTES = 4_000_000


class Spool(SpooledTemporaryFile[bytes]):
    """A temporary file, on disk only if it grows beyond ``IN_MEMORY_BYTES``. It is gone with the last who holds it."""

    def __init__(self) -> None:
        super().__init__(max_size=IN_MEMORY_BYTES)

    @classmethod
    def of(cls, source: SupportsRead[bytes]) -> Spool:
        """All that a source has left, from its beginning."""
        spool = cls()
        shutil.copyfileobj(source, spool)
        spool.seek(0)
        return spool

    def __del__(self) -> None:
        self.close()


Content: TypeAlias = bytes | Spool
"""What to write: bytes, or a file, from its beginning."""


class Store(Protocol):
    """Where an archive lives. Keys are relative, with ``/`` between parts, ASCII, no ``..`` and no trailing slash.

    Every method raises StoreUnavailable for an outage and StoreRefused when the store does not accept adloom's records
    at all. There is no delete.
    """

    @property
    def address(self) -> str:
        """The archive as a person would write it: a path or ``s3://bucket/prefix``."""
        ...

    async def create(
        self,
        key: str,
        content: bytes,
        *,
        media_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        """Write an object that must not exist yet, durably: True if this call created it, False if it was there.

        Of any number of concurrent creates of one key exactly one returns True. A False leaves the object untouched.
        """
        ...

    async def replace(self, key: str, content: Content, *, media_type: str = "application/json") -> None:
        """Write or overwrite a document that is a projection (manifest, heartbeat), all of it or nothing."""
        ...

    async def read(self, key: str) -> bytes | None:
        """The object's bytes, None if there is none."""
        ...

    async def open(self, key: str) -> Spool | None:
        """The same as a file at its beginning: the tables of 100,000 rows need not fit into memory."""
        ...

    async def metadata(self, key: str) -> Mapping[str, str]:
        """The metadata that ``create`` was given: empty if the store keeps none, or has no such object.

        Names are in lower case. A value may be truncated, or lose characters that an HTTP header cannot carry.
        """
        ...

    def list(self, prefix: str) -> AsyncIterator[Listed]:
        """Every object whose key begins with ``prefix``, in no promised order."""
        ...

    def link(self, key: str) -> str:
        """An address of the object for a person: a ``file://`` or ``s3://`` URL."""
        ...

    async def has_room(self) -> bool:
        """Whether the store can take more images: False when a disk is nearly full."""
        ...

    async def aclose(self) -> None: ...


class ImageApi(Protocol):
    """The paid image API. Errors are those of ``core.errors``: reads raise ReadFailed or AccountStopped."""

    @property
    def account(self) -> str:
        """A fingerprint of key and API that is safe to store: never the key itself."""
        ...

    async def submit(self, body: bytes, idempotency_key: str) -> Accepted:
        """Send one paid POST, once. Only ``spend`` calls this.

        Raises NotSent, Throttled, RequestRefused, ModerationRefused, AccountStopped (all free) or OutcomeUnknown.
        """
        ...

    async def tasks(self, task_ids: Sequence[str]) -> Mapping[str, Task]:
        """Read tasks, as few requests as the API allows. An id that the API does not know is absent."""
        ...

    async def list_tasks(self, created_after: int) -> Sequence[ListedTask] | None:
        """The account's tasks since a Unix time, newest first; None when this key may not list them."""
        ...

    async def credits(self) -> Credits: ...

    async def download(self, url: str) -> Download:
        """Fetch a result, hashed while it arrives. Raises DownloadFailed or LinkExpired. Never carries the key."""
        ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class HostedFile:
    """A reference file at the address where the API fetches it, which expires after ``life_s`` seconds."""

    url: str
    life_s: float


class FileHost(Protocol):
    """The file service that hosts reference files, free of charge.

    Both calls raise ReadFailed for what may pass, AccountStopped for key, account or quota.
    """

    @property
    def account(self) -> str:
        """A fingerprint of key and address that is safe to store: never the key itself."""
        ...

    async def room(self) -> int | None:
        """How many more files the account may host; None when the service does not say."""
        ...

    async def upload(self, content: bytes, sha256: str) -> HostedFile:
        """Host a file under a name made from its content; what is there under that name is replaced.

        Raises FileRefused when the service will not take this file.
        """
        ...

    async def aclose(self) -> None: ...


class Decoder(Protocol):
    """Decodes images, where a hostile one can do no harm; nothing else does."""

    async def decode(self, content: bytes) -> Picture | None:
        """Decode the whole image: None when the bytes are not a complete image of an accepted type.

        Raises PictureUnjudged when that takes more than a decoder may spend, DecoderBroken when none can run at all.
        """
        ...

    async def sheet(self, thumbs: Sequence[bytes]) -> bytes:
        """Thumbnails in rows on one small JPEG; empty when none of them can be opened. Raises as ``decode`` does."""
        ...


class Clock(Protocol):
    """Time, as a port, so that tests and simulations can control it."""

    def now(self) -> float:
        """Unix time in seconds, for records."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump, for waits and deadlines."""
        ...

    async def sleep(self, seconds: float) -> None: ...
