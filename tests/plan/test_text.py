"""A plan as people and programs read it: the price, what it leaves out, and why a run would buy nothing."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from support.fakes import FakeSource, ManualClock, MemoryStore, ScriptedApi, a_row, a_world, look_at, run_all

from adloom.core.campaign import Budget, Pace
from adloom.core.origin import SANDBOX, Origin
from adloom.core.selection import Selection
from adloom.plan.text import SECONDS_PER_TASK, dollars, duration, forecast_s, plan_lines, plan_summary

ROWS = [a_row("mug", variants=20), a_row("jug", variants=3)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (61, "1 min 01 s"),
        (3600, "1 h 00 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_durations_are_for_people(seconds: float, text: str):
    assert duration(seconds) == text


def test_sums_are_dollars_to_the_cent_and_the_credits_behind_them():
    assert dollars(Decimal("35.190")) == "$0.52 (35.19 credits)"
    assert dollars(Decimal(100), Origin(SANDBOX, is_stand_in=True)) == "sandbox $1.47 (100 credits)"


async def test_a_plan_says_its_price_and_that_the_budget_is_enough(store: MemoryStore, clock: ManualClock):
    lines = "\n".join(plan_lines(await look_at(a_world(store, clock, ScriptedApi(clock)), FakeSource(ROWS))))
    assert "test, edition main: 2 rows, 23 images" in lines
    assert "to buy    23 images in 3 calls (the fewest possible: 3)" in lines
    assert "price     $0.52 (35.19 credits)" in lines
    assert "already   nothing in the archive yet" in lines
    assert "budget    $50.00 (3400 credits): enough" in lines


@pytest.mark.parametrize(
    ("budget", "line"),
    [
        (None, "budget    none: a run needs one"),
        (Budget(usd=Decimal("0.10")), "budget    $0.10 (6.8 credits): WARNING, $0.42 (28.39 credits) short"),
    ],
)
async def test_a_budget_that_keeps_a_run_from_buying_says_so(store, clock, budget, line):
    source = FakeSource(ROWS, budget=budget)
    assert line in "\n".join(plan_lines(await look_at(a_world(store, clock, ScriptedApi(clock)), source)))


async def test_a_part_says_what_it_leaves_out(store: MemoryStore, clock: ManualClock):
    world = a_world(store, clock, ScriptedApi(clock))
    assessment = await look_at(world, FakeSource(ROWS), selection=Selection(first=1))
    lines, summary = "\n".join(plan_lines(assessment)), plan_summary(assessment)
    assert "selected  1 row, 20 images" in lines
    assert "left out  3 images, which stay open" in lines
    assert (summary["selected_images"], summary["left_out"], summary["calls"]) == (20, 3, 2)


async def test_what_is_bought_already_is_shown_and_costs_nothing_again(store: MemoryStore, clock: ManualClock):
    world = a_world(store, clock, ScriptedApi(clock))
    await run_all(world, await look_at(world, FakeSource([a_row("mug", variants=1)])))
    assessment = await look_at(world, FakeSource([a_row("mug", variants=1)]))
    lines, summary = "\n".join(plan_lines(assessment)), plan_summary(assessment)
    assert "to buy    0 images in 0 calls" in lines
    assert "already   1 archived" in lines
    assert (summary["images"], summary["already"]["archived"], summary["credits_committed"]) == (0, 1, 1.53)


async def test_images_that_a_killed_run_left_uncollected_are_bought_and_their_money_is_reserved(store, clock):
    world, source = a_world(store, clock, ScriptedApi(clock)), FakeSource([a_row("mug", variants=2)])
    assessment = await look_at(world, source)
    assert "spent" not in "\n".join(plan_lines(assessment))
    running = asyncio.create_task(run_all(world, assessment))
    while not any("a1-accepted" in key for key in store.objects):  # noqa: ASYNC110 - the store tells nobody
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    left = plan_lines(await look_at(world, source))
    assert "already   2 bought, not collected yet" in left
    assert "spent     $0.04 (3.06 credits), charged or reserved" in left
    await run_all(world, await look_at(world, source))
    collected = plan_lines(await look_at(world, source))
    assert "already   2 archived" in collected
    assert "spent     $0.04 (3.06 credits)" in collected


async def test_a_budget_that_was_exceeded_is_not_called_enough(store: MemoryStore, clock: ManualClock):
    world, source = a_world(store, clock, ScriptedApi(clock)), FakeSource([a_row("mug", variants=1)])
    await run_all(world, await look_at(world, source))
    assessment = replace(await look_at(world, source), cap=Decimal(1))
    assert "budget    $0.01 (1 credit): exceeded by $0.01 (0.53 credits); there is nothing left to buy" in plan_lines(
        assessment
    )


async def test_the_forecast_is_by_places_or_by_submits_whichever_takes_longer(store, clock):
    world, rows = a_world(store, clock, ScriptedApi(clock)), [a_row("mug", variants=90)]
    quick = await look_at(world, FakeSource(rows, pace=Pace(in_flight=2)))
    slow = await look_at(world, FakeSource(rows, pace=Pace(in_flight=6, submits_per_minute=1)))
    assert forecast_s(quick) == 3 * SECONDS_PER_TASK
    assert forecast_s(slow) == 6 * 60


async def test_programs_get_numbers_and_whose_money_they_are(store: MemoryStore, clock: ManualClock):
    world = a_world(store, clock, ScriptedApi(clock))
    summary = plan_summary(await look_at(world, FakeSource(ROWS), sandbox=True))
    assert (summary["usd"], summary["credits"], summary["fits_budget"]) == (0.5175, 35.19, True)
    assert (summary["origin"], summary["sandbox"]) == (SANDBOX, True)


@pytest.mark.parametrize(
    ("variants", "note"),
    [
        ((8, 9), "note      1 row repeats an earlier row's request and buys images of its own"),
        ((1, 1, 1), "; packed together they need 2 fewer calls"),
    ],
)
async def test_rows_that_ask_for_the_same_are_said_with_what_packing_saves(store, clock, variants, note):
    rows = [a_row(f"mug-{number}", prompt="a mug", variants=each) for number, each in enumerate(variants)]
    lines = plan_lines(await look_at(a_world(store, clock, ScriptedApi(clock)), FakeSource(rows)))
    assert any(note in line for line in lines)
    assert not any("0 fewer" in line for line in lines)
