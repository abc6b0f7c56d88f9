"""The archive's index: what is open is never missed, and what is closed costs nobody a reading."""

import math

from support.fakes import (
    EDITION,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_world,
)
from support.indexed import OTHER, a_settled_ledger, beat, bought, lives, older_edition

from adloom.ledger.edition import Edition
from adloom.ledger.index import (
    MADE,
    OLDER,
    Entry,
    Opening,
    create_entry,
    index_once,
    indexed_editions,
    open_editions,
)
from adloom.run.closing import close_if_over
from adloom.run.sweep import sweep_all


class Counting(MemoryStore):
    """Remembers what was listed and read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def read(self, key):
        self.asked.append(key)
        return await super().read(key)

    def list(self, prefix):
        self.asked.append(prefix)
        return super().list(prefix)


async def test_an_edition_is_open_before_its_first_purchase_is_decided(store, clock):
    seen: list[bool] = []
    create = store.create

    async def watched(key, content, **more):
        if key.endswith("a1-intent.json"):
            seen.append(EDITION in await open_editions(store, clock.now()))
        return await create(key, content, **more)

    store.create = watched
    await bought(store, clock)
    assert seen == [True]


async def test_a_run_that_buys_nothing_enters_nothing(store, clock):
    await bought(store, clock)
    before = set(store.objects)
    await bought(store, clock)
    assert [key for key in set(store.objects) - before if key.startswith("index/")] == []


async def test_an_edition_that_is_run_again_is_open_again(store, clock):
    ledger = await a_settled_ledger(store, clock)
    await Opening(store, OTHER, "run-1", clock).ensure()
    assert await close_if_over(ledger, clock, lives, mine="run-1")
    await Opening(store, OTHER, "run-2", clock).ensure()
    assert await open_editions(store, clock.now()) == [OTHER]


async def test_an_archive_without_an_index_is_indexed_once(clock):
    store = Counting()
    store.objects |= older_edition("at-rest") | older_edition("owes", credits_reserved=3)
    store.objects |= older_edition("unfinished", open=1) | older_edition("died-later", facts=0)
    store.objects |= dict.fromkeys(("crashed/main/ledger/c-1/a1-intent.json", "fresh/main/plan-r1.json"), b"{}")
    store.objects |= {"tasks/task-1.json": b"{}", "_callbacks/at-rest/ledger/c-1/a1.json": b"{}"}
    names = [edition.campaign for edition in await open_editions(store, clock.now())]
    assert names == ["crashed", "died-later", "fresh", "owes", "unfinished"]
    assert len((await indexed_editions(store, clock.now()))[0]) == 6
    assert "tasks/task-9.json" in store.objects
    assert store.asked.count("") == 1


async def test_a_crash_while_an_archive_is_indexed_leaves_it_to_the_next(store, clock):
    store.objects |= older_edition("owes", open=1)
    await create_entry(store, "open", Entry(Edition("owes", "main"), OLDER), clock.now())
    assert [edition.campaign for edition in await open_editions(store, clock.now())] == ["owes"]


async def test_editions_that_are_closed_are_not_read_for_a_lost_answer(clock):
    store = Counting()
    for number in range(50):
        edition = Edition(f"old-{number}", "main")
        await create_entry(store, "open", Entry(edition, "run"), clock.now())
        await create_entry(store, "closed", Entry(edition, "run"), clock.now())
        store.objects[f"{edition.prefix}ledger/c-1/a1-accepted.task-{number}.json"] = b"{}"
    store.objects[MADE] = b"{}"
    await bought(store, clock, lost=True, dedicated_key=True)
    assert [key for key in store.asked if key.startswith("old-")] == []
    assert "" not in store.asked


async def test_a_sweep_closes_what_the_run_could_not(store, clock):
    api = ScriptedApi(clock)
    world = a_world(store, clock, api)
    ledger = await a_settled_ledger(store, clock)
    del ledger
    await Opening(store, OTHER, "run-1", clock).ensure()
    await beat(store, OTHER, clock, "run-1", ended=True)

    async def publish(*_: object) -> None:
        """Nothing was fetched."""

    assert await sweep_all(world, await open_editions(store, clock.now()), publish)
    assert await open_editions(store, clock.now()) == []


async def test_a_campaign_that_is_called_index_is_a_campaign(store, clock):
    store.objects |= {"index/open/plan-r1.json": b"{}", "index/open/ledger/c-1/a1-intent.json": b"{}"}
    await index_once(store, clock.now())
    assert await open_editions(store, clock.now()) == [Edition("index", "open")]


class Requests(MemoryStore):
    """Counts what S3 would be asked: a listing takes a request for each thousand keys."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0

    async def read(self, key):
        self.requests += 1
        return await super().read(key)

    async def create(self, key, content, **more):
        self.requests += 1
        return await super().create(key, content, **more)

    async def replace(self, key, content, **more):
        self.requests += 1
        await super().replace(key, content, **more)

    async def list(self, prefix):
        found = [listed async for listed in super().list(prefix)]
        self.requests += max(1, math.ceil(len(found) / 1000))
        for listed in found:
            yield listed


def a_thousand_closed_editions(store: MemoryStore) -> None:
    store.objects[MADE] = b"{}"
    for number in range(1000):
        entry = Entry(Edition(f"old-{number}", "main"), "run")
        store.objects |= {f"index/open/{entry.name}": b"{}", f"index/closed/{entry.name}": b"{}"}
        prefix = entry.edition.prefix
        store.objects |= {f"{prefix}ledger/c-1/a1-accepted.task-{number}.json": b"{}", f"{prefix}manifest.json": b"{}"}


async def test_a_sweep_of_a_thousand_closed_editions_takes_a_request_a_list(clock):
    store = Requests()
    a_thousand_closed_editions(store)

    async def publish(*_: object) -> None:
        """Nothing is fetched."""

    are_open = await open_editions(store, clock.now())
    assert await sweep_all(a_world(store, clock, ScriptedApi(clock)), are_open, publish) == []
    assert store.requests == 3


async def test_a_lost_answer_costs_as_much_beside_a_thousand_old_editions_as_beside_none(clock):
    alone, beside = Requests(), Requests()
    a_thousand_closed_editions(beside)
    alone.objects[MADE] = b"{}"
    for store in (alone, beside):
        await bought(store, ManualClock(), lost=True, dedicated_key=True)
    assert beside.requests <= alone.requests * 1.1
