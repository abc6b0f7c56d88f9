import json

import pytest
from support.fakes import EDITION, ManualClock

from adloom.core.process import Process
from adloom.ledger.heartbeats import BEAT_EVERY_S, DEAD_AFTER_S, Heartbeat, Liveness

PROCESS = Process("host-a", 7, "100")


def _owners(store, clock, *, dead=()):
    return Liveness(store, EDITION, clock, me="me", is_gone=lambda process: process in dead)


def _heartbeat(store, clock, token="other"):
    return Heartbeat(store, EDITION, clock, token, PROCESS, lambda: 0)


async def test_a_run_that_beats_lives_however_long_one_looks(store, clock):
    heartbeat, owners = _heartbeat(store, clock), _owners(store, clock)
    for _ in range(30):
        await heartbeat.beat()
        assert not await owners.is_dead("other")
        clock.advance(10)


async def test_a_run_is_dead_once_nothing_changed_for_a_minute_of_the_observers_time(store, clock):
    await _heartbeat(store, clock).beat()
    owners = _owners(store, clock)
    assert not await owners.is_dead("other")
    clock.advance(DEAD_AFTER_S - 1)
    assert not await owners.is_dead("other")
    clock.advance(1)
    assert await owners.is_dead("other")


async def test_an_old_heartbeat_proves_nothing_at_first_sight(store, clock):
    await _heartbeat(store, clock).beat()
    clock.advance(100_000)
    assert not await _owners(store, clock).is_dead("other")


@pytest.mark.parametrize("their_start", [0.0, 4e9])
async def test_clocks_that_differ_kill_nobody(store, clock, their_start):
    theirs = ManualClock(their_start)
    heartbeat, owners = _heartbeat(store, theirs), _owners(store, clock)
    for _ in range(5):
        await heartbeat.beat()
        assert not await owners.is_dead("other")
        clock.advance(DEAD_AFTER_S - 1)


@pytest.mark.parametrize("jump_s", [-7200, 7200])
async def test_a_wall_clock_that_is_moved_kills_nobody_and_saves_nobody(store, clock, jump_s):
    await _heartbeat(store, clock).beat()
    owners = _owners(store, clock)
    assert not await owners.is_dead("other")
    clock.jumped = jump_s
    assert not await owners.is_dead("other")
    clock.advance(DEAD_AFTER_S)
    assert await owners.is_dead("other")


async def test_a_beat_that_changes_nothing_but_its_count_is_a_sign_of_life(store, clock):
    stopped = ManualClock()
    heartbeat, owners = _heartbeat(store, stopped), _owners(store, clock)
    for _ in range(5):
        await heartbeat.beat()
        assert not await owners.is_dead("other")
        clock.advance(DEAD_AFTER_S)


async def test_a_run_is_dead_at_once_when_its_process_is_gone(store, clock):
    await _heartbeat(store, clock).beat()
    assert await _owners(store, clock, dead=[PROCESS]).is_dead("other")


async def test_a_run_is_dead_at_once_when_it_said_that_it_ended(store, clock):
    heartbeat = _heartbeat(store, clock)
    await heartbeat.beat()
    await heartbeat.beat(ended=True)
    assert await _owners(store, clock).is_dead("other")


async def test_a_run_that_never_showed_a_heartbeat_is_dead_after_a_minute(store, clock):
    owners = _owners(store, clock)
    assert not await owners.is_dead("ghost")
    clock.advance(DEAD_AFTER_S)
    assert await owners.is_dead("ghost")


async def test_this_run_itself_lives_even_without_a_heartbeat(store, clock):
    owners = _owners(store, clock, dead=[PROCESS])
    await _heartbeat(store, clock, "me").beat(ended=True)
    clock.advance(1000)
    assert not await owners.is_dead("me")


async def test_the_dead_stay_dead_for_those_who_saw_them_die(store, clock):
    heartbeat, owners = _heartbeat(store, clock), _owners(store, clock)
    await heartbeat.beat()
    await owners.is_dead("other")
    clock.advance(DEAD_AFTER_S)
    assert await owners.is_dead("other")
    await heartbeat.beat()
    assert await owners.is_dead("other")


async def test_runs_are_told_apart(store, clock):
    owners = _owners(store, clock)
    living = _heartbeat(store, clock, "living")
    await _heartbeat(store, clock, "silent").beat()
    for _ in range(7):
        await living.beat()
        states = [await owners.is_dead("living"), await owners.is_dead("silent")]
        clock.advance(10)
    assert states == [False, True]


async def test_a_heartbeat_says_which_process_it_is(store, clock):
    await _heartbeat(store, clock).beat()
    record = json.loads(store.objects[EDITION.key("runs/other.json")])
    assert record["process"] == {"host": "host-a", "pid": 7, "started": "100"}
    assert record["ended"] is False


async def test_live_runs_are_counted_and_neither_those_that_ended_nor_those_that_died(store, clock):
    owners = _owners(store, clock)
    assert await owners.count_live() == 1
    here, silent, done = (_heartbeat(store, clock, token) for token in ("here", "silent", "done"))
    for heartbeat in (here, silent, done, _heartbeat(store, clock, "me")):
        await heartbeat.beat()
    store.objects[EDITION.key("runs/here.probe.json")] = b"1\n"
    assert await owners.count_live() == 4
    await done.beat(ended=True)
    clock.advance(DEAD_AFTER_S)
    await here.beat()
    assert await owners.count_live() == 2


@pytest.mark.parametrize("content", [b"[]", b'"text"', b"7", b"null", b"{", b"\xff"])
async def test_what_is_no_heartbeat_tells_nothing_and_ends_nothing(store, clock, content):
    store.objects[EDITION.key("runs/other.json")] = content
    owners = _owners(store, clock)
    assert not await owners.is_dead("other")
    clock.advance(DEAD_AFTER_S)
    assert await owners.is_dead("other")


async def test_a_heartbeat_under_another_runs_name_is_not_that_runs(store, clock):
    await _heartbeat(store, clock, "one").beat(ended=True)
    store.objects[EDITION.key("runs/other.json")] = store.objects[EDITION.key("runs/one.json")]
    assert not await _owners(store, clock).is_dead("other")


def test_the_times_of_heartbeats_fit_each_other():
    """Five beats may be lost before a run counts as dead: whoever is taken for dead wrongly costs a held purchase."""
    assert (BEAT_EVERY_S, DEAD_AFTER_S) == (10, 60)
