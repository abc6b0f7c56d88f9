"""Callbacks: sends the end of a task to its ``callback_url``, with the documented retries and scripted faults."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp

from adloom.sandbox.dice import SeededRandom
from adloom.sandbox.faults import FaultBook
from adloom.sandbox.settings import LiveSettings
from adloom.sandbox.submission import LOOPBACK_HOSTS
from adloom.sandbox.tasks import SandboxTask

_AGENT = "EvoLink-Callback/1.0 (sandbox)"
_DELIVERED = range(200, 300)
_PAIR_WAIT_S = 5.0
Body = dict[str, object]


class CallbackSender:
    """Delivers callbacks in the background until it is closed."""

    def __init__(
        self, board: LiveSettings, dice: SeededRandom, faults: FaultBook, body: Callable[[SandboxTask], Body]
    ) -> None:
        self._board = board
        self._dice = dice
        self._faults = faults
        self._body = body
        self._session: aiohttp.ClientSession | None = None
        self._deliveries: set[asyncio.Task[None]] = set()
        self._held: asyncio.Event | None = None
        self.counts: Counter[str] = Counter()

    def send(self, task: SandboxTask) -> None:
        """Start the delivery for a task that has just been settled, if it has a callback."""
        if not task.wanted.callback_url:
            return
        host = urlsplit(task.wanted.callback_url).hostname or ""
        if not self._board.settings.deliver_foreign_callbacks and host not in LOOPBACK_HOSTS:
            self.counts["unsent"] += 1
            return
        delivery = asyncio.get_running_loop().create_task(self._deliver(task))
        self._deliveries.add(delivery)
        delivery.add_done_callback(self._deliveries.discard)

    async def drain(self, timeout_s: float) -> None:
        """Wait for pending deliveries, at most this long."""
        if self._deliveries:
            await asyncio.wait(self._deliveries, timeout=timeout_s)

    async def aclose(self) -> None:
        """Drop pending deliveries."""
        for delivery in list(self._deliveries):
            delivery.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*self._deliveries, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _deliver(self, task: SandboxTask) -> None:
        fault = self._fault(task)
        if fault == "lost":
            self.counts["lost"] += 1
            return
        body = self._body(task)
        if fault == "forged":
            await self._try(task, _forged(body))
        if fault == "late":
            await asyncio.sleep(self._board.settings.callback_late_s)
        if self._board.settings.callbacks_out_of_order:
            await self._let_the_next_pass()
        await self._try(task, {**body, "status": "failed", "results": []} if fault == "disagrees" else body)
        if fault == "duplicate":
            await self._try(task, body)

    def _fault(self, task: SandboxTask) -> str:
        scripted = self._faults.scripted("callback", task.wanted.prompt)
        if scripted is not None:
            return str(scripted.fault)
        settings = self._board.settings
        rates = (
            ("lost", settings.callback_lost_rate),
            ("duplicate", settings.callback_duplicate_rate),
            ("late", settings.callback_late_rate),
            ("forged", settings.callback_forged_rate),
            ("disagrees", settings.callback_disagrees_rate),
        )
        return next((kind for kind, rate in rates if self._dice.hits(rate, f"callback {kind}", task.ordinal)), "")

    async def _let_the_next_pass(self) -> None:
        """The first of a pair waits for the second, which goes ahead at once."""
        if self._held is not None:
            held, self._held = self._held, None
            asyncio.get_running_loop().call_later(0.05, held.set)
            return
        self._held = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._held.wait(), _PAIR_WAIT_S)

    async def _try(self, task: SandboxTask, body: Body) -> None:
        """Post until a 2xx, at most once more than there are waits."""
        for wait_s in (*self._board.settings.callback_retry_waits_s, None):
            if await self._post(task.wanted.callback_url, body):
                self.counts["delivered"] += 1
                return
            if wait_s is not None:
                await asyncio.sleep(wait_s)
        self.counts["given_up"] += 1

    async def _post(self, url: str, body: Body) -> bool:
        self.counts["posts"] += 1
        limit = aiohttp.ClientTimeout(total=self._board.settings.callback_timeout_s)
        headers = {"Content-Type": "application/json", "User-Agent": _AGENT}
        try:
            async with self._open_session().post(
                url, data=json.dumps(body), headers=headers, timeout=limit, allow_redirects=False
            ) as answer:
                return answer.status in _DELIVERED
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession()
        return self._session


def _forged(body: Body) -> Body:
    """What a stranger who guessed the address might send."""
    links = ["https://stranger.example/forged.jpg"]
    return {**body, "id": "task-unified-1000000000-f0rged00", "status": "completed", "results": links}
