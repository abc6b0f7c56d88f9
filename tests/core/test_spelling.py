from __future__ import annotations

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adloom.core.spelling import LONGEST_COMPARED, MOST_COMPARED, nearest

WORDS = st.text("abcde-", max_size=12)


@given(WORDS, st.lists(WORDS, unique=True, max_size=MOST_COMPARED))
def test_of_few_choices_the_nearest_is_the_one_that_difflib_finds(word: str, choices: list[str]):
    found = nearest(word, choices)
    expected = difflib.get_close_matches(word, choices, 1, 0.6)
    assert len(found) == len(expected)
    ratios = [difflib.SequenceMatcher(a=each, b=word).ratio() for each in (*found, *expected)]
    assert len(set(ratios)) <= 1


def test_of_many_choices_the_one_with_a_letter_amiss_is_found():
    choices = [f"name-{number:06}" for number in range(20_000)] + ["bottle"]
    assert nearest("botle", iter(choices)) == ["bottle"]


@pytest.mark.timeout(10)  # compared as a whole, this takes hours
def test_names_of_any_length_are_compared_by_their_beginnings():
    choices = [f"{number:04}" + "ab" * 100_000 for number in range(1000)]
    (found,) = nearest("0007" + "ba" * 100_000, choices)
    assert found in choices
    assert nearest("a" * LONGEST_COMPARED + "x", ["a" * LONGEST_COMPARED + "y"]) == ["a" * LONGEST_COMPARED + "y"]


def test_nothing_is_near_to_nothing():
    assert nearest("", ["a"]) == nearest("a", []) == []
