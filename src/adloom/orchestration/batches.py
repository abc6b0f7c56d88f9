"""One Prefect task run for each batch of calls, a few hundred at most however many calls there are.

Prefect sees no row, prompt, key or link: a batch reaches its Prefect task through a context variable, and the task's
one parameter says in words what it makes. Prefect neither repeats, caches nor stores what a batch does.
"""

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from adloom.core.order import Order
from adloom.orchestration.artifacts import PREFECT_FAULTS
from adloom.run.run import Run

NAME_LENGTH = 100


@dataclass(slots=True)
class _Batch:
    run: Run
    orders: Sequence[Order]
    has_begun: bool = field(default=False, init=False)
    has_ended: bool = field(default=False, init=False)

    async def fulfil(self) -> None:
        self.has_begun = True
        await self.run.fulfil(self.orders)
        self.has_ended = True


_batch: ContextVar[_Batch] = ContextVar("_batch")


@task(
    name="batch",
    task_run_name="{what}",
    retries=0,
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def fulfil_batch(what: str) -> None:  # noqa: ARG001 - read by Prefect, as the task run's name
    """Bring the batch of the context variable as far as it goes. Its ends are facts of the ledger, not of this task."""
    await _batch.get().fulfil()


async def fulfil_as_prefect_task(run: Run, orders: Sequence[Order]) -> None:
    """Do a batch as a Prefect task run; when Prefect fails at that, the batch is done all the same.

    Once buying has stopped, what is left is collected without: a task run would claim to make images.
    """
    if run.gate.closed.is_set():
        await run.fulfil(orders)
        return
    batch = _Batch(run, orders)
    token = _batch.set(batch)
    try:
        await fulfil_batch(what_is_made(orders))
    except PREFECT_FAULTS as error:
        if batch.has_begun and not batch.has_ended:
            raise
        get_run_logger().warning("Prefect did not record a batch (%s); the images are not affected", error)
        if not batch.has_begun:
            await batch.fulfil()
    finally:
        _batch.reset(token)


def what_is_made(orders: Sequence[Order]) -> str:
    """A batch in words, for the name of its task run: its jobs, calls and images, no prompt."""
    images = sum(order.n for order in orders)
    jobs = ", ".join(dict.fromkeys(order.row.job for order in orders))
    names = f"{jobs} {orders[0].row.label}" if len(orders) == 1 else jobs
    calls = f"{len(orders)} calls, " if len(orders) > 1 else ""
    return f"{names[:NAME_LENGTH].strip()}: {calls}{images} image{'s' if images != 1 else ''}"
