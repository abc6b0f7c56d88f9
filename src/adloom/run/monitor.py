"""What a run watches: its heartbeat, the number of live runs, newer plans, and free space."""

from __future__ import annotations

import asyncio
import logging

from adloom.collect.failure import failed_until
from adloom.core.errors import StoreError
from adloom.core.exits import Stop, StopReason
from adloom.guards.gate import Gate
from adloom.guards.pace import Throttle
from adloom.ledger.heartbeats import BEAT_EVERY_S, Liveness
from adloom.plan.reserve import Reservation
from adloom.plan.revision import read_newest
from adloom.ports import Store
from adloom.world import World

log = logging.getLogger(__name__)


class RunMonitor:
    """The monitor of one run. ``run`` is its one loop."""

    def __init__(self, world: World, reserved: Reservation, gate: Gate, throttle: Throttle, owners: Liveness) -> None:
        self._world = world
        self._reserved = reserved
        self._gate = gate
        self._throttle = throttle
        self._turn = 0
        self._owners = owners

    async def begin(self) -> None:
        """Check before the first purchase. If other runs are buying, wait until they have seen this run."""
        await self.check_free_space()
        if await self._divide_the_pace() > 1:
            self._throttle.pause(BEAT_EVERY_S * self._world.scale)

    async def run(self) -> None:
        """Beat and check until cancelled."""
        while True:
            await self._world.clock.sleep(BEAT_EVERY_S)
            try:
                await self._reserved.heartbeat.beat()
                await self.check_newer_plan()
                await self.check_ledger()
                await self.check_free_space()
                await self._divide_the_pace()
            except StoreError as error:
                log.warning("%s", error.message)

    async def final_check(self) -> None:
        """Check for a newer plan, if the store answers."""
        try:
            await self.check_newer_plan()
        except StoreError as error:
            log.warning("%s", error.message)

    async def check_newer_plan(self) -> None:
        """Stop buying when a newer revision of the plan exists, or this run's is gone, and with it what it bought."""
        mine = self._reserved.revision.number
        newest = await read_newest(self._world.store, self._reserved.assessment.edition)
        if newest is None or newest.number < mine:
            message = f"the plan of this run (revision {mine}) is gone from the archive {self._world.store.address}"
            remedy = "Put back what was moved or deleted there, then run the same command again."
            self._gate.close(Stop(StopReason.OUTAGE, message, remedy))
        elif newest.number > mine:
            self._gate.close(Stop.for_newer_plan(newest.number, mine))

    async def check_ledger(self) -> None:
        """Stop buying when the store has lost facts: others would buy again what these recorded.

        One call is checked at a time, in turn. What this run knows goes into its manifest and its checksums.
        """
        ledger = self._reserved.assessment.ledger
        calls = ledger.calls()
        if not calls:
            return
        self._turn += 1
        call = calls[self._turn % len(calls)]
        if not await ledger.has_kept(call):
            message = f"the ledger lost records of call {call} during this run"
            remedy = "Find out what deletes files in the archive, then `adloom verify TARGET --repair`."
            self._gate.close(Stop(StopReason.OUTAGE, message, remedy))

    async def check_free_space(self) -> None:
        """Stop buying when the store has no room for more images."""
        if not await self._world.store.has_room():
            self._gate.close(_no_room(self._world.store))

    async def _divide_the_pace(self) -> int:
        live = await self._owners.count_live()
        await self._throttle.divide(live)
        return live

    async def end(self, tasks: list[asyncio.Task[None]]) -> None:
        """Record that the run has ended, once its loops have."""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            until = failed_until(self._reserved.assessment.ledger)
            await self._reserved.heartbeat.beat(ended=True, failed_until=until)
        except StoreError as error:  # others then notice by themselves, a minute later
            log.warning("%s", error.message)


def _no_room(store: Store) -> Stop:
    message = f"the archive {store.address} is nearly full: adloom buys no image that it could not store"
    return Stop(StopReason.OUTAGE, message, "Free some space, then run the same command again.")
