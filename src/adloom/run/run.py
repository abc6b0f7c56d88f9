"""One run: buys, collects and archives the calls of a frozen plan, bounded, and drains when it has to stop.

``plan.assessment.assess`` compares a campaign with its archive and writes nothing; ``Run.start`` makes the reservation.
Then ``Run.work`` sends the batches through whatever fulfils them: rescue first, then collect, then buy. ``Run.finish``
writes the manifest. Where a batch runs (plain, or as a Prefect task run) is the caller's choice; all batches of a
process share one ledger, one client, one poller and one pace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from adloom.archive.archiver import IMAGES_AT_ONCE, Archiver
from adloom.archive.rescue import Rescuer
from adloom.collect.collector import Collector
from adloom.collect.completion import Unreachable
from adloom.collect.hearing import Hearing
from adloom.collect.poller import TASKS_PER_READ, Poller
from adloom.core.breaker import Breaker
from adloom.core.errors import AccountStopped, AdloomError, ReadFailed
from adloom.core.exits import EXIT_UNEXPECTED, Sent, Stop, StopReason, exit_code
from adloom.core.facts import CallFacts
from adloom.core.fallback import Fallback
from adloom.core.order import Order
from adloom.core.origin import UNKNOWN, Origin
from adloom.core.outcomes import Status
from adloom.guards.backlog import Backlog
from adloom.guards.forecast import Forecast
from adloom.guards.gate import Gate
from adloom.guards.pace import Throttle
from adloom.guards.prices import PriceWatch
from adloom.guards.retrying_store import RetryingStore
from adloom.ledger.capabilities import Capabilities, read_capabilities
from adloom.ledger.heartbeats import Liveness
from adloom.ledger.ledger import Ledger
from adloom.plan.assessment import Assessment, Share, reassess
from adloom.plan.orders import OrderQueue
from adloom.plan.reserve import Reservation, older, over_budget, reserve, unconfirmed, unusable_references
from adloom.plan.revision import read_newest
from adloom.publish.manifest import Published, publish, unpublished
from adloom.publish.seals import seal_finished
from adloom.run.batches import (
    Batch,
    Fulfil,
    batch_size,
    batches_at_once,
    bound_drain,
    drive,
    in_batches,
    while_time_is_left,
)
from adloom.run.closing import close_if_over
from adloom.run.fulfilment import Fulfilment, Steps
from adloom.run.latest import Latest
from adloom.run.monitor import RunMonitor
from adloom.run.progress import Progress
from adloom.spend.purchase import Buyer, Sender
from adloom.spend.references import Hosting
from adloom.spend.spender import Spender
from adloom.spend.unknown import EvidenceSources, UnknownPurchases
from adloom.world import World

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended."""

    published: Published
    stops: tuple[Stop, ...]
    exit_code: int
    gallery: str = ""
    """The address of the page that shows the edition; empty when it could not be written."""
    review: str = ""
    """The address of the page to approve and reject on; empty when it could not be written."""
    notes: tuple[str, ...] = ()
    """What a person should know but need not act on."""
    origin: Origin = UNKNOWN
    """Whose money was spent."""
    sent: Sent = field(default_factory=Sent)
    """What this run itself sent."""


class Run:
    """One process's work on one frozen plan. Use ``start``, then ``work``, then ``finish``."""

    def __init__(self, world: World, reserved: Reservation, capabilities: Capabilities) -> None:
        self.gate = Gate()
        steady = RetryingStore(world.store, self.gate, world.clock, world.random, world.poll_interval_s)
        ledger = self.ledger = reserved.assessment.ledger.through(steady)
        assessment = self._assessment = replace(reserved.assessment, ledger=ledger)
        reserved = replace(reserved, assessment=assessment)
        self.revision = reserved.revision
        self.edition = assessment.edition
        self._throttle = Throttle(assessment.pace, self.gate, world.clock)
        self._owners = Liveness(world.store, self.edition, world.clock, me=ledger.writer, is_gone=world.is_gone)
        self._monitor = RunMonitor(world, reserved, self.gate, self._throttle, self._owners)
        direct = world.store  # whether callbacks can be listed is not a reason to stop buying
        world = self._world = replace(world, store=steady)
        self._queue = OrderQueue(world.store, assessment, reserved.revision, world.callback_secret)
        self._poller = Poller(
            api=world.api,
            gate=self.gate,
            clock=world.clock,
            random=world.random,
            interval_s=world.poll_interval_s,
            is_scarce=lambda: self._throttle.is_bound_by_tasks,
        )
        self._hearing = Hearing(direct, self.edition, world.clock, self._poller.hear, interval_s=world.poll_interval_s)
        self._backlog = Backlog(self.gate, world.clock, places=IMAGES_AT_ONCE)
        self._steps = self._make_steps(reserved, capabilities)
        self._fulfilment = Fulfilment(world, self.ledger, self.gate, self._steps, at_once=2 * assessment.pace.in_flight)
        self._rescuer = Rescuer(world, self.edition, self.ledger, self._poller)
        self._background: list[asyncio.Task[None]] = []
        self._former_archived = self._former_ended = 0

    def _make_steps(self, reserved: Reservation, capabilities: Capabilities) -> Steps:
        world, ledger, assessment = self._world, self.ledger, reserved.assessment
        planned, left = assessment.committed.committed + assessment.to_buy, assessment.surveyed.asked.images_by_kind
        forecast = Forecast(planned, left, reserved.revision.prices)
        prices = PriceWatch(self.gate, reserved.revision.cap_credits, forecast, most=assessment.pace.in_flight)
        collector, breaker = Collector(ledger, self._poller), Breaker()
        fallback = Fallback(reserved.revision.fallback, reserved.revision.prices, ledger.writer, breaker.broken)
        sender = Sender(
            world,
            ledger,
            gate=self.gate,
            throttle=self._throttle,
            prices=prices,
            buyer=Buyer(reserved.revision.edition_token, reserved.revision.number, world.api.account),
            heartbeat=reserved.heartbeat,
            fallback=fallback,
            failures=collector.failures,
        )
        unknowns = UnknownPurchases(
            world,
            ledger,
            self.gate,
            sender=sender,
            sources=EvidenceSources(
                capabilities,
                world.dedicated_key and not assessment.lack,  # the task may be that of a purchase which is not known
                hears_callbacks=self._hears_callbacks,
                interval_s=world.poll_interval_s,
            ),
            calls=reserved.revision.calls,
        )
        spender = Spender(
            world,
            ledger,
            gate=self.gate,
            throttle=self._throttle,
            prices=prices,
            sender=sender,
            unknowns=unknowns,
            fallback=fallback,
        )
        return Steps(
            owners=self._owners.through(world.store),
            throttle=self._throttle,
            hosting=Hosting(world, self.edition, self.gate, planned=assessment.surveyed.files, writer=ledger.writer),
            prices=prices,
            breaker=breaker,
            sender=sender,
            spender=spender,
            unknowns=unknowns,
            collector=collector,
            archiver=Archiver(world, self.edition, ledger, self._backlog),
        )

    @classmethod
    async def start(cls, world: World, assessment: Assessment) -> Run:
        """Make the reservation and begin to watch and to poll; raises what ``reserve`` raises.

        A plan that does not fit its cap, whose price nobody agreed to or whose references cannot be used closes the
        gate at once, and so does a ledger that is older than its manifest: nothing is bought, but what is paid for is
        still collected.
        """
        if assessment.may_buy and assessment.to_buy and await _adopt_failed(world, assessment.ledger):
            assessment = await reassess(assessment)
        reserved = await reserve(world, assessment)
        capabilities = await read_capabilities(world.store) if reserved.assessment.may_resend else Capabilities({})
        run = cls(world, reserved, capabilities)
        if reserved.assessment.lack:
            run.gate.close(older(reserved.assessment))
        elif not reserved.assessment.fits:
            run.gate.close(over_budget(reserved.assessment))
        elif reserved.assessment.bad_references:
            run.gate.close(unusable_references(reserved.assessment))
        elif not reserved.assessment.wish.agreed:
            run.gate.close(unconfirmed(reserved.assessment))
        await run._monitor.begin()
        for call in run.ledger.calls():
            facts = run.ledger.ended(call) or run.ledger.facts(call)
            run._fulfilment.counts.update(facts)
            if isinstance(facts, CallFacts):  # no other charge passed its reserve
                run._steps.prices.remember(facts)
        run._note_former()
        loops = [run._poller.run(), run._monitor.run(), run._wake_on_close(), bound_drain(run.gate, world.clock)]
        loops.append(run._fulfilment.collect_settled())
        if run._hears_callbacks:
            loops.append(run._hearing.run())
        run._background = [asyncio.create_task(loop) for loop in loops]
        return run

    @property
    def _hears_callbacks(self) -> bool:
        return bool(self._assessment.source.campaign.callback_url and self._world.callback_secret)

    def interrupt(self) -> None:
        """Stop buying because a person said so."""
        self.gate.close(Stop(StopReason.INTERRUPTED, "interrupted", "Run the same command again to continue."))

    @property
    def sent(self) -> Sent:
        """The requests to buy of this run, counted on as it goes."""
        return self._steps.sender.sent

    @property
    def latest(self) -> Latest:
        """The orders whose images came last."""
        return self._fulfilment.latest

    @property
    def share(self) -> Share:
        """Its part of the work."""
        return self._assessment.wish.share

    def _note_former(self) -> None:
        """Note what the archive has for nothing that is wanted now: former takes, and rows that the plan has lost."""
        counts, found = self._fulfilment.counts, self._assessment.surveyed.totals.found
        self._former_archived = max(0, counts.archived - found[Status.ARCHIVED])
        self._former_ended = max(0, counts.ended - found.total() + found[Status.OPEN])

    def progress(self) -> Progress:
        """Where it is, counted in images that are wanted now."""
        counts = self._fulfilment.counts
        return Progress(
            wanted=self.revision.wanted - self._assessment.left_out - self._assessment.waiting.total(),
            archived=counts.archived - self._former_archived,
            ended=counts.ended - self._former_ended,
            calls=counts.calls,
            in_flight=self._throttle.in_flight,
            charged=counts.money.charged,
            reserved=counts.money.reserved,
            cap=self.revision.cap_credits,
            origin=self._assessment.origin,
        )

    async def work(self, fulfil: Fulfil | None = None) -> None:
        """Run all batches through ``fulfil``, by default in this process."""
        at_once = batches_at_once(batch_size(self.revision.calls), self._assessment.pace.in_flight)
        await drive(self.gate, self.batches(), fulfil or self.fulfil, at_once)

    async def batches(self) -> AsyncIterator[Batch]:
        """The work in batches of about equal size: what was begun comes first, then what is still to buy."""
        size = batch_size(self.revision.calls)
        begun: list[Order] = []
        ready: list[Order] = []
        for order in await self._queue.unfinished():
            (ready if self._queue.is_ready(order) else begun).append(order)
        await self.fulfil(ready)  # links die: before any purchase
        for start in range(0, len(begun), size):
            yield tuple(begun[start : start + size])
        async for batch in in_batches(self._queue.unbought(), size):
            if self.gate.is_interrupted:  # each order would be turned away, and there may be 100,000 of them
                break
            yield batch

    async def fulfil(self, orders: Sequence[Order]) -> None:
        """Bring every order as far as it goes: archived, ended, or left for a later run."""
        await self._fulfilment.fulfil(orders)

    async def finish(self) -> Result:
        """Wait for what other runs have begun, write the manifest, and say how it ended."""
        await while_time_is_left(self.gate, self._see_to_the_rest())
        await self._fulfilment.leave_the_rest()
        self._backlog.close_for_what_is_left()
        ended = self._fulfilment.counts.ended - self._former_ended
        if ended < self.revision.wanted:  # a newer plan may have withdrawn the rest since
            await self._monitor.final_check()
        await self._monitor.end(self._background)
        choice = replace(self._assessment.choice, retakes_only=bool(self._assessment.wish.only))
        stops = self._stops()
        what = (self._world.store, self.edition, self.ledger, self.revision, stops, choice)
        if self._assessment.lack:  # the edition's earlier records know more
            return self._result(await unpublished(*what), stops)
        published = await publish(*what)
        await self._publish_for_newer_plan()
        if not self.gate.is_interrupted:  # whoever stops a run waits for its end; the next one seals
            await self._seal()
        await self._close()
        return self._result(published, stops)

    async def _publish_for_newer_plan(self) -> None:
        """Leave what follows from the newest plan: the run that made it may have published before this one ended."""
        newest = await read_newest(self._world.store, self.edition)
        if newest is not None and newest.number > self.revision.number:
            await publish(self._world.store, self.edition, self.ledger, newest)

    async def _seal(self) -> None:
        """Seals only save later runs some reading, so the manifest is written first, and a failure ends nothing."""
        try:
            await seal_finished(self._world.store, self.edition, self.ledger, self.revision)
        except AdloomError as error:
            log.warning("finished parts of %s were not sealed: %s", self.edition.prefix, error.message)

    async def _close(self) -> None:
        """Mark the edition as closed if it owes nothing; otherwise the sweep does so later."""
        world = self._world
        try:
            await close_if_over(self.ledger, world.clock, world.is_gone, mine=self.ledger.writer)
        except AdloomError as error:
            log.warning("%s was not closed in the archive's index: %s", self.edition.prefix, error.message)

    def _stops(self) -> tuple[Stop, ...]:
        """Why buying stopped. A missing agreement to the price is not a reason if there was nothing to buy."""
        if self._assessment.to_buy or self.gate.turned_away:
            return self.gate.stops
        return tuple(stop for stop in self.gate.stops if stop.reason is not StopReason.UNCONFIRMED)

    def _result(self, published: Published, stops: tuple[Stop, ...]) -> Result:
        found = published.asked
        in_doubt = any(facts.doubtful for facts in self.ledger.unended())
        if self._fulfilment.surprised:
            code = exit_code(stops, {**found, Status.OPEN: 0}, in_doubt=in_doubt)
            return self._ended(published, stops, code or EXIT_UNEXPECTED)
        if found[Status.OPEN] and not stops:
            message = f"{found[Status.OPEN]} images are still open: another run is working on them or has left them"
            stops = (Stop(StopReason.UNFINISHED, message, "Run the same command again to finish them."),)
        return self._ended(published, stops, exit_code(stops, found, in_doubt=in_doubt))

    def _ended(self, published: Published, stops: tuple[Stop, ...], code: int) -> Result:
        notes, origin = self._steps.prices.notes, self._assessment.origin
        return Result(published, stops, code, notes=notes, origin=origin, sent=self.sent)

    async def _see_to_the_rest(self) -> None:
        """The calls of other runs, what is unknown, and paid images that no variant waits for."""
        await self._fulfilment.finish_read_on()
        await self._fulfilment.finish_foreign_calls()
        await self._steps.unknowns.keep_trying(self._world.poll_interval_s)
        await self._fulfilment.finish_settled()
        await self._fulfilment.finish_read_on()
        if not self.gate.is_interrupted:
            await self._rescue()

    async def _rescue(self) -> None:
        """Fetch what is paid for but has no waiting call. What cannot be fetched now does not delay the manifest."""
        try:
            await self._fulfilment.recheck_failed()
            await self._rescuer.second_tasks()
            if self._world.dedicated_key:
                await self._rescuer.orphans()
        except (Unreachable, AdloomError) as error:
            log.warning("paid images that no variant waits for are left for a later run: %s", error)

    async def _wake_on_close(self) -> None:
        await self.gate.closed.wait()
        await self._throttle.wake()


async def _adopt_failed(world: World, ledger: Ledger) -> bool:
    """Look once more at tasks that failed within the last day, before their images are bought again; whether any made.

    One that cannot be read now is read again right before a purchase in its place.
    """
    poller = Poller(
        api=world.api, gate=Gate(), clock=world.clock, random=world.random, interval_s=world.poll_interval_s
    )
    failures = Collector(ledger, poller).failures
    adopted: list[str] = []
    tasks = list(failures.recent())
    for start in range(0, len(tasks), TASKS_PER_READ):
        try:
            found = await world.api.tasks(tasks[start : start + TASKS_PER_READ])
        except (ReadFailed, AccountStopped) as error:
            log.warning("tasks that failed cannot be read again now: %s", error.message)
            break
        adopted += await failures.adopt_completed(found.values())
    return bool(adopted)
