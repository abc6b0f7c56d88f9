"""The receiver of callbacks: writes down which task an attempt of a call is told to have, and believes nothing else.

A callback is unsigned and its body could come from anyone who has the address, so only a task's id is taken from it; a
run asks the API about that task with its own key. Whoever has no right address learns nothing: every such request gets
the same 404. A good one is answered after its record is durable; one that comes again is the same record.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from adloom.core.callbacks import inbox, token
from adloom.core.errors import StoreError
from adloom.edges.foreign_text import Unreadable, mapping, read_json
from adloom.ledger import to_json, utc
from adloom.ports import Clock, Store

log = logging.getLogger(__name__)

SCHEMA = "adloom.callback/1"
BODY_BYTES = 64 * 1024
DEPTH = 20
REQUEST_S = 5.0
AT_ONCE = 32
TASKS_AN_ATTEMPT = 5
"""An attempt makes one task, and two where the API forgot a key; more are nobody's honest word."""

_ADDRESS = re.compile(
    r"(?:/[^/]+)*?/(?P<campaign>[a-z0-9][a-z0-9-]{0,62})/(?P<edition>[A-Za-z0-9][A-Za-z0-9._-]{0,63})"
    r"/(?P<call>[a-z0-9][a-z0-9-]{0,99})/(?P<attempt>[1-9][0-9]{0,2})/(?P<token>[0-9a-f]{64})"
)
_TASK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True, slots=True)
class _Told:
    prefix: str
    call: str
    attempt: int


class Receiver:
    """An HTTP application for one archive."""

    def __init__(self, store: Store, clock: Clock, secret: bytes) -> None:
        self._store = store
        self._clock = clock
        self._secret = secret
        self._places = asyncio.Semaphore(AT_ONCE)

    def application(self) -> web.Application:
        """What an ``aiohttp`` server serves."""
        application = web.Application(client_max_size=BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", self._answer)
        return application

    async def _answer(self, request: web.Request) -> web.Response:
        told = self._recognise(request)
        if told is None:
            raise web.HTTPNotFound
        try:
            async with asyncio.timeout(REQUEST_S), self._places:
                task = await _task_of(request)
                await self._keep(told, task)
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        except StoreError as error:
            log.warning("a callback for call %s could not be kept: %s", told.call, error.message)
            raise web.HTTPServiceUnavailable from error
        return web.json_response({"received": True})

    def _recognise(self, request: web.Request) -> _Told | None:
        found = _ADDRESS.fullmatch(request.raw_path)
        if found is None or request.method != "POST":
            return None
        told = _Told(f"{found['campaign']}/{found['edition']}/", found["call"], int(found["attempt"]))
        expected = token(self._secret, told.prefix, told.call, told.attempt)
        return told if hmac.compare_digest(expected, found["token"]) else None

    async def _keep(self, told: _Told, task: str) -> None:
        prefix = inbox(told.prefix, told.call, told.attempt)
        known = {listed.key async for listed in self._store.list(prefix)}
        key = f"{prefix}{task}.json"
        if key in known:
            return
        if len(known) >= TASKS_AN_ATTEMPT:
            raise web.HTTPNotFound
        record = {"schema": SCHEMA, "task": task, "time": utc(self._clock.now())}
        await self._store.create(key, to_json(record))
        log.info("call %s is told to have made task %s", told.call, task)


async def _task_of(request: web.Request) -> str:
    """The id of the task that a body names. Raises the HTTP error that a body without one gets."""
    if request.content_type != "application/json" or "Content-Encoding" in request.headers:
        raise web.HTTPUnsupportedMediaType
    content = await request.read()  # 413 beyond BODY_BYTES
    try:
        body = mapping(read_json(content)) if _depth(content) <= DEPTH else {}
    except Unreadable as error:
        raise web.HTTPBadRequest from error
    task = str(body.get("id") or "")
    if not _TASK.fullmatch(task):
        raise web.HTTPBadRequest
    return task


def _depth(content: bytes) -> int:
    """How deep JSON nests at most; brackets in texts count too, which makes it a bound from above."""
    depth = most = 0
    for byte in content:
        depth += (byte in b"[{") - (byte in b"]}")
        most = max(most, depth)
    return most


@dataclass
class ReceiverServer:
    """A receiver that listens. Use it as an async context; ``url`` is its base address."""

    receiver: Receiver
    host: str = "127.0.0.1"
    port: int = 0
    url: str = field(default="", init=False)

    async def __aenter__(self) -> Self:
        self._runner = web.AppRunner(self.receiver.application(), access_log=None, auto_decompress=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://{self.host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
