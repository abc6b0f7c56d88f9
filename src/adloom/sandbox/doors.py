"""How a request comes in and an answer goes out: key check, connection faults, and the bytes themselves."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from adloom.sandbox.answers import Refusal, Reply, html_reply, retry_after
from adloom.sandbox.billing import Account, fingerprint
from adloom.sandbox.faults import READS, Fault, Route
from adloom.sandbox.sandbox import Sandbox

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_HANG_STEP_S = 0.05
_REFUSED_KEYS = {
    "revoked": (401, ""),
    "key_disabled": (401, "key_disabled"),
    "key_expired": (401, "key_expired"),
    "user_disabled": (403, "user_disabled"),
    "ip_restricted": (403, "ip_restricted"),
    "key_model_not_allowed": (403, "key_model_not_allowed"),
}
Handler = Callable[["Call"], Awaitable[Reply]]


@dataclass(slots=True)
class Call:
    """One request, its body read and its account known."""

    request: web.Request
    body: bytes
    account: Account
    now: float


class Middleware:
    """Wraps handlers with the key check and the faults of their route."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._ids = itertools.count(1)

    def door(self, route: Route, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The handler as aiohttp wants it."""

        async def enter(request: web.Request) -> web.StreamResponse:
            is_form = request.content_type.startswith("multipart/")  # its handler reads it
            body = b"" if is_form else await request.read()
            text = body.decode("utf-8", "replace") if route == "submit" else request.path
            fault = self._sandbox.fault(route, text)
            if route != "submit":
                return await self._answer(request, body, route, handler, fault)
            with self._sandbox.traffic.one_more_post():
                return await self._answer(request, body, route, handler, fault)

        return enter

    async def _answer(
        self, request: web.Request, body: bytes, route: Route, handler: Handler, fault: Fault | None
    ) -> web.StreamResponse:
        early = None if fault is None or fault.after else await self._strike_early(request, fault)
        if fault is not None and early is not None:
            self._note(route, early, "" if fault.fault == "status" else f"faulted_{fault.fault}")
            return self._response(early)
        reply = await self._handled(request, body, handler)
        if fault is not None and (reply.status < 400 or route in READS):  # noqa: PLR2004 - a refusal needs no fault
            return await self._strike_late(request, route, fault, reply)
        self._note(route, reply)
        return self._response(reply)

    async def _handled(self, request: web.Request, body: bytes, handler: Handler) -> Reply:
        sandbox = self._sandbox
        try:
            account = self._known_account(request)
            return await handler(Call(request, body, account, sandbox.settle()))
        except Refusal as refusal:
            headers = self._limit_headers(refusal)
            return refusal.reply(headers=headers, string_code=sandbox.settings.string_error_codes)

    def _known_account(self, request: web.Request) -> Account:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not key.strip():
            raise Refusal(401, "a bearer key is required")
        name = fingerprint(key.strip())
        states = self._sandbox.settings.key_states
        state = states.get(key.strip()) or states.get(name) if states else None
        if state is not None:
            status, code = _REFUSED_KEYS[state]
            raise Refusal(status, f"this key cannot be used: {state}", code=code)
        return self._sandbox.account(name)

    def _limit_headers(self, refusal: Refusal) -> dict[str, str]:
        if refusal.status != 429:  # noqa: PLR2004 - the one status with advice
            return {}
        return retry_after(self._sandbox.settings.limit_retry_after, self._sandbox.clock.now())

    async def _strike_early(self, request: web.Request, fault: Fault) -> Reply | None:
        """A fault before the gateway: nothing has been accepted. None lets the request through."""
        if fault.fault == "status":
            return self._error(fault)
        if fault.fault == "slow":
            await dawdle(self._sandbox, fault)
            return None
        if fault.fault == "hang":
            await hang(self._sandbox, request, fault)
        if fault.fault in {"hang", "drop"}:
            reset(request)
            return Reply(b"", 503)
        return None

    async def _strike_late(self, request: web.Request, route: Route, fault: Fault, reply: Reply) -> web.StreamResponse:
        """A fault after the gateway: the work is done, but its answer is lost or damaged."""
        kind = fault.fault
        if fault.after or kind in {"partial", "broken_json"}:
            self._note(route, reply, f"lost_{kind}")
        else:
            self._note(route, reply)
        if kind == "status" and fault.after:
            return self._response(self._error(fault))
        if kind == "broken_json":
            return self._response(Reply(reply.body[: len(reply.body) // 2], 200, reply.media_type, reply.headers))
        if kind == "slow" and fault.after:
            await dawdle(self._sandbox, fault)
        if kind == "partial":
            return await half_sent(request, reply)
        if kind == "hang":
            await hang(self._sandbox, request, fault)
        if kind in {"hang", "drop"} and fault.after:
            reset(request)
        return self._response(reply)

    def _note(self, route: Route, reply: Reply, lost: str = "") -> None:
        if route == "submit":
            replayed = "replayed" if "idempotency-replayed" in reply.headers else "accepted"
            self._sandbox.traffic.posts[lost or (replayed if reply.status == 200 else str(reply.status))] += 1  # noqa: PLR2004

    def _error(self, fault: Fault) -> Reply:
        advice = retry_after(fault.retry_after, self._sandbox.clock.now())
        if fault.html:
            page = html_reply(fault.status, "Gateway trouble")
            return Reply(page.body, page.status, page.media_type, advice)
        refusal = Refusal(fault.status, "the gateway has trouble", code=fault.code)
        return refusal.reply(headers=advice, string_code=self._sandbox.settings.string_error_codes)

    def _response(self, reply: Reply) -> web.Response:
        seed = f"{next(self._ids)}:{self._sandbox.base_url}"
        request_id = hashlib.blake2b(seed.encode(), digest_size=8).hexdigest()
        return web.Response(
            body=reply.body,
            status=reply.status,
            content_type=reply.media_type,
            headers={**reply.headers, "x-request-id": f"req_{request_id}"},
        )


async def dawdle(sandbox: Sandbox, fault: Fault) -> None:
    """Let the client wait, then continue."""
    await asyncio.sleep(sandbox.settings.slow_s if fault.seconds is None else fault.seconds)


async def hang(sandbox: Sandbox, request: web.Request, fault: Fault) -> None:
    """Send nothing until the client leaves or the time is up."""
    left_s = sandbox.settings.hang_s if fault.seconds is None else fault.seconds
    while left_s > 0 and not sandbox.closing and request.transport is not None and not request.transport.is_closing():
        await asyncio.sleep(_HANG_STEP_S)
        left_s -= _HANG_STEP_S


def reset(request: web.Request) -> None:
    """Drop the connection with a reset: the client gets no answer."""
    if request.transport is None:
        return
    wire = request.transport.get_extra_info("socket")
    if wire is not None:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    if isinstance(request.transport, asyncio.WriteTransport):
        request.transport.abort()


async def half_sent(request: web.Request, reply: Reply) -> web.StreamResponse:
    """Promise the whole body, send half of it, then reset."""
    response = web.StreamResponse(status=reply.status, headers=dict(reply.headers))
    response.content_type = reply.media_type
    response.content_length = len(reply.body)
    await response.prepare(request)
    await response.write(reply.body[: len(reply.body) // 2])
    await asyncio.sleep(_HANG_STEP_S)  # lets the half arrive before the reset
    reset(request)
    return response
