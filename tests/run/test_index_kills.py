"""A process is killed before and after each of its writes: what owes something is never taken for closed."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterator
from itertools import count

import pytest
from support.fakes import (
    EDITION,
    Crash,
    FakeSource,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_row,
    a_world,
    look_at,
    run_all,
)
from support.indexed import older_edition

from adloom.core.process import Process
from adloom.ledger.claims import claims_of
from adloom.ledger.index import open_editions
from adloom.ledger.ledger import Ledger
from adloom.run.closing import is_settled
from adloom.run.run import Result
from adloom.run.sweep import sweep_all


def is_dead(_: Process) -> bool:
    return True


ROWS = [a_row("mug"), a_row("bowl")]


class DyingStore(MemoryStore):
    """The same objects, seen by a process that is killed at its n-th write: half of the times before, half after it."""

    def __init__(self, store: MemoryStore, kill: int) -> None:
        super().__init__()
        self.objects = store.objects
        self.kill = kill
        self.steps = count(1)
        self.died = asyncio.Event()
        self.fault = self._die

    def _die(self, operation: str, _key: str) -> None:
        is_write = operation in {"create", "created", "replace"}
        if self.died.is_set() or (is_write and next(self.steps) == self.kill):
            self.died.set()
            raise Crash


async def _is_killed(work: Awaitable[object], store: DyingStore) -> bool:
    """Do something until it ends or its process is killed, which ends all that it had under way."""
    before = asyncio.all_tasks()
    done = asyncio.ensure_future(work)
    died = asyncio.ensure_future(store.died.wait())
    await asyncio.wait({done, died}, return_when=asyncio.FIRST_COMPLETED)
    mine = asyncio.all_tasks() - before
    for task in mine:
        task.cancel()
    await asyncio.gather(*mine, done, died, return_exceptions=True)
    return store.died.is_set()


@pytest.fixture(autouse=True)
async def _deaths_are_expected() -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)


async def _owes(store: MemoryStore, clock: ManualClock) -> bool:
    ledger = Ledger(store, EDITION, clock, "reader")
    await ledger.load()
    return not is_settled(ledger, clock.now())


async def _run(store: MemoryStore, clock: ManualClock, api: ScriptedApi, number: int) -> Result:
    world = a_world(store, clock, api, process=Process("host", number, "1"), is_gone=is_dead)
    return await run_all(world, await look_at(world, FakeSource(ROWS)))


def _kills() -> Iterator[int]:
    return iter(range(1, 400))


async def test_a_run_that_is_killed_at_any_write_leaves_what_it_owes_open_and_the_next_buys_nothing_twice():
    kinds: set[str] = set()
    for kill in _kills():
        store, clock = MemoryStore(), ManualClock()
        api = ScriptedApi(clock)
        dying = DyingStore(store, kill)
        was_killed = await _is_killed(_run(dying, clock, api, 1), dying)
        if not was_killed:
            break
        owes, is_open = await _owes(store, clock), EDITION in await open_editions(store, clock.now())
        kinds.add(f"owes {owes}, open {is_open}")
        assert is_open or not owes, kill
        result = await _run(store, clock, api, 2)
        totals = result.published.manifest["totals"]
        assert totals["archived"] + totals["held"] == len(ROWS), kill
        assert set(Counter(str(post.body["prompt"]) for post in api.posts).values()) == {1}, kill
        assert (EDITION in await open_editions(store, clock.now())) == bool(totals["held"]), kill
    assert kinds == {"owes False, open False", "owes False, open True", "owes True, open True"}


async def test_a_sweep_that_is_killed_at_any_write_leaves_what_is_owed_open_and_the_next_closes_it():
    async def publish(*_: object) -> None:
        """The manifest is not what this is about."""

    for kill in _kills():
        store, clock = MemoryStore(), ManualClock()
        api = ScriptedApi(clock)
        api.state_of = lambda _: None  # the run is killed while its tasks run
        dying = DyingStore(store, 40)
        assert await _is_killed(_run(dying, clock, api, 1), dying)
        assert await _owes(store, clock)
        api.state_of = ScriptedApi(clock).state_of
        swept = DyingStore(store, kill)
        world = a_world(swept, clock, api, is_gone=is_dead)
        was_killed = await _is_killed(sweep_all(world, [EDITION], publish), swept)
        assert EDITION in await open_editions(store, clock.now()) or not await _owes(store, clock), kill
        await sweep_all(a_world(store, clock, api, is_gone=is_dead), [EDITION], publish)
        assert await open_editions(store, clock.now()) == [], kill
        if not was_killed:
            break


async def test_an_archive_whose_indexing_is_killed_at_any_write_is_indexed_by_the_next():
    for kill in _kills():
        store, clock = MemoryStore(), ManualClock()
        store.objects |= older_edition("at-rest") | older_edition("owes", credits_reserved=3)
        store.objects |= older_edition("unfinished", open=1)
        dying = DyingStore(store, kill)
        was_killed = await _is_killed(open_editions(dying, clock.now()), dying)
        names = [edition.campaign for edition in await open_editions(store, clock.now())]
        assert {"owes", "unfinished"} <= set(names), kill
        if "at-rest" not in names:
            assert (await claims_of(store, [], {"task-9"})).tasks == {"task-9"}, kill
        if not was_killed:
            assert names == ["owes", "unfinished"]
            break
