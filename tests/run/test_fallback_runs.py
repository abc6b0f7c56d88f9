"""Campaigns with a fallback: another model buys only behind a free failure of the one before."""

import json
from decimal import Decimal

import pytest
from support.shop import SandboxRig, campaign_text

from adloom.core.exits import StopReason
from adloom.core.selection import Selection
from adloom.targets import open_store
from adloom.wiring import assessment_of

OWN, NEXT, LAST = "doubao-seedream-4.0", "doubao-seedream-4.5", "doubao-seedream-5.0-lite"
JOB = "  - {id: mug, prompt: 'mug {{ n }}', variants: 2, quality: 2K, matrix: {n: [a, b, c]}}\n"


def _write(shop: SandboxRig, *fallback: str, budget: str = "{usd: 50}") -> None:
    shop.write(campaign_text(JOB, budget=budget, more=f"fallback: [{', '.join(fallback)}]\n" if fallback else ""))


def _paid(shop: SandboxRig) -> list[tuple[str, int]]:
    return [(charge.model, charge.made) for charge in shop.sandbox.charges() if charge.charged]


@pytest.mark.parametrize("where", ["submit", "task"])
async def test_an_unavailable_model_gives_way_to_the_next_and_each_image_is_paid_once(shop: SandboxRig, where: str):
    _write(shop, NEXT)
    shop.sandbox.change(unavailable_models=(OWN,), unavailable_at=where)
    result = await shop.run()
    assert result.exit_code == 0
    assert _paid(shop) == [(NEXT, 2)] * 3
    assert {(line["model"], line["reason"], str(line["credits"])) for line in shop.lines()} == {
        (NEXT, f"{OWN} was unavailable", "2.04")
    }
    posts = shop.sandbox.state()["posts_received"]
    assert posts == result.published.manifest["totals"]["posts"] == 6
    assert (await shop.run()).exit_code == 0
    assert shop.sandbox.state()["posts_received"] == posts


async def test_the_list_is_gone_through_in_its_order(shop: SandboxRig):
    _write(shop, NEXT, LAST)
    shop.sandbox.change(unavailable_models=(OWN, NEXT))
    assert (await shop.run()).exit_code == 0
    assert _paid(shop) == [(LAST, 2)] * 3


async def test_every_model_of_the_list_is_asked_before_a_call_whose_tasks_say_unavailable_is_given_up(
    shop: SandboxRig,
):
    """Three failed tasks end a call, and this list is longer than that."""
    job = "  - {id: mug, prompt: a mug, quality: 2K, grouping: independent}\n"
    flash = "doubao-seedream-5.0-flash"
    shop.write(campaign_text(job, more=f"fallback: [{NEXT}, {LAST}, {flash}]\n"))
    shop.sandbox.change(unavailable_models=(OWN, NEXT, LAST), unavailable_at="task")
    assert (await shop.run()).exit_code == 0
    assert [charge.model for charge in shop.sandbox.charges()] == [OWN, NEXT, LAST, flash]
    assert _paid(shop) == [(flash, 1)]


@pytest.mark.parametrize(("fallback", "tasks"), [((), [OWN] * 3), ((NEXT,), [OWN, NEXT, OWN, NEXT, OWN])])
async def test_the_third_task_of_one_model_that_says_unavailable_ends_the_call(
    shop: SandboxRig, fallback: tuple[str, ...], tasks: list[str]
):
    _write(shop, *fallback)
    shop.sandbox.change(unavailable_models=(OWN, NEXT), unavailable_at="task")
    result = await shop.run(selection=Selection(first=1))
    assert (result.exit_code, shop.bought()) == (3, 0)
    assert [charge.model for charge in shop.sandbox.charges()] == tasks


@pytest.mark.parametrize("fallback", [(), (NEXT,)])
async def test_when_no_model_is_left_the_run_stops_with_everything_open_and_a_later_one_begins_again(
    shop: SandboxRig, fallback: tuple[str, ...]
):
    _write(shop, *fallback)
    shop.sandbox.change(unavailable_models=(OWN, NEXT))
    result = await shop.run()
    assert result.exit_code == 7
    assert result.published.manifest["totals"]["open"] == 6
    assert "fallback" in result.stops[0].remedy
    shop.sandbox.change(unavailable_models=())
    assert (await shop.run()).exit_code == 0
    assert _paid(shop) == [(OWN, 2)] * 3


@pytest.mark.parametrize("status", [502, 503])
async def test_an_answer_that_proves_nothing_free_is_no_reason_for_another_model(shop: SandboxRig, status: int):
    _write(shop, NEXT)
    shop.sandbox.change(unavailable_models=(OWN,), unavailable_status=status)
    result = await shop.run(selection=Selection(first=1))
    assert result.exit_code == 6
    assert _paid(shop) == []
    bodies = [json.loads(record["body"]) for record in _intents(shop)]
    assert [body["model"] for body in bodies] == [OWN]


async def test_the_intent_tells_the_model_that_was_sent_and_the_call_keeps_its_id(shop: SandboxRig):
    _write(shop, NEXT)
    shop.sandbox.change(unavailable_models=(OWN,))
    await shop.run(selection=Selection(first=1))
    (first, second) = _intents(shop)
    assert [first["model"], second["model"]] == [OWN, NEXT]
    assert [Decimal(first["credits"]), Decimal(second["credits"])] == [Decimal("3.06"), Decimal("4.08")]
    assert first["variants"] == second["variants"]
    assert first["idempotency_key"] != second["idempotency_key"]
    assert len(list((shop.edition() / "ledger").glob("c-*"))) == 1


async def test_top_ups_find_their_own_way(shop: SandboxRig):
    _write(shop, NEXT)
    shop.sandbox.change(unavailable_models=(OWN,))
    shop.sandbox.script(route="outcome", fault="completed", images=1, match="mug a")
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 6


async def test_a_fallback_that_the_budget_has_no_room_for_is_said_and_not_used(shop: SandboxRig):
    """Six images are 9.18 credits from the campaign's own model and 12.24 from the fallback."""
    _write(shop, NEXT, budget="{credits: 12}")
    assessment = await assessment_of(shop.request(), shop.settings, open_store(shop.settings.archive), to_run=False)
    assert assessment.fits
    assert (assessment.fallback, assessment.most_credits((NEXT,))) == ((), Decimal("12.24"))
    shop.sandbox.change(unavailable_models=(OWN,))
    assert (await shop.run()).exit_code == 7
    assert _paid(shop) == []
    _write(shop, NEXT, budget="{credits: 12.24}")
    assert (await shop.run()).exit_code == 0
    assert sum(charge.charged for charge in shop.sandbox.charges()) == Decimal("12.24")


async def test_a_fallback_that_became_dearer_stops_before_it_passes_the_budget(shop: SandboxRig):
    """The budget is what the fallback costs by the table. Its price rises by less than what stops by itself."""
    _write(shop, NEXT, budget="{credits: 12.24}")
    shop.sandbox.change(unavailable_models=(OWN,), price_steps={1: "1.049"})
    result = await shop.run()
    assert result.exit_code == 4
    (stop,) = result.stops
    assert stop.reason is StopReason.BUDGET
    assert f"{NEXT} 2K costs 2.13996 credits an image now: the plan then comes to 12.83976 of 12.24" in stop.message
    assert _paid(shop) == [(NEXT, 2)]


async def test_a_fallback_that_became_dearer_is_bought_from_where_the_budget_has_room(shop: SandboxRig):
    _write(shop, NEXT, budget="{credits: 12.84}")
    shop.sandbox.change(unavailable_models=(OWN,), price_steps={1: "1.049"})
    assert (await shop.run()).exit_code == 0
    assert _paid(shop) == [(NEXT, 2)] * 3


async def test_of_several_fallback_models_those_that_fit_the_budget_stay(shop: SandboxRig):
    _write(shop, NEXT, LAST, budget="{credits: 12}")
    shop.sandbox.change(unavailable_models=(OWN,))
    assert (await shop.run()).exit_code == 0
    assert _paid(shop) == [(LAST, 2)] * 3


def _intents(shop: SandboxRig) -> list[dict[str, object]]:
    paths = sorted((shop.edition() / "ledger").glob("c-*/a*-intent.json"))
    return [json.loads(path.read_text()) for path in paths]
