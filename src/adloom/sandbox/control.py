"""The control routes under ``/_sandbox/``: no key, loopback only, for tests and demos."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation

from aiohttp import web
from pydantic import ValidationError

from adloom.sandbox.sandbox import Sandbox

_AMOUNTS = {"balance", "key_limit", "daily_limit"}
Content = Mapping[str, object]


class Control:
    """What a test may read and change while the sandbox runs."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def state(self, _: Content) -> object:
        """Counts and sums."""
        return self._sandbox.state()

    async def charges(self, _: Content) -> object:
        """The charge log: one line for each accepted POST."""
        return [charge.as_json() for charge in self._sandbox.charges()]

    async def clock(self, content: Content) -> object:
        """``{"advance_s": …}``."""
        self._sandbox.advance(float(str(content.get("advance_s", 0))))
        return {"now": self._sandbox.clock.now()}

    async def settings(self, content: Content) -> object:
        """Any switches by name."""
        self._sandbox.board.change(content)
        return {"changed": sorted(content)}

    async def script(self, content: Content) -> object:
        """``{"faults": [{"route": …, "fault": …, "times": …}, …]}``, or one such fault by itself."""
        faults = content.get("faults", [content])
        if not isinstance(faults, list):
            raise TypeError("faults must be a list")
        self._sandbox.script(*faults)
        return {"waiting": self._sandbox.faults.waiting()}

    async def credits(self, content: Content) -> object:
        """``{"balance": …, "key_limit": …, "daily_limit": …, "key": …}``; null lifts a limit, no key means all."""
        unknown = set(content) - _AMOUNTS - {"key"}
        if unknown:
            raise ValueError(f"unknown field {min(unknown)}")
        amounts = {
            name: None if value is None else Decimal(str(value)) for name, value in content.items() if name in _AMOUNTS
        }
        self._sandbox.set_credits(key=str(content.get("key", "")), **amounts)
        return {"changed": sorted(amounts)}

    async def finish(self, content: Content) -> object:
        """End running tasks now; ``{"ids": […]}`` for some."""
        ids = content.get("ids")
        return {"finished": self._sandbox.finish([str(one) for one in ids] if isinstance(ids, list) else None)}

    async def reset(self, content: Content) -> object:
        """Forget everything; ``{"settings": true}`` for the switches too."""
        self._sandbox.reset(settings=content.get("settings") is True)
        return {"reset": True}


def routes(control: Control) -> Sequence[web.RouteDef]:
    """The routes of this file."""
    return (
        web.get("/_sandbox/state", _door(control.state)),
        web.get("/_sandbox/charges", _door(control.charges)),
        web.post("/_sandbox/clock", _door(control.clock)),
        web.post("/_sandbox/settings", _door(control.settings)),
        web.post("/_sandbox/script", _door(control.script)),
        web.post("/_sandbox/credits", _door(control.credits)),
        web.post("/_sandbox/finish", _door(control.finish)),
        web.post("/_sandbox/reset", _door(control.reset)),
    )


def _door(handler: Callable[[Content], Awaitable[object]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """JSON in, JSON out; an invalid request is answered with 400 and the reason."""

    async def enter(request: web.Request) -> web.Response:
        try:
            return web.json_response(await handler(_content(await request.read())))
        except (ValidationError, ValueError, TypeError, InvalidOperation) as error:
            return web.json_response({"error": str(error)}, status=400)

    return enter


def _content(body: bytes) -> Content:
    content = json.loads(body) if body.strip() else {}
    if not isinstance(content, dict):
        raise TypeError("the body must be a JSON object")
    return content
