"""Result links: pictures without a key, for one day, and only to clients that identify themselves."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from aiohttp import web

from adloom.sandbox import links
from adloom.sandbox.answers import Refusal, Reply, html_reply, retry_after
from adloom.sandbox.doors import dawdle, half_sent, hang, reset
from adloom.sandbox.faults import DAMAGES, Fault
from adloom.sandbox.hosting import PREFIX
from adloom.sandbox.sandbox import Sandbox

_LIBRARY_AGENTS = ("python-httpx", "python-urllib", "python-requests", "aiohttp")


class Results:
    """Serves result links and hosted references."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def result(self, request: web.Request) -> web.StreamResponse:
        """``GET /files/<account>/images/YYYY/MM/DD/<name>?sig=…``."""
        unwelcome = self._unwelcome(request)
        if unwelcome is not None:
            return _response(unwelcome)
        fault = self._sandbox.fault("image", request.path)
        return await self._struck(request, fault) if fault is not None else _response(await self._picture(request, ""))

    async def hosted(self, request: web.Request) -> web.StreamResponse:
        """``GET /hosted/…``: a reference picture, as the provider would fetch it."""
        if "Authorization" in request.headers:
            self._sandbox.traffic.complain("the key was sent to a hosted file")
        shown = self._sandbox.files.shown(quote(request.path), self._sandbox.settle())
        if shown is None:
            return _response(html_reply(404, "Not Found"))
        return _response(Reply(shown[0], 200, shown[1]))

    def _unwelcome(self, request: web.Request) -> Reply | None:
        if "Authorization" in request.headers:
            self._sandbox.traffic.complain("the key was sent to a result link")
            return Refusal(400, "the key must never reach here").reply()
        agent = request.headers.get("User-Agent", "").lower()
        if not agent or any(word in agent for word in _LIBRARY_AGENTS):
            return html_reply(403, "error code: 1010")
        return None

    async def _struck(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.fault in DAMAGES:
            return _response(await self._picture(request, str(fault.fault)))
        if fault.fault == "status":
            advice = retry_after(fault.retry_after, self._sandbox.clock.now())
            page = (
                html_reply(fault.status, "Gateway trouble") if fault.html else Refusal(fault.status, "storage").reply()
            )
            return _response(Reply(page.body, page.status, page.media_type, advice))
        if fault.fault == "slow":
            await dawdle(self._sandbox, fault)
        if fault.fault == "hang":
            await hang(self._sandbox, request, fault)
        if fault.fault in {"hang", "drop"}:
            reset(request)
        picture = await self._picture(request, "")
        return await half_sent(request, picture) if fault.fault == "partial" else _response(picture)

    async def _picture(self, request: web.Request, damage: str) -> Reply:
        sandbox, now = self._sandbox, self._sandbox.settle()
        found = links.find(request.path, request.query, sandbox.tasks.numbered, sandbox.dice)
        if found is None:
            return html_reply(404, "Not Found")
        task, index = found.task, found.index
        if now >= (float(found.expires) if found.expires else task.ends_at + sandbox.settings.link_life_s):
            return html_reply(sandbox.settings.dead_link_status, "this link has expired")
        unripe = sandbox.unripe(task, index, now)
        if unripe.status:
            return html_reply(unripe.status, "not here yet")
        damage = damage or unripe.damage or sandbox.gallery.lasting_damage(task, index)
        content, media_type = await sandbox.gallery.picture(task, index, damage)
        sandbox.traffic.requests["image whole"] += not damage
        return Reply(content, 200, media_type)


def _response(reply: Reply) -> web.Response:
    return web.Response(
        body=reply.body, status=reply.status, content_type=reply.media_type, headers=dict(reply.headers)
    )


def routes(results: Results) -> Sequence[web.RouteDef]:
    """The routes of this file."""
    return (
        web.get("/files/{account}/images/{year}/{month}/{day}/{name}", results.result),
        web.get(PREFIX + "{path:.+}", results.hosted),
    )
