"""One run: the calls of a frozen plan, bought, collected and archived, bounded, and drained when it has to stop.

``look`` reads a campaign against what the archive holds and writes nothing; ``Run.start`` makes the reservation. Then
``Run.batches`` yields the work and ``Run.fulfil`` does it: rescue first, then read, then buy. ``Run.finish`` writes the
manifest. Where a batch runs (plain, or as a Prefect task run) is the caller's choice; all batches of a process share
one ledger, one client, one poller and one pace.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from random import Random

from adloom.archive import Archiver
from adloom.capabilities import Capabilities, read_capabilities
from adloom.collect import Collector, Poller, Unreachable
from adloom.core.campaign import Grouping, Row
from adloom.core.errors import AdloomError, SettingInvalid, StoreError, StoreRefused
from adloom.core.exits import EXIT_UNEXPECTED, Stop, StopReason, exit_code
from adloom.core.facts import CallFacts, Money, Record, RefusalKind, Stage, money_of
from adloom.core.identity import top_up_id
from adloom.core.order import Order
from adloom.core.outcomes import Status, TopUp, missing, outcomes
from adloom.core.planned import PlannedRow
from adloom.core.pricing import price_per_image, usd
from adloom.core.triage import NEXT_ATTEMPT_INTERVALS
from adloom.freeze import PlanOutdated, Revision, freeze, planned_rows, read_newest
from adloom.gate import Gate, GateClosed, Throttle
from adloom.hosting import Hosting, ReferenceFiles
from adloom.ladder import Ladder, Steps
from adloom.ledger import Edition
from adloom.look import Outlook, look_again
from adloom.owners import BEAT_EVERY_S, Heartbeat, Owners, Process
from adloom.plan import is_asked_for
from adloom.ports import Clock, Decoder, ImageApi, Store
from adloom.publish import Published, publish
from adloom.rescue import Rescuer
from adloom.seal import seal_finished
from adloom.spend import Buyer, PriceWatch, Spender

log = logging.getLogger(__name__)

DRAIN_S = 20
"""After Ctrl-C or SIGTERM finished work is collected for this long."""

BATCHES_AT_ONCE = 3
BATCH_SIZES = (10, 500)
BATCHES = 100
"""A run has about this many batches: a Prefect server loses track of much more than a few hundred task runs."""

OTHERS_INTERVALS = 200
"""What another run that lives has begun is waited for this long (10 min), then collected beside it: reading is free."""

DEFAULT_INTERVAL_S = 3.0
"""The poll interval that all other waits are given for; another interval scales them."""


@dataclass(frozen=True, slots=True)
class World:
    """Everything outside that a run works with."""

    store: Store
    api: ImageApi
    decoder: Decoder
    clock: Clock
    random: Random
    process: Process
    is_surely_dead: Callable[[Process], bool]
    poll_interval_s: float = DEFAULT_INTERVAL_S
    dedicated_key: bool = False
    files: ReferenceFiles | None = None
    """None where no reference is a file."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is. Money is in credits."""

    wanted: int
    archived: int
    ended: int
    in_flight: int
    charged: Decimal
    reserved: Decimal
    cap: Decimal

    @property
    def usd(self) -> Decimal:
        return usd(self.charged)


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended."""

    published: Published
    stops: tuple[Stop, ...]
    exit_code: int
    gallery: str = ""
    """The address of the page that shows the edition; empty when it could not be written."""


@dataclass(slots=True)
class _Counts:
    """What the progress display needs, kept as the run goes rather than counted each time."""

    archived: int = 0
    ended: int = 0
    money: Money = field(default_factory=Money)
    by_call: dict[str, tuple[Money, int, int]] = field(default_factory=dict)

    def update(self, facts: CallFacts) -> None:
        ends = [outcome.status for outcome in outcomes([facts]).values()]
        archived, ended = ends.count(Status.ARCHIVED), sum(1 for end in ends if end is not Status.OPEN)
        money = money_of(facts)
        old_money, old_archived, old_ended = self.by_call.get(facts.call, (Money(), 0, 0))
        self.by_call[facts.call] = (money, archived, ended)
        self.archived += archived - old_archived
        self.ended += ended - old_ended
        self.money += Money(
            money.charged - old_money.charged, money.reserved - old_money.reserved, money.at_risk - old_money.at_risk
        )


class Run:
    """One process's work on one frozen plan. Use ``start``, then ``batches`` and ``fulfil``, then ``finish``."""

    def __init__(
        self, world: World, outlook: Outlook, revision: Revision, heartbeat: Heartbeat, capabilities: Capabilities
    ) -> None:
        ledger, edition, clock = outlook.ledger, outlook.edition, world.clock
        self.revision = revision
        self.gate = Gate()
        self.edition = edition
        self._world = world
        self._ledger = ledger
        self._prices = revision.prices
        self._known = outlook.known
        self._only = outlook.wish.only
        self._choice = outlook.choice
        self._left_out = outlook.left_out
        self._callback_url = outlook.source.campaign.callback_url
        self._scale = world.poll_interval_s / DEFAULT_INTERVAL_S
        self._heartbeat = heartbeat
        self._owners = Owners(world.store, edition, clock, me=ledger.writer, is_surely_dead=world.is_surely_dead)
        self._throttle = Throttle(outlook.pace, self.gate, clock)
        self._window = asyncio.Semaphore(2 * outlook.pace.in_flight)
        self._poller = Poller(
            api=world.api, gate=self.gate, clock=clock, random=world.random, interval_s=world.poll_interval_s
        )
        self._collector = Collector(ledger, self._poller)
        self._archiver = Archiver(
            store=world.store,
            edition=edition,
            ledger=ledger,
            api=world.api,
            decoder=world.decoder,
            clock=clock,
            random=world.random,
            scale=self._scale,
        )
        self._rescuer = Rescuer(
            store=world.store,
            edition=edition,
            ledger=ledger,
            api=world.api,
            decoder=world.decoder,
            poller=self._poller,
            clock=clock,
            random=world.random,
            scale=self._scale,
        )
        self._ladder = Ladder(
            ledger=ledger,
            api=world.api,
            store=world.store,
            gate=self.gate,
            clock=clock,
            steps=Steps(capabilities, world.dedicated_key),
            calls=revision.calls,
            settled=self._adopted,
        )
        self._adoptions: set[asyncio.Task[None]] = set()
        self._spender = Spender(
            ledger=ledger,
            api=world.api,
            gate=self.gate,
            throttle=self._throttle,
            prices=PriceWatch(self.gate, revision.cap_credits, outlook.committed.committed + outlook.to_buy),
            ladder=self._ladder,
            buyer=Buyer(revision.edition_token, revision.number, world.api.account),
            clock=clock,
            random=world.random,
            scale=self._scale,
        )
        self._hosting = Hosting(
            files=world.files,
            planned=outlook.surveyed.files,
            store=world.store,
            edition=edition,
            gate=self.gate,
            clock=clock,
            random=world.random,
            writer=ledger.writer,
            scale=self._scale,
        )
        self._others: list[Order] = []
        self._waited_long = False
        self._strays: set[str] = set()
        self._under_way: set[str] = set()
        self._counts = _Counts()
        self._surprised = False
        self._background: list[asyncio.Task[None]] = []

    @classmethod
    async def start(cls, world: World, outlook: Outlook) -> Run:
        """Check the archive, freeze the plan and begin to show a heartbeat.

        A plan that does not fit its cap closes the gate at once: nothing is bought, what is paid is still collected.
        Raises SettingInvalid without a budget, InputError for a reference file that has changed since it was planned,
        StoreRefused for an archive that cannot be used, PlanRefused.
        """
        if outlook.cap is None:
            raise SettingInvalid(
                f"{outlook.source.campaign.source} has no budget",
                remedy="Add `budget: {usd: 12.00}` or --budget-usd 12.",
            )
        if world.files is not None:
            await world.files.check(outlook.surveyed.files)
        ledger, edition = outlook.ledger, outlook.edition
        await _probe(world.store, edition, ledger.writer)
        heartbeat = Heartbeat(world.store, edition, world.clock, ledger.writer, world.process)
        await heartbeat.beat()
        if await ledger.grew():  # a person may have taken long to say yes
            outlook = await look_again(outlook)
        while (revision := await _freeze(world, outlook)) is None:
            outlook = await look_again(outlook)
        run = cls(world, outlook, revision, heartbeat, await read_capabilities(world.store))
        if not outlook.fits:
            run.gate.close(_over_budget(outlook))
        if not await world.store.has_room():
            run.gate.close(_no_room(world.store))
        for call in ledger.calls():
            run._counts.update(ledger.facts(call))
        run._background = [asyncio.create_task(task) for task in (run._poller.run(), run._beat(), run._wake_on_close())]
        return run

    def interrupt(self) -> None:
        """Stop buying because a person said so."""
        self.gate.close(Stop(StopReason.INTERRUPTED, "interrupted", "Run the same command again to go on."))

    def progress(self) -> Progress:
        counts = self._counts
        return Progress(
            wanted=self.revision.wanted - self._left_out,
            archived=counts.archived,
            ended=counts.ended,
            in_flight=self._throttle.in_flight,
            charged=counts.money.charged,
            reserved=counts.money.reserved,
            cap=self.revision.cap_credits,
        )

    async def batches(self) -> AsyncIterator[tuple[Order, ...]]:
        """The work in batches of about equal size: what was begun comes first, then what is still to buy."""
        size = min(BATCH_SIZES[1], max(BATCH_SIZES[0], -(-self.revision.calls // BATCHES)))
        if self.revision.calls <= BATCHES:
            size = 1
        begun: list[Order] = []
        fresh: list[Order] = []
        if self._ledger.calls():
            picker = self._choice.picker()
            async for planned in planned_rows(self._world.store, self.edition, self.revision):
                of_row = list(self._begun(planned))
                begun.extend(of_row)
                if not picker.takes(planned.row):  # seen through, but nothing more is bought for them
                    self._strays.update(order.call for order in of_row)
            begun.extend(self._begun_for_no_row({order.call for order in begun}))
        begun.sort(key=self._began)
        downloads = [order for order in begun if self._ledger.facts(order.call).stage is Stage.COMPLETED]
        await self.fulfil(downloads)  # links die: what is paid and ready comes before anything is bought
        for start in range(0, len(begun), size):
            yield tuple(begun[start : start + size])
        picker = self._choice.picker()
        async for planned in planned_rows(self._world.store, self.edition, self.revision):
            if picker.takes(planned.row):
                fresh.extend(self._fresh(planned))
            while len(fresh) >= size:
                yield tuple(fresh[:size])
                del fresh[:size]
        if fresh:
            yield tuple(fresh)

    async def fulfil(self, orders: Sequence[Order]) -> None:
        """Bring every order as far as it goes: archived, ended, or left for a later run."""
        async with asyncio.TaskGroup() as group:
            for order in orders:
                await self._window.acquire()
                group.create_task(self._bring_in_window(order))

    async def finish(self) -> Result:
        """Wait for what other runs have begun, write the manifest, and say how it ended."""
        await self._see_to_others()
        await self._ladder.pursue(self._spender.resend, self._world.poll_interval_s)
        await asyncio.gather(*self._adoptions)
        if not self.gate.is_interrupted:
            await self._rescue()
        if self._archiver.left:
            message = f"{self._archiver.left} paid images could not be downloaded"
            self.gate.close(Stop(StopReason.OUTAGE, message, "Run the same command again soon: links live 24 hours."))
        if self._counts.ended < self.revision.wanted:  # a newer plan may have withdrawn the rest since the last beat
            await self._heed_a_newer_plan()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._heartbeat.beat(ended=True)
        published = await publish(
            self._world.store, self.edition, self._ledger, self.revision, self.gate.stops, self._choice
        )
        await seal_finished(self._world.store, self.edition, self._ledger, self.revision)
        code = exit_code(self.gate.stops, published.asked)
        return Result(published, self.gate.stops, code if not self._surprised else code or EXIT_UNEXPECTED)

    def _begun(self, planned: PlannedRow) -> Iterator[Order]:
        """The calls that earlier runs began for a row and left unfinished."""
        outcomes_ = (self._known.get(variant.key) for variant in planned.variants)
        calls = {outcome.call for outcome in outcomes_ if outcome is not None}
        for call in sorted(calls):
            facts = self._ledger.facts(call)
            if _goes_on(facts):
                yield self._order_of(facts, planned.row)

    def _begun_for_no_row(self, begun: set[str]) -> Iterator[Order]:
        """What was bought for rows that the plan no longer has is seen through too, but nothing more is bought."""
        for call in sorted(set(self._ledger.calls()) - begun):
            facts = self._ledger.facts(call)
            if facts.intent is not None and facts.stage in _BOUGHT:
                self._strays.add(call)
                yield self._order_of(facts, _row_of(facts.intent))

    async def _rescue(self) -> None:
        """Fetch what is paid for and nobody waits for. What cannot be fetched now does not keep back the manifest."""
        try:
            await self._rescuer.second_tasks()
            if self._world.dedicated_key:
                await self._rescuer.orphans()
        except (Unreachable, AdloomError) as error:
            log.warning("paid images that no variant waits for are left for a later run: %s", error)

    def _began(self, order: Order) -> str:
        """When a call was begun: the oldest links die first."""
        intent = self._ledger.facts(order.call).intent
        return str(intent["time"]) if intent else ""

    def _fresh(self, planned: PlannedRow) -> Iterator[Order]:
        price = price_per_image(planned.row.model, self._prices)
        for call in planned.calls:
            if is_asked_for(call, self._only) and self._ledger.facts(call.id).stage is Stage.UNBOUGHT:
                variants = tuple({"key": v.key, "number": v.number, "take": v.take} for v in call.variants)
                yield Order(call.id, planned.row, variants, price * len(variants), self._callback_url)

    async def _bring_in_window(self, order: Order) -> None:
        try:
            await self._bring(order)
        except GateClosed:
            pass
        except Unreachable:
            log.warning("call %s is left for a later run: the API cannot be read", order.call)
        except AdloomError as error:
            self.gate.close(Stop(StopReason.OUTAGE, error.message, error.remedy))
        except Exception:  # the one broad except: a surprise in one call must not take the others down
            log.exception("call %s met an error that nobody expected; it is left for a later run", order.call)
            self._surprised = True
        finally:
            self._window.release()

    async def _bring(self, first: Order) -> None:
        order: Order | None = first
        while order is not None and order.call not in self._under_way:
            self._under_way.add(order.call)
            try:
                await self._see_through(order)
            finally:
                self._under_way.discard(order.call)
            order = await self._next(order)

    async def _see_through(self, order: Order) -> None:
        """Bring one call to its end, or as far as it goes now."""
        if self._ledger.facts(order.call).stage in (Stage.UNBOUGHT, Stage.WAITING):
            if order.call in self._strays:
                return
            async with self._throttle.place():
                await self._spender.buy(await self._hosting.hosted(order))
                self._count(order.call)
                await self._collect(order)
        else:
            await self._collect(order)
        self._count(order.call)
        if self._ledger.facts(order.call).stage is Stage.COMPLETED:
            await self._archiver.archive(order.call)
            self._count(order.call)

    async def _collect(self, order: Order) -> None:
        """See a call through to the end of its task, unless another run that lives is at it."""
        facts = self._ledger.facts(order.call)
        if facts.stage is Stage.UNKNOWN and facts.latest.owner != self._ledger.writer:
            self._ladder.inherit(order)
        if facts.stage not in (Stage.SENDING, Stage.ACCEPTED):
            return
        owner = facts.latest.owner
        if owner != self._ledger.writer and not self._waited_long and not await self._owners.is_dead(owner):
            self._others.append(order)
            raise GateClosed
        if facts.stage is Stage.SENDING:
            facts = await self._ledger.refresh(order.call)  # the dead can have said more since this run read
        if facts.stage is Stage.SENDING:
            reason = "the run that bought it died before it saw an answer"
            name = f"a{facts.latest.number}-unknown-{facts.latest.sends}"
            await self._ledger.note(order.call, name, {"reason": reason})
            self._ladder.inherit(order)
        if facts.stage is not Stage.ACCEPTED:
            return
        accepted = facts.latest.accepted
        assert accepted is not None  # noqa: S101 - that is what the stage means
        await self._collector.collect(order.call, datetime.fromisoformat(accepted["time"]).timestamp())

    async def _next(self, order: Order) -> Order | None:
        """What follows from a call's end: a top-up for what it did not bring, another attempt, or nothing."""
        if order.call in self._strays:
            return None
        facts = self._ledger.facts(order.call)
        if (top_up := missing(facts)) is not None:
            child = _top_up_order(order, top_up)
            await self._ledger.refresh(child.call)
            return child
        settled = facts.latest.settled if facts.attempts else None
        if facts.stage is Stage.UNBOUGHT and settled is not None and settled["kind"] == RefusalKind.TASK:
            low, high = NEXT_ATTEMPT_INTERVALS
            intervals = low + (high - low) * self._world.random.random()
            await self.gate.sleep(intervals * self._world.poll_interval_s, self._world.clock)
            return order
        return None

    def _order_of(self, facts: CallFacts, row: Row) -> Order:
        intent = facts.intent
        assert intent is not None  # noqa: S101 - asked for by the caller
        return Order(
            facts.call,
            row,
            tuple(intent["variants"]),
            Decimal(intent["credits"]),
            self._callback_url,
            intent["parent"],
            intent["round"],
            intent["fruitless"],
        )

    async def _see_to_others(self) -> None:
        """Wait for the calls that other runs have begun; take over from those that died.

        A run that lives may have given a call up, and may itself be waiting for one of ours: nobody waits for ever.
        """
        since = self._world.clock.monotonic()
        while self._others and not self.gate.is_interrupted:
            waiting, self._others = self._others, []
            waited_s = self._world.clock.monotonic() - since
            self._waited_long = waited_s >= OTHERS_INTERVALS * self._world.poll_interval_s
            await self._world.clock.sleep(self._world.poll_interval_s)
            for order in waiting:
                await self._ledger.refresh(order.call)
            await self.fulfil(waiting)

    def _adopted(self, order: Order) -> None:
        """The ladder found an order's task: see it through beside everything else."""
        task = asyncio.create_task(self.fulfil((order,)))
        self._adoptions.add(task)

    def _count(self, call: str) -> None:
        self._counts.update(self._ledger.facts(call))

    async def _beat(self) -> None:
        """Show that this run lives, and look up now and then whether buying is still right."""
        while True:
            await self._world.clock.sleep(BEAT_EVERY_S)
            try:
                await self._heartbeat.beat()
                await self._heed_a_newer_plan()
                has_room = await self._world.store.has_room()
            except StoreError as error:
                log.warning("%s", error.message)
                continue
            if not has_room:
                self.gate.close(_no_room(self._world.store))

    async def _heed_a_newer_plan(self) -> None:
        newest = await read_newest(self._world.store, self.edition)
        if newest is not None and newest.number > self.revision.number:
            message = (
                f"plan revision {newest.number} of this edition exists; this run bought for {self.revision.number}"
            )
            self.gate.close(Stop(StopReason.NEWER_PLAN, message, "Run the newer campaign file; nothing is lost."))

    async def _wake_on_close(self) -> None:
        await self.gate.closed.wait()
        await self._throttle.wake()


_BOUGHT = frozenset({Stage.SENDING, Stage.UNKNOWN, Stage.ACCEPTED, Stage.COMPLETED})
_UNFINISHED = frozenset({Stage.SENDING, Stage.WAITING, Stage.UNKNOWN, Stage.ACCEPTED, Stage.COMPLETED})


def _row_of(intent: Record) -> Row:
    """A row that the plan no longer has, as far as the purchase that was made for it tells."""
    return Row(
        job=intent["job"],
        identity="",
        name=intent["row"],
        label=intent["label"],
        prompt="",
        variables={},
        model=intent["model"],
        size="",
        quality=intent["quality"],
        priority="",
        references=(),
        grouping=Grouping.SET,
        variants=len(intent["variants"]),
    )


def _goes_on(facts: CallFacts) -> bool:
    """Whether a call that was begun is not over: a top-up that was free belongs to nobody but its parent's chain."""
    if facts.intent is None:
        return False
    free_top_up = facts.stage is Stage.UNBOUGHT and bool(facts.intent["parent"])
    return facts.stage in _UNFINISHED or missing(facts) is not None or free_top_up


def _top_up_order(order: Order, top_up: TopUp) -> Order:
    return replace(
        order,
        call=top_up_id(top_up.parent, top_up.round),
        variants=top_up.variants,
        credits=order.credits / order.n * len(top_up.variants),
        parent=top_up.parent,
        round=top_up.round,
        fruitless=top_up.fruitless,
    )


async def _freeze(world: World, outlook: Outlook) -> Revision | None:
    """The revision to buy from, None when the archive has to be read again first."""
    try:
        return await freeze(
            outlook.source,
            world.store,
            outlook.edition,
            outlook.ledger,
            world.clock,
            outlook.known,
            surveyed=outlook.surveyed,
            cap_credits=outlook.cap or Decimal(0),
            only=outlook.wish.only,
            choice=outlook.choice,
            asked_only=outlook.reserves_a_part,
            sandbox=outlook.wish.sandbox,
            replace=outlook.wish.replace,
        )
    except PlanOutdated:
        return None


async def _probe(store: Store, edition: Edition, token: str) -> None:
    """Refuse a store that cannot be written or does not keep its word about create-once."""
    key = edition.key(f"runs/{token}.probe.json")
    first, second = [await store.create(key, content) for content in (b"1\n", b"2\n")]
    if not first or second or await store.read(key) != b"1\n":
        raise StoreRefused(
            f"the archive {store.address} does not keep create-once: two runs could buy the same image",
            remedy="Use a folder on a local disk, or an S3 store that honours If-None-Match.",
        )


def _over_budget(outlook: Outlook) -> Stop:
    committed, to_buy, cap = outlook.committed.committed, outlook.to_buy, outlook.cap or Decimal(0)
    message = (
        f"the plan needs {usd(to_buy):f} USD ({to_buy:f} credits) more, {usd(committed):f} USD are spent or reserved, "
        f"and the budget is {usd(cap):f} USD"
    )
    remedy = (
        f"Raise the budget to at least {usd(committed + to_buy):f} USD, or ask for fewer variants; nothing was sent."
    )
    return Stop(StopReason.BUDGET, message, remedy)


def _no_room(store: Store) -> Stop:
    message = f"the archive {store.address} is nearly full: no image is bought that could not be stored"
    return Stop(StopReason.OUTAGE, message, "Make room, then run the same command again.")


async def run_batches(run: Run, fulfil: Callable[[Sequence[Order]], Awaitable[None]]) -> None:
    """Send every batch through ``fulfil``, a few at a time, until the work or the buying ends.

    After an interruption what is under way has ``DRAIN_S`` seconds to come to a good end.
    """
    working = asyncio.create_task(_all_batches(run, fulfil))
    closed = asyncio.create_task(run.gate.closed.wait())
    try:
        while not working.done():
            await asyncio.wait(
                {working, closed} if not closed.done() else {working}, return_when=asyncio.FIRST_COMPLETED
            )
            if run.gate.is_interrupted and not working.done():
                await asyncio.wait({working}, timeout=DRAIN_S)
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
                return
        working.result()
    finally:
        closed.cancel()
        working.cancel()  # whoever is cancelled here must not go on buying behind its caller's back


async def _all_batches(run: Run, fulfil: Callable[[Sequence[Order]], Awaitable[None]]) -> None:
    places = asyncio.Semaphore(BATCHES_AT_ONCE)

    async def one(batch: Sequence[Order]) -> None:
        try:
            await fulfil(batch)
        finally:
            places.release()

    async with asyncio.TaskGroup() as group:
        try:
            async for batch in run.batches():
                await places.acquire()
                group.create_task(one(batch))
        except AdloomError as error:  # a plan that cannot be read on: what was begun still comes in
            run.gate.close(Stop(StopReason.OUTAGE, error.message, error.remedy))
