"""One call's way through the steps: bought, collected, archived, and topped up if images are missing.

Calls are independent: an unexpected error in one does not stop the others. A call that another live run is working on
is set aside and checked again when everything else is done.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

from adloom.archive.archiver import Archiver
from adloom.collect.collector import Collector
from adloom.collect.completion import Unreachable
from adloom.core.breaker import Breaker
from adloom.core.errors import AdloomError, FileRefused
from adloom.core.exits import Stop, StopReason
from adloom.core.facts import CallFacts, Stage
from adloom.core.order import Order
from adloom.core.outcomes import missing, stands_for
from adloom.core.records import RefusalKind
from adloom.core.triage import NEXT_ATTEMPT_INTERVALS
from adloom.guards.gate import Gate, GateClosed
from adloom.guards.pace import Throttle
from adloom.guards.prices import PriceWatch
from adloom.ledger.heartbeats import Liveness
from adloom.ledger.ledger import Ledger
from adloom.plan.orders import top_up_order
from adloom.run.latest import Latest
from adloom.run.progress import Counts
from adloom.spend.purchase import Sender
from adloom.spend.references import Hosting
from adloom.spend.spender import Spender
from adloom.spend.unknown import UnknownPurchases
from adloom.world import World

log = logging.getLogger(__name__)

OTHERS_INTERVALS = 200
"""A call that another live run has begun is left to it for this long (10 min), then collected here as well: reading is
free."""


WAITS_FOR_A_FORMER_TASK = 3
"""A new attempt that a former task forbids, because it runs again or was charged, is put off so often by one run."""

_READ_ON = (Stage.FAILING, Stage.UNSHOWN)
"""The task has ended, but what it shows is not certain yet."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a call, in this order; ``owners`` and ``unknowns`` decide about calls of other runs."""

    owners: Liveness
    throttle: Throttle
    hosting: Hosting
    prices: PriceWatch
    breaker: Breaker
    sender: Sender
    spender: Spender
    unknowns: UnknownPurchases
    collector: Collector
    archiver: Archiver


class OwnedElsewhere(Exception):
    """Another live run is working on the call: it is checked again later."""


class Fulfilment:
    """The calls of one run. ``surprised`` says whether one met an unexpected error, ``latest`` what came last."""

    def __init__(self, world: World, ledger: Ledger, gate: Gate, steps: Steps, *, at_once: int) -> None:
        self._world = world
        self._ledger = ledger
        self._gate = gate
        self._steps = steps
        self._window = asyncio.Semaphore(at_once)
        self._others: list[Order] = []
        self._waited_long = False
        self._under_way: set[str] = set()
        self._strays: set[str] = set()
        self._adoptions: set[asyncio.Task[None]] = set()
        self._aside: set[asyncio.Task[None]] = set()
        self._read_on_now: set[str] = set()
        self._waits: Counter[tuple[str, int]] = Counter()
        self.surprised = False
        self.counts = Counts()
        self.latest = Latest()

    async def fulfil(self, orders: Sequence[Order]) -> None:
        """Bring every order as far as it goes: archived, ended, or left for a later run."""
        async with asyncio.TaskGroup() as group:
            for order in orders:
                await self._window.acquire()
                group.create_task(self._run_in_window(order))

    async def finish_foreign_calls(self) -> None:
        """Wait for the calls that other runs have begun; take over from those that died.

        A live run may have given up a call, and may itself be waiting for one of ours, so waits are bounded.
        """
        since = self._world.clock.monotonic()
        while self._others and not self._gate.is_interrupted:
            waiting, self._others = self._others, []
            waited_s = self._world.clock.monotonic() - since
            self._waited_long = waited_s >= OTHERS_INTERVALS * self._world.poll_interval_s
            await self._world.clock.sleep(self._world.poll_interval_s)
            for order in waiting:
                await self._ledger.refresh(order.call)
            await self.fulfil(waiting)

    async def collect_settled(self) -> None:
        """Continue every purchase that is no longer unknown, along with everything else, until cancelled."""
        while True:
            self._go_on_with(await self._steps.unknowns.settled.get())

    async def finish_settled(self) -> None:
        """Wait for the purchases that were unknown."""
        settled = self._steps.unknowns.settled
        while not settled.empty():
            self._go_on_with(settled.get_nowait())
        await asyncio.gather(*self._adoptions)

    def _go_on_with(self, order: Order) -> None:
        self._adoptions.add(asyncio.create_task(self.fulfil((order,))))

    async def finish_read_on(self) -> None:
        """Wait for the calls whose tasks have ended and are read on, and for what follows from those."""
        while waiting := [task for task in self._aside if not task.done()]:
            await asyncio.gather(*waiting)

    async def recheck_failed(self) -> None:
        """Read every task that failed within the last day once more, and fetch what it has produced after all."""
        calls = await self._steps.collector.failures.look_again()
        await asyncio.gather(*(self._sheltered(call, self._fetch_after_all(call)) for call in calls))

    async def _fetch_after_all(self, call: str) -> None:
        await self._steps.collector.read_on(call, self._steps.archiver.archive, self._note_charge)
        if self._ledger.facts(call).stage is Stage.COMPLETED:
            await self._steps.archiver.archive(call)
        self._count(call)

    async def leave_the_rest(self) -> None:
        """Cancel what still waits: a later run continues it."""
        waiting = (*self._aside, *self._adoptions)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _run_in_window(self, order: Order) -> None:
        try:
            await self._sheltered(order.call, self._run(order))
        finally:
            self._window.release()

    async def _sheltered(self, call: str, work: Awaitable[None]) -> None:
        """Do one part of a call's work; what ends it early ends nothing else."""
        try:
            await work
        except (GateClosed, OwnedElsewhere):
            pass
        except Unreachable:
            log.warning("call %s is left for a later run: the API cannot be read", call)
        except AdloomError as error:
            self._gate.close(Stop.because(StopReason.OUTAGE, error))
        except Exception:  # an unexpected error in one call must not end the others
            log.exception("call %s met an unexpected error and is left for a later run", call)
            self.surprised = True

    async def _run(self, first: Order) -> None:
        order: Order | None = first
        while order is not None and order.call not in self._under_way:
            self._under_way.add(order.call)
            try:
                await self._advance(order)
            finally:
                self._under_way.discard(order.call)
            order = await self._next(order)

    async def _advance(self, order: Order) -> None:
        """Bring one call to its end, or as far as possible now."""
        if order.is_stray:
            self._strays.add(order.call)
        if self._ledger.facts(order.call).stage in (Stage.UNBOUGHT, Stage.WAITING):
            if order.is_stray:
                return
            async with self._steps.throttle.place():
                try:
                    await self._buy(order)
                    self._count(order.call)
                    await self._collect(order)
                finally:
                    self._steps.prices.release(order)
        else:
            await self._collect(order)
        self._count(order.call)
        stage = self._ledger.facts(order.call).stage
        if stage in _READ_ON:
            self._set_aside(order)
        elif stage is Stage.COMPLETED:
            await self._steps.archiver.archive(order.call)
            self._count(order.call)
        if self._ledger.facts(order.call).stage is Stage.ARCHIVED:
            self.latest.put(order)

    async def _buy(self, order: Order) -> None:
        """Have the files of an order hosted, and buy it; it ends where one of them is refused."""
        try:
            hosted = await self._steps.hosting.hosted(order)
        except FileRefused as refusal:
            await self._steps.spender.give_up(order, refusal)
        else:
            await self._steps.spender.buy(hosted)

    def _set_aside(self, order: Order) -> None:
        """Keep reading an ended task in the background: waiting for the API blocks no purchase."""
        if order.call not in self._read_on_now:
            self._read_on_now.add(order.call)
            self._aside.add(asyncio.create_task(self._sheltered(order.call, self._read_on(order))))

    async def _read_on(self, order: Order) -> None:
        try:
            await self._steps.collector.read_on(order.call, self._steps.archiver.archive, self._note_charge)
        finally:
            self._read_on_now.discard(order.call)
        self._count(order.call)
        self._note_end(order.call)
        if self._ledger.facts(order.call).stage in (Stage.COMPLETED, Stage.ARCHIVED):
            await self.fulfil((order,))
        elif (again := await self._next(order)) is not None:
            await self.fulfil((again,))

    def _note_end(self, call: str) -> None:
        """Tell the breaker how a task ended, and the price watch its charge."""
        self._steps.breaker.note(self._ledger.facts(call).latest)
        self._note_charge(call)

    def _note_charge(self, call: str) -> None:
        self._steps.prices.read_charge(call, self._ledger.facts(call).latest)

    async def _collect(self, order: Order) -> None:
        """Follow a call to the end of its task, unless another live run is working on it."""
        facts = self._ledger.facts(order.call)
        if facts.stage is Stage.UNKNOWN and facts.latest.owner != self._ledger.writer:
            self._steps.unknowns.inherit(order)
        if facts.stage not in (Stage.SENDING, Stage.ACCEPTED, *_READ_ON):
            return
        owner = facts.latest.owner
        if owner != self._ledger.writer and not self._waited_long and not await self._steps.owners.is_dead(owner):
            self._others.append(order)
            raise OwnedElsewhere
        if facts.stage is Stage.SENDING:
            facts = await self._ledger.refresh(order.call)  # a dead run may have recorded more since this run read
        if facts.stage is Stage.SENDING:
            reason = "the run that bought it died before it saw an answer"
            name = f"a{facts.latest.number}-unknown-{facts.latest.sends}"
            await self._ledger.note(order.call, name, {"reason": reason})
            self._steps.unknowns.inherit(order)
        if facts.stage is not Stage.ACCEPTED:
            return
        accepted = facts.latest.accepted
        assert accepted is not None  # noqa: S101 - that is what the stage means
        await self._steps.collector.collect(order.call, accepted.unix_s)
        if self._ledger.facts(order.call).stage is Stage.UNKNOWN:  # the task turned out to be another call's
            self._steps.unknowns.inherit(order)
        self._note_end(order.call)

    async def _next(self, order: Order) -> Order | None:
        """What follows from a call's end: a top-up for missing images, another attempt, or nothing."""
        if order.is_stray:
            return None
        facts = self._ledger.facts(order.call)
        if (top_up := missing(facts)) is not None:
            child = top_up_order(order, top_up)
            await self._ledger.refresh(child.call)
            return None if self._is_replaced(facts, child) else child
        settled = next((attempt.settled for attempt in reversed(facts.attempts) if attempt.settled is not None), None)
        if facts.stage is Stage.UNBOUGHT and settled is not None and settled.kind == RefusalKind.TASK:
            wait = order.call, facts.task_attempts
            self._waits[wait] += 1
            if self._waits[wait] > WAITS_FOR_A_FORMER_TASK:
                return None
            if self._steps.spender.is_blocked(order):
                return None
            low, high = NEXT_ATTEMPT_INTERVALS
            intervals = low + (high - low) * self._world.random.random()
            await self._gate.sleep(intervals * self._world.poll_interval_s, self._world.clock)
            return order
        return None

    def _is_replaced(self, facts: CallFacts, child: Order) -> bool:
        """Whether another call was bought for what this one lacks, when this one counted as free."""
        if not facts.latest.was_given_up or self._ledger.facts(child.call).stage is not Stage.UNBOUGHT:
            return False
        chain, parent = {facts.call, child.call}, child.parent
        while parent and (intent := self._ledger.facts(parent).intent) is not None:
            chain.add(parent)
            parent = intent.parent
        lacking = {variant.key for variant in child.variants}
        return any(stands_for(self._ledger.facts(call), lacking) for call in set(self._ledger.calls()) - chain)

    def _count(self, call: str) -> None:
        self.counts.update(self._ledger.facts(call), is_stray=call in self._strays)
