"""How fast a run buys: how many tasks run at the API at once, and how many are submitted per minute.

The pace is divided among the live runs of the edition. After a 429 the run keeps to what the API has taken so far,
where that explains the refusal (see ``ceilings``). Where it does not, the tasks in flight are halved, and successes
raise them back to the campaign's own number.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from enum import Enum, auto

from adloom.core.campaign import Pace
from adloom.guards.ceilings import Ceilings
from adloom.guards.gate import Gate
from adloom.ports import Clock

CUT_AT_MOST_EVERY_S = 10
"""A burst of 429 answers to one window of calls is one piece of news, not many."""


class _Submit(Enum):
    """How far the purchase that has a place has come."""

    WAITS = auto()
    ASKED = auto()
    """It has its turn, and no answer is known."""
    ACCEPTED = auto()


class _Place:
    """A place among the tasks in flight."""

    def __init__(self) -> None:
        self.submit = _Submit.WAITS


_MINE: ContextVar[_Place | None] = ContextVar("place", default=None)
"""The place of the purchase that the current task is at."""


class Throttle:
    """The pace of one run: its share of the campaign's, which is all of it for a run that is alone."""

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
        self._ceilings = Ceilings(clock)
        self._answered = asyncio.Event()
        self.in_flight = 0

    @property
    def is_bound_by_tasks(self) -> bool:
        """Whether the API is known to take fewer tasks at once than the campaign asks for."""
        return self._ceilings.tasks < self._most

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place among the tasks in flight. Raises GateClosed instead of waiting on when buying stops."""
        async with self._changed:
            while self.in_flight >= max(1, min(int(self._limit), self._ceilings.tasks)):
                self._gate.check()
                await self._changed.wait()
            self._gate.check()
            self.in_flight += 1
        place = _Place()
        mine = _MINE.set(place)
        try:
            yield
        finally:
            _MINE.reset(mine)
            self._leave(place)
            async with self._changed:
                self.in_flight -= 1
                self._changed.notify_all()

    def _leave(self, place: _Place) -> None:
        if place.submit is _Submit.ACCEPTED:
            self._ceilings.end()
        self._take_back(place)
        self._answered.set()

    @staticmethod
    @contextmanager
    def without_place() -> Iterator[None]:
        """What the current task sends meanwhile is not the purchase that its place is for, so that stays as it is."""
        mine = _MINE.set(None)
        try:
            yield
        finally:
            _MINE.reset(mine)

    def give_back(self) -> None:
        """Whoever has the turn does not submit, or nobody knows what came of it: others need not wait for an answer."""
        self._take_back(_MINE.get())
        self._answered.set()

    def _take_back(self, place: _Place | None) -> None:
        if place is not None and place.submit is _Submit.ASKED:
            self._ceilings.forget()
            place.submit = _Submit.WAITS

    async def turn(self) -> None:
        """Wait for the next submit's turn. Raises GateClosed."""
        place = _MINE.get()
        self._take_back(place)
        while True:
            await self._gate.wait_open()
            wait_s = max(self._next_submit - self._clock.monotonic(), self._ceilings.wait_s())
            if wait_s > 0:  # a 429 may come while this waits
                await self._gate.sleep(wait_s, self._clock)
            elif place is not None and self._ceilings.is_full():
                self._answered.clear()
                await self._answered.wait()
            else:
                break
        self._next_submit = self._clock.monotonic() + self._spacing_s
        if place is not None and place.submit is _Submit.WAITS:
            place.submit = _Submit.ASKED
            self._ceilings.ask()

    async def divide(self, runs: int) -> None:
        """Adopt the share of one of this many runs, as far as a 429 has left it.

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
        """Block submits for a while."""
        self._next_submit = max(self._next_submit, self._clock.monotonic() + wait_s)

    def slow_down(self, pause_s: float) -> None:
        """A 429 came: keep to what was accepted before, else halve the tasks in flight; nobody submits for a while."""
        self.pause(pause_s)
        self._take_back(_MINE.get())
        self._answered.set()
        now = self._clock.monotonic()
        self._successes = 0
        if self._ceilings.refuse(pause_s):
            return
        if now - self._last_cut >= CUT_AT_MOST_EVERY_S:
            self._last_cut = now
            self._limit = max(1.0, self._limit / 2)

    async def speed_up(self) -> None:
        """A submit was accepted: after a window full of them one more task may run at once."""
        place = _MINE.get()
        if place is not None and place.submit is not _Submit.ACCEPTED:
            self._take_back(place)
            place.submit = _Submit.ACCEPTED
            self._ceilings.accept()
        self._answered.set()
        self._successes += 1
        if self._successes >= self._limit and self._limit < self._most:
            self._successes = 0
            self._limit = min(float(self._most), self._limit + 1)
            await self.wake()

    async def wake(self) -> None:
        """Let everyone who waits for a place or a turn look at the gate again."""
        self._answered.set()
        async with self._changed:
            self._changed.notify_all()
