"""The ledger: decisions are taken once, evidence stays, and damage is named."""

import asyncio
import json

import pytest
from support.fakes import EDITION, a_ledger, a_row, bought
from support.finished import finish

from adloom.core.errors import RecordUnreadable, StoreUnavailable
from adloom.core.facts import SCHEMA, Stage
from adloom.ledger.edition import to_json, utc
from adloom.ledger.ledger import SEAL_SCHEMA

COMPLETED = {"task": "t", "reported": 1, "credits": "1.53"}
INTENT = bought(credits="1.53")


async def test_a_decision_is_taken_once_and_everybody_else_reads_it(store, clock):
    one, other = await a_ledger(store, clock, "run-a"), await a_ledger(store, clock, "run-b")
    assert (await one.decide("c-1", "a1-intent", INTENT))[1] is True
    standing, mine = await other.decide("c-1", "a1-intent", {"outcome": "withdrawn"})
    assert (standing["outcome"], standing["writer"], mine) == ("bought", "run-a", False)
    assert other.facts("c-1").stage is Stage.SENDING


async def test_of_racing_runs_one_decides(store, clock):
    ledgers = [await a_ledger(store, clock, f"run-{n}") for n in range(20)]
    decided = await asyncio.gather(*(ledger.decide("c-1", "a1-intent", INTENT) for ledger in ledgers))
    assert [mine for _, mine in decided].count(True) == 1
    assert len({record["writer"] for record, _ in decided}) == 1


async def test_of_racing_steps_of_one_run_in_one_instant_one_decides(store, clock):
    ledger = await a_ledger(store, clock)
    decided = await asyncio.gather(*(ledger.decide("c-1", "a1-intent", INTENT) for _ in range(5)))
    assert [mine for _, mine in decided].count(True) == 1


async def test_a_decision_whose_reply_was_lost_is_still_ones_own(store, clock):
    ledger = await a_ledger(store, clock)
    create = store.create

    async def lossy(key, content, **more):
        await create(key, content, **more)
        return False  # as a store that tries again by itself finds its own object

    store.create = lossy
    assert (await ledger.decide("c-1", "a1-intent", INTENT))[1] is True


async def test_a_run_in_the_same_instant_with_the_same_words_is_still_another(store, clock):
    one, other = await a_ledger(store, clock, "run-a"), await a_ledger(store, clock, "run-b")
    await one.decide("c-1", "a1-intent", INTENT)
    assert (await other.decide("c-1", "a1-intent", INTENT))[1] is False


async def test_every_record_says_its_schema_its_time_and_its_writer(store, clock):
    ledger = await a_ledger(store, clock)
    await ledger.note("c-1", "a1-held", {"reason": "图"})
    content = store.objects[EDITION.key("ledger/c-1/a1-held.json")]
    record = json.loads(content)
    assert (record["schema"], record["writer"], record["reason"]) == (SCHEMA, "run-a", "图")
    assert record["time"] == utc(clock.now())
    assert record["time"].endswith("Z")
    assert content.endswith(b"\n")
    assert content.count(b"\n") == 1


async def test_evidence_that_is_there_already_stays(store, clock):
    ledger = await a_ledger(store, clock)
    await ledger.note("c-1", "a1-completed", {**COMPLETED, "links": ["first"]})
    clock.advance(5)
    assert (await ledger.note("c-1", "a1-completed", {**COMPLETED, "links": ["second"]}))["links"] == ["first"]


async def test_a_run_reads_what_all_runs_wrote(store, clock):
    writer = await a_ledger(store, clock, "run-a")
    for call in ("c-1", "c-2"):
        await writer.decide(call, "a1-intent", INTENT)
    await writer.note("c-2", "a1-unknown-1", {"reason": "r"})
    reader = await a_ledger(store, clock, "run-b")
    assert set(reader.calls()) == {"c-1", "c-2"}
    assert (reader.facts("c-1").stage, reader.facts("c-2").stage) == (Stage.SENDING, Stage.UNKNOWN)
    assert reader.facts("c-3").stage is Stage.UNBOUGHT
    assert reader.fact_count() == 3


async def test_a_refresh_brings_what_others_wrote_since_about_one_call(store, clock):
    one, other = await a_ledger(store, clock, "run-a"), await a_ledger(store, clock, "run-b")
    await other.decide("c-1", "a1-intent", INTENT)
    await other.decide("c-10", "a1-intent", INTENT)
    assert one.facts("c-1").stage is Stage.UNBOUGHT
    assert (await one.refresh("c-1")).stage is Stage.SENDING
    assert one.calls() == ("c-1",)


async def test_a_ledger_knows_that_it_grew_elsewhere(store, clock):
    one, other = await a_ledger(store, clock, "run-a"), await a_ledger(store, clock, "run-b")
    await one.note("c-1", "a1-held", {"reason": "r"})
    assert not await one.grew()
    assert await other.grew()
    await other.load()
    assert not await other.grew()


async def test_a_fact_is_known_only_once_it_is_durable(store, clock):
    ledger = await a_ledger(store, clock)

    def outage(operation, key):
        if operation == "create":
            raise StoreUnavailable("away")

    store.fault = outage
    with pytest.raises(StoreUnavailable):
        await ledger.decide("c-1", "a1-intent", INTENT)
    assert ledger.facts("c-1").stage is Stage.UNBOUGHT
    assert not store.objects


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
async def test_a_damaged_record_is_refused_with_its_address(store, clock, content):
    store.objects[EDITION.key("ledger/c-1/a1-intent.json")] = content
    with pytest.raises(RecordUnreadable) as caught:
        await a_ledger(store, clock)
    assert "ledger/c-1/a1-intent.json" in caught.value.message
    assert caught.value.remedy


async def test_a_record_that_is_listed_but_gone_is_an_outage(store, clock):
    store.objects[EDITION.key("ledger/c-1/a1-held.json")] = b"{}"
    read = store.read

    async def gone(key):
        await read(key)

    store.read = gone
    with pytest.raises(StoreUnavailable):
        await a_ledger(store, clock)


async def test_a_second_task_of_one_attempt_is_kept_and_shouted_about(store, clock, caplog):
    ledger = await a_ledger(store, clock)
    await ledger.decide("c-1", "a1-intent", INTENT)
    await ledger.accept("c-1", 1, "task-1", "1.53")
    assert not caplog.records
    await ledger.accept("c-1", 1, "task-2", "1.53")
    assert ledger.facts("c-1").latest.tasks == ("task-1", "task-2")
    assert "twice" in caplog.text


async def test_a_second_task_of_an_attempt_that_is_long_over_is_shouted_about_too(store, clock, caplog):
    ledger = await a_ledger(store, clock)
    await ledger.decide("c-1", "a1-intent", INTENT)
    await ledger.accept("c-1", 1, "task-1", "1.53")
    await ledger.decide("c-1", "a2-intent", INTENT)
    await ledger.accept("c-1", 2, "task-2", "1.53")
    assert not caplog.records
    await ledger.accept("c-1", 1, "task-3", "1.53")
    assert "task-3" in caplog.text


async def _sealed(store, clock, calls=3):
    """A ledger whose calls are all sealed, as its writer knows it."""
    ledger = await a_ledger(store, clock, "run-a")
    names = [await finish(ledger, a_row(f"r{number}")) for number in range(calls)]
    seal = {"schema": SEAL_SCHEMA, "calls": {call: ledger.records(call) for call in names}}
    await store.create(EDITION.key("ledger/sealed/0.json"), to_json(seal))
    return ledger, names


async def test_a_ledger_that_was_read_from_seals_knows_what_its_writer_knew(store, clock):
    ledger, names = await _sealed(store, clock)
    other = await a_ledger(store, clock, "run-b")
    assert [other.ended(call) is not None for call in names] == [True] * 3
    assert list(other.unended()) == []
    assert (other.fact_count(), other.sent_count(), await other.grew()) == (ledger.fact_count(), 3, False)
    assert [other.stage(call) for call in names] == [Stage.ARCHIVED] * 3
    assert {call: other.facts(call) for call in other.calls()} == {call: ledger.facts(call) for call in names}
    assert dict(other.sums()) == dict(ledger.sums())
    assert sorted(other.accepted()) == sorted(ledger.accepted())


async def test_what_comes_after_a_seal_is_read_and_counts(store, clock):
    ledger, (first, second, _) = await _sealed(store, clock)
    other = await a_ledger(store, clock, "run-b")
    await ledger.accept(first, 1, "task-again", "1.53")
    await ledger.note(second, "a1-archived-2", {"images": []})
    await other.catch_up()
    assert (other.ended(first), other.ended(second)) == (None, None)
    assert sorted(len(facts.attempts[0].tasks) for facts in other.unended()) == [1, 2]
    assert other.fact_count() == ledger.fact_count()
    later = await a_ledger(store, clock, "run-c")
    assert (later.ended(first), later.facts(first)) == (None, ledger.facts(first))


@pytest.mark.parametrize("seals", [1, 2], ids=["", "of two plans"])
async def test_a_sealed_call_that_is_not_over_is_folded(store, clock, seals):
    ledger = await a_ledger(store, clock, "run-a")
    call = await finish(ledger, a_row())
    await ledger.note(call, "a1-held", {"reason": "why"})
    seal = {"schema": SEAL_SCHEMA, "calls": {call: ledger.records(call)}}
    for number in range(seals):
        await store.create(EDITION.key(f"ledger/sealed/{number}.json"), to_json(seal))
    other = await a_ledger(store, clock, "run-b")
    assert (other.ended(call), [facts.call for facts in other.unended()]) == (None, [call])
    assert (other.fact_count(), dict(other.sums())) == (ledger.fact_count(), dict(ledger.sums()))
    await ledger.note(call, "a2-intent", INTENT)
    await other.catch_up()
    assert other.facts(call) == ledger.facts(call)
