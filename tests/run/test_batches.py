"""Batches: few enough for a Prefect server, small enough to show, and drained when a run has to stop."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import ManualClock, few, settle

from adloom.core.errors import StoreUnavailable
from adloom.core.exits import Stop, StopReason
from adloom.guards.gate import Gate
from adloom.run.batches import (
    BATCH_SIZES,
    DRAIN_S,
    batch_size,
    batches_at_once,
    bound_drain,
    drive,
    in_batches,
    while_time_is_left,
)


@few
@given(st.integers(0, 2_000_000))
def test_a_run_has_about_a_hundred_batches_of_bounded_size(calls: int):
    size = batch_size(calls)
    assert size == 1 or BATCH_SIZES[0] <= size <= BATCH_SIZES[1]
    if calls <= BATCH_SIZES[1] * 100:
        assert -(-calls // size) <= 100


@pytest.mark.parametrize(("calls", "size"), [(0, 1), (100, 1), (101, 10), (5_000, 50), (100_000, 500)])
def test_sizes_by_example(calls: int, size: int):
    assert batch_size(calls) == size


@few
@given(st.integers(1, 500), st.integers(1, 64))
def test_twice_the_calls_in_flight_are_at_hand(size: int, in_flight: int):
    at_once = batches_at_once(size, in_flight)
    assert at_once >= 3
    assert at_once * size >= 2 * in_flight


async def _numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


@pytest.mark.parametrize("count", [0, 1, 3, 7])
async def test_every_order_is_in_one_batch_in_order(count: int):
    batches = [batch async for batch in in_batches(_numbers(count), 3)]
    assert [number for batch in batches for number in batch] == list(range(count))
    assert all(len(batch) == 3 for batch in batches[:-1])


async def test_no_more_batches_are_under_way_than_asked_for_and_each_is_sent_once():
    sent, under_way, most = [], 0, 0

    async def fulfil(batch):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await settle()
        under_way -= 1
        sent.extend(batch)

    await drive(Gate(), in_batches(_numbers(20), 2), fulfil, at_once=3)
    assert (sorted(sent), most) == (list(range(20)), 3)


async def test_a_plan_that_cannot_be_read_on_closes_the_gate_and_what_was_begun_comes_in():
    done = []

    async def broken():
        yield (1,)
        raise StoreUnavailable("the archive is away", remedy="Wait.")

    async def fulfil(batch):
        await settle()
        done.extend(batch)

    gate = Gate()
    await drive(gate, broken(), fulfil, at_once=3)
    assert done == [1]
    assert [(stop.reason, stop.remedy) for stop in gate.stops] == [(StopReason.OUTAGE, "Wait.")]


async def test_an_interrupted_run_has_its_time_for_what_is_under_way_and_no_more():
    clock, gate, done = ManualClock(), Gate(), []

    async def work():
        await clock.sleep(DRAIN_S - 1)
        done.append("in time")
        await clock.sleep(2)
        done.append("too late")

    bound = asyncio.create_task(bound_drain(gate, clock))
    gate.close(Stop(StopReason.INTERRUPTED, "Ctrl-C"))
    await while_time_is_left(gate, work())
    await bound
    assert done == ["in time"]


async def test_whoever_is_cancelled_does_not_go_on_buying_behind_its_callers_back():
    done = []

    async def work():
        await asyncio.sleep(0)
        await asyncio.Event().wait()
        done.append("bought")

    waiting = asyncio.create_task(while_time_is_left(Gate(), work()))
    await settle()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await settle()
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert (done, left) == ([], [])
