"""The archive's index: what is open is never missed, and what is closed costs nobody a reading."""

import json

import pytest
from support.fakes import (
    EDITION,
    FakeSource,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_row,
    a_world,
    an_intent,
    look_at,
    run_all,
)

from adloom.core.errors import OutcomeUnknown
from adloom.core.process import Process
from adloom.ledger.claims import claims_of
from adloom.ledger.edition import Edition
from adloom.ledger.heartbeats import Heartbeat
from adloom.ledger.index import (
    MADE,
    OLDER,
    Entry,
    Opening,
    create_entry,
    entries_of,
    index_once,
    indexed_editions,
    open_editions,
)
from adloom.ledger.ledger import Ledger
from adloom.run.closing import FORGOTTEN_AFTER_S, close_if_over
from adloom.run.sweep import sweep, sweep_all

OTHER = Edition("other", "main")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


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


def is_dead(_: Process) -> bool:
    return True


def lives(_: Process) -> bool:
    return False


async def bought(store: MemoryStore, clock: ManualClock, *, lost: bool = False, **more: object) -> ScriptedApi:
    api = ScriptedApi(clock)
    if lost:
        api.answers = [OutcomeUnknown("the answer was lost")]
    world = a_world(store, clock, api, **more)
    await run_all(world, await look_at(world, FakeSource([a_row()])))
    return api


async def beat(store: MemoryStore, edition: Edition, clock: ManualClock, run: str, *, ended: bool = False) -> None:
    heartbeat = Heartbeat(store, edition, clock, run, Process("host", 1, "1"), lambda: 0)
    await heartbeat.beat(ended=ended)


async def a_settled_ledger(store: MemoryStore, clock: ManualClock, edition: Edition = OTHER) -> Ledger:
    """A ledger of one purchase that was refused, so that nothing of it is out there."""
    ledger = Ledger(store, edition, clock, "writer")
    await ledger.load()
    await ledger.note("c-1", "a1-intent", an_intent(1))
    await ledger.note("c-1", "a1-settled", {"outcome": "free", "kind": "rejected", "final": True, "reason": ""})
    return ledger


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


async def test_a_run_that_leaves_nothing_out_there_closes_its_edition(store, clock):
    await bought(store, clock)
    assert await open_editions(store, clock.now()) == []
    assert await indexed_editions(store, clock.now()) == ([EDITION], frozenset())


async def test_a_run_that_buys_nothing_enters_nothing(store, clock):
    await bought(store, clock)
    before = set(store.objects)
    await bought(store, clock)
    assert [key for key in set(store.objects) - before if key.startswith("index/")] == []


async def test_an_unknown_purchase_keeps_its_edition_open_whoever_looks(store, clock):
    await bought(store, clock, lost=True)
    assert await open_editions(store, clock.now()) == [EDITION]
    await sweep(a_world(store, clock, ScriptedApi(clock), is_gone=is_dead), EDITION)
    clock.advance(2 * FORGOTTEN_AFTER_S)
    await sweep(a_world(store, clock, ScriptedApi(clock), is_gone=is_dead), EDITION)
    assert await open_editions(store, clock.now()) == [EDITION]


async def test_closing_one_runs_entry_does_not_close_anothers(store, clock):
    ledger = await a_settled_ledger(store, clock)
    await Opening(store, OTHER, "run-1", clock).ensure()
    await Opening(store, OTHER, "run-2", clock).ensure()
    await beat(store, OTHER, clock, "run-2")
    assert not await close_if_over(ledger, clock, lives, mine="run-1")
    assert await open_editions(store, clock.now()) == [OTHER]
    assert await entries_of(store, "closed", OTHER) == {Entry(OTHER, "run-1")}
    await beat(store, OTHER, clock, "run-2", ended=True)
    assert await close_if_over(ledger, clock, lives)
    assert await open_editions(store, clock.now()) == []


async def test_an_edition_that_is_run_again_is_open_again(store, clock):
    ledger = await a_settled_ledger(store, clock)
    await Opening(store, OTHER, "run-1", clock).ensure()
    assert await close_if_over(ledger, clock, lives, mine="run-1")
    await Opening(store, OTHER, "run-2", clock).ensure()
    assert await open_editions(store, clock.now()) == [OTHER]


@pytest.mark.parametrize(
    ("ended", "dead", "age_s", "closes"),
    [
        (False, lives, 0, False),
        (True, lives, 0, True),
        (False, is_dead, 0, True),
        (False, lives, FORGOTTEN_AFTER_S - 1, False),
        (False, lives, FORGOTTEN_AFTER_S + 1, True),
    ],
)
async def test_only_runs_that_are_over_are_closed_by_others(store, clock, ended, dead, age_s, closes):
    ledger = await a_settled_ledger(store, clock)
    await Opening(store, OTHER, "run-1", clock).ensure()
    await beat(store, OTHER, clock, "run-1", ended=ended)
    clock.advance(age_s)
    assert await close_if_over(ledger, clock, dead) == closes


async def test_what_a_run_bought_after_the_ledger_was_read_is_read_before_anything_is_closed(store, clock):
    ledger = await a_settled_ledger(store, clock)
    await Opening(store, OTHER, "run-1", clock).ensure()
    late = Ledger(store, OTHER, clock, "run-1")
    await late.load()
    await late.note("c-2", "a1-intent", an_intent(1))
    await beat(store, OTHER, clock, "run-1", ended=True)
    assert not await close_if_over(ledger, clock, lives)
    assert await open_editions(store, clock.now()) == [OTHER]


async def test_every_accepted_task_of_a_closed_edition_has_a_claim(store, clock):
    ledger = await a_settled_ledger(store, clock)
    await ledger.accept("c-1", 1, "task-1", "1")
    await Opening(store, OTHER, "run-1", clock).ensure()
    assert await close_if_over(ledger, clock, lives, mine="run-1")
    found = await claims_of(store, [], {"task-1", "task-2"})
    assert found.tasks == {"task-1"}
    assert json.loads(store.objects["tasks/task-1.json"])["call"] == "c-1"


def older_edition(name: str, *, facts: int = 1, **totals: object) -> dict[str, bytes]:
    """An edition of a version without an index: a purchase, and a manifest that knows so many facts."""
    settled = {"credits_reserved": 0, "credits_at_risk": 0, "held": 0, "open": 0, **totals}
    manifest = json.dumps({"totals": settled, "facts": facts}).encode()
    files = {"plan-r1.json": b"{}", "manifest.json": manifest, "ledger/c-1/a1-accepted.task-9.json": b"{}"}
    return {f"{name}/main/{file}": content for file, content in files.items()}


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
