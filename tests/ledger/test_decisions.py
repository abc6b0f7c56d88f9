from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from support.fakes import EDITION, MemoryStore

from adloom.core.decision import Decision, Verdict
from adloom.core.errors import RecordUnreadable
from adloom.ledger.decisions import count, read_decisions, read_facts, write_decision

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
REJECTED = Decision("a" * 64, Verdict.REJECTED, by="ann", time=NOON, writer="0" * 16)


async def test_what_was_decided_last_stands_and_nothing_is_overwritten():
    store = MemoryStore()
    approved = replace(REJECTED, verdict=Verdict.APPROVED, time=NOON + timedelta(seconds=1))
    for decision in (approved, REJECTED):
        await write_decision(store, EDITION, decision)
    assert await read_decisions(store, EDITION) == {"a" * 64: approved}
    assert len((await read_facts(store, EDITION)).facts) == 2


async def test_the_same_fact_again_adds_nothing():
    store = MemoryStore()
    for _ in range(2):
        assert await write_decision(store, EDITION, REJECTED) == REJECTED
    assert len(store.objects) == 1


async def test_two_facts_with_one_name_are_both_kept():
    store = MemoryStore()
    await write_decision(store, EDITION, REJECTED)
    other = await write_decision(store, EDITION, replace(REJECTED, verdict=Verdict.APPROVED))
    assert other.time > NOON
    assert await read_decisions(store, EDITION) == {"a" * 64: other}


async def test_a_clock_that_is_behind_does_not_undo_what_was_seen():
    store = MemoryStore()
    ahead = await write_decision(store, EDITION, replace(REJECTED, time=NOON + timedelta(days=1)))
    mine = replace(REJECTED, verdict=Verdict.APPROVED, writer="1" * 16)
    written = await write_decision(store, EDITION, mine, after=ahead)
    assert (await read_decisions(store, EDITION))["a" * 64] == written


async def test_a_later_reading_reads_only_what_is_new():
    store = MemoryStore()
    await write_decision(store, EDITION, REJECTED)
    seen = await read_facts(store, EDITION)
    await write_decision(store, EDITION, replace(REJECTED, time=NOON + timedelta(seconds=1)))
    read: list[str] = []
    store.fault = lambda operation, key: read.append(key) if operation == "read" else None
    assert len((await read_facts(store, EDITION, seen)).facts) == 2
    assert len(read) == 1


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"{"])
async def test_a_damaged_decision_is_named_and_stops_who_would_act_on_it(content: bytes):
    store = MemoryStore()
    store.objects[EDITION.key(REJECTED.key)] = content
    assert (await read_facts(store, EDITION)).damaged == (EDITION.key(REJECTED.key),)
    with pytest.raises(RecordUnreadable):
        await read_decisions(store, EDITION)


def test_decisions_are_counted_by_what_they_say():
    assert count([REJECTED, replace(REJECTED, variant="b" * 64)]) == {"rejected": 2}
