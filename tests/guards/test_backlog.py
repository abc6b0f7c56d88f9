"""Which finished image is fetched next, and when purchases wait for that."""

import asyncio
from collections import Counter

import pytest
from support.fakes import FakeSource, ManualClock, MemoryStore, ScriptedApi, a_row, a_world, look_at, run_all, settle

from adloom.archive.fetch import DOWNLOAD_TRIES
from adloom.core.campaign import Pace
from adloom.core.errors import DownloadFailed
from adloom.guards import backlog as backlog_module
from adloom.guards.backlog import LEFT_IMAGES, LINKS_WAIT_S, Backlog
from adloom.guards.gate import Gate


class Dock:
    """A backlog with one place, which is taken until ``free`` is called."""

    def __init__(self):
        self.clock, self.gate = ManualClock(), Gate()
        self.backlog = Backlog(self.gate, self.clock, places=1)
        self.fetched: list[str] = []
        self._done = asyncio.Event()
        self.waiting: dict[str, asyncio.Task[None]] = {}

    async def send(self, name: str, age_s: float) -> None:
        self.waiting[name] = asyncio.create_task(self._fetch(name, self.clock.now() - age_s))
        await settle()

    async def _fetch(self, name: str, finished: float) -> None:
        async with self.backlog.place(finished):
            self.fetched.append(name)
            await self._done.wait()

    async def free(self) -> None:
        self._done.set()
        await asyncio.gather(*self.waiting.values(), return_exceptions=True)

    async def may_buy(self) -> bool:
        passing = asyncio.create_task(self.gate.wait_open())
        await settle()
        passed = passing.done()
        passing.cancel()
        return passed


@pytest.fixture
async def dock():
    dock = Dock()
    await dock.send("first", 0)
    return dock


async def test_the_oldest_image_is_fetched_first(dock):
    for name, age_s in (("young", 10), ("old", 5000), ("middle", 700)):
        await dock.send(name, age_s)
    await dock.free()
    assert dock.fetched == ["first", "old", "middle", "young"]


async def test_purchases_wait_while_an_image_waits_whose_link_has_lived_too_long(dock):
    await dock.send("young", LINKS_WAIT_S - 60)
    assert await dock.may_buy()
    await dock.send("old", LINKS_WAIT_S + 60)
    assert not await dock.may_buy()
    await dock.free()
    assert await dock.may_buy()


async def test_purchases_wait_while_too_many_images_wait(dock, monkeypatch):
    monkeypatch.setattr(backlog_module, "BACKLOG_IMAGES", 3)
    for name in "ab":
        await dock.send(name, 0)
    assert await dock.may_buy()
    await dock.send("c", 0)
    assert not await dock.may_buy()
    await dock.free()
    assert await dock.may_buy()


async def test_an_image_that_is_waited_for_no_more_keeps_no_place_and_no_purchase(dock):
    await dock.send("old", LINKS_WAIT_S + 60)
    await dock.send("young", 0)
    dock.waiting["old"].cancel()
    await dock.free()
    assert dock.fetched == ["first", "young"]
    assert await dock.may_buy()
    await dock.send("last", 0)
    assert dock.fetched[-1] == "last"


async def test_a_run_whose_images_cannot_be_fetched_does_not_buy_them_all():
    clock = ManualClock()
    api = ScriptedApi(clock)

    async def download(_url):
        await asyncio.sleep(0)
        raise DownloadFailed("reset")

    api.download = download
    rows = [a_row(f"row-{n}") for n in range(3 * LEFT_IMAGES)]
    world = a_world(MemoryStore(), clock, api)
    result = await run_all(world, await look_at(world, FakeSource(rows, pace=Pace(in_flight=4))))
    assert result.exit_code == 7
    assert LEFT_IMAGES <= len(api.posts) < 2 * LEFT_IMAGES
    assert "could not be downloaded" in result.stops[0].message


async def test_a_later_run_tries_what_is_left_once_and_counts_each_image_once():
    clock = ManualClock()
    api, tries = ScriptedApi(clock), Counter()

    async def download(url):
        tries[url] += 1
        await asyncio.sleep(0)
        raise DownloadFailed("reset")

    api.download = download
    world, source = a_world(MemoryStore(), clock, api), FakeSource([a_row("row-1"), a_row("row-2")])
    for run in (1, 2):
        result = await run_all(world, await look_at(world, source))
        assert [stop.message for stop in result.stops] == ["2 paid images could not be downloaded"]
        assert set(tries.values()) == {run * DOWNLOAD_TRIES}


async def test_images_that_were_damaged_last_time_too_are_told_and_stop_no_purchase(dock):
    dock.backlog.leave_for_later(LEFT_IMAGES, known=LEFT_IMAGES)
    assert await dock.may_buy()
    dock.backlog.leave_for_later(LEFT_IMAGES - 1)
    assert await dock.may_buy()
    dock.backlog.leave_for_later(1)
    assert dock.gate.closed.is_set()
    assert f"{2 * LEFT_IMAGES} paid images" in dock.gate.stops[0].message
    await dock.free()
