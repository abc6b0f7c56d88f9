"""What a probe has proven about the API: for one account, for 30 days, and nothing without it."""

import json

import pytest
from support.fakes import ManualClock, MemoryStore

from adloom.ledger.capabilities import (
    KEY,
    SCHEMA,
    VALID_S,
    read_capabilities,
    record_capability,
    withdraw_capability,
)
from adloom.ledger.edition import utc


async def test_what_was_proven_counts_for_its_own_account_and_for_30_days(store: MemoryStore, clock: ManualClock):
    proven = clock.now()
    await record_capability(store, "mine", replays_keys=True, now=proven)
    known = await read_capabilities(store)
    assert VALID_S == 30 * 24 * 3600
    assert known.replays_keys("mine", proven)
    assert known.replays_keys("mine", proven + VALID_S - 1)
    assert not known.replays_keys("mine", proven + VALID_S + 1)
    assert not known.replays_keys("other", proven)


async def test_a_clock_that_was_set_back_proves_nothing(store: MemoryStore, clock: ManualClock):
    await record_capability(store, "mine", replays_keys=True, now=clock.now())
    assert not (await read_capabilities(store)).replays_keys("mine", clock.now() - 60)


async def test_a_later_probe_replaces_an_accounts_entry_and_keeps_those_of_others(
    store: MemoryStore, clock: ManualClock
):
    for account, replays in (("mine", True), ("other", True), ("mine", False)):
        await record_capability(store, account, replays_keys=replays, now=clock.now())
    known = await read_capabilities(store)
    assert (known.replays_keys("mine", clock.now()), known.replays_keys("other", clock.now())) == (False, True)


@pytest.mark.parametrize("content", [None, b"{}", b'{"schema":"adloom.capabilities/2","accounts":{"mine":1}}'])
async def test_an_archive_without_a_record_that_is_understood_proves_nothing(
    store: MemoryStore, clock: ManualClock, content: bytes | None
):
    if content is not None:
        store.objects[KEY] = content
    assert not (await read_capabilities(store)).replays_keys("mine", clock.now())


async def test_what_speaks_against_a_proof_withdraws_it_until_the_next_probe(store: MemoryStore, clock: ManualClock):
    for account in ("mine", "other"):
        await record_capability(store, account, replays_keys=True, now=clock.now(), says_replayed=True)
    await withdraw_capability(store, "mine", now=clock.now())
    known = await read_capabilities(store)
    assert (known.replays_keys("mine", clock.now()), known.replays_keys("other", clock.now())) == (False, True)
    assert known.says_replayed("other")
    assert json.loads(store.objects[KEY])["accounts"]["mine"]["withdrawn"] == utc(clock.now())
    await record_capability(store, "mine", replays_keys=True, now=clock.now(), says_replayed=False)
    known = await read_capabilities(store)
    assert (known.replays_keys("mine", clock.now()), known.says_replayed("mine")) == (True, False)


ENTRIES_TO_DOUBT = [
    None,
    1,
    [],
    {},
    {"replays_keys": True},
    {"probed": "2026-09-21T00:00:00.000Z"},
    {"replays_keys": "false", "probed": "2026-09-21T00:00:00.000Z"},
    {"replays_keys": True, "probed": 1_790_000_000},
    {"replays_keys": True, "probed": "yesterday"},
    {"replays_keys": True, "probed": "2026-09-21T00:00:00"},
]


@pytest.mark.parametrize("entry", ENTRIES_TO_DOUBT, ids=repr)
async def test_an_entry_that_is_not_understood_proves_nothing_and_a_probe_writes_it_anew(
    store: MemoryStore, clock: ManualClock, caplog, entry: object
):
    good = {"replays_keys": True, "probed": utc(clock.now())}
    store.objects[KEY] = json.dumps({"schema": SCHEMA, "accounts": {"mine": entry, "other": good}}).encode()
    known = await read_capabilities(store)
    assert (known.replays_keys("mine", clock.now()), known.replays_keys("other", clock.now())) == (False, True)
    assert ["account mine" in line.getMessage() for line in caplog.records] == [True]
    await record_capability(store, "mine", replays_keys=True, now=clock.now())
    known = await read_capabilities(store)
    assert known.replays_keys("mine", clock.now())
    assert known.replays_keys("other", clock.now())
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff", f'{{"schema":"{SCHEMA}"}}'.encode(), f'{{"schema":"{SCHEMA}","accounts":[]}}'.encode()],
)
async def test_a_damaged_record_proves_nothing_and_a_probe_writes_it_anew(
    store: MemoryStore, clock: ManualClock, caplog, content: bytes
):
    store.objects[KEY] = content
    assert not (await read_capabilities(store)).replays_keys("mine", clock.now())
    assert len(caplog.records) == 1
    await record_capability(store, "mine", replays_keys=True, now=clock.now())
    assert (await read_capabilities(store)).replays_keys("mine", clock.now())
