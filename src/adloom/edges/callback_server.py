"""The HTTP server under the receiver: outsiders can reach it, so connections, heads and bodies are bounded.

A connection brings one request. Until its head is whole it costs a socket and a few kilobytes, and no parser sees it;
if places run out, the oldest connection without a whole head is closed, so that idle ones lock nobody out. aiohttp
handles the request itself, with limits on its body and its time. Errors of strangers are counted, not logged one by
one.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError

log = logging.getLogger(__name__)

CONNECTIONS = 512
"""Concurrent connections: half of what a process may open by default (1,024); the rest is for the archive."""
HEAD_BYTES = 8 * 1024
HEAD_S = 5.0
BODY_BYTES = 64 * 1024
"""A callback of 15 results has some 5 KB."""
REQUEST_S = 5.0
"""For body and answer; the API itself waits 10 s (EvoLink's OpenAPI text, 2026-10)."""
LINGER_S = 1.0
"""For reading what a refused request still sends, so that its answer is not lost to a reset."""
TOLD_EVERY_S = 60.0

_MOST_BYTES = HEAD_BYTES + 2 * BODY_BYTES
_ACCEPTED_AT_ONCE = 100
_SHARE_OF_FILES = 2
_END_OF_HEAD = b"\r\n\r\n"


class Tally:
    """Counts errors of strangers, and logs them in at most one line per minute."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._told_at = float("-inf")

    def count(self, what: str) -> None:
        """Count one more of ``what``."""
        self._counts[what] += 1
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= TOLD_EVERY_S:
            self.tell()
            self._told_at = now

    def tell(self) -> None:
        """Log what has not been logged yet."""
        if self._counts:
            log.warning("turned away: %s", ", ".join(f"{n} {each}" for each, n in sorted(self._counts.items())))
            self._counts.clear()


class Buckets:
    """Token buckets by name: ``burst`` requests at once, ``per_s`` from then on. The least used are forgotten."""

    def __init__(self, *, burst: float, per_s: float, most: int = 10_000) -> None:
        self._burst = burst
        self._per_s = per_s
        self._most = most
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, now: float) -> bool:
        """Take a token: False when this bucket is empty. ``now`` is a monotonic time in seconds."""
        level, at = self._levels.pop(name, (self._burst, now))
        level = min(self._burst, level + (now - at) * self._per_s)
        self._levels[name] = (level - (level >= 1), now)
        if len(self._levels) > self._most:
            self._levels.popitem(last=False)
        return level >= 1


@dataclass
class CallbackServer:
    """Serves requests to ``answer`` while it is open as an async context; ``url`` is its base address."""

    answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    tally: Tally
    host: str = "127.0.0.1"
    port: int = 0
    url: str = field(default="", init=False)

    async def __aenter__(self) -> Self:
        self._log = logging.getLogger(f"{__name__}.http")
        self._log.addFilter(self._is_our_own_fault)
        self._http = web.Server(
            self.answer,
            request_factory=_bounded_request,
            logger=self._log,
            access_log=None,
            auto_decompress=False,
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
            lingering_time=LINGER_S,
        )
        self._places = _Places(most=min(CONNECTIONS, _open_files() // _SHARE_OF_FILES), tally=self.tally)
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self._http, self._places, self.tally),
            self.host,
            self.port,
            backlog=_ACCEPTED_AT_ONCE,  # also how many asyncio accepts before it handles any of them
        )
        self.url = f"http://{self.host}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._places.close_all()
        await self._http.shutdown(REQUEST_S)
        self._log.removeFilter(self._is_our_own_fault)
        self.tally.tell()

    def _is_our_own_fault(self, record: logging.LogRecord) -> bool:
        """Whether a log record of aiohttp's should be kept: malformed requests are counted instead."""
        if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
            self.tally.count("malformed")
            return False
        return True


def _bounded_request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: asyncio.Task[None],
) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=BODY_BYTES)


def _open_files() -> int:
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS * _SHARE_OF_FILES if soft == resource.RLIM_INFINITY else soft


class _Places:
    """The open connections, and those without a whole head yet, the oldest first."""

    def __init__(self, most: int, tally: Tally) -> None:
        self._most = most
        self._tally = tally
        self._open: set[_Connection] = set()
        self._waiting: OrderedDict[_Connection, None] = OrderedDict()

    def enter(self, connection: _Connection) -> bool:
        """Give a new connection a place; False when every place is busy."""
        if len(self._open) >= self._most:
            if not self._waiting:
                self._tally.count("beyond the limit of connections")
                return False
            self._tally.count("without a whole request")
            next(iter(self._waiting)).abort()
        self._open.add(connection)
        self._waiting[connection] = None
        return True

    def is_whole(self, connection: _Connection) -> None:
        """Note that the head of a request is complete."""
        self._waiting.pop(connection, None)

    def leave(self, connection: _Connection) -> None:
        """Give a place back."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def close_all(self) -> None:
        """Close waiting connections; those being answered end by themselves."""
        for connection in tuple(self._waiting):
            connection.abort()


class _Connection(asyncio.Protocol):
    """One connection. What it receives is handed to aiohttp once a head is complete."""

    def __init__(self, http: web.Server, places: _Places, tally: Tally) -> None:
        self._http = http
        self._places = places
        self._tally = tally
        self._inner: web.RequestHandler | None = None
        self._head = bytearray()
        self._received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP's
        self._transport = transport
        self._deadline = asyncio.get_running_loop().call_later(HEAD_S, self._is_late)
        if not self._places.enter(self):
            self.abort()

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > (_MOST_BYTES if self._inner else HEAD_BYTES + BODY_BYTES):
            self._tally.count("too large")
            self.abort()
        elif self._inner:
            self._inner.data_received(data)
        else:
            self._add_to_head(data)

    def _add_to_head(self, data: bytes) -> None:
        self._head += data
        if _END_OF_HEAD in self._head:
            self._deadline.cancel()
            self._deadline = asyncio.get_running_loop().call_later(REQUEST_S + LINGER_S, self._is_late)
            self._places.is_whole(self)
            self._inner = self._http()
            self._inner.connection_made(self._transport)
            self._inner.data_received(bytes(self._head))
            self._head.clear()
        elif len(self._head) > HEAD_BYTES:
            self._tally.count("too large")
            self.abort()

    def eof_received(self) -> None:
        if self._inner:
            self._inner.eof_received()

    def pause_writing(self) -> None:
        if self._inner:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.cancel()
        self._places.leave(self)
        if self._inner:
            self._inner.connection_lost(exc)

    def abort(self) -> None:
        """End the connection at once, and give its place back."""
        self._places.leave(self)
        self._transport.abort()

    def _is_late(self) -> None:
        self._tally.count("too slow")
        self.abort()
