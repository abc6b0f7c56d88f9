"""Outages of the store in the middle of a run, and the time that an interrupted run has."""

import asyncio
import logging

import pytest
from support.fakes import (
    EDITION,
    PRICE,
    FakeSource,
    MemoryStore,
    ScriptedApi,
    a_ledger,
    a_row,
    a_world,
    look_at,
    run_all,
    until,
)

from adloom.core.campaign import Pace
from adloom.core.errors import StoreUnavailable
from adloom.core.exits import Stop, StopReason
from adloom.core.order import Order
from adloom.core.process import Process
from adloom.guards.retrying_store import PATIENCE_INTERVALS
from adloom.ledger.heartbeats import Heartbeat
from adloom.plan.planner import Planner
from adloom.run.batches import DRAIN_S
from adloom.run.fulfilment import OTHERS_INTERVALS
from adloom.run.run import Run

INTERVAL_S = 3.0


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def api(clock):
    return ScriptedApi(clock)


def fail_for(store, clock, seconds, of_key, operation="create"):
    """The store fails for a while from the first time that it is asked to create such an object."""
    began = []

    def fault(asked, key):
        if asked == operation and of_key in key:
            began.append(clock.monotonic())
            if clock.monotonic() - began[0] < seconds:
                raise StoreUnavailable(f"disk gone ({key})")

    store.fault = fault
    return began


async def test_a_task_that_could_not_be_written_down_at_once_is_written_when_the_store_is_back(
    store, clock, api, caplog
):
    world = a_world(store, clock, api)
    fail_for(store, clock, 60, "-accepted.")
    result = await run_all(world, await look_at(world, FakeSource([a_row()])))
    assert result.exit_code == 0
    assert len(api.posts) == 1
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("task-001" in warning for warning in warnings)


async def test_a_task_is_kept_in_mind_for_longer_than_the_store_is_waited_for(store, clock, api, caplog):
    world = a_world(store, clock, api)
    fail_for(store, clock, 3 * PATIENCE_INTERVALS * INTERVAL_S, "-accepted.")
    result = await run_all(world, await look_at(world, FakeSource([a_row(), a_row("jug")])))
    assert result.exit_code == 7
    assert len(api.posts) == 1
    assert any("Leave this run running" in record.getMessage() for record in caplog.records)
    assert result.published.manifest["totals"]["archived"] == 1
    assert (await run_all(world, await look_at(world, FakeSource([a_row(), a_row("jug")])))).exit_code == 0
    assert len(api.posts) == 2


async def test_an_interrupted_run_says_which_task_it_could_not_write_down(store, clock, api, caplog):
    world = a_world(store, clock, api)
    began = fail_for(store, clock, 10**9, "-accepted.")
    run = await Run.start(world, await look_at(world, FakeSource([a_row()])))
    working = asyncio.create_task(run.work())
    await until(lambda: bool(began))
    run.interrupt()
    interrupted = clock.monotonic()
    await working
    result = await run.finish()
    assert clock.monotonic() - interrupted <= DRAIN_S + 1
    assert result.exit_code == 130
    assert any("--adopt task-001" in record.getMessage() for record in caplog.records)


async def test_nothing_is_bought_while_the_archive_does_not_take_images(store, clock, api):
    world = a_world(store, clock, api)
    began = fail_for(store, clock, 50, "/assets/")
    rows = [a_row(f"row-{n}") for n in range(12)]
    pace = Pace(in_flight=4, submits_per_minute=30)
    result = await run_all(world, await look_at(world, FakeSource(rows, pace=pace)))
    assert result.exit_code == 0
    back = next(at for at in began if at - began[0] >= 50)
    assert not [post for post in api.posts if began[0] < post.at < back]
    assert len(api.posts) == 12


async def test_an_archive_that_stays_away_ends_the_buying_as_an_outage(store, clock, api):
    world = a_world(store, clock, api)
    fail_for(store, clock, 2 * PATIENCE_INTERVALS * INTERVAL_S, "/assets/")
    source = FakeSource([a_row(f"row-{n}") for n in range(12)], pace=Pace(in_flight=1))
    result = await run_all(world, await look_at(world, source))
    assert result.exit_code == 7
    assert len(api.posts) < 12
    clock.advance(3 * PATIENCE_INTERVALS * INTERVAL_S)
    assert (await run_all(world, await look_at(world, source))).exit_code == 0
    assert len(api.posts) == 12


async def _begun_by_another(store, clock, row):
    """A purchase of a run that lives, without an answer yet."""
    ledger = await a_ledger(store, clock, "run-other")
    call = next(Planner({}, {}).plan([row])).calls[0]
    variants = call.variants
    order = Order(call.id, row, variants, PRICE * len(variants))
    intent = order.intent(edition_token="t", attempt=1, account="fingerprint", revision=1)
    await ledger.decide(call.id, "a1-intent", intent)
    return Heartbeat(store, EDITION, clock, "run-other", Process("elsewhere", 7, "1"), lambda: 0)


async def test_a_run_that_waits_for_another_ends_soon_after_it_was_interrupted(store, clock, api):
    world = a_world(store, clock, api)
    other = await _begun_by_another(store, clock, a_row())

    async def live():
        while True:
            await other.beat()
            await clock.sleep(10)

    living = asyncio.create_task(live())
    run = await Run.start(world, await look_at(world, FakeSource([a_row()])))
    await run.work()
    finishing = asyncio.create_task(run.finish())
    await clock.sleep(OTHERS_INTERVALS * INTERVAL_S / 2)
    assert not finishing.done()
    run.interrupt()
    interrupted = clock.monotonic()
    assert (await finishing).exit_code == 130
    assert clock.monotonic() - interrupted <= DRAIN_S + 1
    living.cancel()


async def test_an_interruption_is_heard_after_the_buying_has_stopped_for_another_reason(store, clock, api):
    world = a_world(store, clock, api)
    api.state_of = lambda _: None  # no task is ever seen to end
    run = await Run.start(world, await look_at(world, FakeSource([a_row()])))
    working = asyncio.create_task(run.work())
    await clock.sleep(30)
    run.gate.close(Stop(StopReason.OUTAGE, "the store is full"))
    await clock.sleep(30)
    run.interrupt()
    interrupted = clock.monotonic()
    await working
    assert (await run.finish()).exit_code == 130
    assert clock.monotonic() - interrupted <= DRAIN_S + 1


async def test_a_store_that_fails_once_at_everything_it_is_asked_takes_the_whole_campaign(store, clock, api):
    world = a_world(store, clock, api)
    rows = [a_row(f"row-{n}", variants=2) for n in range(3)]
    run = await Run.start(world, await look_at(world, FakeSource(rows)))
    asked = set()

    def fault(operation, key):
        if operation != "created" and (operation, key) not in asked:
            asked.add((operation, key))
            raise StoreUnavailable(f"a hiccup ({key})")

    store.fault = fault
    await run.work()
    result = await run.finish()
    assert result.exit_code == 0
    assert result.published.manifest["totals"]["posts"] == len(api.posts)
    assert result.published.manifest["totals"]["archived"] == 6
