"""A poller that runs while a test waits for tasks, and tasks that have failed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adloom.collect.poller import Poller
from adloom.core.task import Task, TaskState

INTERVAL_S = 3.0


@asynccontextmanager
async def running(poller: Poller) -> AsyncIterator[None]:
    loop = asyncio.create_task(poller.run())
    try:
        yield
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


def failed(task_id: str, code: str = "service_error", **more: object) -> Task:
    return Task(task_id, TaskState.FAILED, error_code=code, word="failed", **more)
