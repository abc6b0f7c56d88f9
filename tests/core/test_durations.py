from random import Random
from statistics import mean

import pytest

from adloom.core.durations import PATIENCE_INTERVALS, SCARCE, SCOUTS, USUAL, Durations

KIND = ("model", "2K", 5)
INTERVAL_S = 3.0
MIDDLE = 0.5


@pytest.fixture
def durations():
    return Durations(INTERVAL_S)


def learned(durations: Durations, seconds: float) -> Durations:
    durations.learn(KIND, seconds, unfinished_s=seconds, completed=True, is_first=True)
    return durations


def test_the_first_few_of_a_kind_are_read_early_and_the_others_wait_for_them(durations):
    firsts = [durations.first_reading_s(KIND) for _ in range(SCOUTS + 2)]
    assert firsts == [INTERVAL_S] * SCOUTS + [PATIENCE_INTERVALS * INTERVAL_S] * 2


def test_each_kind_has_scouts_of_its_own(durations):
    for _ in range(SCOUTS):
        durations.first_reading_s(KIND)
    assert durations.first_reading_s(("model", "2K", 1)) == INTERVAL_S


def test_what_a_scout_took_lies_between_its_last_two_readings(durations):
    assert not durations.learn(KIND, 8, unfinished_s=0, completed=False, is_first=True)
    assert durations.learn(KIND, 12, unfinished_s=8, completed=True, is_first=False)
    assert durations.first_reading_s(KIND) == 10


def test_nothing_is_learned_from_an_end_that_was_seen_late(durations):
    """The process was paused, or the machine asleep, between the two readings."""
    assert not durations.learn(KIND, 2000, unfinished_s=8, completed=True, is_first=False)
    assert durations.first_reading_s(KIND) == INTERVAL_S
    assert durations.learn(KIND, 12, unfinished_s=8, completed=True, is_first=False)
    assert durations.first_reading_s(KIND) == 10


def test_a_task_that_took_hours_delays_no_first_reading_by_more_than_two_minutes(durations):
    durations.learn(KIND, 7200, unfinished_s=7180, completed=True, is_first=False)
    assert durations.first_reading_s(KIND) == 120


def test_a_fast_kind_is_not_read_sooner_than_half_an_interval(durations):
    assert learned(durations, 0.01).first_reading_s(KIND) == INTERVAL_S / 2


@pytest.mark.parametrize("was_s", [3.0, 60.0])
@pytest.mark.parametrize("schedule", [USUAL, SCARCE])
def test_the_first_reading_follows_the_tasks_up_and_down(durations, schedule, was_s):
    durations.schedule = schedule
    random = Random(1)
    learned(durations, was_s)
    found = []
    for _ in range(3000):
        age_s = durations.first_reading_s(KIND)
        completed = random.uniform(20, 30) <= age_s
        durations.learn(KIND, age_s, unfinished_s=0, completed=completed, is_first=True)
        found.append(completed)
    assert durations.first_reading_s(KIND) == pytest.approx(20 + 10 * schedule.share, abs=2)
    assert mean(found[1000:]) == pytest.approx(schedule.share, abs=0.05)


def test_later_readings_do_not_move_the_first(durations):
    learned(durations, 10)
    durations.learn(KIND, 14, unfinished_s=12, completed=True, is_first=False)
    durations.learn(KIND, 14, unfinished_s=12, completed=False, is_first=False)
    assert durations.first_reading_s(KIND) == 10


def test_steps_are_short_and_grow_up_to_five_intervals(durations):
    waits = [durations.wait_s(None, readings, 10, MIDDLE) for readings in range(1, 14)]
    assert waits[:3] == pytest.approx([1.8, 2.25, 2.8125])
    assert waits[-1] == 5 * INTERVAL_S
    assert durations.wait_s(KIND, 1, 10, 0) == pytest.approx(0.8 * 1.8)


def test_the_steps_of_a_slow_kind_are_a_share_of_what_it_takes(durations):
    assert learned(durations, 40).wait_s(KIND, 1, 40, MIDDLE) == pytest.approx(5)
    durations.schedule = SCARCE
    assert durations.wait_s(KIND, 1, 40, MIDDLE) == pytest.approx(40 / 24)


@pytest.mark.parametrize(
    ("age_s", "wait_s"), [(299, 15), (300, 30), (1799, 30), (1800, 60), (7199, 60), (7200, 300), (90_000, 300)]
)
def test_overdue_tasks_are_read_more_rarely(durations, age_s, wait_s):
    assert durations.wait_s(KIND, 50, age_s, MIDDLE) == pytest.approx(wait_s)
