from __future__ import annotations

import random
import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from adloom.campaign.seen import FirstLineIndex


@given(st.lists(st.tuples(st.integers(0, 40) | st.integers(0, 2**64 - 1), st.integers(1, 2**31)), max_size=200))
def test_each_number_is_known_by_the_line_where_it_first_came(given_numbers):
    seen, expected = FirstLineIndex(), {}
    for number, line in given_numbers:
        number = number or 1  # noqa: PLW2901 - 0 and 1 are one: hashes are neither
        assert seen.first(number, line) == expected.get(number)
        expected.setdefault(number, line)


def test_it_grows_without_forgetting_and_takes_few_bytes_a_number():
    numbers = random.Random(2).sample(range(1, 2**63), 20_000)
    tracemalloc.start()
    seen = FirstLineIndex()
    assert all(seen.first(number, line) is None for line, number in enumerate(numbers, start=1))
    size_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [seen.first(number, 0) for number in numbers] == list(range(1, len(numbers) + 1))
    assert size_bytes < 50 * len(numbers)
