"""How fast a run buys: how many tasks run at the API at once, and how many are submitted a minute.

The pace is divided among the live runs of the edition. A 429 lowers it, successes raise it back to the campaign's own
number.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adloom.core.campaign import Pace
from adloom.guards.gate import Gate
from adloom.ports import Clock

CUT_AT_MOST_EVERY_S = 10
"""A burst of 429 answers to one window of calls is one piece of news, not many."""


class Throttle:
    """The pace of one run: its part of the campaign's, of which a run that is alone has all."""

    def __init__(self, pace: Pace, gate: Gate, clock: Clock) -> None:
        self._pace = pace
        self._runs = 1
        self._limit = float(self._most)
        self._gate = gate
        self._clock = clock
        self._changed = asyncio.Condition()
        self._next_submit = 0.0
        self._last_cut = float("-inf")
        self._successes = 0
        self.in_flight = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place among the tasks in flight. Raises GateClosed instead of waiting on when buying stops."""
        async with self._changed:
            while self.in_flight >= max(1, int(self._limit)):
                self._gate.check()
                await self._changed.wait()
            self._gate.check()
            self.in_flight += 1
        try:
            yield
        finally:
            async with self._changed:
                self.in_flight -= 1
                self._changed.notify_all()

    async def turn(self) -> None:
        """Wait for the next submit's turn. Raises GateClosed."""
        await self._gate.wait_open()
        while (wait_s := self._next_submit - self._clock.monotonic()) > 0:  # a 429 may come while this waits
            await self._gate.sleep(wait_s, self._clock)
            await self._gate.wait_open()
        self._next_submit = self._clock.monotonic() + self._spacing_s

    async def divide(self, runs: int) -> None:
        """Keep to the part of one of so many runs, and to as much of it as a 429 has left.

        Each has at least one place, so that with more runs than places there are as many tasks in flight as runs.
        """
        lowered = self._limit / self._most
        self._runs = runs
        self._limit = max(1.0, self._most * lowered)
        await self.wake()

    @property
    def _most(self) -> int:
        return max(1, self._pace.in_flight // self._runs)

    @property
    def _spacing_s(self) -> float:
        return 60 / self._pace.submits_per_minute * self._runs if self._pace.submits_per_minute else 0.0

    def pause(self, wait_s: float) -> None:
        """Let nobody submit for a while."""
        self._next_submit = max(self._next_submit, self._clock.monotonic() + wait_s)

    def slow_down(self, pause_s: float) -> None:
        """A 429 came: halve the tasks in flight and let nobody submit for a while."""
        self.pause(pause_s)
        now = self._clock.monotonic()
        self._successes = 0
        if now - self._last_cut >= CUT_AT_MOST_EVERY_S:
            self._last_cut = now
            self._limit = max(1.0, self._limit / 2)

    async def speed_up(self) -> None:
        """A submit was accepted: after a window full of them one more task may run at once."""
        self._successes += 1
        if self._successes >= self._limit and self._limit < self._most:
            self._successes = 0
            self._limit = min(float(self._most), self._limit + 1)
            await self.wake()

    async def wake(self) -> None:
        """Let everyone who waits for a place look at the gate again."""
        async with self._changed:
            self._changed.notify_all()
