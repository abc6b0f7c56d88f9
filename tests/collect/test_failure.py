"""Failed tasks, read again before they count: on a clock that is moved."""

import asyncio
import json

import pytest
from support.fakes import (
    EDITION,
    PRICE,
    FakeSource,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_ledger,
    a_row,
    a_world,
    completed,
    look_at,
    run_all,
)

from adloom.collect.failure import RELEASE_INTERVALS, SILENT_INTERVALS
from adloom.core.campaign import Grouping
from adloom.core.facts import Stage
from adloom.core.outcomes import Status
from adloom.core.task import Task, TaskState
from adloom.ledger.edition import utc
from adloom.run.run import Result, Run
from adloom.world import DEFAULT_INTERVAL_S

GAP_S = 3 * DEFAULT_INTERVAL_S
NEXT_ATTEMPT_S = 20 * DEFAULT_INTERVAL_S
DAY_S = 24 * 3600
RELEASED = "released"


def failed(task_id: str, charge: str = RELEASED, code: str = "service_error", **more: object) -> Task:
    return Task(task_id, TaskState.FAILED, charge_status=charge, error_code=code, word="failed", **more)


class Street:
    """An archive, a clock and an API whose tasks are told what to say at which age, and runs of one row."""

    def __init__(self) -> None:
        self.clock, self.store = ManualClock(), MemoryStore()
        self.api = ScriptedApi(self.clock)
        self.ages: dict[str, float] = {}
        self.says = {}
        self.api.state_of = self._state

    def _state(self, task: str) -> Task | None:
        """What a task says, by the seconds since it was read first; one that nobody told is completed."""
        age_s = self.clock.monotonic() - self.ages.setdefault(task, self.clock.monotonic())
        for until_s, what in self.says.get(task, ()):
            if age_s < until_s:
                return what
        return completed(task, f"https://results.example/{task}/0", f"https://results.example/{task}/1")

    async def run(self, **wish: object) -> Result:
        world = a_world(self.store, self.clock, self.api)
        return await run_all(world, await look_at(world, FakeSource([a_row(variants=2)]), **wish))

    def reads_of(self, task: str) -> list[float]:
        return [at for at, ids in self.api.reads if task in ids]

    async def facts(self):
        ledger = await a_ledger(self.store, self.clock)
        return [ledger.facts(call) for call in ledger.calls()]


@pytest.fixture
def street():
    return Street()


FOREVER = 10**9


@pytest.mark.parametrize("seconds", [1, GAP_S - 1])
@pytest.mark.parametrize("code", ["service_error", "content_policy_violation", "invalid_parameters", ""])
async def test_a_failure_that_is_none_at_the_second_reading_buys_nothing(street, seconds, code):
    street.says["task-001"] = [(seconds, failed("task-001", code=code))]
    result = await street.run()
    assert result.exit_code == 0
    assert len(street.api.posts) == 1
    first, second = street.reads_of("task-001")
    assert second - first >= GAP_S


async def test_a_failure_is_read_twice_before_anything_is_bought_again(street):
    street.says["task-001"] = [(FOREVER, failed("task-001"))]
    result = await street.run()
    assert result.exit_code == 0
    assert len(street.api.posts) == 2
    before = [at for at in street.reads_of("task-001") if at <= street.api.posts[1].at]
    assert before[1] - before[0] >= GAP_S
    assert before[-1] == street.api.posts[1].at  # and once more, right before


async def test_a_task_that_completes_while_the_next_attempt_is_waited_for_is_adopted(street):
    street.says["task-001"] = [(NEXT_ATTEMPT_S - 5, failed("task-001"))]
    result = await street.run()
    assert result.exit_code == 0
    assert len(street.api.posts) == 1
    assert result.published.manifest["totals"]["credits_charged"] == float(2 * PRICE)
    (facts,) = await street.facts()
    assert facts.latest.number == 1


async def test_a_task_that_runs_again_is_waited_for(street):
    street.says["task-001"] = [(1, failed("task-001")), (100, Task("task-001", TaskState.PROCESSING))]
    assert (await street.run()).exit_code == 0
    assert len(street.api.posts) == 1


async def test_nothing_is_bought_while_a_former_task_runs_again(street):
    running = Task("task-001", TaskState.PROCESSING, word="processing")
    street.says["task-001"] = [(GAP_S + 5, failed("task-001")), (FOREVER, running)]
    result = await street.run()
    assert len(street.api.posts) == 1
    assert result.published.asked[Status.OPEN] == 2
    assert result.exit_code == 7
    (facts,) = await street.facts()
    assert facts.stage is Stage.UNBOUGHT  # what was decided and not sent waits for nothing, and reserves nothing
    sends = {key.rpartition("/")[2] for key in street.store.objects if "/a2-" in key}
    assert {"a2-intent.json", "a2-send-2.json"} <= sends  # nobody else can send it meanwhile
    assert result.published.manifest["totals"]["credits_reserved"] == 0


async def test_nothing_is_bought_while_the_api_does_not_show_a_former_task_until_a_day_is_over(street):
    """With another key, or for a while after it has failed."""
    street.says["task-001"] = [(GAP_S + 5, failed("task-001")), (FOREVER, None)]
    result = await street.run()
    assert (result.exit_code, len(street.api.posts)) == (7, 1)
    assert result.published.asked[Status.OPEN] == 2
    street.clock.advance(DAY_S)
    result = await street.run()
    assert (result.exit_code, len(street.api.posts)) == (0, 2)


async def test_what_the_api_did_not_show_for_a_while_is_adopted(street):
    street.says["task-001"] = [(GAP_S + 5, failed("task-001")), (1000, None)]
    await street.run()
    street.clock.advance(1000)
    assert (await street.run()).exit_code == 0
    assert len(street.api.posts) == 1


async def test_the_next_take_waits_for_a_former_task_that_runs_again(street):
    street.says["task-001"] = [(FOREVER, failed("task-001", code="invalid_parameters"))]
    assert (await street.run()).exit_code == 3
    street.says["task-001"] = [(FOREVER, Task("task-001", TaskState.PROCESSING, word="processing"))]
    result = await street.run(only=frozenset({Status.FAILED}))
    assert (result.exit_code, len(street.api.posts)) == (7, 1)
    street.says.clear()
    result = await street.run(only=frozenset({Status.FAILED}))
    assert (result.exit_code, len(street.api.posts)) == (0, 1)
    assert result.published.asked[Status.ARCHIVED] == 2


async def test_the_next_take_of_a_failed_task_whose_charge_is_counted_is_bought(street):
    street.says["task-001"] = [(FOREVER, failed("task-001", "charged", code="content_policy_violation"))]
    assert (await street.run()).exit_code == 3
    began = street.clock.monotonic()
    result = await street.run(only=frozenset({Status.FAILED}))
    assert (result.exit_code, len(street.api.posts)) == (0, 2)
    assert street.api.posts[1].at == began  # one look at the former task does, and needs no wait


async def test_no_next_take_is_bought_where_the_former_task_reads_completed_by_itself_alone(street):
    """In a batch it is still told to have failed; its images are fetched at the end of the same run."""
    world = a_world(street.store, street.clock, street.api)
    apart = FakeSource([a_row(variants=2, grouping=Grouping.INDEPENDENT)])
    together = FakeSource([a_row(variants=2)])
    street.api.state_of = lambda task: failed(task, code="invalid_parameters")
    assert (await run_all(world, await look_at(world, apart))).exit_code == 3
    assert len(street.api.posts) == 2

    def state(task):
        if len(street.api.reads[-1][1]) == 1:
            return completed(task, f"https://results.example/{task}/0")
        return failed(task, code="invalid_parameters")

    street.api.state_of = state
    await run_all(world, await look_at(world, together, only=frozenset({Status.FAILED})))
    assert (len(street.api.posts), len(street.store.names("assets/"))) == (2, 2)


async def test_nothing_is_bought_once_a_former_task_was_charged_after_all(street):
    late = failed("task-001", "charged", credits_used=2 * PRICE)
    street.says["task-001"] = [(GAP_S + 5, failed("task-001")), (FOREVER, late)]
    await street.run()
    assert len(street.api.posts) == 1


async def test_a_charge_may_take_a_while_to_come_back(street):
    reserved_s = (RELEASE_INTERVALS - 5) * DEFAULT_INTERVAL_S
    street.says["task-001"] = [(reserved_s, failed("task-001", "reserved")), (FOREVER, failed("task-001"))]
    result = await street.run()
    assert result.exit_code == 0
    assert len(street.api.posts) == 2


async def test_a_charge_that_never_comes_back_is_spent_and_not_bought_again(street):
    street.says["task-001"] = [(FOREVER, failed("task-001", "reserved"))]
    result = await street.run()
    assert len(street.api.posts) == 1
    assert result.published.asked[Status.FAILED] == 2
    assert result.published.manifest["totals"]["credits_charged"] == float(2 * PRICE)


async def test_a_failed_task_that_shows_its_images_and_was_charged_brings_them(street):
    links = tuple(f"https://results.example/shown/{n}" for n in range(2))
    street.says["task-001"] = [(10**9, failed("task-001", charge="", results=links, credits_used=2 * PRICE))]
    result = await street.run()
    totals = result.published.manifest["totals"]
    assert (result.exit_code, totals["archived"], totals["credits_charged"]) == (0, 2, 3.06)
    assert len(street.api.posts) == 1


async def test_a_failure_that_nothing_confirms_is_held(street):
    street.says["task-001"] = [(1, failed("task-001")), (FOREVER, None)]
    result = await street.run()
    assert result.exit_code == 6
    assert len(street.api.posts) == 1
    assert street.reads_of("task-001")[-1] >= SILENT_INTERVALS * DEFAULT_INTERVAL_S
    assert result.published.manifest["totals"]["credits_at_risk"] == float(2 * PRICE)
    del street.says["task-001"]
    assert (await street.run()).exit_code == 0


@pytest.mark.parametrize("code", ["content_policy_violation", "invalid_parameters"])
async def test_a_later_run_fetches_what_had_failed_for_good_and_is_completed_after_all(street, code):
    street.says["task-001"] = [(FOREVER, failed("task-001", code=code))]
    assert (await street.run()).exit_code == 3
    street.says.clear()
    street.clock.advance(DAY_S - 600)
    result = await street.run()
    assert result.exit_code == 0
    assert len(street.api.posts) == 1


async def test_after_a_day_nobody_looks_at_a_failed_task_any_more(street):
    street.says["task-001"] = [(FOREVER, failed("task-001", code="invalid_parameters"))]
    await street.run()
    reads = len(street.api.reads)
    street.clock.advance(DAY_S + 1)
    await street.run()
    assert len(street.api.reads) == reads


@pytest.mark.parametrize("code", ["invalid_parameters", None])
async def test_the_last_heartbeat_of_a_run_tells_until_when_its_failed_tasks_are_to_be_read(street, code):
    street.says["task-001"] = [(FOREVER, failed("task-001", code=code))] if code else []
    await street.run()
    (run,) = (name for name in street.store.names("runs/") if not name.endswith(".probe"))
    heartbeat = json.loads(street.store.objects[EDITION.key(f"runs/{run}.json")])
    (facts,) = await street.facts()
    assert heartbeat.get("failed_until") == (utc(facts.latest.failed.unix_s + DAY_S) if code else None)


async def test_failed_tasks_are_looked_at_together(street):
    world = a_world(street.store, street.clock, street.api)
    street.api.state_of = lambda task: failed(task, code="invalid_parameters")
    source = FakeSource([a_row(f"r{n}") for n in range(60)])
    await run_all(world, await look_at(world, source))
    street.api.reads.clear()
    began = street.clock.monotonic()
    await run_all(world, await look_at(world, source))
    assert sorted(len(ids) for _, ids in street.api.reads) == [10, 50]
    assert street.clock.monotonic() == began  # one reading does, so there is nothing to wait for


async def test_what_completes_after_its_next_attempt_is_kept_beside_that_ones_images(street):
    street.says["task-001"] = [(700, failed("task-001"))]
    assert (await street.run()).exit_code == 0
    assert len(street.api.posts) == 2
    street.clock.advance(3600)
    result = await street.run()
    assert result.exit_code == 0
    assert len(street.api.posts) == 2
    assert len(street.store.names("extras/")) == 2
    assert len(street.store.names("assets/")) == 2
    assert result.published.manifest["totals"]["credits_charged"] == float(4 * PRICE)
    writes = len(street.store.names("ledger/"))
    await street.run()
    assert len(street.store.names("ledger/")) == writes


async def test_what_completes_after_its_next_attempt_has_failed_fills_the_variants(street):
    street.says["task-001"] = [(700, failed("task-001"))]
    street.says["task-002"] = [(FOREVER, failed("task-002", code="invalid_parameters"))]
    assert (await street.run()).exit_code == 3
    street.clock.advance(3600)
    result = await street.run()
    assert result.exit_code == 0
    assert len(street.api.posts) == 2
    assert len(street.store.names("assets/")) == 2


async def test_an_interrupted_run_does_not_wait_for_a_second_reading(street):
    street.says["task-001"] = [(FOREVER, failed("task-001", "reserved"))]
    world = a_world(street.store, street.clock, street.api)
    run = await Run.start(world, await look_at(world, FakeSource([a_row(variants=2)])))
    working = asyncio.create_task(run.work())
    while not street.api.reads:
        await street.clock.sleep(1)
    run.interrupt()
    since = street.clock.monotonic()
    await working
    assert (await run.finish()).exit_code == 130
    assert street.clock.monotonic() - since <= 21


async def test_a_run_that_goes_on_with_a_failed_task_reads_it_twice_itself(street):
    street.says["task-001"] = [(FOREVER, failed("task-001"))]
    world = a_world(street.store, street.clock, street.api, is_gone=lambda _: True)
    run = await Run.start(world, await look_at(world, FakeSource([a_row(variants=2)])))
    working = asyncio.create_task(run.work())
    while not any("a1-failed" in key for key in street.store.objects):
        await street.clock.sleep(1)
    working.cancel()  # it dies
    await run._fulfilment.leave_the_rest()
    for task in run._background:
        task.cancel()
    street.says["task-001"] = [(1, failed("task-001", code="invalid_parameters"))]
    street.ages["task-001"] = street.clock.monotonic()
    result = await run_all(world, await look_at(world, FakeSource([a_row(variants=2)])))
    assert result.exit_code == 0
    assert len(street.api.posts) == 1


async def test_failed_calls_take_no_place_of_others_while_they_wait(street):
    street.api.state_of = lambda task: (
        failed(task, "reserved") if task == "task-001" else completed(task, f"https://results.example/{task}/0")
    )
    world = a_world(street.store, street.clock, street.api)
    assessment = await look_at(world, FakeSource([a_row(f"r{n}") for n in range(5)]), in_flight=1)
    await run_all(world, assessment)
    assert len(street.api.posts) == 5
    assert street.api.posts[-1].at < RELEASE_INTERVALS * DEFAULT_INTERVAL_S
