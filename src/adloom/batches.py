"""How a run's orders are driven: in batches of about equal size, a few at a time, drained when the run has to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from adloom.core.errors import AdloomError
from adloom.core.exits import Stop, StopReason
from adloom.core.order import Order
from adloom.gate import Gate

DRAIN_S = 20
"""After Ctrl-C or SIGTERM finished work is collected for this long."""

BATCHES_AT_ONCE = 3
BATCH_SIZES = (10, 500)
BATCHES = 100
"""A run has about this many batches: a Prefect server loses track of much more than a few hundred task runs."""

Batch = tuple[Order, ...]


def batch_size(calls: int) -> int:
    """Orders a batch: one in a small campaign, so that each call shows by itself."""
    if calls <= BATCHES:
        return 1
    least, most = BATCH_SIZES
    return min(most, max(least, -(-calls // BATCHES)))


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


async def drive(
    gate: Gate, batches: AsyncIterator[Batch], fulfil: Callable[[Sequence[Order]], Awaitable[None]]
) -> None:
    """Send every batch through ``fulfil``, a few at a time, until the work or the buying ends.

    After an interruption what is under way has ``DRAIN_S`` seconds to come to a good end.
    """
    working = asyncio.create_task(_all(gate, batches, fulfil))
    closed = asyncio.create_task(gate.closed.wait())
    try:
        while not working.done():
            await asyncio.wait(
                {working, closed} if not closed.done() else {working}, return_when=asyncio.FIRST_COMPLETED
            )
            if gate.is_interrupted and not working.done():
                await asyncio.wait({working}, timeout=DRAIN_S)
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)
                return
        working.result()
    finally:
        closed.cancel()
        working.cancel()  # whoever is cancelled here must not go on buying behind its caller's back


async def _all(gate: Gate, batches: AsyncIterator[Batch], fulfil: Callable[[Sequence[Order]], Awaitable[None]]) -> None:
    places = asyncio.Semaphore(BATCHES_AT_ONCE)

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
        except AdloomError as error:  # a plan that cannot be read on: what was begun still comes in
            gate.close(Stop(StopReason.OUTAGE, error.message, error.remedy))
