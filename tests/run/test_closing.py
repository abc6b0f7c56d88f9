"""An edition is closed in the archive's index when nothing that its runs bought is outstanding, and not before."""

import json

import pytest
from support.fakes import (
    EDITION,
    ScriptedApi,
    a_world,
    an_intent,
)
from support.indexed import OTHER, a_settled_ledger, beat, bought, lives

from adloom.core.process import Process
from adloom.ledger.claims import claims_of
from adloom.ledger.index import (
    Entry,
    Opening,
    entries_of,
    indexed_editions,
    open_editions,
)
from adloom.ledger.ledger import Ledger
from adloom.run.closing import FORGOTTEN_AFTER_S, close_if_over
from adloom.run.sweep import sweep


def is_dead(_: Process) -> bool:
    return True


async def test_a_run_that_leaves_nothing_out_there_closes_its_edition(store, clock):
    await bought(store, clock)
    assert await open_editions(store, clock.now()) == []
    assert await indexed_editions(store, clock.now()) == ([EDITION], frozenset())


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
