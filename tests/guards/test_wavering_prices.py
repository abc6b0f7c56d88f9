"""Prices and charges that move while a run buys. The sandbox's charge log says what was really paid."""

from decimal import Decimal

import pytest
from support.fakes import FakeSource, ManualClock, MemoryStore, ScriptedApi, a_row, a_world, accepted, look_at, run_all
from support.shop import SandboxRig, campaign_text

from adloom.core.campaign import Pace
from adloom.core.errors import NotSent
from adloom.core.exits import StopReason
from adloom.targets import open_store
from adloom.wiring import assessment_of

PRICE = Decimal("1.53")
LETTERS = ", ".join("abcdefghijklmnopqrstuvwxyz")
CUPS = campaign_text(f"  - {{id: cup, prompt: 'a {{{{ x }}}} cup', variants: 4, matrix: {{x: [{LETTERS}]}}}}\n")


def spent(shop: SandboxRig) -> Decimal:
    """Credits that were reserved or charged, as the sandbox knows them."""
    return sum((max(charge.reserved, charge.charged) for charge in shop.sandbox.charges()), start=Decimal(0))


@pytest.mark.parametrize(("read", "unread"), [(1, 2), (3, 8), (7, 16)])
async def test_a_price_that_doubles_is_paid_only_by_what_is_out_unread(shop: SandboxRig, read: int, unread: int):
    shop.write(CUPS)
    shop.sandbox.change(price_steps={read + 1: 2})
    result = await shop.run()
    assert result.exit_code == 4
    assert [stop.reason for stop in result.stops] == [StopReason.PRICE]
    assert read + 1 <= len(shop.sandbox.charges()) <= read + unread
    assert len(shop.lines()) == 26 * 4
    assert result.published.manifest["totals"]["archived"] == shop.bought()


async def test_a_run_after_a_price_that_doubled_stops_at_its_first_purchase(shop: SandboxRig):
    shop.write(CUPS)
    shop.sandbox.change(price_steps={2: 2})
    await shop.run()
    before = len(shop.sandbox.charges())
    assert (await shop.run()).exit_code == 4
    assert len(shop.sandbox.charges()) == before + 1


async def test_a_price_that_falls_is_noted_and_bought(shop: SandboxRig):
    shop.write(CUPS)
    shop.sandbox.change(price_steps={5: "0.8"})
    result = await shop.run()
    assert (result.exit_code, result.stops) == (0, ())
    assert shop.bought() == 26 * 4
    (note,) = result.notes
    assert "1.224 credits an image now, the plan says 1.53" in note


async def test_a_charge_above_its_reserve_stops_the_buying_at_the_first_one_read(shop: SandboxRig):
    shop.write(CUPS)
    shop.sandbox.change(charge_factor=10, task_seconds=[0.1, 0.4])
    result = await shop.run(in_flight=3)
    assert result.exit_code == 4
    (stop,) = result.stops
    assert "61.2 credits were charged" in stop.message
    assert "for which 6.12 were reserved" in stop.message
    assert "other purchases were in flight" in stop.message
    assert len(shop.sandbox.charges()) <= 3
    assert result.published.manifest["totals"]["credits_charged"] == float(spent(shop))


async def test_after_a_charge_above_its_reserve_a_later_run_waits_for_each_charge(shop: SandboxRig):
    shop.write(CUPS)
    shop.sandbox.change(charge_factor=2)
    await shop.run(in_flight=2)
    before = len(shop.sandbox.charges())
    assert (await shop.run()).exit_code == 4
    assert len(shop.sandbox.charges()) == before + 1
    shop.sandbox.change(charge_factor=1)
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 26 * 4


async def test_an_ordinary_run_is_at_full_speed_after_a_few_answers():
    clock = ManualClock()
    api = ScriptedApi(clock)
    api.submit_takes_s = 1
    world = a_world(MemoryStore(), clock, api)
    rows = [a_row(f"row-{number:02}") for number in range(40)]
    result = await run_all(world, await look_at(world, FakeSource(rows, pace=Pace(16))))
    assert result.exit_code == 0
    at = [post.at for post in api.posts]
    assert at[:3] == [0, 1, 1]
    assert at[15] <= 5


async def test_prices_of_one_model_say_nothing_about_another_quality():
    clock = ManualClock()
    api = ScriptedApi(clock)
    api.submit_takes_s = 1
    world = a_world(MemoryStore(), clock, api)
    rows = [a_row(f"{quality}-{number}", quality=quality) for quality in ("1K", "4K") for number in range(4)]
    await run_all(world, await look_at(world, FakeSource(rows, pace=Pace(16))))
    at = {quality: [p.at for p in api.posts if p.body["quality"] == quality] for quality in ("1K", "4K")}
    assert at == {"1K": [0, 1, 1, 2], "4K": [0, 1, 1, 2]}


async def test_while_the_price_wavers_each_purchase_goes_alone():
    clock = ManualClock()
    api = ScriptedApi(clock)
    api.submit_takes_s = 1
    factors = (Decimal(1), Decimal("1.02")) * 6
    api.answers = [accepted(f"task-{number:03}", PRICE * factor) for number, factor in enumerate(factors)]
    world = a_world(MemoryStore(), clock, api)
    rows = [a_row(f"row-{number:02}") for number in range(12)]
    assert (await run_all(world, await look_at(world, FakeSource(rows, pace=Pace(16))))).exit_code == 0
    at = [post.at for post in api.posts]
    assert at[:3] == [0, 1, 1]
    assert len(set(at)) == 11


TWO_QUALITIES = (
    "  - {id: cup, prompt: 'a {{ x }} cup', variants: 2, quality: [2K, 4K], matrix: {x: [red, blue, green]}}\n"
)


async def test_qualities_of_one_model_are_bought_at_prices_of_their_own(shop: SandboxRig):
    shop.sandbox.change(prices_by_quality={"2K": "1.53", "4K": "3.00"})
    shop.write(campaign_text(TWO_QUALITIES))
    stopped = await shop.run()
    assert (stopped.exit_code, len(stopped.stops)) == (4, 1)
    assert "prices: {doubao-seedream-4.0: {4K: 3" in stopped.stops[0].remedy
    shop.write(campaign_text(TWO_QUALITIES, more="prices: {doubao-seedream-4.0: {2K: 1.53, 4K: 3.00}}\n"))
    result = await shop.run()
    assert result.exit_code == 0
    assert shop.bought() == 12
    assert spent(shop) == 6 * Decimal("4.53")
    assert result.published.manifest["totals"]["credits_charged"] == float(spent(shop))
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 12


async def test_a_cap_in_images_counts_the_dearest_quality(shop: SandboxRig):
    more = "prices: {doubao-seedream-4.0: {4K: 3}}\n"
    shop.write(campaign_text(TWO_QUALITIES, budget="{images: 12}", more=more))
    assessment = await assessment_of(shop.request(), shop.settings, open_store(shop.settings.archive), to_run=True)
    assert (assessment.to_buy, assessment.cap) == (6 * Decimal("4.53"), 36)
    assert assessment.most_in_flight == 6 * Decimal("4.53")


async def test_a_price_that_moves_holds_back_those_who_wait_for_their_pace_too():
    clock = ManualClock()
    api = ScriptedApi(clock)
    api.submit_takes_s = 10
    prices = [PRICE] * 12 + [PRICE * Decimal("1.02")] * 28
    api.answers = [accepted(f"task-{number:03}", price) for number, price in enumerate(prices)]
    world = a_world(MemoryStore(), clock, api)
    rows = [a_row(f"row-{number:02}") for number in range(40)]
    pace = Pace(in_flight=32, submits_per_minute=60)
    assert (await run_all(world, await look_at(world, FakeSource(rows, pace=pace)))).exit_code == 0
    at = [post.at for post in api.posts]
    first_read = at[12] + 10
    last_unread = max(moment for moment in at if moment < first_read)
    assert min(moment for moment in at if moment > first_read) - last_unread > 3


async def test_a_price_that_moves_holds_back_those_who_are_sent_again_too():
    clock = ManualClock()
    api = ScriptedApi(clock)
    api.submit_takes_s = 10
    moved = PRICE * Decimal("1.02")
    refused = [NotSent("no connection")] * 3
    told = [accepted("task-100", PRICE), accepted("task-101", PRICE), accepted("task-102", PRICE)]
    api.answers = [*told, accepted("task-103", moved), *refused]
    api.answers += [accepted(f"task-{number}", moved) for number in range(104, 120)]
    world = a_world(MemoryStore(), clock, api)
    rows = [a_row(f"row-{number:02}") for number in range(20)]
    assert (await run_all(world, await look_at(world, FakeSource(rows, pace=Pace(in_flight=32))))).exit_code == 0
    at = [post.at for post in api.posts]
    assert at[3:7] == [at[3]] * 4
    again = at[7:]
    assert again[1] >= again[0] + 10
    assert again[3] >= again[1] + 10
