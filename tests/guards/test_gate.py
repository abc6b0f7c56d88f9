"""The gate: it keeps every reason to stop, and whoever waits behind it leaves when it closes."""

import asyncio

import pytest

from adloom.core.exits import Stop, StopReason
from adloom.guards.gate import GateClosed


def _stop(reason=StopReason.OUTAGE, message="away"):
    return Stop(reason, message)


async def test_a_closed_gate_stays_closed_and_keeps_every_reason_once(gate):
    gate.check()
    gate.close(_stop(message="first"))
    gate.close(_stop(message="second"))
    gate.close(_stop(StopReason.BUDGET, "too dear"))
    with pytest.raises(GateClosed):
        gate.check()
    assert [stop.message for stop in gate.stops] == ["first", "too dear"]


async def test_a_wait_ends_when_the_gate_closes(gate, clock):
    waiting = asyncio.create_task(gate.sleep(3600, clock))
    await asyncio.sleep(0)
    gate.close(_stop())
    with pytest.raises(GateClosed):
        await waiting
    assert clock.elapsed < 3600


async def test_a_wait_ends_by_itself_while_the_gate_is_open(gate, clock):
    await gate.sleep(30, clock)
    assert clock.elapsed == 30


async def test_only_an_interruption_counts_as_one(gate):
    gate.close(_stop())
    assert not gate.is_interrupted
    gate.close(_stop(StopReason.INTERRUPTED))
    assert gate.is_interrupted
