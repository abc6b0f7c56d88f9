import asyncio
import hashlib
import json
from dataclasses import replace
from decimal import Decimal

import pytest
from support.fakes import (
    EDITION,
    PRICE,
    Crash,
    a_row,
)
from support.fakes import (
    bought as an_intent_for,
)
from support.freezing import JUG, MUG, a_desk

from adloom.core.errors import PlanRefused
from adloom.core.facts import Stage
from adloom.core.identity import call_id
from adloom.core.origin import SANDBOX, Buying, Origin
from adloom.core.outcomes import Status
from adloom.core.pricing import price_per_image
from adloom.core.selection import Selection, choose
from adloom.plan import revision as revision_module
from adloom.plan.freeze import PlanOutdated
from adloom.plan.revision import planned_rows, read_newest


async def test_a_plan_is_frozen_with_its_cap_its_total_and_its_calls(store, clock):
    desk = await a_desk(store, clock)
    revision = await desk.freeze(MUG, JUG, prices={"doubao-seedream-4.0": Decimal("1.8")})
    header = json.loads(store.objects[EDITION.key("plan-r1.json")])
    assert (header["schema"], header["campaign"], header["edition"], header["revision"]) == (
        "adloom.plan/1",
        "test",
        "main",
        1,
    )
    assert (header["cap_credits"], Decimal(header["total_credits"])) == ("1000", 23 * Decimal("1.8"))
    assert (revision.wanted, revision.calls) == (23, 3)
    assert revision.sha256 == hashlib.sha256(store.objects[EDITION.key("plan-r1.json")]).hexdigest()
    assert [len(call.variants) for call in await desk.calls(revision)] == [15, 5, 3]


async def test_what_a_frozen_plan_costs_is_what_its_calls_cost(store, clock):
    desk = await a_desk(store, clock)
    revision = await desk.freeze(MUG, JUG)
    total = sum(len(call.variants) for call in await desk.calls(revision)) * price_per_image(MUG.model, MUG.quality, {})
    assert Decimal(json.loads(store.objects[EDITION.key("plan-r1.json")])["total_credits"]) == total


async def test_shards_are_written_before_the_plan_that_names_them(store, clock, monkeypatch):
    monkeypatch.setattr(revision_module, "ROWS_PER_SHARD", 2)
    desk = await a_desk(store, clock)
    rows = [a_row(f"row-{n}") for n in range(5)]
    revision = await desk.freeze(*rows)
    assert [shard.rows for shard in revision.shards] == [2, 2, 1]
    assert store.writes[-1] == EDITION.key("plan-r1.json")
    assert [planned.row async for planned in planned_rows(store, EDITION, revision)] == rows


async def test_the_same_campaign_takes_up_the_same_revision(store, clock):
    first = await (await a_desk(store, clock)).freeze(MUG, JUG)
    writes = len(store.writes)
    assert await (await a_desk(store, clock, "run-b")).freeze(MUG, JUG) == first
    assert len(store.writes) == writes


async def test_a_revision_stays_the_same_while_it_is_being_bought(store, clock):
    desk = await a_desk(store, clock)
    first = await desk.freeze(MUG, JUG)
    await desk.buy((await desk.calls(first))[0])
    assert await (await a_desk(store, clock, "run-b")).freeze(MUG, JUG) == first


@pytest.mark.parametrize(
    "change",
    [
        {"rows": (MUG, JUG, a_row("pan"))},
        {"rows": (JUG, MUG)},
        {"rows": (replace(MUG, variants=21), JUG)},
        {"rows": (replace(MUG, variables={"sku": "2"}), JUG)},
        {"cap": Decimal(999)},
        {"prices": {MUG.model: Decimal("1.6")}},
    ],
    ids=["a row more", "another order", "a variant more", "another variable", "another cap", "another price"],
)
async def test_whatever_else_is_said_makes_the_next_revision(store, clock, change):
    desk = await a_desk(store, clock)
    first = await desk.freeze(MUG, JUG)
    more = {"rows": (MUG, JUG), **change}
    second = await desk.freeze(*more.pop("rows"), **more)
    assert (first.number, second.number) == (1, 2)
    assert second.edition_token == first.edition_token
    assert (await read_newest(store, EDITION)) == second


async def test_of_two_runs_that_freeze_at_once_one_makes_the_revision(store, clock):
    desks = [await a_desk(store, clock, f"run-{n}") for n in range(4)]
    revisions = await asyncio.gather(*(desk.freeze(MUG, JUG) for desk in desks))
    assert len({(revision.number, revision.sha256) for revision in revisions}) == 1
    assert store.names("plan-r") == {"1"}


async def test_a_newer_revision_withdraws_what_is_neither_bought_nor_wanted(store, clock):
    desk = await a_desk(store, clock)
    first = await desk.freeze(MUG, JUG)
    bought, unbought, jug = await desk.calls(first)
    await desk.buy(bought)
    later = await a_desk(store, clock, "run-b")
    second = await later.freeze(MUG)
    assert [call.id for call in await later.calls(second)] == [unbought.id]
    assert not await desk.buy(jug)
    assert await desk.buy(unbought)
    assert later.ledger.facts(bought.id).stage is Stage.SENDING


async def test_a_newer_revision_leaves_the_top_up_of_a_wanted_call_to_its_chain(store, clock):
    desk = await a_desk(store, clock)
    parent, *_ = await desk.calls(await desk.freeze(MUG, JUG))
    variants = parent.variants[:2]
    top_up = call_id(variant.key for variant in variants)
    await desk.buy(parent)
    intent = an_intent_for(variants, model=MUG.model, parent=parent.id)
    await desk.ledger.decide(top_up, "a1-intent", intent)
    free = {"outcome": "free", "kind": "task", "final": False, "reason": "r"}
    await desk.ledger.decide(top_up, "a1-settled", free)
    later = await a_desk(store, clock, "run-b")
    await later.freeze(MUG)
    assert later.ledger.facts(top_up).withdrawn_by == 0


async def test_a_call_of_an_older_plan_that_came_back_free_is_withdrawn_by_a_plan_without_it(store, clock):
    desk = await a_desk(store, clock)
    bought, *_ = await desk.calls(await desk.freeze(MUG, JUG))
    await desk.buy(bought)
    for number in (30, 40):
        await (await a_desk(store, clock, f"run-{number}")).freeze(replace(MUG, variants=number), JUG)
    free = {"outcome": "free", "kind": "task", "final": False, "reason": "r"}
    await desk.ledger.decide(bought.id, "a1-settled", free)
    await (await a_desk(store, clock, "run-c")).freeze(JUG)
    decided, mine = await desk.ledger.decide(bought.id, "a2-intent", an_intent_for(bought.variants, model=MUG.model))
    assert (decided["outcome"], mine) == ("withdrawn", False)


async def test_what_is_bought_of_an_older_revision_is_not_planned_again(store, clock):
    desk = await a_desk(store, clock)
    bought, *_ = await desk.calls(await desk.freeze(MUG))
    await desk.buy(bought)
    later = await a_desk(store, clock, "run-b")
    second = await later.freeze(replace(MUG, variants=30))
    numbers = [variant.number for call in await later.calls(second) for variant in call.variants]
    assert numbers == list(range(16, 31))


async def test_a_plan_made_from_an_old_look_is_never_bought_from(store, clock):
    first = await a_desk(store, clock, "run-a")
    calls = await first.calls(await first.freeze(a_row("mug", variants=4)))
    second = await a_desk(store, clock, "run-b")
    assert await first.buy(calls[0])
    with pytest.raises(PlanOutdated):
        await second.freeze(a_row("mug", variants=9))
    await second.look()
    revision = await second.freeze(a_row("mug", variants=9))
    assert [v.number for call in await second.calls(revision) for v in call.variants] == [5, 6, 7, 8, 9]


async def test_no_plan_is_made_by_a_run_that_has_read_the_archive_before_the_newest_one(store, clock):
    """What was bought of a plan in between is in no call of the newest one, and the run does not know it."""
    paused, first = await a_desk(store, clock, "run-a"), await a_desk(store, clock, "run-b")
    assert await first.buy((await first.calls(await first.freeze(a_row("mug", variants=4))))[0])
    second = await (await a_desk(store, clock, "run-c")).freeze(a_row("mug", variants=3))
    assert (second.number, second.calls) == (2, 0)
    with pytest.raises(PlanOutdated):
        await paused.freeze(a_row("mug", variants=1))
    assert store.names("plan-r") == {"1", "2"}
    await paused.look()
    assert (await paused.freeze(a_row("mug", variants=1))).calls == 0


async def test_a_run_that_wants_what_the_newest_plan_says_takes_it_up_however_long_ago_it_looked(store, clock):
    paused = await a_desk(store, clock, "run-a")
    made = await (await a_desk(store, clock, "run-b")).freeze(MUG, JUG)
    assert await paused.freeze(MUG, JUG) == made


async def test_a_revision_whose_maker_died_before_it_could_withdraw_is_made_good(store, clock):
    first = await a_desk(store, clock, "run-a")
    calls = await first.calls(await first.freeze(a_row("mug", variants=4)))
    second = await a_desk(store, clock, "run-b")

    def die(operation, key):
        if operation == "created" and key.endswith("plan-r2.json"):
            raise Crash

    store.fault = die
    with pytest.raises(Crash):
        await second.freeze(a_row("mug", variants=9))
    store.fault = lambda *_: None
    third = await a_desk(store, clock, "run-c")
    revision = await third.freeze(a_row("mug", variants=9))
    assert not await first.buy(calls[0])
    assert [v.number for call in await third.calls(revision) for v in call.variants] == list(range(1, 10))


async def test_a_revision_whose_maker_died_and_that_was_overtaken_is_not_bought_from(store, clock):
    first = await a_desk(store, clock, "run-a")
    calls = await first.calls(await first.freeze(a_row("mug", variants=4)))
    second = await a_desk(store, clock, "run-b")

    def die(operation, key):
        if operation == "created" and key.endswith("plan-r2.json"):
            raise Crash

    store.fault = die
    with pytest.raises(Crash):
        await second.freeze(a_row("mug", variants=9))
    store.fault = lambda *_: None
    assert await first.buy(calls[0])
    third = await a_desk(store, clock, "run-c")
    revision = await third.freeze(a_row("mug", variants=9))
    assert [v.number for call in await third.calls(revision) for v in call.variants] == [5, 6, 7, 8, 9]


async def test_taking_up_a_revision_again_and_again_writes_nothing(store, clock):
    desk = await a_desk(store, clock)
    await desk.freeze(MUG, JUG)
    await desk.freeze(MUG)
    await (await a_desk(store, clock, "run-b")).freeze(MUG)
    writes = len(store.writes)
    for number in range(3):
        await (await a_desk(store, clock, f"run-c{number}")).freeze(MUG)
    assert len(store.writes) == writes


async def test_a_withdrawn_call_can_be_wanted_and_bought_again(store, clock):
    desk = await a_desk(store, clock)
    await desk.freeze(MUG, JUG)
    await desk.freeze(MUG)
    third = await desk.freeze(MUG, JUG)
    jug = (await desk.calls(third))[-1]
    assert desk.ledger.facts(jug.id).stage is Stage.UNBOUGHT
    assert desk.ledger.facts(jug.id).next_attempt == 2


async def test_new_takes_make_a_revision_that_a_plain_run_does_not_take_up(store, clock):
    desk = await a_desk(store, clock)
    (call,) = await desk.calls(await desk.freeze(JUG))
    await desk.buy(call, "failed")
    retake = await desk.freeze(JUG, only=frozenset({Status.FAILED}))
    assert [v.take for call in await desk.calls(retake) for v in call.variants] == [2, 2, 2]
    plain = await (await a_desk(store, clock, "run-b")).freeze(JUG)
    assert await desk.calls(plain) == []


async def test_takes_that_were_bought_stay_in_the_plan(store, clock):
    desk = await a_desk(store, clock)
    (call,) = await desk.calls(await desk.freeze(JUG))
    await desk.buy(call, "failed")
    (retake,) = await desk.calls(await desk.freeze(JUG, only=frozenset({Status.FAILED})))
    await desk.buy(retake)
    plain = await desk.freeze(JUG)
    planned = [planned async for planned in planned_rows(store, EDITION, plain)]
    assert [variant.take for variant in planned[0].variants] == [2, 2, 2]
    assert await desk.freeze(JUG) == plain


async def test_a_campaign_that_shares_no_row_with_the_archive_is_refused(store, clock):
    desk = await a_desk(store, clock)
    (call, *_) = await desk.calls(await desk.freeze(MUG))
    await desk.buy(call)
    with pytest.raises(PlanRefused) as caught:
        await desk.freeze(a_row("other"))
    assert "--replace" in caught.value.remedy
    assert store.names("plan-r") == {"1"}
    assert (await desk.freeze(a_row("other"), replace=True)).number == 2


async def test_a_campaign_whose_images_are_in_the_archive_is_no_other_one_after_a_replacement(store, clock):
    desk = await a_desk(store, clock)
    (call, *_) = await desk.calls(await desk.freeze(MUG))
    await desk.buy(call)
    await desk.freeze(a_row("other"), replace=True)
    again = await desk.freeze(MUG)
    assert [variant.number for call in await desk.calls(again) for variant in call.variants] == [16, 17, 18, 19, 20]


async def test_a_campaign_that_bought_nothing_yet_may_change_as_it_likes(store, clock):
    desk = await a_desk(store, clock)
    await desk.freeze(MUG)
    assert (await desk.freeze(a_row("other"))).number == 2


@pytest.mark.parametrize("sandbox", [False, True])
async def test_sandbox_and_real_purchases_never_mix(store, clock, sandbox):
    desk = await a_desk(store, clock)
    here, there = (Buying(Origin(SANDBOX, is_stand_in=True), sandbox=True), Buying(Origin("https://api.example")))
    await desk.freeze(MUG, buying=here if sandbox else there)
    with pytest.raises(PlanRefused):
        await desk.freeze(MUG, buying=there if sandbox else here)


def _row_named(name):
    return choose(Selection(where=f'row == "{name}"'), lambda: [MUG, JUG])


async def test_a_part_takes_up_the_plan_of_the_whole_where_the_cap_has_room_for_that(store, clock):
    desk = await a_desk(store, clock)
    whole = await desk.freeze(MUG, JUG)
    assert await desk.freeze(MUG, JUG, choice=_row_named("jug")) == whole
    assert await desk.freeze(MUG, JUG) == whole


async def test_a_revision_for_a_part_has_all_rows_and_reserves_that_part_alone(store, clock):
    desk = await a_desk(store, clock)
    revision = await desk.freeze(MUG, JUG, choice=_row_named("jug"), asked_only=True)
    assert [len(call.variants) for call in await desk.calls(revision)] == [3]
    assert (revision.wanted, revision.calls, revision.selection) == (23, 1, 'where row == "jug"')
    assert Decimal(json.loads(store.objects[EDITION.key("plan-r1.json")])["total_credits"]) == 3 * PRICE
    assert await desk.freeze(MUG, JUG, choice=_row_named("jug"), asked_only=True) == revision
    (call,) = await desk.calls(revision)
    await desk.buy(call)
    assert await desk.freeze(MUG, JUG, choice=_row_named("jug"), asked_only=True) == revision
    whole = await desk.freeze(MUG, JUG)
    assert [len(call.variants) for call in await desk.calls(whole)] == [15, 5]


async def test_of_two_parts_under_one_cap_the_later_takes_back_what_the_former_has_not_bought(store, clock):
    """Each fits the cap, both together do not: one that is still about to buy finds its calls withdrawn."""
    first = await a_desk(store, clock, "run-a")
    jug = (await first.calls(await first.freeze(MUG, JUG, choice=_row_named("jug"), asked_only=True)))[0]
    second = await a_desk(store, clock, "run-b")
    mug = await second.calls(await second.freeze(MUG, JUG, choice=_row_named("mug"), asked_only=True))
    assert not await first.buy(jug)
    assert all([await second.buy(call) for call in mug])
    whole = await second.freeze(MUG, JUG)
    assert [call.id for call in await second.calls(whole)] == [jug.id]
    assert second.ledger.facts(jug.id).next_attempt == 2


TWINS = (a_row("left", prompt="a mug", variants=2), a_row("right", prompt="a mug", variants=3))
"""They share one call, which the second carries."""


async def test_a_plan_whose_rows_share_a_call_is_taken_up_after_an_edit_too(store, clock):
    await (await a_desk(store, clock)).freeze(MUG)
    desk = await a_desk(store, clock, "run-b")
    packed = await desk.freeze(*TWINS)
    assert [len(call.variants) for call in await desk.calls(packed)] == [5]
    assert await (await a_desk(store, clock, "run-c")).freeze(*TWINS) == packed


@pytest.mark.parametrize("name", ["left", "right"])
async def test_a_part_takes_up_no_plan_whose_calls_buy_for_other_rows_too(store, clock, name):
    await (await a_desk(store, clock)).freeze(*TWINS)
    desk = await a_desk(store, clock, "run-b")
    part = await desk.freeze(*TWINS, choice=choose(Selection(where=f'row == "{name}"'), lambda: TWINS))
    assert [len(call.variants) for call in await desk.calls(part)] == [2, 3]


async def test_a_part_takes_up_a_plan_whose_calls_buy_for_it_alone(store, clock):
    desk = await a_desk(store, clock)
    whole = await desk.freeze(*TWINS, JUG)
    choice = choose(Selection(where='row != "jug"'), lambda: (*TWINS, JUG))
    assert await desk.freeze(*TWINS, JUG, choice=choice) == whole
