import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from random import Random

import pytest
from support.fakes import PRICE, ManualClock, MemoryStore, ScriptedApi, a_ledger, an_intent, completed, until

from adloom.collect.collector import Collector
from adloom.collect.completion import Unreachable
from adloom.collect.poller import ABSENT_INTERVALS, PATIENCE_INTERVALS, STUCK_INTERVALS, TASKS_PER_READ, Poller
from adloom.core.errors import AccountStopped, ReadFailed
from adloom.core.exits import StopReason
from adloom.core.facts import Stage, money_of
from adloom.core.task import Task, TaskState
from adloom.guards.gate import Gate

INTERVAL_S = 3.0


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def api(clock):
    return ScriptedApi(clock)


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
async def poller(api, gate, clock) -> AsyncIterator[Poller]:
    poller = Poller(api=api, gate=gate, clock=clock, random=Random(1), interval_s=INTERVAL_S)
    async with running(poller):
        yield poller


@asynccontextmanager
async def running(poller: Poller) -> AsyncIterator[None]:
    loop = asyncio.create_task(poller.run())
    try:
        yield
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


def processing(task_id: str) -> Task:
    return Task(task_id, TaskState.PROCESSING, word="processing")


def failed(task_id: str, code: str = "service_error", **more: object) -> Task:
    return Task(task_id, TaskState.FAILED, error_code=code, word="failed", **more)


def ends_after(seconds: float, clock: ManualClock):
    start = clock.monotonic()
    return lambda task: completed(task, "u") if clock.monotonic() - start >= seconds else processing(task)


async def test_the_first_poll_of_a_new_task_comes_after_one_interval(poller, api, clock):
    task = await poller.watch("t", clock.now())
    assert task.state is TaskState.COMPLETED
    assert [at for at, _ in api.reads] == [INTERVAL_S]


async def test_a_task_of_an_earlier_run_is_read_at_once(poller, api, clock):
    await poller.watch("t", clock.now() - 100)
    assert [at for at, _ in api.reads] == [0]


async def test_a_task_is_asked_about_until_it_ends(poller, api, clock):
    api.state_of = ends_after(120, clock)
    assert (await poller.watch("t", clock.now())).results == ("u",)
    waits = [later - earlier for (earlier, _), (later, _) in zip(api.reads, api.reads[1:], strict=False)]
    assert all(0.8 * 0.6 * INTERVAL_S <= wait <= 1.2 * 5 * INTERVAL_S for wait in waits)


KIND = ("model", "2K", 5)


async def test_tasks_of_a_kind_wait_for_what_a_few_of_them_tell(poller, api, clock):
    api.state_of = ends_after(10, clock)
    await asyncio.gather(*(poller.watch(f"t{n}", clock.now(), KIND) for n in range(40)))
    readings = Counter(task for _, ids in api.reads for task in ids)
    assert sorted(readings.values())[:37] == [1] * 37
    assert clock.elapsed < 10 + INTERVAL_S


async def test_a_later_task_of_a_kind_is_read_when_most_of_its_kind_had_ended(poller, api, clock):
    api.state_of = ends_after(10, clock)
    await poller.watch("t1", clock.now(), KIND)
    took_s, api.reads = clock.elapsed, []
    api.state_of = ends_after(10, clock)
    await poller.watch("t2", clock.now(), KIND)
    assert api.reads[0][0] - took_s > 2 * INTERVAL_S
    assert len(api.reads) <= 2


async def test_failures_tell_nothing_of_how_long_others_take_and_one_more_goes_ahead(poller, api, clock):
    fails = {"t0", "t1", "t2"}
    slow = ends_after(10, clock)
    api.state_of = lambda task: failed(task) if task in fails else slow(task)
    ended = await asyncio.gather(*(poller.watch(f"t{n}", clock.now(), KIND) for n in range(8)))
    assert [task.state for task in ended] == [TaskState.FAILED] * 3 + [TaskState.COMPLETED] * 5
    assert clock.elapsed < 10 + 1.5 * INTERVAL_S


async def test_where_no_scout_ends_the_others_are_read_all_the_same(poller, api, clock):
    api.state_of = lambda task: processing(task) if task in {"t0", "t1", "t2"} else completed(task, "u")
    watching = [asyncio.create_task(poller.watch(f"t{n}", clock.now(), KIND)) for n in range(6)]
    assert [task.task_id for task in await asyncio.gather(*watching[3:])] == ["t3", "t4", "t5"]
    for scout in watching[:3]:
        scout.cancel()


@pytest.mark.parametrize("heard_at_s", [1, 2])
async def test_who_hears_of_an_end_reads_at_once_and_believes_the_reading_alone(poller, api, clock, heard_at_s):
    api.state_of = ends_after(2, clock)
    watching = asyncio.create_task(poller.watch("t", clock.now(), KIND))
    await asyncio.sleep(0)
    clock.advance(heard_at_s)
    poller.hear("t")
    poller.hear("a task that nobody waits for")
    assert (await watching).state is TaskState.COMPLETED
    assert api.reads[0][0] == heard_at_s
    assert clock.elapsed >= 2


async def test_many_tasks_are_read_together_fifty_at_a_time(poller, api, clock):
    api.state_of = ends_after(30, clock)
    tasks = await asyncio.gather(*(poller.watch(f"t{n}", clock.now()) for n in range(120)))
    assert {task.task_id for task in tasks} == {f"t{n}" for n in range(120)}
    assert [len(ids) for _, ids in api.reads[:3]] == [50, 50, 20]
    assert max(len(ids) for _, ids in api.reads) == TASKS_PER_READ == 50
    assert all(len(set(ids)) == len(ids) for _, ids in api.reads)
    assert len(api.reads) < 120


async def test_each_watcher_gets_its_own_task(poller, api, clock):
    api.state_of = lambda task: completed(task, f"link-of-{task}")
    tasks = await asyncio.gather(*(poller.watch(f"t{n}", clock.now()) for n in range(7)))
    assert [task.results for task in tasks] == [(f"link-of-t{n}",) for n in range(7)]


async def test_a_read_that_fails_is_tried_again(poller, api, clock):
    api.read_faults = [ReadFailed("503"), ReadFailed("timeout"), ReadFailed("503")]
    assert (await poller.watch("t", clock.now())).state is TaskState.COMPLETED
    assert len(api.reads) == 4
    waits = [later - earlier for (earlier, _), (later, _) in zip(api.reads, api.reads[1:], strict=False)]
    assert min(waits) >= INTERVAL_S


async def test_a_servers_advice_is_heeded_between_reads(poller, api, clock):
    api.read_faults = [ReadFailed("429", retry_after_s=42)]
    await poller.watch("t", clock.now())
    assert [at for at, _ in api.reads] == [INTERVAL_S, INTERVAL_S + 42]


async def test_what_a_failed_read_did_bring_counts(poller, api, clock):
    fault = ReadFailed("one of two failed")
    fault.read = {"t1": completed("t1", "u")}
    api.read_faults = [fault]
    ended = await asyncio.gather(poller.watch("t1", clock.now()), poller.watch("t2", clock.now()))
    assert [task.task_id for task in ended] == ["t1", "t2"]
    assert [set(ids) for _, ids in api.reads] == [{"t1", "t2"}, {"t2"}]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ReadFailed("503", remedy="Wait."), StopReason.OUTAGE),
        (AccountStopped("401", remedy="New key."), StopReason.ACCOUNT),
    ],
)
async def test_after_long_silence_the_api_counts_as_out_of_reach(poller, api, gate, clock, error, reason):
    api.read_faults = [error] * 10_000
    watching = [asyncio.create_task(poller.watch(f"t{n}", clock.now())) for n in range(60)]
    ended = await asyncio.gather(*watching, return_exceptions=True)
    assert {type(end) for end in ended} == {Unreachable}
    assert [(stop.reason, stop.remedy) for stop in gate.stops] == [(reason, error.remedy)]
    assert PATIENCE_INTERVALS * INTERVAL_S <= clock.elapsed < 2 * PATIENCE_INTERVALS * INTERVAL_S


async def test_one_good_read_starts_the_patience_anew(poller, api, gate, clock):
    api.state_of = processing
    watching = asyncio.create_task(poller.watch("t", clock.now()))
    for _ in range(3):
        api.read_faults = [ReadFailed("503")] * 10_000
        silent_until = clock.elapsed + 0.6 * PATIENCE_INTERVALS * INTERVAL_S
        await until(lambda end=silent_until: clock.elapsed >= end)
        api.read_faults = []
        reads = len(api.reads)
        await until(lambda reads=reads: len(api.reads) > reads + 1)
    assert gate.stops == ()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def test_a_surprise_in_the_reading_does_not_leave_its_watchers_waiting_for_ever(api, gate, clock):
    poller = Poller(api=api, gate=gate, clock=clock, random=Random(1), interval_s=INTERVAL_S)
    api.read_faults = [RuntimeError("nobody expected this")]
    async with running(poller):
        with pytest.raises((Unreachable, RuntimeError)):
            await asyncio.wait_for(poller.watch("t", clock.now()), 60)


async def test_a_task_that_the_api_does_not_know_is_given_up_after_a_while_only(poller, api, clock):
    api.state_of = lambda _: None
    assert await poller.watch("t", clock.now()) is None
    waited = clock.elapsed - INTERVAL_S
    assert ABSENT_INTERVALS * INTERVAL_S <= waited <= (ABSENT_INTERVALS + 25) * INTERVAL_S


async def test_a_task_that_appears_late_is_collected(poller, api, clock):
    api.state_of = lambda task: None if clock.elapsed < 300 else completed(task, "u")
    assert (await poller.watch("t", clock.now())).results == ("u",)


async def test_being_unknown_now_and_then_does_not_add_up(poller, api, clock):
    api.state_of = lambda task: (
        completed(task, "u") if clock.elapsed > 2000 else None if int(clock.elapsed / 200) % 2 else processing(task)
    )
    assert (await poller.watch("t", clock.now())).results == ("u",)


@pytest.mark.parametrize("state", [TaskState.PROCESSING, TaskState.PENDING, TaskState.OTHER])
async def test_a_task_that_does_not_end_is_given_up_after_two_hours(poller, api, clock, state):
    api.state_of = lambda task: Task(task, state, word=str(state))
    assert await poller.watch("t", clock.now()) is None
    assert STUCK_INTERVALS * INTERVAL_S <= clock.elapsed <= (STUCK_INTERVALS + 130) * INTERVAL_S


async def test_a_state_in_a_word_that_nobody_knows_is_said_and_no_other_is(poller, api, clock, caplog):
    words = {"t": ["queued", "marinating", "processing"], "u": ["processing"]}

    def next_word(task: str) -> Task:
        if not words[task]:
            return completed(task, "u")
        word = words[task].pop(0)
        return Task(task, TaskState.PROCESSING if word == "processing" else TaskState.OTHER, word=word)

    api.state_of = next_word
    await asyncio.gather(*(poller.watch(task, clock.now()) for task in words))
    assert [text for text in caplog.messages if "state" in text] == [
        "task t has an unknown state: 'queued'",
        "task t has an unknown state: 'marinating'",
    ]


async def test_a_stuck_task_is_looked_at_again_by_a_later_run(poller, api, clock):
    long_ago = clock.now() - 3 * 3600
    api.states["stuck"] = processing("stuck")
    assert await poller.watch("stuck", long_ago) is None
    assert (await poller.watch("ended", long_ago)).state is TaskState.COMPLETED
    assert len(api.reads) == 2


async def test_a_watcher_that_left_is_not_asked_for_any_more(poller, api, clock):
    api.state_of = processing
    watching = asyncio.create_task(poller.watch("t", clock.now()))
    await until(lambda: bool(api.reads))
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    reads = len(api.reads)
    await clock.sleep(600)
    assert len(api.reads) == reads


async def test_a_new_task_does_not_wait_for_the_next_poll_of_an_old_one(poller, api, clock):
    old = clock.now() - 7000
    api.states["old"] = processing("old")
    watching = asyncio.create_task(poller.watch("old", old))
    await until(lambda: bool(api.reads))
    start = clock.elapsed
    await poller.watch("new", clock.now())
    assert clock.elapsed - start == pytest.approx(INTERVAL_S)
    watching.cancel()


class CliRig:
    """A ledger with one accepted call, and the collector that sees it through."""

    def __init__(self, ledger, poller, clock):
        self.ledger, self.clock = ledger, clock
        self.collector = Collector(ledger, poller)
        self.fetched = []

    async def collect(self):
        """The call as it is once its task is completed and has shown all that it will show now."""
        await self.collector.collect("c-1", self.clock.now())
        if self.ledger.facts("c-1").stage in (Stage.FAILING, Stage.UNSHOWN):
            await self.collector.read_on("c-1", self.fetch)
        return self.ledger.facts("c-1")

    async def fetch(self, call):
        self.fetched.append(self.ledger.facts(call).latest.links)


@pytest.fixture
async def desk(poller, clock):
    ledger = await a_ledger(MemoryStore(), clock)
    await ledger.decide(
        "c-1", "a1-intent", {k: v for k, v in an_intent(3).items() if k not in ("schema", "time", "writer")}
    )
    await ledger.accept("c-1", 1, "t", "4.59")
    return CliRig(ledger, poller, clock)


async def test_a_completed_task_fixes_its_links_and_its_charge(desk, api):
    api.states["t"] = completed("t", "u1", "u2", "u3", credits_used=Decimal("4.5"))
    facts = await desk.collect()
    assert facts.stage is Stage.COMPLETED
    assert facts.latest.links == ("u1", "u2", "u3")
    assert money_of(facts).charged == Decimal("4.5")
    assert facts.latest.settled.outcome == "charged"


async def test_a_repeated_link_counts_once(desk, api):
    api.states["t"] = completed("t", "u1", "u2", "u1")
    facts = await desk.collect()
    assert facts.latest.links == ("u1", "u2")
    assert facts.latest.completed.reported == 3


@pytest.mark.parametrize(("links", "charge"), [(("u1",), "1.53"), (("u1", "u2", "u3"), "4.59"), ((), "4.59")])
async def test_an_untold_charge_is_the_reserves_share_of_what_was_made_or_all_of_it_while_nothing_tells(
    desk, api, links, charge
):
    api.states["t"] = Task("t", TaskState.COMPLETED, links, None, word="completed")
    facts = await desk.collect()
    assert money_of(facts).charged == Decimal(charge)
    assert facts.latest.completed.told is False


async def test_the_first_reading_of_the_links_stays(desk, api):
    api.states["t"] = completed("t", "u1", "u2")
    await desk.collect()
    api.states["t"] = completed("t", "u2", "u1")
    assert (await desk.collect()).latest.links == ("u1", "u2")


async def test_a_transient_failure_leaves_the_call_free_to_be_tried_again(desk, api):
    api.states["t"] = failed("t", charge_status="released")
    facts = await desk.collect()
    assert facts.stage is Stage.UNBOUGHT
    assert facts.next_attempt == 2
    assert money_of(facts).committed == 0
    assert "service_error" in facts.latest.failed.reason


@pytest.mark.parametrize(
    ("code", "stage"),
    [("content_policy_violation", Stage.REFUSED), ("invalid_parameters", Stage.FAILED), ("", Stage.FAILED)],
)
async def test_other_failures_are_final(desk, api, code, stage):
    api.states["t"] = failed("t", code, charge_status="released", error_message="why")
    facts = await desk.collect()
    assert facts.stage is stage
    assert "why" in facts.latest.settled.reason
    assert "t" in facts.latest.settled.reason


@pytest.mark.parametrize(
    ("task", "charged"),
    [
        (failed("t", charge_status="charged", credits_used=Decimal("4.59")), "4.59"),
        (failed("t", charge_status="reserved"), "4.59"),
        (Task("t", TaskState.CANCELLED, word="cancelled"), "4.59"),
        (failed("t", credits_used=Decimal("1.53")), "1.53"),
    ],
    ids=["charged", "never given back", "cancelled", "told by its usage alone"],
)
async def test_a_task_without_images_whose_charge_is_not_back_is_spent_and_not_bought_again(desk, api, task, charged):
    api.states["t"] = task
    facts = await desk.collect()
    assert facts.stage is Stage.FAILED
    assert money_of(facts).charged == Decimal(charged)


async def test_a_cancelled_task_whose_charge_came_back_is_free_and_final(desk, api):
    api.states["t"] = Task("t", TaskState.CANCELLED, charge_status="released", word="cancelled")
    facts = await desk.collect()
    assert facts.stage is Stage.FAILED
    assert money_of(facts).committed == 0


async def test_a_task_that_cannot_be_followed_is_held_with_its_reserve(desk, api):
    api.state_of = lambda _: None
    facts = await desk.collect()
    assert facts.stage is Stage.ACCEPTED
    assert "t" in facts.latest.held.reason
    assert money_of(facts).reserved == Decimal("4.59")


async def test_a_held_task_that_ends_after_all_is_collected(desk, api):
    api.state_of = lambda _: None
    await desk.collect()
    api.state_of = lambda task: completed(task, "u1", "u2", "u3")
    assert (await desk.collect()).stage is Stage.COMPLETED


async def test_of_two_tasks_the_first_one_is_followed(desk, api):
    desk.clock.advance(1)
    await desk.ledger.accept("c-1", 1, "a-second-one", "4.59")
    await desk.collect()
    assert {task for _, ids in api.reads for task in ids} == {"t"}


async def test_nothing_is_written_while_the_task_cannot_be_read(desk, api):
    api.read_faults = [ReadFailed("503")] * 10_000
    with pytest.raises(Unreachable):
        await desk.collect()
    assert desk.ledger.facts("c-1").stage is Stage.ACCEPTED
    assert desk.ledger.facts("c-1").latest.held is None


async def test_a_third_transient_failure_is_final(desk, api):
    for attempt in (2, 3):
        await desk.ledger.decide(
            "c-1", f"a{attempt - 1}-settled", {"outcome": "free", "kind": "task", "final": False, "reason": "r"}
        )
        intent = {k: v for k, v in an_intent(3).items() if k not in ("schema", "time", "writer")}
        await desk.ledger.decide("c-1", f"a{attempt}-intent", intent)
        await desk.ledger.accept("c-1", attempt, f"t{attempt}", str(3 * PRICE))
    api.states["t3"] = failed("t3", charge_status="released")
    assert (await desk.collect()).stage is Stage.FAILED
