"""Checks reference images at their addresses, as the API will fetch them: nothing is kept, and no key is sent.

A ``HEAD`` returns the size if the host answers one. Then the first bytes are fetched, and the whole file only if its
header continues beyond them; a child process without secrets reads it, and decodes nothing.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import httpx

from adloom.core.errors import PictureUnjudged
from adloom.core.limits import ReferenceLimits
from adloom.core.retrying import retried
from adloom.edges.evolink import transport
from adloom.edges.evolink.hops import Hops, NotFollowed
from adloom.edges.pictures import Header, PictureDecoder

AT_ONCE = 16
WHOLE_FILES_AT_ONCE = 2
"""Of 10 MB each, in memory."""

FIRST_BYTES = 65_536
"""Holds the header of nearly every image; that of a JPEG may come after a large preview or colour profile."""

TRIES = 3
WAITS_S = (1.0, 3.0)
"""Before the second and the third try of an address whose host did not answer, or answered with an error of its own."""

TRY_S = 10.0
"""About as long as the API itself waits for a reference (a public integrator's report, read 2026-11)."""

HEAD_S = 3.0
"""Of these, for the ``HEAD``, which some hosts leave unanswered."""

ADDRESSES_OF_A_DEAD_HOST = 3
"""Once this many addresses of a host have failed in all tries, its others are not requested."""

_BUSY = 429
_SERVER_ERROR = 500
_FOUND = (200, 206)
_RANGE = re.compile(r"bytes \d+-\d+/(\d{1,15})")


class Fault(NamedTuple):
    """A problem with a reference, as the end of a sentence about it, and what would be right."""

    message: str
    allowed: str


@dataclass(frozen=True, slots=True)
class _Part:
    """The beginning of a file, and the size of the whole if the host reports it."""

    content: bytes
    size_bytes: int | None
    is_whole: bool


class _Refused(Exception):
    """The host's answer is final: the API would not get a picture either."""

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.fault = Fault(message, allowed)


class _Wavers(Exception):
    """No answer, or an error of the host: a retry may succeed."""


class ReferenceHosts:
    """Checks addresses, ``AT_ONCE`` concurrently."""

    def __init__(
        self,
        limits: ReferenceLimits,
        context: ssl.SSLContext,
        *,
        loopback: bool,
        try_s: float = TRY_S,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take ``loopback`` as whether references may be on this machine, as for an API that is there."""
        self._limits = limits
        self._try_s = try_s
        self._sleep = sleep
        timeouts = httpx.Timeout(try_s, pool=None)
        self._hops = Hops(context, loopback=loopback, connections=AT_ONCE, redirects=3, timeouts=timeouts)
        self._decoder = PictureDecoder()
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._large = asyncio.Semaphore(WHOLE_FILES_AT_ONCE)
        self._failed: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._hops.aclose()
        await self._decoder.aclose()

    async def fault(self, url: str) -> Fault | None:
        """What is wrong with the image at an address, None for a good one."""
        async with self._slots:
            host = urlsplit(url).netloc
            if self._failed[host] >= ADDRESSES_OF_A_DEAD_HOST:
                return Fault("cannot be looked at: its host did not answer for others", _ANSWERING)
            try:
                return await retried(
                    lambda: self._fault_of_one_try(url),
                    again=lambda error: isinstance(error, _Wavers),
                    wait_s=lambda _, failures: WAITS_S[min(failures, len(WAITS_S) - 1)],
                    sleep=self._sleep,
                    ends=lambda tries: tries >= TRIES,
                )
            except _Wavers as error:
                self._failed[host] += 1
                return Fault(f"cannot be looked at, in {TRIES} tries: {error}", _ANSWERING)

    async def _fault_of_one_try(self, url: str) -> Fault | None:
        try:
            async with asyncio.timeout(self._try_s):
                await self._judge(url)
        except _Refused as error:
            return error.fault
        except NotFollowed as error:
            return Fault(error.why, "a public https address that leads to a picture")
        except TimeoutError as error:
            raise _Wavers(f"no answer within {self._try_s:g} s") from error
        except transport.TROUBLE as error:
            if _leads_inside(error):
                return Fault("leads to an internal address", "a public https address")
            raise _Wavers("no answer") from error
        return None

    async def _judge(self, url: str) -> None:
        """Raises _Refused for what the API would not take."""
        self._judge_size(await self._size_by_head(url))
        part = await self._part(url, FIRST_BYTES)
        header = await self._header(part)
        if not (header.width_px or part.is_whole) or (part.size_bytes is None and not part.is_whole):
            async with self._large:
                part = await self._part(url, self._limits.size_bytes + 1)
                header = await self._header(part)
        if not header.width_px:
            raise _Refused(f"is a damaged {header.kind} image", "a picture that opens")
        self._judge_pixels(header)

    async def _size_by_head(self, url: str) -> int | None:
        """What the host says without a body; many hosts do not answer ``HEAD``, so no answer means nothing."""
        try:
            async with asyncio.timeout(HEAD_S), self._hops.opened(url, "HEAD", _PICTURE) as response:
                return _number(response.headers.get("content-length", "")) if response.status_code in _FOUND else None
        except transport.TROUBLE as error:
            if _leads_inside(error):
                raise
            return None

    async def _part(self, url: str, most: int) -> _Part:
        """The first ``most`` bytes of a file, or all of it. Raises _Refused, _Wavers."""
        async with self._hops.opened(url, "GET", {**_PICTURE, "Range": f"bytes=0-{most - 1}"}) as response:
            _check_answer(response)
            content = bytearray()
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > most:
                    break
            size_bytes = _size(response)
        if not content:
            raise _Refused("is empty", "a picture")
        is_whole = len(content) == size_bytes or (size_bytes is None and len(content) < most)
        part = _Part(bytes(content[:most]), size_bytes, is_whole)
        self._judge_size(len(content) if size_bytes is None else size_bytes)
        return part

    async def _header(self, part: _Part) -> Header:
        try:
            header = await self._decoder.header(part.content)
        except PictureUnjudged as error:
            raise _Refused("is an image that cannot be read within the limits of a decoder", "another file") from error
        if header.kind not in self._limits.formats:
            what = f"is a {header.kind} image" if header.kind else "is not an image of a known type"
            raise _Refused(what, "one of " + ", ".join(self._limits.formats))
        return header

    def _judge_size(self, size_bytes: int | None) -> None:
        if size_bytes is not None and (fault := self._limits.fault_of_bytes(size_bytes)):
            raise _Refused(*fault)

    def _judge_pixels(self, header: Header) -> None:
        if fault := self._limits.fault_of_pixels(header.width_px, header.height_px):
            raise _Refused(*fault)


_PICTURE = {"Accept": "image/*,*/*;q=0.5"}
_ANSWERING = "an address that answers; nothing is bought until it does, or check_references is false"


def _check_answer(response: httpx.Response) -> None:
    status = response.status_code
    if status == _BUSY or status >= _SERVER_ERROR:
        raise _Wavers(f"HTTP {status}")
    if status not in _FOUND:
        raise _Refused(f"is answered with HTTP {status}", "the address of a picture that everybody may read")
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise _Refused("comes compressed although no compression was requested", "the picture as it is")


def _size(response: httpx.Response) -> int | None:
    """The size of the whole file, where the answer says it."""
    if response.status_code == _FOUND[1]:
        found = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
        return int(found[1]) if found else None
    return _number(response.headers.get("content-length", ""))


def _number(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None  # noqa: PLR2004 - past any file


def _leads_inside(error: BaseException) -> bool:
    """Whether a failure comes from a public name that leads to an internal address."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, transport.InternalAddress):
            return True
        seen = seen.__cause__ or seen.__context__
    return False
