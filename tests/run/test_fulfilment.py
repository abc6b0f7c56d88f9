"""In which order a run sees to what was begun, and how long it leaves to another run what is that one's."""

import asyncio

from support.fakes import FakeSource, ScriptedApi, a_row, a_world, completed, look_at

from adloom.core.errors import DownloadFailed
from adloom.core.task import Task, TaskState
from adloom.run.run import Run


def processing(task: str) -> Task:
    return Task(task, TaskState.PROCESSING, word="processing")


async def ended(run: Run, working: "asyncio.Task[None]") -> None:
    run.interrupt()
    await working
    await run.finish()


async def test_images_that_wait_to_be_downloaded_come_before_everything_else(store, clock):
    api = ScriptedApi(clock)
    link = "https://r.example/task-001/0"
    api.state_of = lambda task: completed(task, link) if task == "task-001" else processing(task)
    api.contents[link] = [DownloadFailed("502")] * 100
    source = FakeSource([a_row("cup"), a_row("jug")])
    first = await Run.start(a_world(store, clock, api), await look_at(a_world(store, clock, api), source))
    working = asyncio.create_task(first.work())
    while len(api.posts) < 2 or not api.downloads:
        await clock.sleep(1)
    await ended(first, working)

    api.contents[link].clear()
    api.reads.clear()
    world = a_world(store, clock, api)
    second = await Run.start(world, await look_at(world, source))
    await anext(aiter(second.batches()))
    assert len(store.names("assets/")) == 1
    assert api.reads == []  # the task that runs still is not waited for first
    second.interrupt()
    await second.finish()


async def test_what_a_living_run_has_begun_is_left_to_it_for_ten_minutes(store, clock):
    own, others = ScriptedApi(clock), ScriptedApi(clock)
    own.state_of = others.state_of = processing
    source = FakeSource([a_row("cup")])
    world = a_world(store, clock, own)
    first = await Run.start(world, await look_at(world, source))
    working = asyncio.create_task(first.work())
    while not own.reads:
        await clock.sleep(1)

    world = a_world(store, clock, others)
    second = await Run.start(world, await look_at(world, source))
    since = clock.monotonic()
    await second.work()
    finishing = asyncio.create_task(second.finish())
    while not others.reads:
        await clock.sleep(5)
    assert 600 <= others.reads[0][0] - since <= 660
    assert others.posts == []
    second.interrupt()
    await finishing
    await ended(first, working)
