"""Rows that ask for the same share the fewest calls, and no call ever mixes two requests."""

from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import a_row, few, references

from adloom.core.campaign import Grouping
from adloom.core.identity import row_digest, variant_key
from adloom.core.outcomes import Outcome, Status
from adloom.core.selection import EVERYTHING
from adloom.plan.planner import Planner

PROMPTS = ("mug", "cup", "jug")
SMALL = st.lists(st.tuples(st.sampled_from(PROMPTS), st.integers(1, 20)), min_size=1, max_size=6)


def _rows(wanted, **settings):
    return [a_row(f"r{number}", prompt=prompt, variants=n, **settings) for number, (prompt, n) in enumerate(wanted)]


def _planned(rows, known=None, fallback=(), only=frozenset()):
    first = Planner(known or {}, {}, only)
    for _ in first.plan(rows):
        pass
    packing = first.packing_of(rows, fallback, EVERYTHING.picker())
    packing.start()
    planner = Planner(known or {}, {}, only, packing=packing)
    return planner, list(planner.plan(rows))


@cache
def _fewest(images: int, most: int) -> int:
    """By trying every size of the first call."""
    return 0 if not images else 1 + min(_fewest(images - size, most) for size in range(1, min(images, most) + 1))


@few
@given(SMALL, st.integers(0, 14))
def test_calls_are_as_few_as_trying_them_all_finds(wanted, count):

    rows = _rows(wanted, references=references(count))
    planner, planned = _planned(rows)
    totals = Counter()
    for prompt, n in wanted:
        totals[prompt] += n
    fewest = sum(_fewest(n, 15 - count) for n in totals.values())
    assert sum(len(row.calls) for row in planned) == planner.totals.calls == planner.totals.floor == fewest


@few
@given(SMALL)
def test_every_image_is_in_one_call_and_no_call_mixes_requests(wanted):
    rows = _rows(wanted)
    _, planned = _planned(rows)
    prompt_of = {variant_key(row_digest(row), n): row.prompt for row in rows for n in range(1, row.variants + 1)}
    bought = [variant for row in planned for call in row.calls for variant in call.variants]
    assert sorted(variant.key for variant in bought) == sorted(prompt_of)
    for row in planned:
        for call in row.calls:
            assert {prompt_of[variant.key] for variant in call.variants} == {row.row.prompt}
            assert all((variant.owner is None) == (variant in row.variants) for variant in call.variants)
            assert 1 <= len(call.variants) <= 15


@few
@given(st.lists(st.integers(1, 30), min_size=1, max_size=4, unique=True))
def test_rows_that_gain_nothing_keep_the_calls_that_they_had(counts):
    different = [a_row(f"r{n}", prompt=f"mug {n}", variants=n) for n in counts]
    _, planned = _planned(different)
    assert planned == list(Planner({}, {}).plan(different))
    for wanted in ([("mug", 15), ("mug", 30)], [("mug", 16), ("mug", 15)]):
        whole = _rows(wanted)
        assert _planned(whole)[1] == list(Planner({}, {}).plan(whole))


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "mugs"},
        {"model": "doubao-seedream-4.5"},
        {"size": "4:5"},
        {"quality": "4K"},
        {"priority": "fast"},
        {"references": references(1)},
        {"options": (("output_format", "png"),)},
        {"grouping": Grouping.INDEPENDENT},
    ],
    ids=lambda other: next(iter(other)),
)
def test_rows_that_differ_in_anything_that_is_sent_share_no_call(other):
    row = a_row("r1", prompt="mug", variants=2)
    rows = [row, replace(row, identity="r2", name="r2", label="r2", **other)]
    planner, planned = _planned(rows)
    assert planned == list(Planner({}, {}).plan(rows))
    assert not planner.repeats


def test_what_a_packed_call_buys_for_another_row_tells_whose_it_is():
    _, (first, second) = _planned(_rows([("mug", 2), ("mug", 3)]))
    assert first.calls == ()
    (call,) = second.calls
    assert [variant.record().get("label") for variant in call.variants] == [first.row.label] * 2 + [None] * 3


def test_what_may_not_be_sent_together_is_not_packed():
    alone = _rows([("mug", 1), ("mug", 1)], grouping=Grouping.INDEPENDENT)
    assert sum(len(row.calls) for row in _planned(alone)[1]) == 2
    single = _rows([("mug", 1), ("mug", 1)], model="doubao-seedream-5.0-flash", quality="2K")
    assert sum(len(row.calls) for row in _planned(single)[1]) == 2
    several = _rows([("mug", 1), ("mug", 1)], quality="2K")
    assert sum(len(row.calls) for row in _planned(several)[1]) == 1
    assert sum(len(row.calls) for row in _planned(several, fallback=("doubao-seedream-5.0-flash",))[1]) == 2
    long = _rows([("m" * 1990, 1), ("m" * 1990, 1)])  # the phrase that asks for two would make it too long
    assert sum(len(row.calls) for row in _planned(long)[1]) == 2


def test_next_takes_are_bought_beside_the_call_that_rows_share():
    rows = _rows([("mug", 2), ("mug", 3)])
    failed = variant_key(row_digest(rows[0]), 1)
    known = {failed: Outcome(Status.FAILED, covered=True, call="c-x", attempt=1)}
    _, planned = _planned(rows, known, only=frozenset({Status.FAILED}))
    bought = [[[(each.number, each.take) for each in call.variants] for call in row.calls] for row in planned]
    assert bought == [[[(1, 2)]], [[(2, 1), (1, 1), (2, 1), (3, 1)]]]
