"""Finished images that wait to be archived: the oldest goes first, and buying waits while there are too many.

Links die after 24 h, so what is paid for is fetched before more is bought.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from adloom.core.exits import Stop, StopReason
from adloom.guards.gate import Gate
from adloom.ports import Clock

BACKLOG_IMAGES = 500
"""With this many finished images waiting for a place, purchases wait too."""

LINKS_WAIT_S = 2 * 3600
"""When an image has waited this long, of the 24 h that its link lives, purchases wait until it has its place."""

LEFT_IMAGES = 50
"""After this many images that could not be fetched, buying stops: the next ones would fail too. Those that an earlier
run found damaged do not count, or they would block every later run for a day.
"""


class Backlog:
    """The places to fetch images of one process. ``left`` counts paid images that could not be fetched this time."""

    def __init__(self, gate: Gate, clock: Clock, *, places: int) -> None:
        self._gate = gate
        self._clock = clock
        self._free = places
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = count()
        self._left_anew = 0
        self.left = 0

    @asynccontextmanager
    async def place(self, finished: float) -> AsyncIterator[None]:
        """A place for an image whose task ended at a Unix time."""
        await self._enter(finished)
        try:
            yield
        finally:
            self._leave()

    def leave_for_later(self, images: int, *, known: int = 0) -> None:
        """Take note of images that could not be fetched this time; so many ``known`` ones of them not last time either.

        Those brought bytes that are not an image: that says nothing about the next ones.
        """
        self.left += images
        self._left_anew += images - known
        if self._left_anew >= LEFT_IMAGES:
            self.close_for_what_is_left()

    def close_for_what_is_left(self) -> None:
        """Stop buying if images are left over, and say so."""
        if self.left:
            message = f"{self.left} paid images could not be downloaded"
            remedy = "Run the same command again soon: links live 24 hours."
            self._gate.close(Stop(StopReason.OUTAGE, message, remedy))

    async def _enter(self, finished: float) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (finished, next(self._order), turn))
        self._review()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the place was given at the moment of the cancellation
                self._leave()
            raise

    def _leave(self) -> None:
        self._drop_cancelled()
        if self._waiting:
            heapq.heappop(self._waiting)[2].set_result(None)
        else:
            self._free += 1
        self._review()

    def _review(self) -> None:
        """Hold the gate while too many images wait, or one waits too long."""
        self._drop_cancelled()
        waits_long = bool(self._waiting) and self._clock.now() - self._waiting[0][0] > LINKS_WAIT_S
        if waits_long or len(self._waiting) >= BACKLOG_IMAGES:
            self._gate.hold(self)
        else:
            self._gate.lift(self)

    def _drop_cancelled(self) -> None:
        while self._waiting and self._waiting[0][2].done():
            heapq.heappop(self._waiting)
