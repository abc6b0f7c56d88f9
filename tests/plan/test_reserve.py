"""How a run begins: an archive that keeps no promise, or a run without a budget, reserves nothing."""

from dataclasses import replace
from decimal import Decimal

import pytest
from support.fakes import EDITION, FakeSource, ManualClock, MemoryStore, ScriptedApi, a_row, a_world, look_at, run_all

from adloom.core.campaign import Budget
from adloom.core.chain import Chain
from adloom.core.errors import PlanRefused, Problem, SettingInvalid, StoreRefused
from adloom.core.exits import StopReason
from adloom.core.origin import Origin
from adloom.ledger.index import open_editions
from adloom.plan.reserve import over_budget, reserve, unconfirmed, unusable_references
from adloom.world import World

MUG = a_row("mug", variants=2)


@pytest.fixture
def world(store: MemoryStore, clock: ManualClock) -> World:
    return a_world(store, clock, ScriptedApi(clock))


async def test_a_reservation_is_a_frozen_plan_with_its_cap_and_a_heartbeat(world: World, store: MemoryStore):
    reserved = await reserve(world, await look_at(world, FakeSource([MUG], budget=Budget(credits=Decimal(10)))))
    assert (reserved.revision.number, reserved.revision.cap_credits) == (1, 10)
    assert EDITION.key("plan-r1.json") in store.objects
    assert EDITION in await open_editions(store, world.clock.now())
    keys = [key for key in store.objects if key.startswith(EDITION.key("runs/")) and not key.endswith("probe.json")]
    assert len(keys) == 1


async def test_the_index_knows_of_an_edition_before_its_first_plan_does(world: World, store: MemoryStore):
    await reserve(world, await look_at(world, FakeSource([MUG])))
    (entry,) = [key for key in store.writes if key.startswith("index/open/")]
    assert store.writes.index(entry) < store.writes.index(EDITION.key("plan-r1.json"))


async def test_without_a_budget_nothing_is_written(world: World, store: MemoryStore):
    with pytest.raises(SettingInvalid, match="has no budget"):
        await reserve(world, await look_at(world, FakeSource([MUG], budget=None)))
    assert store.writes == []


async def test_an_archive_that_creates_an_object_twice_is_refused_before_a_plan(world: World, store: MemoryStore):
    assessment = await look_at(world, FakeSource([MUG]))

    async def create(key, content, **_):
        store.objects.setdefault(key, content)
        return True

    store.create = create
    with pytest.raises(StoreRefused, match="two runs could buy the same image"):
        await reserve(world, assessment)
    assert EDITION.key("plan-r1.json") not in store.objects


async def test_a_run_that_nobody_agreed_to_takes_up_the_plan_that_is_there(world: World, store: MemoryStore):
    await run_all(world, await look_at(world, FakeSource([MUG])))
    changed = await look_at(world, FakeSource([MUG, a_row("jug")]), agreed=False)
    reserved = await reserve(world, changed)
    assert reserved.revision.number == 1
    assert EDITION.key("plan-r2.json") not in store.objects


async def test_a_run_that_nobody_agreed_to_asks_no_other_api_for_what_was_bought(world: World):
    source = FakeSource([MUG])
    await run_all(world, await look_at(world, source, origin=Origin("https://api.example")))
    elsewhere = await look_at(world, source, origin=Origin("https://other.example"), agreed=False)
    with pytest.raises(PlanRefused, match="nothing was sent"):
        await reserve(world, elsewhere)


@pytest.mark.parametrize(("budget", "recorded"), [("0.02", set()), ("12", {"1"})])
async def test_references_of_a_chained_job_are_recorded_only_by_a_run_whose_budget_is_enough(
    world: World, store: MemoryStore, budget: str, recorded: set[str]
):
    assessment = await look_at(world, FakeSource([MUG], budget=Budget(usd=Decimal(budget))))
    surveyed = replace(assessment.surveyed, chained=frozenset({"banner"}))
    await reserve(world, replace(assessment, surveyed=surveyed, chains={"banner": Chain({"logo": ()})}))
    assert store.names("references/banner/") == recorded


@pytest.mark.parametrize(("count", "more"), [(2, ""), (3, ""), (4, "; and 1 more"), (5, "; and 2 more")])
async def test_three_references_that_cannot_be_used_are_named_and_the_rest_is_counted(
    world: World, count: int, more: str
):
    bad = tuple(Problem("test.yaml", number, 1, "no image") for number in range(1, count + 1))
    stop = unusable_references(replace(await look_at(world, FakeSource([MUG])), bad_references=bad))
    named = "; ".join(map(str, bad[:3]))
    assert (stop.reason, stop.message) == (StopReason.REFERENCES, f"nothing was bought: {named}{more}")


async def test_what_a_budget_of_nothing_has_room_for_is_nothing(world: World):
    assessment = await look_at(world, FakeSource([MUG], budget=Budget(credits=Decimal(0))))
    assert "the budget is $0.00 (0 credits)" in over_budget(assessment).message
    assert (await reserve(world, assessment)).revision.cap_credits == 0


async def test_without_a_sum_a_run_that_nobody_agreed_to_says_that_it_would_request_images(world: World):
    await run_all(world, await look_at(world, FakeSource([MUG])))
    again = await look_at(world, FakeSource([MUG]), agreed=False)
    assert "this run would request the missing images, and nobody" in unconfirmed(again).message


async def test_why_nothing_is_bought_is_said_with_the_sum(world: World):
    assessment = await look_at(world, FakeSource([MUG], budget=Budget(usd=Decimal("0.02"))))
    assert not assessment.fits
    stop, unagreed = over_budget(assessment), unconfirmed(assessment)
    assert (stop.reason, unagreed.reason) == (StopReason.BUDGET, StopReason.UNCONFIRMED)
    assert "the plan needs $0.04 (3.06 credits) more, $0.00 (0 credits) is spent or reserved" in stop.message
    assert "and the budget is $0.02 (1.36 credits)" in stop.message
    assert "at least $0.05," in stop.remedy  # $0.04 would be half a cent short
    assert "spend $0.04 (3.06 credits)" in unagreed.message
