import pytest
from hypothesis import given
from hypothesis import strategies as st

from adloom.core.backoff import READ, RESULT, STORE, THROTTLE, advised_wait_s, poll_wait_s

chances = st.floats(min_value=0, max_value=1, exclude_max=True)
MIDDLE = 0.5


@pytest.mark.parametrize(
    ("backoff", "first_s", "cap_s"), [(READ, 0.5, 30), (RESULT, 1, 60), (STORE, 0.2, 20), (THROTTLE, 2, 120)]
)
def test_the_ceiling_doubles_from_the_base_to_the_cap(backoff, first_s, cap_s):
    ceilings = [backoff.wait_s(tries, 1.0) for tries in range(12)]
    assert ceilings[:3] == pytest.approx([first_s, 2 * first_s, 4 * first_s])
    assert ceilings[-1] == cap_s


@given(tries=st.integers(-5, 10**9), chance=chances)
def test_a_wait_lies_between_nothing_and_its_cap_whatever_is_counted(tries, chance):
    assert 0 <= READ.wait_s(tries, chance) < READ.cap_s


@given(advised_s=st.floats(-1e9, 1e9), chance=chances)
def test_a_servers_advice_is_kept_in_bounds_and_never_undercut(advised_s, chance):
    waited_s = advised_wait_s(advised_s, chance)
    assert min(max(advised_s, 1), 300) <= waited_s <= 360


def test_the_first_poll_comes_after_one_interval():
    assert poll_wait_s(0, 0, 3.0, MIDDLE) == pytest.approx(3.0)


def test_polls_slow_down_by_half_up_to_five_intervals():
    waits = [poll_wait_s(polls, 10, 3.0, MIDDLE) for polls in range(7)]
    assert waits == pytest.approx([3, 4.5, 6.75, 10.125, 15, 15, 15])


@pytest.mark.parametrize(
    ("age_s", "wait_s"),
    [(299, 15), (300, 30), (1799, 30), (1800, 60), (7199, 60), (7200, 300), (90_000, 300)],
)
def test_old_tasks_are_asked_more_rarely(age_s, wait_s):
    assert poll_wait_s(50, age_s, 3.0, MIDDLE) == pytest.approx(wait_s)


@given(polls=st.integers(0, 10**6), age=st.floats(0, 40_000), interval_s=st.floats(0.01, 60), chance=chances)
def test_every_wait_is_a_multiple_of_the_interval_within_a_fifth(polls, age, interval_s, chance):
    unjittered = poll_wait_s(polls, age, 1.0, MIDDLE)
    waited_s = poll_wait_s(polls, age * interval_s * (1 + 1e-12), interval_s, chance)
    assert waited_s / interval_s == pytest.approx(unjittered, rel=0.2001)
