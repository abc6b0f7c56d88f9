import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import a_row, few

from adloom.core.errors import SettingInvalid
from adloom.core.selection import EVERYTHING, WHOLE, Selection, choose

ROWS = [
    a_row(f"r{n}", job="hero" if n < 6 else "grid", variables={"locale": ("zh-CN", "en")[n % 2], "sku": f"{n:03}"})
    for n in range(10)
]
ROWS[9] = replace(ROWS[9], variables={"product": {"sku": "9", "items": "cup"}}, variants=40)


def _picked(rows=ROWS, **selection):
    picker = choose(Selection(**selection), lambda: rows).picker()
    return [row.name for row in rows if picker.takes(row)]


@pytest.mark.parametrize(
    ("selection", "picked"),
    [
        ({}, "0123456789"),
        ({"jobs": ("grid",)}, "6789"),
        ({"jobs": ("grid", "hero")}, "0123456789"),
        ({"where": 'locale == "zh-CN"'}, "02468"),
        ({"where": 'locale != "zh-CN"'}, "1357"),
        ({"where": 'locale in ["en"] and sku|int > 4'}, "57"),
        ({"where": 'not (job == "hero" or row == "r7")'}, "689"),
        ({"where": "variants >= 40"}, "9"),
        ({"where": 'product.items == "cup"'}, "9"),
        ({"first": 3}, "012"),
        ({"first": 99}, "0123456789"),
        ({"first": 2, "where": 'locale == "en"'}, "13"),
        ({"first": 1, "jobs": ("grid",)}, "6"),
        ({"sample": 99, "jobs": ("grid",)}, "6789"),
    ],
)
def test_a_selection_picks_the_rows_that_it_names(selection, picked):
    assert _picked(**selection) == [f"r{digit}" for digit in picked]


def test_nothing_asked_for_is_everything_and_reads_no_row():
    assert choose(WHOLE, lambda: pytest.fail("read")) is EVERYTHING


def test_a_condition_looks_at_all_settings_of_a_row():
    row = ROWS[0]
    text = f'model == "{row.model}" and size == "1:1" and quality == "1K" and priority == "standard" and '
    assert _picked([row], where=text + 'grouping == "set" and prompt == "r0 on an oak table" and references == []')


def test_a_variable_is_seen_before_a_setting_of_the_same_name():
    assert _picked([a_row("mug", variables={"job": "mine"})], where='job == "mine"') == ["mug"]


@few
@given(st.randoms(use_true_random=False), st.integers(1, 9))
def test_a_sample_is_the_same_in_any_order_and_loses_at_most_one_row_to_a_new_one(random, count):
    shuffled = random.sample(ROWS, len(ROWS))
    before = set(_picked(sample=count))
    assert set(_picked(shuffled, sample=count)) == before
    assert len(before) == count
    assert len(before - set(_picked([a_row("new"), *shuffled], sample=count))) <= 1


def test_another_seed_makes_another_sample():
    assert len({tuple(_picked(sample=5, seed=seed)) for seed in "abcdef"}) > 1


@pytest.mark.parametrize(
    ("selection", "message", "remedy"),
    [
        ({"jobs": ("gird",)}, "no such job, did you mean 'grid'?", "Known: grid, hero."),
        ({"where": "locle == 'x'"}, "no row has a 'locle', did you mean 'locale'?", "variants"),
        ({"where": "locale == zh"}, "no row has a 'zh'", "locale"),
        ({"where": "sku > 3"}, "for hero/r0: '>' not supported", "sku|int"),
        ({"where": "locale == 'fr'"}, "selects no row", "adloom plan"),
        ({"where": "product.colour == 'red'"}, "selects no row", "adloom plan"),
    ],
)
def test_a_selection_that_does_not_fit_the_campaign_is_refused_with_what_is_known(selection, message, remedy):
    with pytest.raises(SettingInvalid, match=re.escape(message)) as caught:
        _picked(**selection)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"first": 0}, "first 0 selects nothing"),
        ({"sample": -1}, "sample -1 selects nothing"),
        ({"first": 1, "sample": 1}, "cannot be combined"),
        ({"where": "locale = 'x'"}, '"=" is not allowed there (== compares'),
        ({"where": "locale =="}, "cannot be read"),
        ({"where": "locale == “x”"}, "cannot be read"),
        ({"where": "range(10**9)"}, "calls like name() are not available"),
        ({"where": "().__class__.__mro__[1].__subclasses__()"}, "calls like name()"),
        ({"where": "'a' * 9999999999"}, '"*" is not available'),
        ({"where": "x }} {{ y"}, "is not allowed there"),
        ({"where": "(" * 9000}, "nested too deeply"),
        ({"where": "x" * 30_000}, "has 30,000 characters"),
    ],
)
def test_a_selection_that_cannot_be_meant_is_refused_before_any_row_is_read(selection, message):
    with pytest.raises(SettingInvalid, match=re.escape(message)):
        Selection(**selection)


def test_a_condition_reaches_no_attribute_of_python():
    with pytest.raises(SettingInvalid, match="selects no row"):
        _picked(where="locale.__class__")


def test_a_selection_says_itself_as_the_options_that_make_it():
    selection = Selection(("hero", "grid"), 'locale == "en"', sample=3, seed="a b")
    assert selection.words == 'job hero, job grid, where locale == "en", sample 3, seed a b'
