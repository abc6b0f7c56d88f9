"""What a run makes of prices and charges that are not what was planned."""

from collections import Counter
from decimal import Decimal
from itertools import pairwise

import pytest
from support.fakes import (
    MODEL,
    PRICE,
    FakeSource,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_row,
    a_world,
    accepted,
    look_at,
    run_all,
)

from adloom.core.campaign import Budget, Pace
from adloom.core.errors import RequestRefused
from adloom.core.exits import StopReason
from adloom.core.task import Task, TaskState

TAKES_S = 40
ROWS = [a_row(f"row-{n}") for n in range(6)]


class Billing(ScriptedApi):
    """An API whose tasks take a while and are charged as a test says; a charge of None is not told."""

    def __init__(self, clock: ManualClock, charges: list[Decimal | None]) -> None:
        super().__init__(clock)
        self.charges = charges
        self.state_of = self._state

    def _state(self, task_id: str) -> Task:
        number = int(task_id.removeprefix("task-"))
        if self.clock.monotonic() < self.posts[number - 1].at + TAKES_S:
            return Task(task_id, TaskState.PROCESSING)
        charge = self.charges[min(number, len(self.charges)) - 1]
        return Task(task_id, TaskState.COMPLETED, (f"https://r.example/{task_id}",), charge, word="completed")


async def _run(charges, *, told_reserve=True, in_flight=6, budget=Budget(images=100), store=None):  # noqa: B008
    clock = ManualClock()
    api = Billing(clock, charges)
    api.reserved_per_image = PRICE if told_reserve else None
    world = a_world(store or MemoryStore(), clock, api)
    source = FakeSource(ROWS, budget=budget, pace=Pace(in_flight))
    return await run_all(world, await look_at(world, source)), api


async def test_a_charge_above_its_reserve_that_the_plan_has_no_room_for_stops_the_buying():
    result, api = await _run([PRICE * 2], in_flight=1, budget=Budget(images=6))
    assert result.exit_code == 4
    assert len(api.posts) == 1
    charge, budget = result.stops
    assert (charge.reason, budget.reason) == (StopReason.PRICE, StopReason.BUDGET)
    assert "1.53 credits more than was planned for" in budget.message
    assert result.published.manifest["totals"]["archived"] == 1


async def test_a_charge_above_its_reserve_that_the_budget_has_room_for_stops_the_buying_too():
    result, api = await _run([PRICE * 2, PRICE], in_flight=1, budget=Budget(images=7))
    assert [stop.reason for stop in result.stops] == [StopReason.PRICE]
    assert "3.06 credits were charged for a call of row-0 for which 1.53 were reserved" in result.stops[0].message
    assert len(api.posts) == 1


async def test_a_purchase_whose_task_has_failed_is_in_flight_no_more():
    clock = ManualClock()
    api = Billing(clock, [PRICE, PRICE * 2])
    code = "content_policy_violation"
    refused = Task("task-001", TaskState.FAILED, charge_status="released", error_code=code, word="failed")
    api.state_of = lambda task: refused if task == "task-001" else api._state(task)
    world, source = a_world(MemoryStore(), clock, api), FakeSource(ROWS, budget=Budget(images=100), pace=Pace(1))
    result = await run_all(world, await look_at(world, source))
    assert "0 other purchases were in flight, with 0 credits" in result.stops[0].message


async def test_a_charge_that_differs_from_its_reserve_by_rounding_stops_nothing():
    result, api = await _run([PRICE + Decimal("0.005")], in_flight=1)
    assert result.exit_code == 0
    assert len(api.posts) == 6


async def test_the_first_purchase_goes_alone_until_its_end_where_its_answer_tells_no_price():
    result, api = await _run([PRICE], told_reserve=False)
    assert result.exit_code == 0
    assert api.posts[1].at >= api.posts[0].at + TAKES_S
    assert api.posts[2].at == api.posts[1].at
    assert api.posts[3].at >= api.posts[2].at + TAKES_S  # and then two, until one of them has ended
    assert api.posts[5].at == api.posts[3].at


async def test_the_first_purchase_goes_alone_only_until_its_answer_where_that_tells_the_price():
    _, api = await _run([PRICE])
    assert api.posts[5].at < TAKES_S


async def test_a_price_that_has_moved_is_found_at_the_first_charge_where_no_answer_told_it():
    result, api = await _run([PRICE * 2], told_reserve=False)
    assert result.exit_code == 4
    assert [stop.reason for stop in result.stops] == [StopReason.PRICE]
    assert f"{MODEL} 1K costs 3.06 credits" in result.stops[0].message
    assert len(api.posts) == 1


async def test_a_price_that_has_fallen_is_noted_once_where_no_answer_told_it():
    result, _ = await _run([PRICE * Decimal("0.8")], told_reserve=False)
    assert (result.exit_code, result.stops) == (0, ())
    (note,) = result.notes
    assert note.startswith(f"{MODEL} 1K costs 1.224 credits an image now, the plan says 1.53")


async def test_an_api_that_never_tells_a_price_is_bought_from_at_the_tables_price():
    result, api = await _run([None], told_reserve=False)
    assert result.exit_code == 0
    assert api.posts[5].at == api.posts[1].at


async def test_where_reserves_are_not_trusted_a_charge_that_is_not_told_lets_only_the_next_one_go():
    clock = ManualClock()
    api = Billing(clock, [2 * PRICE, None])
    world = a_world(MemoryStore(), clock, api)
    for in_flight, exit_code in ((1, 4), (6, 0)):
        source = FakeSource(ROWS, budget=Budget(images=100), pace=Pace(in_flight))
        assert (await run_all(world, await look_at(world, source))).exit_code == exit_code
    assert len(api.posts) == 6
    assert all(later.at - former.at >= TAKES_S for former, later in pairwise(api.posts))


async def test_where_reserves_are_not_trusted_each_charge_as_planned_lets_twice_as_many_go():
    clock = ManualClock()
    api = Billing(clock, [2 * PRICE, PRICE])
    world = a_world(MemoryStore(), clock, api)
    for in_flight in (1, 6):
        source = FakeSource(ROWS, budget=Budget(images=100), pace=Pace(in_flight))
        await run_all(world, await look_at(world, source))
    together = Counter(post.at for post in api.posts)
    assert [together[at] for at in sorted(together)] == [1, 1, 2, 2]


async def test_after_a_run_without_such_a_charge_answers_are_trusted_as_before():
    """One of its purchases was refused, and the task of another failed: they tell nothing of what is charged."""
    clock, store = ManualClock(), MemoryStore()
    api = Billing(clock, [PRICE])
    api.answers = [accepted("task-001"), RequestRefused("no", status=400), accepted("task-003")]
    code = "content_policy_violation"
    failed = Task("task-003", TaskState.FAILED, charge_status="released", error_code=code, word="failed")
    api.state_of = lambda task: failed if task == "task-003" else api._state(task)
    for rows in (ROWS[:3], ROWS):
        world = a_world(store, clock, api)
        result = await run_all(world, await look_at(world, FakeSource(rows, budget=Budget(images=100), pace=Pace(6))))
        assert (result.exit_code, result.stops) == (3, ())
    at = [post.at for post in api.posts]
    assert len(at) == 6
    assert at[-1] - at[3] < TAKES_S


@pytest.mark.parametrize("answers", [1, 2])
async def test_when_the_first_purchase_fails_the_next_one_goes_alone(answers):
    clock = ManualClock()
    api = Billing(clock, [PRICE])
    api.reserved_per_image = None
    done, bad = api.state_of, {f"task-{n:03}" for n in range(1, answers + 1)}
    api.state_of = lambda task: Task(task, TaskState.FAILED, error_code="odd") if task in bad else done(task)
    world = a_world(MemoryStore(), clock, api)
    result = await run_all(world, await look_at(world, FakeSource(ROWS, pace=Pace(6))))
    assert result.exit_code == 3
    at = [post.at for post in api.posts]
    assert len(set(at[: answers + 2])) == answers + 2
    assert len(set(at[answers + 1 :])) == 2


@pytest.mark.parametrize("charge", [PRICE * 4, PRICE * 2])
async def test_a_bill_for_what_was_asked_and_one_for_what_was_made_tell_the_same_price(charge):
    """Nothing was reserved; the first task makes two of its four images."""
    clock = ManualClock()
    api = Billing(clock, [])
    api.reserved_per_image = None
    few, rest = ("https://r.example/1", "https://r.example/2"), ("https://r.example/3", "https://r.example/4")
    tasks = {"task-001": Task("task-001", TaskState.COMPLETED, few, charge, word="completed")}
    api.state_of = lambda task: tasks.get(task, Task(task, TaskState.COMPLETED, rest, PRICE * 2, word="completed"))
    world = a_world(MemoryStore(), clock, api)
    result = await run_all(world, await look_at(world, FakeSource([a_row(variants=4)], budget=Budget(images=100))))
    assert [stop for stop in result.stops if stop.reason is StopReason.PRICE] == []
    assert (result.exit_code, len(api.posts)) == (0, 2)


async def test_a_dearer_purchase_that_makes_half_of_its_images_leaves_the_budget_of_the_others_to_the_next():
    clock, dearer = ManualClock(), Decimal("1.58")
    api = Billing(clock, [])
    api.reserved_per_image = dearer
    few, rest = ("https://r.example/1", "https://r.example/2"), ("https://r.example/3", "https://r.example/4")
    tasks = {"task-001": Task("task-001", TaskState.COMPLETED, few, dearer * 2, word="completed")}
    api.state_of = lambda task: tasks.get(task, Task(task, TaskState.COMPLETED, rest, dearer * 2, word="completed"))
    source = FakeSource([a_row(variants=4)], budget=Budget(credits=dearer * 4))
    world = a_world(MemoryStore(), clock, api)
    result = await run_all(world, await look_at(world, source))
    assert (result.exit_code, result.stops, len(api.posts)) == (0, (), 2)
