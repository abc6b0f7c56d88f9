"""A run whose price nobody agreed to: it collects what is paid for, and sends nothing that could buy."""

from support.fakes import (
    FakeSource,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_ledger,
    a_row,
    a_world,
    bought,
    look_at,
    run_all,
)

from adloom.core.errors import OutcomeUnknown
from adloom.core.exits import StopReason
from adloom.core.planned import Variant
from adloom.ledger.capabilities import record_capability
from adloom.plan.take_up import has_bought

SOURCE = FakeSource([a_row("mug")])


async def test_an_unknown_purchase_is_not_sent_again_without_a_yes():
    store, clock = MemoryStore(), ManualClock()
    api = ScriptedApi(clock)
    api.answers = [OutcomeUnknown("reset")]
    world = a_world(store, clock, api)
    assert (await run_all(world, await look_at(world, SOURCE))).exit_code == 6
    await record_capability(store, api.account, replays_keys=True, now=clock.now())
    result = await run_all(world, await look_at(world, SOURCE, agreed=False))
    assert result.exit_code == 6  # it may have been bought, so there is nothing to agree to
    assert len(api.posts) == 1
    assert (await run_all(world, await look_at(world, SOURCE))).exit_code == 0
    assert [post.key for post in api.posts] == [api.posts[0].key] * 2


async def test_a_run_without_a_yes_makes_no_new_plan_and_says_what_it_would_spend():
    store, clock = MemoryStore(), ManualClock()
    api = ScriptedApi(clock)
    world = a_world(store, clock, api)
    assert (await run_all(world, await look_at(world, SOURCE))).exit_code == 0
    more = FakeSource([a_row("mug"), a_row("jug")])
    result = await run_all(world, await look_at(world, more, agreed=False))
    assert result.exit_code == 2
    (stop,) = result.stops
    assert stop.reason is StopReason.UNCONFIRMED
    assert "$0.02 (1.53 credits)" in stop.message
    assert "--yes" in stop.remedy
    assert len(api.posts) == 1
    assert {name for name in store.names("") if name.startswith("plan-r")} == {"plan-r1"}


async def test_a_purchase_that_nobody_answered_counts_as_bought():
    ledger = await a_ledger(MemoryStore(), ManualClock())
    assert not has_bought(ledger)
    await ledger.decide("c-1", "a1-intent", bought([Variant("k1", 1, 1)]))
    assert has_bought(ledger)
