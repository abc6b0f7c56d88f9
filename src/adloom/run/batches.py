"""Drives a run's orders: in batches of about equal size, a few at a time, drained when the run has to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any

from adloom.core.errors import AdloomError
from adloom.core.exits import Stop, StopReason
from adloom.core.order import Order
from adloom.guards.gate import Gate
from adloom.ports import Clock

DRAIN_S = 20
"""After Ctrl-C or SIGTERM finished work is collected for this long."""

BATCHES_AT_ONCE = 3
"""At least this many, so that a slow call of one batch delays no other."""
BATCH_SIZES = (10, 500)
BATCHES = 100
"""A run has about this many batches: a Prefect server loses track of much more than a few hundred task runs."""

Batch = tuple[Order, ...]
Fulfil = Callable[[Sequence[Order]], Awaitable[None]]


def batch_size(calls: int) -> int:
    """Orders per batch: one in a small campaign, so that each call is shown individually."""
    if calls <= BATCHES:
        return 1
    least, most = BATCH_SIZES
    return min(most, max(least, -(-calls // BATCHES)))


def batches_at_once(size: int, in_flight: int) -> int:
    """Enough batches for twice the calls that may be in flight, however small the batches are."""
    return max(BATCHES_AT_ONCE, -(-2 * in_flight // size))


async def in_batches(orders: AsyncIterator[Order], size: int) -> AsyncIterator[Batch]:
    """Orders, cut into batches; the last may be smaller."""
    batch: list[Order] = []
    async for order in orders:
        batch.append(order)
        if len(batch) == size:
            yield tuple(batch)
            batch.clear()
    if batch:
        yield tuple(batch)


async def drive(gate: Gate, batches: AsyncIterator[Batch], fulfil: Fulfil, at_once: int) -> None:
    """Send every batch through ``fulfil``, ``at_once`` at a time, until the work or buying stops.

    What is still under way when an interrupted run's time is over is cancelled.
    """
    await while_time_is_left(gate, _all(gate, batches, fulfil, at_once))


async def bound_drain(gate: Gate, clock: Clock) -> None:
    """Give an interrupted run ``DRAIN_S`` seconds for what is in progress, then signal that its time is over."""
    await gate.interrupted.wait()
    await clock.sleep(DRAIN_S)
    gate.over.set()


async def while_time_is_left(gate: Gate, work: Coroutine[Any, Any, None]) -> None:
    """Do something to its end, or until an interrupted run's time is over."""
    working = asyncio.create_task(work)
    over = asyncio.create_task(gate.over.wait())
    try:
        await asyncio.wait({working, over}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
            return
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    finally:
        over.cancel()
        working.cancel()  # what is cancelled here must not continue buying in the background


async def _all(gate: Gate, batches: AsyncIterator[Batch], fulfil: Fulfil, at_once: int) -> None:
    places = asyncio.Semaphore(at_once)

    async def one(batch: Batch) -> None:
        try:
            await fulfil(batch)
        finally:
            places.release()

    async with asyncio.TaskGroup() as group:
        try:
            async for batch in batches:
                await places.acquire()
                group.create_task(one(batch))
        except AdloomError as error:  # the rest of the plan cannot be read: what was begun is still finished
            gate.close(Stop.because(StopReason.OUTAGE, error))
