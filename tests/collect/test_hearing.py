import asyncio
from contextlib import asynccontextmanager

import pytest
from support.fakes import (
    EDITION,
    FakeSource,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_row,
    a_world,
    completed,
    look_at,
    run_all,
)

from adloom.collect.hearing import Hearing
from adloom.core.callbacks import Secret, inbox
from adloom.core.errors import StoreUnavailable
from adloom.core.task import Task, TaskState
from adloom.plan.planner import Planner

INTERVAL_S = 3.0


@asynccontextmanager
async def heard_from(store: MemoryStore, clock: ManualClock):
    heard: list[tuple[float, str]] = []
    hearing = Hearing(store, EDITION, clock, lambda task: heard.append((clock.elapsed, task)), interval_s=INTERVAL_S)
    loop = asyncio.create_task(hearing.run())
    yield heard
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


async def test_each_task_that_calls_back_is_told_once():
    clock, store = ManualClock(), MemoryStore()
    async with heard_from(store, clock) as heard:
        store.objects[f"{inbox(EDITION.prefix, 'c-1', 1)}task-1.a.json"] = b"{}"
        await clock.sleep(10 * INTERVAL_S)
        store.objects[f"{inbox(EDITION.prefix, 'c-2', 2)}task-2.json"] = b"{}"
        store.objects[f"{inbox('another/main/', 'c-3', 1)}task-3.json"] = b"{}"
        await clock.sleep(10 * INTERVAL_S)
    assert [task for _, task in heard] == ["task-1.a", "task-2"]
    assert heard[0][0] <= INTERVAL_S


async def test_a_store_that_does_not_answer_is_asked_again():
    clock, store = ManualClock(), MemoryStore()
    answer, store.list = store.list, silent
    async with heard_from(store, clock) as heard:
        await clock.sleep(5 * INTERVAL_S)
        store.list = answer
        store.objects[f"{inbox(EDITION.prefix, 'c-1', 1)}task-1.json"] = b"{}"
        await clock.sleep(2 * INTERVAL_S)
    assert [task for _, task in heard] == ["task-1"]


async def silent(_: str):
    raise StoreUnavailable("no answer")
    yield


@pytest.mark.parametrize(("secret", "seen_by_s"), [(Secret(b"x" * 32), 21.6), (None, 40)])
async def test_a_run_reads_a_task_when_its_callback_has_come(secret: Secret | None, seen_by_s: float):
    clock, store = ManualClock(), MemoryStore()
    api = ScriptedApi(clock)

    def state_of(task: str) -> Task:
        return completed(task, "u") if clock.elapsed >= 20 else Task(task, TaskState.PROCESSING, word="processing")

    api.state_of = state_of
    source = FakeSource([a_row()], callback_url="https://hooks.example/x")
    call = next(Planner({}, {}).plan(source.rows())).calls[0].id
    world = a_world(store, clock, api, callback_secret=secret)

    async def call_back() -> None:
        await clock.sleep(20)
        (task,) = {task for _, ids in api.reads for task in ids}
        store.objects[f"{inbox(EDITION.prefix, call, 1)}{task}.json"] = b"{}"

    calling = asyncio.create_task(call_back())
    await run_all(world, await look_at(world, source))
    await calling
    seen_s = max(at for at, _ in api.reads)
    assert 20 <= seen_s <= seen_by_s
    assert (seen_s <= 21.6) == (secret is not None)
