"""Serves the page on this machine only, and saves each decision as it is made.

Every address begins with a secret that is made for each server, so it is out of reach for other users of the machine,
who do not know it, and for pages of other sites, which may neither read an answer nor send JSON here. Host and Origin
are checked as well, so that no other name leads here. Reviewers who have the address can decide concurrently; a
decision sets only what it names, so none undoes what another set at the same time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from adloom.core.crop import focus_of
from adloom.core.decision import MOST_CHARACTERS, Decision, Verdict, is_whole, stars_of
from adloom.core.errors import RecordUnreadable, StoreError
from adloom.gallery.chooser import Live, render
from adloom.gallery.chooser.render import ID_DIGITS, decisions_by_id, policy
from adloom.gallery.choosing import Candidate, Choosing, read_choosing
from adloom.gallery.thumbs import existing_thumbs
from adloom.ledger.decisions import read_facts, write_decision
from adloom.ledger.edition import Edition
from adloom.ledger.ledger import Ledger
from adloom.ports import Store

log = logging.getLogger(__name__)

LOOKS_EVERY_MS = 2000
"""How often a page asks for what others decided."""
BODY_BYTES = 64 * 1024
SHOWN = ("assets/", "thumbs/")
_TYPES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "avif": "image/avif"}
_TYPES |= {"gif": "image/gif", "bmp": "image/bmp"}


@dataclass
class ReviewServer:
    """Serves one edition. ``saved`` counts the decisions of this server."""

    store: Store
    edition: Edition
    ledger: Ledger
    by: str
    host: str = "127.0.0.1"
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    writer: str = field(default_factory=lambda: secrets.token_hex(8))
    saved: int = 0
    origin: str = field(default="", init=False)
    _choosing: Choosing | None = field(default=None, init=False)
    _by_id: dict[str, Candidate] = field(default_factory=dict, init=False)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    @property
    def url(self) -> str:
        """The address of the page, secret included."""
        return f"{self.origin}/{self.token}/"

    @asynccontextmanager
    async def running(self, port: int) -> AsyncIterator[str]:
        """Serve while the context is open; the address of the page. Port 0 chooses a free one."""
        app = web.Application(client_max_size=BODY_BYTES, middlewares=[self._guard])
        app.router.add_get("/{token}/", self._page)
        app.router.add_get("/{token}/decisions", self._decisions)
        app.router.add_post("/{token}/decide", self._decide)
        app.router.add_get("/{token}/{key:.+}", self._image)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, port).start()
            self.origin = f"http://{self.host}:{runner.addresses[0][1]}"
            yield self.url
        finally:
            await runner.cleanup()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:  # noqa: ANN401 - aiohttp's own
        known = secrets.compare_digest(request.match_info.get("token", "").encode(), self.token.encode())
        host = f"http://{request.headers.get('Host', '')}"
        origin = request.headers.get("Origin", self.origin if request.method == "GET" else "")
        if not known or host != self.origin or origin != self.origin:
            return web.Response(status=403, text="This address is not served here.\n")
        try:
            response: web.StreamResponse = await handler(request)
        except StoreError as error:
            log.warning("the archive could not be used: %s", error.message)
            response = web.json_response({"error": error.message}, status=503)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response

    async def _page(self, _: web.Request) -> web.Response:
        await self.ledger.catch_up()
        choosing = await self._read()
        thumbs = await existing_thumbs(self.store, self.edition)
        live = Live(served_every_ms=LOOKS_EVERY_MS)
        body = await asyncio.to_thread(render, choosing, thumbs, live)  # seconds, if large
        headers = {"Content-Security-Policy": f"{policy(connects=True)}; frame-ancestors 'none'"}
        return web.Response(body=body, content_type="text/html", charset="utf-8", headers=headers)

    async def _read(self) -> Choosing:
        """What there is to choose from, read again."""
        choosing = await read_choosing(self.store, self.edition, self.ledger)
        self._choosing = choosing
        self._by_id = {each.variant.key[:ID_DIGITS]: each for each in choosing.candidates}
        return choosing

    async def _caught_up(self) -> Choosing:
        """The first reading, with the decisions that others have made since."""
        choosing = self._choosing or await self._read()
        decisions = await read_facts(self.store, self.edition, choosing.decisions)
        self._choosing = choosing = replace(choosing, decisions=decisions)
        return choosing

    async def _decisions(self, _: web.Request) -> web.Response:
        async with self._turn:
            choosing = await self._caught_up()
        return web.json_response({"decisions": decisions_by_id(choosing.standing)})

    async def _decide(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return web.json_response({"error": "send JSON"}, status=415)
        async with self._turn:
            choosing = await self._caught_up()
            try:
                wish = _wish(json.loads(await request.read()))
            except (ValueError, RecursionError) as error:
                return web.json_response({"error": str(error)}, status=400)
            candidate = self._by_id.get(wish.pop("id"))
            if candidate is None or not candidate.has_image:
                return web.json_response({"error": "there is no such image"}, status=404)
            decision = await self._save(choosing, candidate, wish)
        return web.json_response({"decisions": decisions_by_id({candidate.variant.key: decision})})

    async def _save(self, choosing: Choosing, candidate: Candidate, wish: dict[str, Any]) -> Decision:
        key = candidate.variant.key
        former = choosing.standing.get(key)
        now = datetime.now(UTC)
        by = wish.pop("by", "") or self.by
        decision = replace(former or Decision(key, Verdict.CLEARED), **wish, by=by, time=now, writer=self.writer)
        if former is not None and (former.said, former.by) == (decision.said, decision.by):
            return former
        written = await write_decision(self.store, self.edition, decision, former)
        self.saved += 1
        facts = {**choosing.decisions.facts, written.key: written}
        self._choosing = replace(choosing, decisions=replace(choosing.decisions, facts=facts))
        return written

    async def _image(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        media_type = _TYPES.get(key.rpartition(".")[2])
        if media_type is None or not key.startswith(SHOWN) or ".." in key.split("/"):
            return web.Response(status=404)
        try:
            content = await self.store.read(self.edition.key(key))
        except RecordUnreadable:
            content = None
        return web.Response(status=404) if content is None else web.Response(body=content, content_type=media_type)


def _wish(said: object) -> dict[str, Any]:
    """What a page asks to set. Raises ValueError with what is wrong."""
    if not isinstance(said, dict) or not isinstance(said.get("id"), str):
        raise ValueError("a decision names its image")  # noqa: TRY004 - a wrong message, not a wrong program
    wish: dict[str, Any] = {"id": said["id"]}
    if "decision" in said:
        wish["verdict"] = Verdict(said["decision"])
    if "stars" in said:
        wish["stars"] = stars_of(said["stars"])
    if "focus" in said:
        wish["focus"] = focus_of(said["focus"]) if isinstance(said["focus"], str) else None
        if said["focus"] != "" and wish["focus"] is None:
            raise ValueError("a focus is two fractions from 0 to 1")
    for name in ("note", "change", "by"):
        if name in said:
            if not isinstance(said[name], str) or len(said[name]) > MOST_CHARACTERS:
                raise ValueError(f"the {name} is text of at most {MOST_CHARACTERS} characters")
            if not is_whole(said[name]):
                raise ValueError(f"the {name} has half of a character")
            wish[name] = said[name]
    return wish
