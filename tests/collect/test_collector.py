"""One call's task from its acceptance to a fact: completed, failed or held."""

import asyncio
from decimal import Decimal

import pytest
from support.fakes import PRICE, MemoryStore, a_ledger, an_intent, completed
from support.polling import INTERVAL_S, failed

from adloom.collect.collector import Collector
from adloom.collect.completion import Unreachable
from adloom.core.errors import ReadFailed
from adloom.core.facts import Stage, money_of
from adloom.core.results import second_reading_after_s
from adloom.core.task import Task, TaskState

GAP_S = second_reading_after_s(INTERVAL_S)
STAMP = ("schema", "time", "writer")


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
    await ledger.decide("c-1", "a1-intent", {k: v for k, v in an_intent(3).items() if k not in STAMP})
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
    assert (facts.stage, facts.latest.settled.final) == (Stage.FAILED, True)
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


def in_turn(*tasks: Task | None):
    """A task that says one thing after the other, the last of them from then on."""
    left = list(tasks)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


RUNS = Task("t", TaskState.PROCESSING, word="processing")


@pytest.mark.parametrize("then", [(completed("t", "u1", credits_used=3 * PRICE),), (failed("t", "unsaid"), RUNS)])
async def test_a_failed_task_that_runs_again_is_read_until_it_shows_all_that_it_is_billed_for(desk, api, then):
    api.state_of = in_turn(failed("t"), RUNS, RUNS, *then, completed("t", "u1", "u2", "u3", credits_used=3 * PRICE))
    facts = await desk.collect()
    assert (facts.stage, facts.latest.links) == (Stage.COMPLETED, ("u1", "u2", "u3"))


async def test_a_failed_task_that_runs_again_and_does_not_end_is_held_once_it_has_had_its_time(desk, api):
    def state(_task: str) -> Task:
        assert desk.clock.elapsed < 3 * 3600
        return failed("t") if desk.clock.elapsed < 5 else RUNS

    api.state_of = state
    facts = await desk.collect()
    assert facts.stage is Stage.FAILING
    assert "has not ended" in facts.latest.held.reason


async def test_tasks_of_one_model_quality_and_number_of_images_tell_when_the_next_one_is_to_be_read(desk, api):
    """However many references they have."""
    api.state_of = lambda task: completed(task, "u1", "u2", "u3") if desk.clock.elapsed >= 10 else RUNS
    await desk.collect()
    first_reading_s = {}
    for call, images, changes in [("c-2", 3, {"references": 4}), ("c-3", 2, {}), ("c-4", 3, {"quality": "2K"})]:
        intent = {**an_intent(images), **changes}
        await desk.ledger.decide(call, "a1-intent", {k: v for k, v in intent.items() if k not in STAMP})
        await desk.ledger.accept(call, 1, call, str(images * PRICE))
        began = desk.clock.elapsed
        await desk.collector.collect(call, desk.clock.now())
        first_reading_s[call] = api.reads[-1][0] - began
    assert first_reading_s["c-2"] > 2 * INTERVAL_S
    assert first_reading_s["c-3"] == first_reading_s["c-4"] == INTERVAL_S


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


async def test_a_failure_counts_at_a_second_reading_of_the_task_alone(desk, api, poller):
    api.state_of = lambda task: Task(task, TaskState.PROCESSING)
    api.states["t"] = failed("t", charge_status="released")
    watching = [asyncio.create_task(poller.watch(f"other{n}", desk.clock.now())) for n in range(120)]
    await desk.collect()
    for task in watching:
        task.cancel()
    first, *others = (ids for _, ids in api.reads if "t" in ids)
    assert len(first) > 1
    assert others == [("t",)]


@pytest.mark.parametrize("waited_s", [0, GAP_S - 0.5])
async def test_a_failed_task_is_read_again_as_soon_as_its_failure_may_count(desk, api, waited_s):
    api.states["t"] = failed("t", charge_status="released")
    await desk.collector.collect("c-1", desk.clock.now())
    desk.clock.advance(waited_s)
    await desk.collector.read_on("c-1", desk.fetch)
    first, second = (at for at, _ in api.reads)
    assert second - first == GAP_S


async def test_a_failure_that_a_former_run_has_read_is_read_at_once_and_then_a_second_time(desk, api, poller):
    api.states["t"] = failed("t", charge_status="released")
    await desk.collector.collect("c-1", desk.clock.now())
    desk.clock.advance(1000)
    api.reads.clear()
    began = desk.clock.monotonic()
    await Collector(desk.ledger, poller).read_on("c-1", desk.fetch)
    assert [at - began for at, _ in api.reads] == [0, GAP_S]


@pytest.mark.parametrize("meanwhile", [None, Task("t", TaskState.PROCESSING)], ids=["unknown", "running for ever"])
async def test_a_failed_task_that_was_held_meanwhile_is_read_twice_anew(desk, api, meanwhile):
    api.states["t"] = failed("t", charge_status="released")
    await desk.collector.collect("c-1", desk.clock.now())
    api.states["t"] = meanwhile
    await desk.collector.read_on("c-1", desk.fetch)
    assert desk.ledger.facts("c-1").latest.is_held
    api.states["t"] = failed("t", charge_status="released")
    api.reads.clear()
    began = desk.clock.monotonic()
    await desk.collector.read_on("c-1", desk.fetch)
    assert [at - began for at, _ in api.reads] == [0, GAP_S]
    assert desk.ledger.facts("c-1").stage is Stage.UNBOUGHT


async def test_a_charge_that_does_not_come_back_is_looked_for_less_and_less_often(desk, api):
    api.states["t"] = failed("t", charge_status="reserved")
    await desk.collect()
    _, second, *later = (at for at, _ in api.reads)
    waits = [one - before for before, one in zip([second, *later], later, strict=False)]
    paces = [min(5, 1.5**number) for number in range(1, len(waits) + 1)]
    assert [wait / INTERVAL_S for wait in waits] == pytest.approx(paces, rel=0.21)
    assert len(waits) > 3


async def test_a_third_transient_failure_is_final(desk, api):
    for attempt in (2, 3):
        await desk.ledger.decide(
            "c-1", f"a{attempt - 1}-settled", {"outcome": "free", "kind": "task", "final": False, "reason": "r"}
        )
        intent = {k: v for k, v in an_intent(3).items() if k not in STAMP}
        await desk.ledger.decide("c-1", f"a{attempt}-intent", intent)
        await desk.ledger.accept("c-1", attempt, f"t{attempt}", str(3 * PRICE))
    api.states["t3"] = failed("t3", charge_status="released")
    assert (await desk.collect()).stage is Stage.FAILED
