from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adloom.core.matrix import Exclusions, combinations, first_text, sample, weighted_sample

TEXTS = st.text("abc", min_size=1, max_size=3)


def test_the_last_axis_turns_fastest():
    axes = {"surface": ["linen", "stone"], "light": ["dawn", "noon"]}
    assert [tuple(each.values()) for each in combinations(axes)] == list(
        itertools.product(["linen", "stone"], ["dawn", "noon"])
    )


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ({"surface": "linen"}, True),
        ({"surface": "linen", "light": "noon"}, False),
        ({"product": {"name": "serum"}}, True),
        ({"product": {"name": "serum", "sku": "1"}}, False),
        ({"product": "serum"}, False),
        ({"surface": {"name": "linen"}}, False),
        ({"unknown": "x"}, False),
        ({}, True),
    ],
)
def test_a_pattern_matches_in_part_and_inside_mappings(pattern, expected):
    combination = {"product": {"name": "serum", "sku": "007"}, "surface": "linen", "light": "dawn"}
    exclusions = Exclusions([pattern, {"surface": "stone"}])
    assert exclusions.leave_out(combination) is expected
    assert exclusions.met(pattern) == expected
    assert exclusions.met({"surface": "stone"}) == 0


VALUES = st.recursive(TEXTS, lambda inner: st.dictionaries(TEXTS, inner, min_size=1, max_size=2), max_leaves=4)
COMBINATIONS = st.dictionaries(TEXTS, VALUES, max_size=3)


def fits(combination: object, pattern: object) -> bool:
    """What a pattern means, said the slow way."""
    if isinstance(pattern, dict):
        return isinstance(combination, dict) and all(fits(combination.get(key), pattern[key]) for key in pattern)
    return combination == pattern


@given(st.lists(COMBINATIONS, max_size=4), COMBINATIONS)
def test_patterns_that_are_looked_up_meet_what_they_would_one_by_one(patterns, combination):
    exclusions = Exclusions(patterns)
    assert exclusions.leave_out(combination) == any(fits(combination, pattern) for pattern in patterns)
    assert [exclusions.met(pattern) for pattern in patterns] == [fits(combination, pattern) for pattern in patterns]


def test_patterns_with_the_same_names_are_one_look_up():
    exclusions = Exclusions({"surface": str(number), "product": {"sku": "1"}} for number in range(10_000))
    assert exclusions.names == 2


@given(st.lists(TEXTS, unique=True, max_size=30), st.integers(0, 10))
def test_a_sample_has_the_size_asked_for_and_keeps_its_choice_in_any_order(contents, count):
    picked = {contents[position] for position in sample(contents, count, "7")}
    backwards = contents[::-1]
    assert len(picked) == min(count, len(contents))
    assert {backwards[position] for position in sample(backwards, count, "7")} == picked


@given(st.lists(TEXTS, unique=True, min_size=2, max_size=30))
def test_one_more_content_changes_at_most_one_choice(contents):
    count = len(contents) // 2
    before = {contents[position] for position in sample(contents[:-1], count, "7")}
    after = {contents[position] for position in sample(contents, count, "7")}
    assert len(before - after) <= 1


@pytest.mark.parametrize(("heavier", "expected"), [(9.0, 90), (1.0, 50), (1 / 9, 10)])
def test_a_heavier_content_is_chosen_as_much_more_often_as_its_weight_says(heavier: float, expected: int):
    """Of 2,000 contents 100 are chosen, so that hardly any is missing for the next choice."""
    weighed = [(number, heavier if number % 2 else 1.0) for number in range(2_000)]
    picked = weighted_sample(weighed, 100, "7")
    assert len(picked) == 100
    assert abs(sum(number % 2 for number in picked) - expected) <= 12  # 2.4 to 4 standard deviations


def test_another_seed_chooses_differently():
    contents = [str(number) for number in range(100)]
    assert sample(contents, 10, "1") != sample(contents, 10, "2")


@pytest.mark.parametrize(
    ("value", "text"), [("linen", "linen"), ({"name": "serum", "sku": "1"}, "serum"), ({"a": {"b": "c"}}, "c")]
)
def test_the_first_text_stands_for_a_value(value, text):
    assert first_text(value) == text
