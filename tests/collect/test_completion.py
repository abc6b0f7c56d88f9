"""What a completed task has made, read until it shows it: on a clock that is moved."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest
from support.fakes import (
    PRICE,
    FakeSource,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_ledger,
    a_row,
    a_world,
    an_intent,
    completed,
    look_at,
    run_all,
)

from adloom.collect.collector import Collector
from adloom.collect.completion import Unreachable
from adloom.collect.poller import Poller
from adloom.core.errors import ReadFailed, StoreUnavailable
from adloom.core.facts import Stage, money_of
from adloom.core.results import LINKS_LIVE_S, READ_ON_INTERVALS
from adloom.core.task import Task, TaskState
from adloom.guards.gate import Gate
from adloom.run.run import Run

INTERVAL_S = 3.0
FOUR = ("u1", "u2", "u3", "u4")


class CliRig:
    """One accepted call for four images, and the readers that runs bring one after the other."""

    def __init__(self, store, clock, api, interval_s=INTERVAL_S):
        self.store, self.clock, self.api, self.interval_s = store, clock, api, interval_s
        self.fetched = []

    @asynccontextmanager
    async def run(self) -> AsyncIterator["CliRig"]:
        self.ledger = await a_ledger(self.store, self.clock)
        poller = Poller(api=self.api, gate=Gate(), clock=self.clock, random=Random(1), interval_s=self.interval_s)
        loop = asyncio.create_task(poller.run())
        self.collector = Collector(self.ledger, poller)
        try:
            yield self
        finally:
            loop.cancel()
            await asyncio.gather(loop, return_exceptions=True)

    async def collect(self):
        """What one run makes of the call."""
        async with self.run():
            if self.ledger.facts("c-1").stage is Stage.ACCEPTED:
                await self.collector.collect("c-1", self.clock.now())
            if self.ledger.facts("c-1").stage is Stage.UNSHOWN:
                await self.collector.read_on("c-1", self.fetch)
            return self.ledger.facts("c-1")

    async def fetch(self, call):
        self.fetched.append(self.ledger.facts(call).latest.links)

    def shows(self, *stages, last=FOUR, credits_used=PRICE * 4):
        """The task shows so many links until these seconds have passed since its first reading, then the last ones."""

        def state(task):
            since = self.clock.monotonic() - self.api.reads[0][0]
            links = next((links for until_s, links in stages if since < until_s), last)
            return Task(task, TaskState.COMPLETED, links, credits_used, word="completed")

        self.api.state_of = state

    @property
    def read_at(self):
        return [at for at, _ in self.api.reads]


@pytest.fixture(params=[0.2, 3.0])
async def desk(request):
    return await a_desk(request.param, credits_told=True)


@pytest.fixture(params=[0.2, 3.0])
async def desk_of_a_lost_answer(request):
    """The same call, whose task was found by the list: nobody knows what was reserved for it."""
    return await a_desk(request.param, via="task list")


async def a_desk(interval_s, **accepted):
    clock, store = ManualClock(), MemoryStore()
    ledger = await a_ledger(store, clock)
    stamp = ("schema", "time", "writer")
    await ledger.decide("c-1", "a1-intent", {k: v for k, v in an_intent(4).items() if k not in stamp})
    await ledger.accept("c-1", 1, "t", str(PRICE * 4), **accepted)
    return CliRig(store, clock, ScriptedApi(clock), interval_s)


async def test_what_shows_all_at_once_is_read_once(desk):
    desk.shows()
    facts = await desk.collect()
    assert (facts.stage, facts.latest.links) == (Stage.COMPLETED, FOUR)
    assert len(desk.api.reads) == 1


@pytest.mark.parametrize("first", [(), ("u2",), ("u2", "u1")])
async def test_what_is_billed_is_read_until_it_shows_and_fetched_meanwhile(desk, first):
    desk.shows((20 * desk.interval_s, first))
    facts = await desk.collect()
    assert facts.stage is Stage.COMPLETED
    assert facts.latest.links == tuple(dict.fromkeys((*first, *FOUR)))
    assert desk.fetched == [links for links in (first, facts.latest.links) if links]
    waits = [later - earlier for earlier, later in zip(desk.read_at, desk.read_at[1:], strict=False)]
    assert max(waits) <= 6 * desk.interval_s
    assert 5 <= len(waits) <= 20


async def test_the_readings_of_what_is_billed_begin_an_interval_apart_and_slow_down_by_half_each_time(desk):
    desk.shows((20 * desk.interval_s, ()))
    await desk.collect()
    waits = [later - earlier for earlier, later in zip(desk.read_at, desk.read_at[1:], strict=False)]
    paces = [wait / desk.interval_s for wait in waits]
    assert paces == pytest.approx([min(5, 1.5**number) for number in range(len(paces))], rel=0.21)


@pytest.mark.parametrize("used", [None, PRICE])
async def test_a_charge_for_fewer_images_than_are_shown_is_no_bill(desk, used):
    """The first line of a batch is a summary; then the task shows half of its images, and tells no charge for them."""

    def state(task):
        seconds = desk.clock.monotonic() - desk.api.reads[0][0]
        links, credits_used = (FOUR, PRICE * 4) if seconds >= 2 * desk.interval_s else (("u1", "u2"), used)
        if len(desk.api.reads) == 1:
            links, credits_used = ("u1",), PRICE
        return Task(task, TaskState.COMPLETED, links, credits_used, word="completed")

    desk.api.state_of = state
    facts = await desk.collect()
    assert (facts.stage, facts.latest.links) == (Stage.COMPLETED, FOUR)
    assert (facts.latest.completed.credits, facts.latest.completed.told) == (PRICE * 4, True)


async def test_a_line_of_a_batch_does_not_lower_what_the_task_itself_has_billed(desk):
    """Every other answer is a summary; the others show one image for a while and tell the charge for all four."""

    def state(task):
        late = desk.clock.monotonic() - desk.api.reads[0][0] >= 30 * desk.interval_s
        links, credits_used = (FOUR, PRICE * 4) if late else (("u1",), PRICE * 4)
        if len(desk.api.reads) % 2 and not late:
            credits_used = PRICE
        return Task(task, TaskState.COMPLETED, links, credits_used, word="completed")

    desk.api.state_of = state
    facts = await desk.collect()
    assert (facts.stage, facts.latest.links) == (Stage.COMPLETED, FOUR)


@pytest.mark.parametrize("told", [True, False])
async def test_a_charge_that_is_told_with_a_part_of_the_images_does_not_count_yet(told):
    """Until it does, the budget counts what was reserved."""
    desk = await a_desk(3.0, credits_told=told)
    desk.shows((100, ("u1",)), last=("u1",), credits_used=PRICE)
    async with desk.run():
        await desk.collector.collect("c-1", desk.clock.now())
        completed_ = desk.ledger.facts("c-1").latest.completed
    assert (completed_.told, completed_.credits, completed_.billed) == (False, PRICE * 4, None)


async def test_links_that_go_away_again_are_kept(desk):
    desk.shows((2 * desk.interval_s, ("u1", "u2")), (8 * desk.interval_s, ()), last=("u3", "u4"))
    assert (await desk.collect()).latest.links == FOUR


async def test_links_that_are_signed_anew_at_each_reading_are_still_the_same_images(desk):
    def state(task):
        images = "ab" if desk.clock.monotonic() - desk.api.reads[0][0] < 4 * desk.interval_s else "dbca"
        links = [f"https://r.example/{image}.jpg?sig={len(desk.api.reads)}" for image in images]
        return completed(task, *links, credits_used=PRICE * 4)

    desk.api.state_of = state
    facts = await desk.collect()
    assert [link.partition("?")[0][-5] for link in facts.latest.links] == ["a", "b", "d", "c"]
    assert len(facts.latest.completions) == 2


async def test_what_is_billed_and_not_shown_is_held_after_a_hundred_intervals_with_its_money(desk):
    desk.shows(last=("u1",))
    facts = await desk.collect()
    assert facts.stage is Stage.UNSHOWN
    assert facts.latest.stuck is not None
    assert READ_ON_INTERVALS <= (desk.read_at[-1] - desk.read_at[0]) / desk.interval_s <= READ_ON_INTERVALS + 7
    assert (money_of(facts).charged, money_of(facts).at_risk) == (PRICE * 4, PRICE * 3)


async def test_a_later_run_looks_once_at_what_is_held_and_fetches_what_has_come(desk):
    desk.shows(last=("u1",))
    await desk.collect()
    desk.clock.advance(3600)
    reads = len(desk.api.reads)
    since = desk.clock.monotonic()
    assert (await desk.collect()).stage is Stage.UNSHOWN
    assert desk.read_at[reads:] == [since]
    desk.shows()
    facts = await desk.collect()
    assert (facts.stage, facts.latest.links) == (Stage.COMPLETED, FOUR)
    assert len(desk.api.reads) == reads + 2


@pytest.mark.parametrize("used", [PRICE * 3, None])
async def test_a_day_after_the_end_it_has_failed_and_is_no_shortfall(desk, used):
    desk.shows(last=(), credits_used=used)
    await desk.collect()
    desk.clock.advance(LINKS_LIVE_S)
    facts = await desk.collect()
    assert facts.stage is Stage.ARCHIVED
    assert facts.latest.images_paid == (3 if used else 4)
    assert money_of(facts).charged == (used or PRICE * 4)


async def test_however_old_a_task_is_a_charge_of_nothing_is_read_twice(desk):
    desk.shows(last=(), credits_used=None)
    await desk.collect()
    desk.clock.advance(LINKS_LIVE_S)
    desk.api.reads = []
    desk.shows(last=(), credits_used=PRICE * 0)
    facts = await desk.collect()
    assert facts.latest.images_paid == 0
    assert desk.read_at[-1] - desk.read_at[0] >= max(5, 3 * desk.interval_s)


async def test_a_charge_of_nothing_that_is_told_at_once_is_one_at_the_second_reading_of_the_task_alone(desk):
    desk.shows(last=(), credits_used=Decimal(0))
    async with desk.run():
        await desk.collector.collect("c-1", desk.clock.now())
        assert money_of(desk.ledger.facts("c-1")).charged == PRICE * 4
    facts = await desk.collect()
    assert (facts.stage, facts.latest.images_paid, money_of(facts).charged) == (Stage.ARCHIVED, 0, 0)
    assert desk.read_at[-1] - desk.read_at[0] >= max(5, 3 * desk.interval_s)


async def test_a_charge_of_nothing_that_only_summaries_tell_is_no_shortfall(desk):
    """A reading of the task alone tells its charge; before and after it, the lines of batches tell none."""

    def state(task):
        return Task(task, TaskState.COMPLETED, (), PRICE * (3 if len(desk.api.reads) == 2 else 0), word="completed")

    desk.api.state_of = state
    facts = await desk.collect()
    assert (facts.stage, facts.latest.images_paid, facts.latest.is_held) == (Stage.UNSHOWN, 3, True)
    assert money_of(facts).at_risk == PRICE * 3


async def test_a_result_that_cannot_be_read_is_no_shortfall(desk):
    desk.api.state_of = lambda task: replace(completed(task, "u1", "u2"), credits_used=None, unreadable=2)
    facts = await desk.collect()
    assert (facts.stage, facts.latest.links, facts.latest.images_paid) == (Stage.UNSHOWN, ("u1", "u2"), 4)


async def test_results_that_cannot_be_read_are_billed_even_where_the_charge_is_nothing(desk):
    shown = replace(completed("t", "u1"), credits_used=Decimal(0), charge_status="charged", unreadable=2)
    desk.api.state_of = lambda _: shown
    facts = await desk.collect()
    assert (facts.stage, facts.latest.links, facts.latest.images_paid) == (Stage.UNSHOWN, ("u1",), 3)


@pytest.mark.parametrize("used", [None, PRICE * 4 + PRICE / 2])
async def test_without_a_bill_a_shortfall_is_believed_at_a_second_reading_of_the_task_alone(desk, used):
    desk.shows(last=("u1", "u2"), credits_used=used)
    facts = await desk.collect()
    assert (facts.stage, facts.latest.links) == (Stage.COMPLETED, ("u1", "u2"))
    first, second = desk.read_at
    assert second - first >= max(5, 3 * desk.interval_s)


@pytest.mark.parametrize("used", [PRICE * 4, PRICE * 3])
async def test_where_an_answer_was_lost_a_charge_at_the_plans_price_for_more_than_is_shown_is_no_shortfall(
    desk_of_a_lost_answer, used
):
    desk = desk_of_a_lost_answer
    desk.shows(last=("u1", "u2"), credits_used=used)
    facts = await desk.collect()
    assert (facts.stage, facts.latest.images_paid, bool(facts.latest.held)) == (
        Stage.UNSHOWN, used // PRICE, True,
    )  # fmt: skip
    desk.shows(credits_used=used)
    assert (await desk.collect()).latest.links == FOUR


@pytest.mark.parametrize("used", [PRICE, PRICE * 3 / 2, PRICE * 4 * 2, None])
async def test_where_an_answer_was_lost_a_shortfall_that_no_charge_confirms_is_believed_after_five_minutes(
    desk_of_a_lost_answer, used
):
    desk = desk_of_a_lost_answer
    desk.shows(last=("u1", "u2"), credits_used=used)
    facts = await desk.collect()
    assert (facts.stage, facts.latest.links) == (Stage.COMPLETED, ("u1", "u2"))
    waited = (desk.read_at[-1] - desk.read_at[0]) / desk.interval_s
    assert READ_ON_INTERVALS <= waited <= READ_ON_INTERVALS + max(5, 3 * desk.interval_s) / desk.interval_s


async def test_where_an_answer_was_lost_a_task_that_shows_nothing_and_is_charged_nothing_made_nothing(
    desk_of_a_lost_answer,
):
    desk = desk_of_a_lost_answer
    desk.shows(last=(), credits_used=Decimal(0))
    facts = await desk.collect()
    assert (facts.stage, facts.latest.links, money_of(facts).charged) == (Stage.ARCHIVED, (), 0)
    assert desk.read_at[-1] - desk.read_at[0] >= READ_ON_INTERVALS * desk.interval_s  # 0 is what comes first, too


async def test_where_an_answer_was_lost_a_charge_of_nothing_for_a_while_is_no_shortfall(desk_of_a_lost_answer):
    desk = desk_of_a_lost_answer

    def state(task):
        shown = FOUR if desk.clock.monotonic() - desk.api.reads[0][0] > 90 * desk.interval_s else ()
        return Task(task, TaskState.COMPLETED, shown, PRICE * len(shown), word="completed")

    desk.api.state_of = state
    assert (await desk.collect()).latest.links == FOUR


async def test_what_such_a_task_shows_within_that_time_is_no_shortfall(desk_of_a_lost_answer):
    desk = desk_of_a_lost_answer
    desk.shows((90 * desk.interval_s, ("u1", "u2")))
    assert (await desk.collect()).latest.links == FOUR


async def test_where_an_answer_was_lost_a_charge_at_the_plans_price_for_what_is_shown_confirms_it(
    desk_of_a_lost_answer,
):
    desk = desk_of_a_lost_answer
    desk.shows(last=("u1", "u2"), credits_used=PRICE * 2)
    assert (await desk.collect()).latest.links == ("u1", "u2")
    first, second = desk.read_at
    assert second - first == max(5, 3 * desk.interval_s)


async def test_a_charge_that_was_told_once_is_what_a_task_cost_though_later_readings_do_not_tell_it(desk):
    def state(task):
        used = PRICE * 3 if len(desk.api.reads) == 1 else None
        return Task(task, TaskState.COMPLETED, ("u1", "u2"), used, word="completed")

    desk.api.state_of = state
    facts = await desk.collect()
    assert (facts.stage, facts.latest.images_paid) == (Stage.UNSHOWN, 3)
    desk.clock.advance(LINKS_LIVE_S)
    facts = await desk.collect()
    assert (facts.stage, facts.latest.images_paid) == (Stage.COMPLETED, 3)
    assert money_of(facts).charged == PRICE * 3


async def test_a_second_reading_is_not_made_in_company(desk):
    desk.shows(last=("u1", "u2"), credits_used=None)
    shown = desk.api.state_of
    desk.api.state_of = lambda task: shown(task) if task == "t" else Task(task, TaskState.PROCESSING)
    async with desk.run():
        poller, now = desk.collector._poller, desk.clock.now()
        watching = [asyncio.create_task(poller.watch(f"other{n}", now)) for n in range(120)]
        await desk.collector.collect("c-1", desk.clock.now())
        await desk.collector.read_on("c-1", desk.fetch)
        for task in watching:
            task.cancel()
    first, second = (ids for _, ids in desk.api.reads if "t" in ids)
    assert len(first) > 1
    assert second == ("t",)
    assert desk.ledger.facts("c-1").stage is Stage.COMPLETED


async def test_without_a_bill_nothing_shown_is_never_a_shortfall(desk):
    desk.shows(last=(), credits_used=None)
    assert (await desk.collect()).stage is Stage.UNSHOWN


async def test_a_charge_that_is_told_later_ends_the_reading_on(desk):
    def state(task):
        late = desk.clock.monotonic() - desk.api.reads[0][0] > 4
        return Task(task, TaskState.COMPLETED, (), PRICE * 0 if late else None, word="completed")

    desk.api.state_of = state
    facts = await desk.collect()
    assert facts.stage is Stage.ARCHIVED
    assert money_of(facts).charged == 0


async def test_a_charge_that_is_not_settled_is_no_bill(desk):
    def state(task):
        late = desk.clock.monotonic() - desk.api.reads[0][0] > 4
        if late:
            return completed(task, *FOUR)
        return Task(task, TaskState.COMPLETED, (), PRICE * 0, "reserved", word="completed")

    desk.api.state_of = state
    assert (await desk.collect()).latest.links == FOUR


@pytest.mark.parametrize("answer", [None, Task("t", TaskState.PROCESSING), Task("t", TaskState.FAILED, error_code="x")])
async def test_a_task_that_was_completed_is_not_given_up_for_what_it_says_later(desk, answer):
    steps = iter([Task("t", TaskState.COMPLETED, ("u1",), PRICE * 4), answer, answer])
    desk.api.state_of = lambda task: next(steps, completed(task, *FOUR))
    facts = await desk.collect()
    assert (facts.stage, facts.latest.links) == (Stage.COMPLETED, FOUR)


async def test_a_reading_that_fails_is_made_again(desk):
    desk.shows((4, ()))
    desk.api.read_faults = [ReadFailed("503")] * 3
    assert (await desk.collect()).latest.links == FOUR


async def test_two_runs_that_read_on_write_each_link_down_once(desk):
    desk.shows((8, ("u1", "u2")), last=("u4", "u3", "u2", "u1"))
    async with desk.run():
        one, other = desk.collector, Collector(await a_ledger(desk.store, desk.clock, "run-b"), desk.collector._poller)
        await one.collect("c-1", desk.clock.now())
        await other._ledger.load()
        await asyncio.gather(one.read_on("c-1", desk.fetch), other.read_on("c-1", desk.fetch))
    facts = (await a_ledger(desk.store, desk.clock)).facts("c-1")
    assert facts.latest.links == ("u1", "u2", "u4", "u3")
    assert len(facts.latest.completions) == 2


async def test_an_interrupted_run_does_not_wait_for_what_is_not_shown(clock):
    api, store = ScriptedApi(clock), MemoryStore()
    api.state_of = lambda task: Task(task, TaskState.COMPLETED, (), PRICE * 2, word="completed")
    world = a_world(store, clock, api)
    run = await Run.start(world, await look_at(world, FakeSource([a_row(variants=2)])))
    working = asyncio.create_task(run.work())
    while not api.reads:
        await clock.sleep(1)
    run.interrupt()
    interrupted = clock.monotonic()
    await working
    result = await run.finish()
    assert clock.monotonic() - interrupted <= 21
    assert result.exit_code == 130
    assert result.published.manifest["totals"]["open"] == 2


async def test_calls_that_wait_for_their_results_take_no_place_of_others(clock):
    api, store = ScriptedApi(clock), MemoryStore()
    first = {}

    def state(task):
        first.setdefault(task, clock.monotonic())
        late = clock.monotonic() - first[task] > 200
        return (
            completed(task, f"https://results.example/{task}/0")
            if late
            else Task(task, TaskState.COMPLETED, (), PRICE, word="completed")
        )

    api.state_of = state
    world = a_world(store, clock, api)
    assessment = await look_at(world, FakeSource([a_row(f"r{n}") for n in range(20)]), in_flight=2)
    result = await run_all(world, assessment)
    assert result.exit_code == 0
    assert len(api.posts) == 20
    assert max(post.at for post in api.posts) < 200


async def test_a_charge_of_nothing_that_one_reading_told_is_not_the_charge(desk_of_a_lost_answer):
    desk = desk_of_a_lost_answer

    def state(task):
        is_first = len(desk.api.reads) == 1
        links, used = ((), Decimal(0)) if is_first else (FOUR, None)
        return Task(task, TaskState.COMPLETED, links, credits_used=used, word="completed")

    desk.api.state_of = state
    facts = await desk.collect()
    assert (facts.stage, facts.latest.links) == (Stage.COMPLETED, FOUR)
    assert money_of(facts).committed == PRICE * 4


async def test_a_charge_that_is_told_after_the_links_is_written_down_while_these_are_fetched(desk):
    heard_at = {}

    def recorded(call):
        told = [fact.credits for fact in desk.ledger.facts(call).latest.completions.values()]
        heard_at.setdefault(told[-1], desk.clock.monotonic())

    async def fetch(_call):
        await desk.clock.sleep(1000 * desk.interval_s)
        desk.fetched.append("whole")

    def state(task):
        return Task(task, TaskState.COMPLETED, ("u1",), credits_used=PRICE * 40 if len(desk.api.reads) > 1 else None)

    desk.api.state_of = state
    async with desk.run():
        await desk.collector.collect("c-1", desk.clock.now())
        await desk.collector.read_on("c-1", fetch, recorded)
    assert list(heard_at) == [PRICE * 4, PRICE * 40]
    assert heard_at[PRICE * 40] - heard_at[PRICE * 4] < 100 * desk.interval_s
    assert desk.fetched == ["whole"]


async def test_a_task_is_settled_with_the_charge_that_it_tells_last_and_not_before_it_shows_all(desk):
    def state(task):
        is_first = len(desk.api.reads) == 1
        return Task(task, TaskState.COMPLETED, ("u1",) if is_first else FOUR, None if is_first else PRICE * 3)

    desk.api.state_of = state
    async with desk.run():
        await desk.collector.collect("c-1", desk.clock.now())
        assert desk.ledger.facts("c-1").latest.settled is None
    assert (await desk.collect()).latest.settled.credits == PRICE * 3


async def test_images_that_another_run_sees_after_a_bill_of_nothing_are_kept_and_their_charge_is_estimated(desk):
    desk.shows(last=(), credits_used=Decimal(0))
    async with desk.run():
        other = Collector(await a_ledger(desk.store, desk.clock, "run-b"), desk.collector._poller)
        await desk.collector.collect("c-1", desk.clock.now())
        await desk.collector.read_on("c-1", desk.fetch)
        assert desk.ledger.facts("c-1").stage is Stage.ARCHIVED
        desk.shows(credits_used=None)
        await other.collect("c-1", desk.clock.now())
    facts = (await a_ledger(desk.store, desk.clock)).facts("c-1")
    assert (facts.stage, facts.latest.links) == (Stage.COMPLETED, FOUR)
    latest = facts.latest.completions[max(facts.latest.completions)]
    assert (latest.credits, latest.told) == (PRICE * 4, False)


async def test_an_api_that_goes_away_for_good_keeps_nobody_from_fetching_what_it_has_shown(desk):
    desk.shows(last=("u1",))

    async def fetch(_call):
        await desk.clock.sleep(1000 * desk.interval_s)
        desk.fetched.append("whole")

    async with desk.run():
        await desk.collector.collect("c-1", desk.clock.now())
        desk.api.read_faults = [ReadFailed("503")] * 10_000
        with pytest.raises(Unreachable):
            await desk.collector.read_on("c-1", fetch)
    assert desk.fetched == ["whole"]
    assert desk.ledger.facts("c-1").latest.held is None


async def test_nothing_is_fetched_any_more_once_a_task_is_no_longer_read_on(desk):
    desk.shows(last=("u1",))
    begun = asyncio.Event()

    async def fetch(_call):
        begun.set()
        await desk.clock.sleep(10)
        desk.fetched.append("whole")

    async with desk.run():
        await desk.collector.collect("c-1", desk.clock.now())
        reading = asyncio.create_task(desk.collector.read_on("c-1", fetch))
        await begun.wait()
        reading.cancel()
        await desk.clock.sleep(20)
    assert reading.cancelled()
    assert desk.fetched == []


@pytest.mark.parametrize("is_first_broken", [True, False])
async def test_a_fetch_that_fails_ends_the_reading_with_its_error_and_nothing_is_fetched_after_it(
    desk, is_first_broken
):
    desk.shows((8 * desk.interval_s, ("u1",)))
    begun = []

    async def fetch(_call):
        begun.append(len(begun))
        if (len(begun) == 1) is is_first_broken:
            raise StoreUnavailable("the archive is away")

    async with desk.run():
        await desk.collector.collect("c-1", desk.clock.now())
        with pytest.raises(StoreUnavailable):
            await desk.collector.read_on("c-1", fetch)
    assert len(begun) == (1 if is_first_broken else 2)
