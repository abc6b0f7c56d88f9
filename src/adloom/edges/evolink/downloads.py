"""Downloads results from wherever the API says they are: an untrusted link that never sees the key.

``hops`` says where a link may lead. The image is held in memory, hashed while it arrives, and passed on exactly as
received: the decoder decides whether it is a picture. Only a content coding that was not asked for is undone.
"""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import re
import ssl
import zlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import cast

import httpx

from adloom.core.errors import DownloadError, DownloadFailed, LinkExpired
from adloom.core.task import Download
from adloom.edges.evolink import transport
from adloom.edges.evolink.hops import Hops, NotFollowed

_MIB = 1024 * 1024
_GONE = (403, 404, 410)  # which of them an expired link answers is written nowhere
_WHOLE = (200, 203)
_CODINGS = ("gzip", "x-gzip", "deflate")
_AGAIN = "It is tried again; the link is good for 24 h after the task's end."


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """Limits of downloads.

    32 at once: more do not increase the images per second, only the cost of each. 64 MiB an image is several times a 4K
    PNG; what is larger is spooled to a temporary file, one at a time, and 512 MiB is four times the pixels of the
    largest 4K image with 16 bits a channel. 256 MiB in flight is what a small machine can spare. 300 s in all lets a
    line of 2 Mbit/s bring 64 MiB.
    """

    at_once: int = 32
    image_bytes: int = 64 * _MIB
    spooled_bytes: int = 512 * _MIB
    in_flight_bytes: int = 256 * _MIB
    redirects: int = 3
    connect_s: float = 5
    idle_s: float = 30
    total_s: float = 300


class ByteBudget:
    """Bytes that may be held at once, granted in the order of requests."""

    def __init__(self, size_bytes: int) -> None:
        self._free = size_bytes
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def reserved(self, size_bytes: int) -> AsyncIterator[None]:
        """Hold ``size_bytes`` of the budget, waiting for it if need be."""
        await self._take(size_bytes)
        try:
            yield
        finally:
            self._give(size_bytes)

    async def _take(self, size_bytes: int) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._queue.append((size_bytes, turn))
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._serve()
            else:
                self._give(size_bytes)
            raise

    def _give(self, size_bytes: int) -> None:
        self._free += size_bytes
        self._serve()

    def _serve(self) -> None:
        while self._queue and (self._queue[0][1].cancelled() or self._queue[0][0] <= self._free):
            size_bytes, turn = self._queue.popleft()
            if not turn.cancelled():
                self._free -= size_bytes
                turn.set_result(None)


class Downloader:
    """Fetches results, at most ``limits.at_once`` together."""

    def __init__(self, context: ssl.SSLContext, *, loopback: bool, limits: DownloadLimits) -> None:
        self._limits = limits
        self._hops = Hops(
            context,
            loopback=loopback,
            connections=limits.at_once,
            redirects=limits.redirects,
            timeouts=httpx.Timeout(limits.idle_s, connect=limits.connect_s, pool=None),
        )
        self._slots = asyncio.Semaphore(limits.at_once)
        self._budget = ByteBudget(limits.in_flight_bytes)
        self._spool = asyncio.Semaphore(1)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._hops.aclose()

    async def fetch(self, url: str) -> Download:
        """The bytes behind a link. Raises LinkExpired for 403, 404 and 410, DownloadFailed for all else."""
        async with self._slots:
            try:
                async with asyncio.timeout(self._limits.total_s), self._hops.opened(url) as response:
                    return await self._read(response)
            except NotFollowed as error:
                raise DownloadFailed(
                    f"a result link {error.why}, so it is not followed", remedy="Look at the task in EvoLink's console."
                ) from error
            except transport.TROUBLE as error:
                raise DownloadFailed(f"a download failed on the way ({type(error).__name__})", remedy=_AGAIN) from error

    async def _read(self, response: httpx.Response) -> Download:
        _check_answer(response)
        length = _length(response)
        if length is not None and length > self._limits.spooled_bytes:
            raise _too_large(self._limits)
        content, sha256 = await self._collect(response, length)
        if length is not None and len(content) != length:
            raise DownloadFailed(f"a download ended at {len(content)} of {length} bytes", remedy=_AGAIN)
        if not content:
            raise DownloadFailed("a download brought no bytes", remedy=_AGAIN)
        decoded = _decoded(response, content, self._limits.image_bytes)
        if decoded is not content:
            content, sha256 = decoded, hashlib.sha256(decoded).hexdigest()
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Download(content=content, sha256=sha256, media_type=media_type)

    async def _collect(self, response: httpx.Response, length: int | None) -> tuple[bytes, str]:
        most, digest, size_bytes = self._limits.image_bytes, hashlib.sha256(), 0
        is_large = length is not None and length > most
        async with AsyncExitStack() as room:
            # Without a length the whole cap is reserved: growing step by step, all could wait for each other.
            memory = self._budget.reserved(most if length is None else length)
            await room.enter_async_context(self._spool if is_large else memory)
            with SpooledTemporaryFile(max_size=most) as held:
                async for chunk in response.aiter_raw():
                    size_bytes += len(chunk)
                    if size_bytes > self._limits.spooled_bytes:
                        raise _too_large(self._limits)
                    if size_bytes > most and not is_large:
                        is_large = True
                        await room.enter_async_context(self._spool)
                    digest.update(chunk)
                    held.write(chunk)
                return _content(held, is_large=size_bytes > most), digest.hexdigest()


def _content(held: SpooledTemporaryFile[bytes], *, is_large: bool) -> bytes:
    """The bytes of a file. Those of a large one stay on disk, and are released with the last reference to them."""
    held.seek(0)
    if not is_large:
        return held.read()
    held.flush()
    return cast("bytes", memoryview(mmap.mmap(held.fileno(), 0, access=mmap.ACCESS_READ)))


def _check_answer(response: httpx.Response) -> None:
    status = response.status_code
    if status in _GONE:
        raise LinkExpired(f"a result link is dead (HTTP {status})", remedy="Its task is read once for a fresh one.")
    if status not in _WHOLE and not _is_whole_range(response):
        raise DownloadFailed(f"a download was answered with HTTP {status}", remedy=_AGAIN)


def _is_whole_range(response: httpx.Response) -> bool:
    """Whether an answer with a part, which nobody asked for, has all parts."""
    told = re.fullmatch(r"bytes 0-(\d{1,15})/(\d{1,15})", response.headers.get("content-range", "").strip())
    is_part = response.status_code == httpx.codes.PARTIAL_CONTENT
    return is_part and told is not None and int(told[1]) + 1 == int(told[2])


def _decoded(response: httpx.Response, content: bytes, most_bytes: int) -> bytes:
    """The content without a coding that nobody requested: stores send what they keep compressed as it is.

    What is labelled as coded and is not comes as it is. Raises DownloadFailed.
    """
    if response.headers.get("content-encoding", "").strip().lower() not in _CODINGS:
        return content
    coding = zlib.decompressobj(zlib.MAX_WBITS | 32)  # with the header of gzip or of zlib
    try:
        decoded = coding.decompress(content, most_bytes + 1)
    except zlib.error:
        return content
    if len(decoded) > most_bytes:
        raise DownloadFailed(f"a result is larger than {most_bytes // _MIB} MiB once it is unpacked", remedy=_AGAIN)
    if not coding.eof:
        raise DownloadFailed("a download arrived compressed and cut", remedy=_AGAIN)
    return decoded


def _length(response: httpx.Response) -> int | None:
    text = response.headers.get("content-length", "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None  # noqa: PLR2004 - past any file


def _too_large(limits: DownloadLimits) -> DownloadError:
    return DownloadFailed(f"a result is larger than {limits.spooled_bytes // _MIB} MiB", remedy=_AGAIN)
