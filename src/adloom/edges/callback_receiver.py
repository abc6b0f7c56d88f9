"""The receiver of callbacks: records which task an attempt is reported to have, and trusts nothing else.

A callback is unsigned and its body could come from anyone who has the address, so only a task's id is taken from it; a
run asks the API about that task with its own key. A wrong address reveals nothing: every such request gets the same
404. A valid one is answered once its record is durable; a repetition is the same record.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from adloom.core.callbacks import Secret, inbox, token
from adloom.core.errors import StoreError
from adloom.edges.addresses import is_loopback_host
from adloom.edges.callback_server import REQUEST_S, Buckets, CallbackServer, Tally
from adloom.edges.evolink.text import Unreadable, mapping, read_json
from adloom.ledger.edition import to_json, utc
from adloom.ports import Clock, Store

log = logging.getLogger(__name__)

SCHEMA = "adloom.callback/1"
DEPTH = 20
AT_ONCE = 32
TASKS_AN_ATTEMPT = 100
"""An attempt creates one task, or two if the API forgot a key. Anyone with the address may name others first; a run
finds the right one among a few, but not among arbitrarily many."""

BURST, PER_S = 200.0, 10.0
"""Requests per address: the callback address if it is valid, else the caller's. The API calls at most four times per
task."""

_LONGEST_NAME = 64
_ADDRESS = re.compile(
    r"(?:/[^/]+)*?/(?P<campaign>[a-z0-9][a-z0-9-]{0,62})/(?P<edition>[A-Za-z0-9][A-Za-z0-9._-]{0,63})"
    r"/(?P<call>[a-z0-9][a-z0-9-]{0,99})/(?P<attempt>[1-9][0-9]{0,2})/(?P<token>(?:[1-9][0-9]{0,2}-)?[0-9a-f]{64})"
)
_TASK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")


@dataclass(frozen=True, slots=True)
class _Told:
    prefix: str
    call: str
    attempt: int


class _NoCallback(Exception):
    """A request that is not answered with 200."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


class Receiver:
    """Answers the requests of one archive's callbacks. An address made with any of ``secrets`` is valid."""

    def __init__(self, store: Store, clock: Clock, secrets: Sequence[Secret]) -> None:
        self._store = store
        self._clock = clock
        self._secrets = secrets
        self._places = asyncio.Semaphore(AT_ONCE)
        self._buckets = Buckets(burst=BURST, per_s=PER_S)
        self._tally = Tally()

    def server(self, host: str = "127.0.0.1", port: int = 0) -> CallbackServer:
        """A server for it, as an async context."""
        return CallbackServer(self._answer, self._tally, host, port)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        try:
            await self._receive(request)
        except _NoCallback as refusal:
            return _response(refusal.status, text=f"{refusal.status.value}: {refusal.status.phrase}")
        return _response(HTTPStatus.OK, text='{"received": true}', content_type="application/json")

    async def _receive(self, request: web.BaseRequest) -> None:
        told = self._recognise(request)
        name = f"{told.prefix}{told.call}/{told.attempt}" if told else _caller(request)
        if not self._buckets.take(name, self._clock.monotonic()):
            self._tally.count("over their rate")
            raise _NoCallback(HTTPStatus.TOO_MANY_REQUESTS)
        if told is None:
            self._tally.count("to no right address")
            raise _NoCallback(HTTPStatus.NOT_FOUND)
        try:
            async with asyncio.timeout(REQUEST_S), self._places:
                await self._keep(told, await _task_of(request))
        except TimeoutError:
            raise _NoCallback(HTTPStatus.REQUEST_TIMEOUT) from None
        except StoreError as error:
            log.warning("a callback for call %s could not be kept: %s", told.call, error.message)
            raise _NoCallback(HTTPStatus.SERVICE_UNAVAILABLE) from error

    def _recognise(self, request: web.BaseRequest) -> _Told | None:
        found = _ADDRESS.fullmatch(request.raw_path)
        if found is None or request.method != "POST":
            return None
        told = _Told(f"{found['campaign']}/{found['edition']}/", found["call"], int(found["attempt"]))
        expected = [token(secret, told.prefix, told.call, told.attempt) for secret in self._secrets]
        return told if any(hmac.compare_digest(each, found["token"]) for each in expected) else None

    async def _keep(self, told: _Told, task: str) -> None:
        prefix = inbox(told.prefix, told.call, told.attempt)
        known = {listed.key async for listed in self._store.list(prefix)}
        key = f"{prefix}{task}.json"
        if key in known:
            return
        if len(known) >= TASKS_AN_ATTEMPT:
            raise _NoCallback(HTTPStatus.NOT_FOUND)
        record = {"schema": SCHEMA, "task": task, "time": utc(self._clock.now())}
        await self._store.create(key, to_json(record))
        log.info("callback: call %s has task %s", told.call, task)


def _response(status: HTTPStatus, *, text: str, content_type: str = "text/plain") -> web.Response:
    response = web.Response(status=status, text=text, content_type=content_type, headers={"Server": "adloom"})
    response.force_close()
    return response


def _caller(request: web.BaseRequest) -> str:
    """Where a request comes from: what a proxy on this machine says, else the peer of the connection."""
    peer = request.remote or ""
    named = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return named[:_LONGEST_NAME] if named and is_loopback_host(peer) else peer


async def _task_of(request: web.BaseRequest) -> str:
    """The id of the task that a body names. Raises _NoCallback for a body without one."""
    if request.content_type != "application/json" or "Content-Encoding" in request.headers:
        raise _NoCallback(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
    try:
        content = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _NoCallback(HTTPStatus.REQUEST_ENTITY_TOO_LARGE) from None
    try:
        body = mapping(read_json(content)) if _depth(content) <= DEPTH else {}
    except Unreadable:
        raise _NoCallback(HTTPStatus.BAD_REQUEST) from None
    task = body.get("id")
    if not isinstance(task, str) or not _TASK.fullmatch(task):
        raise _NoCallback(HTTPStatus.BAD_REQUEST)
    return task


def _depth(content: bytes) -> int:
    """An upper bound of the nesting depth of JSON: brackets in texts count too."""
    depth = most = 0
    for byte in content:
        depth += (byte in b"[{") - (byte in b"]}")
        most = max(most, depth)
    return most
