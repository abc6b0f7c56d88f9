"""Whether buying may go on.

The gate knows why a run stops buying; once closed it stays closed for this run. It can also be held for a while: then
buyers wait.
"""

from __future__ import annotations

import asyncio

from adloom.core.exits import Stop, StopReason
from adloom.ports import Clock


class GateClosed(Exception):
    """Buying has stopped: the caller leaves its call as it is."""


class Gate:
    """Open until there is a reason to stop; every reason is kept."""

    def __init__(self) -> None:
        self.stops: tuple[Stop, ...] = ()
        self.closed = asyncio.Event()
        self.interrupted = asyncio.Event()
        self.over = asyncio.Event()
        """The time that an interrupted run has is over: whatever still waits gives up."""
        self.turned_away = False
        """Whether a purchase was wanted after buying had stopped."""
        self._holders: set[object] = set()
        self._changed = asyncio.Event()

    def close(self, stop: Stop) -> None:
        """Stop buying. The first message for a reason is the one that is shown."""
        self.remember(stop)
        if stop.reason is StopReason.INTERRUPTED:
            self.interrupted.set()
        self.closed.set()
        self._changed.set()

    def remember(self, stop: Stop) -> None:
        """Keep a reason why part of the buying has stopped while the rest continues."""
        if stop.reason not in {known.reason for known in self.stops}:
            self.stops = (*self.stops, stop)

    def hold(self, holder: object) -> None:
        """Block purchases until this holder releases its hold."""
        self._holders.add(holder)

    def lift(self, holder: object) -> None:
        """End a hold, if there is one."""
        self._holders.discard(holder)
        self._changed.set()

    async def wait_open(self) -> None:
        """Wait while the gate is held. Raises GateClosed once buying has stopped."""
        self.check()
        while self._holders:
            self._changed.clear()
            await self._changed.wait()
            self.check()

    def check(self) -> None:
        """Raises GateClosed once buying has stopped."""
        if self.closed.is_set():
            self.turned_away = True
            raise GateClosed

    @property
    def is_open(self) -> bool:
        """Whether a purchase may leave now: buying has not stopped, and nobody holds it."""
        return not self.closed.is_set() and not self._holders

    @property
    def is_interrupted(self) -> bool:
        return self.interrupted.is_set()

    async def sleep(self, seconds: float, clock: Clock) -> None:
        """Wait, but no longer than buying continues. Raises GateClosed."""
        await sleep_or(self.closed, seconds, clock)
        self.check()

    async def sleep_until_over(self, seconds: float, clock: Clock) -> None:
        """Wait, but not longer than the run has."""
        await sleep_or(self.over, seconds, clock)


async def sleep_or(event: asyncio.Event, seconds: float, clock: Clock) -> None:
    """Wait until something has happened, but no longer than ``seconds``."""
    happened = asyncio.ensure_future(event.wait())
    waiting = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({happened, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        happened.cancel()
        waiting.cancel()
