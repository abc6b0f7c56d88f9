import pytest
from hypothesis import given
from hypothesis import strategies as st

from adloom.core.rate import WINDOW_S, images_per_s, seconds_left


def test_a_steady_stream_is_its_own_rate():
    assert images_per_s([(second, 2) for second in range(0, 100, 10)], now=90) == pytest.approx(0.2)
    assert seconds_left(30, 0.2) == pytest.approx(150)


def test_a_rate_falls_while_nothing_comes_and_is_unknown_after_a_quiet_window():
    times = [(0.0, 1), (10.0, 1)]
    assert images_per_s(times, now=20) == pytest.approx(1 / 20)
    assert images_per_s(times, now=100) == pytest.approx(1 / 100)
    assert images_per_s(times, now=10 + WINDOW_S + 1) is None


@pytest.mark.parametrize("times", [[], [(5.0, 3)], [(20.0, 1), (30.0, 1)]])
def test_one_moment_is_no_rate_and_times_to_come_are_none(times: list[tuple[float, int]]):
    assert images_per_s(times, now=10) is None
    assert seconds_left(10, None) is None


@given(st.lists(st.tuples(st.floats(0, 500), st.integers(1, 15)), max_size=30))
def test_a_rate_is_never_negative_and_never_more_than_what_came(times: list[tuple[float, int]]):
    rate = images_per_s(times, now=501)
    assert rate is None or 0 <= rate * 501 <= sum(images for _, images in times) * 502
