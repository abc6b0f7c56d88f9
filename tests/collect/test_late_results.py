"""Tasks that say that they are completed and do not show all their images yet, against the sandbox's charge log."""

import asyncio
from decimal import Decimal

import pytest
from support.shop import Hurried, SandboxRig, campaign_text, hurry, one_row

from adloom.core.outcomes import Status
from adloom.ledger.edition import Edition
from adloom.run.run import Run
from adloom.run.sweep import is_at_rest, sweep
from adloom.targets import open_store
from adloom.wiring import open_world, publish_again

SPEED = 10
"""The sandbox's own times are those of the wall."""


@pytest.fixture
def shop(shop: SandboxRig, monkeypatch: pytest.MonkeyPatch) -> SandboxRig:
    hurry(monkeypatch, SPEED)
    return shop.with_settings(poll_interval_s=0.2)


def single_images(rows: int) -> str:
    return campaign_text("".join(f"  - {{id: r{n}, prompt: 'mug number {n}', variants: 1}}\n" for n in range(rows)))


async def run_at(shop: SandboxRig, interval_s: float, **switches: object):
    lasting = {name: value / SPEED for name, value in switches.items() if name.endswith("_s")}
    shop.sandbox.change(late_results_rate=1, **switches | lasting)
    return await shop.with_settings(poll_interval_s=interval_s).run()


@pytest.mark.parametrize(("late", "seconds"), [("empty", 3), ("null", 0.5), ("missing", 0.5)])
async def test_a_task_without_links_yet_is_bought_once_and_archived(shop: SandboxRig, late: str, seconds: float):
    shop.write(one_row(8))
    result = await run_at(shop, 0.2, late_results=late, late_results_s=seconds)
    assert result.exit_code == 0
    assert (len(shop.sandbox.charges()), shop.bought()) == (1, 8)
    assert result.published.manifest["totals"]["archived"] == 8


async def test_half_of_the_links_at_first_lose_none_and_buy_none(shop: SandboxRig):
    shop.write(one_row(4))
    result = await run_at(shop, 0.2, late_results="partial", late_results_s=1.5)
    assert result.exit_code == 0
    assert (len(shop.sandbox.charges()), shop.bought()) == (1, 4)
    assert len({line["sha256"] for line in shop.lines()}) == 4
    assert [line["result_index"] for line in shop.lines()] == [0, 1, 2, 3]


@pytest.mark.parametrize("batch_status", [200, 403])
async def test_rows_of_one_image_whose_results_are_late_are_bought_once(shop: SandboxRig, batch_status: int):
    shop.write(single_images(8))
    result = await run_at(shop, 0.2, late_results_s=1, batch_status=batch_status)
    assert result.exit_code == 0
    assert shop.bought() == result.published.manifest["totals"]["archived"] == 8


async def test_a_line_of_a_batch_without_results_is_not_believed(shop: SandboxRig):
    shop.write(single_images(8))
    result = await run_at(shop, 0.2, late_results_s=600, late_results_in="batch")
    assert result.exit_code == 0
    assert shop.bought() == result.published.manifest["totals"]["archived"] == 8


@pytest.mark.parametrize("n", [2, 4])
async def test_a_line_of_a_batch_that_shows_and_bills_a_part_buys_no_image_twice(shop: SandboxRig, n: int):
    shop.write(campaign_text("".join(f"  - {{id: r{i}, prompt: 'mug {i}', variants: {n}}}\n" for i in range(4))))
    lasting = {"late_results_s": 600, "late_results_in": "batch"}
    result = await run_at(shop, 0.2, late_results="partial", late_results_billed=True, **lasting)
    assert result.exit_code == 0
    assert (len(shop.sandbox.charges()), shop.bought()) == (4, 4 * n)
    assert result.published.manifest["totals"]["archived"] == 4 * n
    assert Decimal(str(result.published.manifest["totals"]["credits_charged"])) == Decimal("1.53") * 4 * n


async def test_a_reserve_of_nothing_is_none_and_what_was_bought_counts_at_the_plans_price(shop: SandboxRig):
    shop.write(single_images(4))
    shop.sandbox.change(show_reserve=False, show_credits_used=False, show_billing=False)
    result = await shop.run()
    assert (result.exit_code, shop.bought()) == (0, 4)
    assert Decimal(str(result.published.manifest["totals"]["credits_charged"])) == Decimal("1.53") * 4


async def test_a_charge_that_is_told_late_buys_no_image_twice(shop: SandboxRig):
    shop.write(one_row(8))
    result = await run_at(shop, 0.2, late_results="partial", late_results_s=4, late_usage_s=2)
    assert result.exit_code == 0
    assert (len(shop.sandbox.charges()), shop.bought()) == (1, 8)


@pytest.mark.parametrize("interval_s", [0.2, 3])
@pytest.mark.parametrize("late", ["empty", "partial"])
async def test_a_charge_of_nothing_at_first_buys_no_image_twice(shop: SandboxRig, late: str, interval_s: float):
    shop.write(one_row(8))
    result = await run_at(shop, interval_s, late_results=late, late_results_s=2, late_usage="zero", late_usage_s=2)
    assert result.exit_code == 0
    assert (len(shop.sandbox.charges()), shop.bought()) == (1, 8)
    totals = result.published.manifest["totals"]
    assert (totals["archived"], totals["credits_charged"]) == (8, 12.24)


async def test_a_charge_of_nothing_for_images_that_are_there_makes_no_room_in_the_budget(shop: SandboxRig):
    shop.write(one_row(4))
    result = await run_at(shop, 0.2, late_usage="zero", late_usage_s=10**6)
    totals = result.published.manifest["totals"]
    assert (result.exit_code, totals["archived"], totals["credits_charged"]) == (0, 4, 6.12)


async def test_at_the_default_interval_too(shop: SandboxRig):
    shop.write(one_row(8))
    result = await run_at(shop, 3, late_results_s=3)
    assert result.exit_code == 0
    assert (len(shop.sandbox.charges()), shop.bought()) == (1, 8)


async def test_what_is_billed_and_never_shown_is_held_and_not_bought_again(shop: SandboxRig):
    shop.write(one_row(4))
    result = await run_at(shop, 0.2, late_results="partial", late_results_s=10**9)
    assert result.exit_code == 6
    totals = result.published.manifest["totals"]
    assert (totals["archived"], totals["held"]) == (2, 2)
    assert totals["credits_at_risk"] == 3.06
    assert len(shop.sandbox.charges()) == 1
    again = await shop.run()
    assert again.exit_code == 6
    assert len(shop.sandbox.charges()) == 1


async def test_a_later_run_fetches_what_a_former_one_held(shop: SandboxRig):
    shop.write(one_row(4))
    await run_at(shop, 0.2, late_results="partial", late_results_s=10**9)
    shop.sandbox.change(late_results_s=0)
    result = await shop.run()
    assert result.exit_code == 0
    assert len({line["sha256"] for line in shop.lines()}) == 4
    assert (len(shop.sandbox.charges()), shop.bought()) == (1, 4)


async def test_a_task_that_shows_everything_at_once_is_read_once(shop: SandboxRig):
    shop.sandbox.change(task_seconds=0)
    shop.write(one_row(8))
    await shop.run()
    assert shop.sandbox.state()["requests"]["task"] == 1
    assert "batch" not in shop.sandbox.state()["requests"]


async def test_what_the_bill_says_was_not_made_is_asked_for_at_once(shop: SandboxRig):
    shop.write(one_row(6))
    shop.sandbox.script(route="outcome", fault="completed", images=4)
    result = await shop.run()
    assert result.exit_code == 0
    assert [charge.n for charge in shop.sandbox.charges()] == [6, 2]


async def test_without_a_bill_a_shortfall_is_believed_at_the_second_reading(shop: SandboxRig):
    shop.sandbox.change(show_credits_used=False, show_billing=False)
    shop.sandbox.script(route="outcome", fault="completed", images=4)
    shop.write(one_row(6))
    result = await shop.run()
    assert result.exit_code == 0
    assert [charge.n for charge in shop.sandbox.charges()] == [6, 2]
    assert shop.bought() == 6


async def test_a_waiting_task_keeps_nobody_from_buying(shop: SandboxRig):
    shop.sandbox.change(late_results_rate=1, late_results_readings=8)
    shop.write(single_images(6))
    result = await shop.run(in_flight=1)
    assert result.exit_code == 0
    times = [charge.time for charge in shop.sandbox.charges()]
    assert len(times) == 6
    assert result.published.asked[Status.ARCHIVED] == 6


@pytest.mark.parametrize("batch_status", [200, 403])
async def test_tasks_that_read_failed_and_complete_a_second_later_are_bought_once(shop: SandboxRig, batch_status: int):
    shop.write(single_images(8))
    shop.sandbox.change(failed_first_rate=1, failed_first_s=1 / SPEED, batch_status=batch_status)
    result = await shop.run()
    assert result.exit_code == 0
    assert shop.bought() == result.published.manifest["totals"]["archived"] == 8
    assert len(shop.sandbox.charges()) == 8


@pytest.mark.parametrize("code", ["content_policy_violation", "service_error"])
async def test_tasks_that_only_a_batch_shows_as_failed_are_not_given_up_and_bought_once(shop: SandboxRig, code: str):
    shop.write(single_images(6))
    shop.sandbox.change(
        failed_first_rate=1, failed_first_s=3600, failed_first_code=code, failed_first_in="batch", task_seconds=0.1
    )
    result = await shop.run()
    assert result.exit_code == 0
    assert shop.bought() == result.published.manifest["totals"]["archived"] == 6


async def test_a_failure_for_good_that_is_none_is_fetched_by_the_sweep(shop: SandboxRig):
    shop.write(one_row(4))
    shop.sandbox.change(failed_first_rate=1, failed_first_s=3600, failed_first_code="invalid_parameters")
    assert (await shop.run()).exit_code == 3
    shop.sandbox.change(failed_first_rate=0)
    store, edition = open_store(shop.settings.archive), Edition("test", "main")
    assert not await is_at_rest(store, edition, Hurried().now())
    async with open_world(shop.settings, store) as world:
        assert (await sweep(world, edition)).fetched == 1
    await publish_again(open_store(shop.settings.archive), edition)
    assert [line["status"] for line in shop.lines()] == ["archived"] * 4
    assert (len(shop.sandbox.charges()), shop.bought()) == (1, 4)


async def failed_once(shop: SandboxRig, code: str) -> None:
    """One call for two images, whose task reads failed until the run has settled that, and is completed in truth."""
    shop.write(one_row(2))
    shop.sandbox.change(failed_first_rate=1, failed_first_s=3600, failed_first_code=code)
    waiting = []

    async def interrupt(run: Run) -> None:
        while not list(shop.edition().glob("ledger/*/a1-settled.json")):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        run.interrupt()

    await shop.run(started=lambda run: waiting.append(asyncio.create_task(interrupt(run))))
    shop.sandbox.change(failed_first_rate=0)
    assert (len(shop.sandbox.charges()), shop.bought()) == (1, 2)


@pytest.mark.parametrize("variants", [1, 2, 3])
async def test_what_a_failed_task_made_is_not_bought_again_in_another_call(shop: SandboxRig, variants: int):
    await failed_once(shop, "service_error")
    shop.write(one_row(variants))
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == max(2, variants)
    assert [line["status"] for line in shop.lines()] == ["archived"] * variants


async def test_what_a_failed_task_made_is_not_bought_again_as_the_next_take(shop: SandboxRig):
    await failed_once(shop, "invalid_parameters")
    result = await shop.run(only=frozenset({Status.FAILED}))
    assert (result.exit_code, len(shop.sandbox.charges())) == (0, 1)
    assert [(line["status"], line["take"]) for line in shop.lines()] == [("archived", 1)] * 2
