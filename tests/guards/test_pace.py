"""How fast a run buys: places in flight, distance between submits, and what a 429 does to both."""

import asyncio

import pytest
from support.fakes import settle

from adloom.core.campaign import Pace
from adloom.core.exits import Stop, StopReason
from adloom.guards.gate import GateClosed
from adloom.guards.pace import CUT_AT_MOST_EVERY_S, Throttle


def _stop(reason=StopReason.OUTAGE, message="away"):
    return Stop(reason, message)


async def _occupy(throttle, wanted):
    """Take places and keep them; how many of ``wanted`` got one, and how to give them back."""
    release = asyncio.Event()

    async def one():
        async with throttle.place():
            await release.wait()

    tasks = [asyncio.create_task(one()) for _ in range(wanted)]
    await settle()
    return throttle.in_flight, release, tasks


async def _room(throttle, wanted=40):
    """How many tasks may be in flight now."""
    in_flight, release, tasks = await _occupy(throttle, wanted)
    release.set()
    await asyncio.gather(*tasks)
    return in_flight


async def test_no_more_tasks_are_in_flight_than_the_campaign_says(gate, clock):
    throttle = Throttle(Pace(in_flight=5), gate, clock)
    assert await _room(throttle) == 5
    assert throttle.in_flight == 0


async def test_a_place_that_is_given_back_goes_to_the_next(gate, clock):
    throttle = Throttle(Pace(in_flight=1), gate, clock)
    done = []

    async def one(name):
        async with throttle.place():
            assert throttle.in_flight == 1
            await clock.sleep(1)
            done.append(name)

    await asyncio.gather(*(one(name) for name in range(5)))
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert clock.elapsed == 5


async def test_a_failure_gives_the_place_back(gate, clock):
    throttle = Throttle(Pace(in_flight=1), gate, clock)
    with pytest.raises(ZeroDivisionError):
        async with throttle.place():
            raise ZeroDivisionError
    assert throttle.in_flight == 0


async def test_whoever_waits_for_a_place_leaves_when_the_gate_closes(gate, clock):
    throttle = Throttle(Pace(in_flight=2), gate, clock)
    in_flight, release, tasks = await _occupy(throttle, 6)
    assert in_flight == 2
    gate.close(_stop())
    await throttle.wake()
    release.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ended].count(GateClosed) == 4


async def test_a_429_halves_the_tasks_in_flight(gate, clock):
    throttle = Throttle(Pace(in_flight=16), gate, clock)
    seen = []
    for _ in range(6):
        throttle.slow_down(0)
        clock.advance(CUT_AT_MOST_EVERY_S)
        seen.append(await _room(throttle))
    assert seen == [8, 4, 2, 1, 1, 1]


async def test_a_burst_of_429_is_one_piece_of_news(gate, clock):
    throttle = Throttle(Pace(in_flight=16), gate, clock)
    for _ in range(16):
        throttle.slow_down(0)
        clock.advance(0.5)
    assert await _room(throttle) == 8


async def test_successes_bring_the_pace_back_to_the_campaigns_own_number_and_not_beyond(gate, clock):
    throttle = Throttle(Pace(in_flight=6), gate, clock)
    for _ in range(3):
        throttle.slow_down(0)
        clock.advance(CUT_AT_MOST_EVERY_S)
    seen = [await _room(throttle)]
    for _ in range(200):
        await throttle.speed_up()
        seen.append(await _room(throttle))
    assert sorted(seen) == seen
    assert (seen[0], seen[1], seen[-1]) == (1, 2, 6)
    assert seen.count(3) >= 3  # a whole window of successes for each further task


async def test_a_run_begins_at_the_campaigns_own_number(gate, clock):
    throttle = Throttle(Pace(in_flight=3), gate, clock)
    for _ in range(50):
        await throttle.speed_up()
    assert await _room(throttle) == 3


async def test_a_raised_pace_lets_the_next_in_at_once(gate, clock):
    throttle = Throttle(Pace(in_flight=2), gate, clock)
    throttle.slow_down(0)
    in_flight, release, tasks = await _occupy(throttle, 3)
    assert in_flight == 1
    await throttle.speed_up()
    await settle()
    assert throttle.in_flight == 2
    release.set()
    await asyncio.gather(*tasks)


async def _turns(throttle, clock, count):
    times = []

    async def one():
        await throttle.turn()
        times.append(clock.monotonic())

    await asyncio.gather(*(one() for _ in range(count)))
    return times


async def test_submits_keep_their_distance(gate, clock):
    throttle = Throttle(Pace(submits_per_minute=30), gate, clock)
    assert await _turns(throttle, clock, 5) == pytest.approx([0, 2, 4, 6, 8])
    clock.advance(100)
    assert await _turns(throttle, clock, 2) == pytest.approx([108, 110])


async def test_submits_without_a_limit_wait_for_nothing(gate, clock):
    assert await _turns(Throttle(Pace(), gate, clock), clock, 50) == [0] * 50


async def test_a_429_pauses_everyone_who_comes(gate, clock):
    throttle = Throttle(Pace(), gate, clock)
    throttle.slow_down(60)
    assert min(await _turns(throttle, clock, 5)) >= 60


async def test_a_429_pauses_those_too_who_wait_for_their_turn_already(gate, clock):
    throttle = Throttle(Pace(submits_per_minute=60), gate, clock)
    turns = asyncio.create_task(_turns(throttle, clock, 5))
    for _ in range(5):
        await asyncio.sleep(0)
    throttle.slow_down(60)
    first, *others = await turns
    assert first == 0
    assert others == pytest.approx([60, 61, 62, 63])


async def test_the_longest_pause_counts(gate, clock):
    throttle = Throttle(Pace(), gate, clock)
    throttle.slow_down(60)
    throttle.slow_down(1)
    assert min(await _turns(throttle, clock, 2)) >= 60


async def test_whoever_waits_for_a_turn_leaves_when_the_gate_closes(gate, clock):
    throttle = Throttle(Pace(), gate, clock)
    throttle.slow_down(60)
    waiting = asyncio.create_task(throttle.turn())
    await asyncio.sleep(0)
    gate.close(_stop())
    with pytest.raises(GateClosed):
        await waiting
    with pytest.raises(GateClosed):
        await throttle.turn()


async def test_the_pace_is_divided_by_the_runs_that_are_live(gate, clock):
    throttle = Throttle(Pace(in_flight=16), gate, clock)
    seen = []
    for runs in (2, 3, 20, 1):
        await throttle.divide(runs)
        seen.append(await _room(throttle))
    assert seen == [8, 5, 1, 16]


async def test_a_run_that_a_429_has_slowed_down_is_as_slow_when_others_have_left(gate, clock):
    throttle = Throttle(Pace(in_flight=16), gate, clock)
    await throttle.divide(2)
    throttle.slow_down(0)
    assert await _room(throttle) == 4
    await throttle.divide(1)
    assert await _room(throttle) == 8


async def test_submits_of_a_run_are_as_much_further_apart_as_there_are_live_runs(gate, clock):
    throttle = Throttle(Pace(submits_per_minute=30), gate, clock)
    await throttle.divide(3)
    for _ in range(3):
        await throttle.turn()
    assert clock.elapsed == 12
