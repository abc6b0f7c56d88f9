import csv
import io
import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import PRICE, a_fact, a_row, an_image, an_intent, few, references

from adloom.core.exits import Stop, StopReason
from adloom.core.facts import fold
from adloom.core.manifest import (
    COLUMNS,
    Tally,
    asset_jsonl,
    asset_lines,
    csv_lines,
    jsonl_line,
    number,
    overall_status,
)
from adloom.core.outcomes import Outcome, Status
from adloom.core.planned import PlannedRow, Variant
from adloom.core.records import Image, ImageFate

IMAGE = Image(0, 1, ImageFate.ARCHIVED, "assets/hero/mug-1-ab12cd.png", "f" * 64, 10, "image/png", 1024, 1024)
ARCHIVED = Outcome(Status.ARCHIVED, covered=True, call="c-1", attempt=2, task="task-1", image=IMAGE, credits=PRICE)


def _planned(variants=1, **row):
    return PlannedRow(
        a_row(variants=variants, **row), tuple(Variant(f"k{n}", n, 1) for n in range(1, variants + 1)), ()
    )


def _line(outcome=None, **row):
    return next(asset_lines(_planned(**row), {} if outcome is None else {"k1": outcome}))


def _cells(**row):
    text = csv_lines([_line(**row)], header=True)
    head, cells = csv.reader(io.StringIO(text, newline=""))
    return dict(zip(head, cells, strict=True))


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@few
@given(_TEXTS, st.dictionaries(_TEXTS, _TEXTS, max_size=3), st.decimals("0", "100000", places=7))
def test_a_line_has_the_same_bytes_however_it_is_written(prompt: str, variables: dict[str, str], credits_: Decimal):
    line = _line(replace(ARCHIVED, credits=credits_), prompt=prompt, variables=variables)
    assert asset_jsonl(line) == jsonl_line(line).encode()


@pytest.mark.parametrize("credits_", ["0.000001", "0.00001", "0.000999", "0.001", "1.53", "15", "0"])
def test_a_small_charge_is_written_as_it_always_was(credits_: str):
    line = _line(replace(ARCHIVED, credits=Decimal(credits_)))
    assert asset_jsonl(line) == jsonl_line(line).encode()


def test_an_archived_variants_line_tells_where_it_is_and_how_to_prove_it():
    line = _line(ARCHIVED, references=references(1), variables={"sku": "007", "more": {"x": "茶"}})
    assert json.loads(jsonl_line(line)) == {
        "job": "hero", "row": "mug", "variant": 1, "take": 1, "status": "archived",
        "key": "assets/hero/mug-1-ab12cd.png",
        "sha256": "f" * 64, "size_bytes": 10, "media_type": "image/png", "width_px": 1024, "height_px": 1024,
        "prompt": "mug on an oak table", "vars": {"sku": "007", "more": {"x": "茶"}}, "model": "doubao-seedream-4.0",
        "size": "1:1", "quality": "1K", "references": ["0.png"], "call": "c-1", "attempt": 2, "task": "task-1",
        "result_index": 0, "credits": 1.53, "reason": None,
    }  # fmt: skip
    assert tuple(line) == COLUMNS


def test_a_variant_nobody_bought_is_open_and_says_so():
    line = _line()
    assert (line["status"], line["reason"], line["credits"], line["call"]) == ("open", "not bought yet", 0, None)


@pytest.mark.parametrize("fate", [ImageFate.QUARANTINED, ImageFate.LOST])
def test_a_paid_image_that_is_no_asset_has_no_asset_key(fate):
    image = Image(0, 1, fate, "quarantine/c-1-0.bin", "f" * 64, 10, "text/html", reason="no image")
    end = Outcome(Status.FAILED, covered=True, call="c-1", attempt=1, image=image, credits=PRICE, reason="no image")
    line = _line(end)
    assert [line[name] for name in ("key", "sha256", "size_bytes", "media_type", "width_px")] == [None] * 5
    assert (line["reason"], line["credits"]) == ("no image", 1.53)


@few
@given(variants=st.integers(1, 30), ends=st.dictionaries(st.integers(1, 30), st.sampled_from(Status)))
def test_the_six_ends_add_up_to_what_was_wanted(variants, ends):
    known = {f"k{n}": Outcome(status, covered=True, call="c-1", attempt=1) for n, status in ends.items()}
    tally = Tally()
    tally.found.update(Status(line["status"]) for line in asset_lines(_planned(variants), known))
    totals = tally.totals(variants)
    assert sum(totals[status.value] for status in Status) == totals["wanted"] == variants


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0"])
def test_no_cell_begins_as_a_formula(start):
    cells = _cells(prompt=f"{start}cmd|' /C calc'!A0", variables={})
    assert cells["prompt"] == f"'{start}cmd|' /C calc'!A0"


@pytest.mark.parametrize("start", ["＝", "＋", "－", "＠"])
def test_no_cell_begins_as_a_formula_in_full_width(start):
    assert _cells(prompt=f"{start}1+1")["prompt"].startswith("'")


@few
@given(
    prompt=st.text(st.characters(exclude_categories=["Cs"]), max_size=30), value=st.text("=+-@\"',\r\n茶x", max_size=8)
)
def test_a_spreadsheet_gets_every_cell_back_as_text(prompt, value):
    cells = _cells(prompt=prompt, variables={"v": value})
    assert cells["prompt"].replace("'", "") == prompt.replace("'", "")
    assert cells["prompt"][:1] not in set("=+-@\t\r\n\0＝＋－＠")
    assert json.loads(cells["vars"]) == {"v": value}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    "text",
    ['x;=HYPERLINK("http://evil","x")', "x;+1", "x; -1", 'x;"@SUM(1)', "x;\u200b=1", "x;＝1", "x\t=1", "x\n=1",
     "x\r\n-1", " =1", "\ufeff=1", '"=1', ";=1", "=1;=2;=3"],
)  # fmt: skip
def test_no_cell_is_a_formula_whatever_separates_cells(delimiter: str, text: str):
    lines = csv_lines([_line(prompt=text, variables={"v": text})], header=False)
    cells = [cell for line in csv.reader(io.StringIO(lines, newline=""), delimiter=delimiter) for cell in line]
    assert [cell for cell in cells if cell.strip(' \t\r\n\0\u200b\ufeff"')[:1] in set("=+-@＝＋－＠")] == []
    assert json.loads(_cells(prompt=text, variables={"v": text})["vars"]) == {"v": text}


def test_plain_cells_are_left_alone():
    cells = _cells(prompt="a mug, 'quoted' \"twice\"\non oak", quality="")
    assert cells["prompt"] == "a mug, 'quoted' \"twice\"\non oak"
    assert (cells["quality"], cells["references"], cells["vars"], cells["key"]) == ("", "", "", "")


@few
@given(prompt=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_a_line_is_one_line_whatever_the_prompt_holds(prompt):
    text = jsonl_line(_line(prompt=prompt))
    assert text.encode().count(b"\n") == 1
    assert text.endswith("\n")
    assert json.loads(text)["prompt"] == prompt


def test_a_line_never_differs_for_the_same_facts():
    lines = {jsonl_line(_line(ARCHIVED, variables={"b": "1", "a": "2"})) for _ in range(3)}
    assert len(lines) == 1
    assert '"vars":{"b":"1","a":"2"}' in lines.pop()


@pytest.mark.parametrize(
    ("exact", "text"),
    [
        ("1.53", "1.53"),
        ("1.530", "1.53"),
        ("3.00", "3"),
        ("0", "0"),
        ("0.1", "0.1"),
        ("123456789.99", "123456789.99"),
        ("1E+3", "1000"),
    ],
)
def test_money_is_written_as_the_shortest_number_that_says_it(exact, text):
    assert json.dumps(number(Decimal(exact))) == text


@few
@given(cents=st.integers(0, 10**12), calls=st.integers(1, 5))
def test_sums_of_money_are_exact_to_the_last_digit(cents, calls):
    total = sum([Decimal(cents).scaleb(-4)] * calls, start=Decimal(0))
    assert Decimal(json.dumps(number(total))) == total


def _call(**facts):
    return fold("c-1", {name.replace("_", "-"): fact for name, fact in facts.items()} | {"a1-intent": an_intent(3)})


TASK = {"a1-accepted.t": a_fact(task="t", credits="4.6")}
CALLS = {
    "sent": ({}, {"posts": 1, "reserved": "4.59"}),
    "never left": ({"a1-refused-1": a_fact(kind="not_sent", reason="r")}, {"posts": 0, "reserved": "4.59"}),
    "throttled once": (
        {"a1-refused-1": a_fact(kind="throttled", reason="r"), "a1-send-2": a_fact(outcome="bought"), **TASK},
        {"posts": 2, "reserved": "4.6"},
    ),
    "refused": (
        {
            "a1-refused-1": a_fact(kind="request", reason="r"),
            "a1-settled": a_fact(outcome="free", kind="request", final=True, reason="r"),
        },
        {"posts": 1},
    ),
    "unknown": ({"a1-unknown-1": a_fact(reason="r")}, {"posts": 1, "reserved": "4.59", "at_risk": "4.59"}),
    "stuck": ({**TASK, "a1-held": a_fact(reason="r")}, {"posts": 1, "reserved": "4.6", "at_risk": "4.6"}),
    "completed": (
        {**TASK, "a1-completed": a_fact(task="t", links=["a", "b"], reported=2, credits="3.06")},
        {"posts": 1, "charged": "3.06", "billed": 2},
    ),
    "completed for nothing": (
        {**TASK, "a1-completed": a_fact(task="t", links=[], reported=0, credits="0")}, {"posts": 1},
    ),
    "failed and paid": (
        {**TASK, "a1-settled": a_fact(outcome="charged", kind="task", credits="4.59", reason="r")},
        {"posts": 1, "charged": "4.59"},
    ),
    "tried again": (
        {**TASK, "a1-settled": a_fact(outcome="free", kind="task", final=False, reason="r"), "a2-intent": an_intent(3)},
        {"calls": 2, "posts": 2, "reserved": "4.59"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CALLS)
def test_the_totals_tell_what_was_sent_and_what_it_cost(case):
    facts, expected = CALLS[case]
    tally = Tally()
    tally.add_call(fold("c-1", {"a1-intent": an_intent(3), **facts}))
    totals = tally.totals(0)
    assert totals["calls"] == expected.get("calls", 1)
    assert totals["posts"] == expected["posts"]
    assert totals["images_billed"] == expected.get("billed", 0)
    for name in ("reserved", "charged", "at_risk"):
        assert Decimal(str(totals[f"credits_{name}"])) == Decimal(expected.get(name, "0")), name


def test_a_withdrawn_call_is_no_call_and_no_post():
    tally = Tally()
    tally.add_call(fold("c-1", {"a1-intent": a_fact(outcome="withdrawn", reason="r2")}))
    assert (tally.totals(0)["calls"], tally.totals(0)["posts"]) == (0, 0)


def test_dollars_are_those_of_the_charge():
    tally = Tally()
    tally.add_call(fold("c-1", {"a1-intent": an_intent(3), **CALLS["completed"][0]}))
    assert tally.totals(2)["usd"] == 0.045


def test_a_hundred_thousand_prices_add_up_without_a_rounding_error():
    tally = Tally()
    call = fold(
        "c-1",
        {"a1-intent": an_intent(1), "a1-completed": a_fact(task="t", links=["a"], reported=1, credits=str(PRICE))},
    )
    for _ in range(1000):
        tally.add_call(call)
    assert tally.totals(0)["credits_charged"] == 1530


STOP = (Stop(StopReason.OUTAGE, "away"),)


@pytest.mark.parametrize(
    ("found", "stops", "word"),
    [
        ({Status.ARCHIVED: 3}, (), "complete"),
        ({Status.ARCHIVED: 3, Status.HELD: 0}, STOP, "complete"),
        ({Status.ARCHIVED: 3, Status.OPEN: 1}, STOP, "stopped"),
        ({Status.HELD: 1}, STOP, "stopped"),
        ({Status.HELD: 1, Status.SHORT: 1}, (), "held"),
        ({Status.SHORT: 1, Status.ARCHIVED: 1}, (), "partial"),
        ({Status.OPEN: 1}, (), "partial"),
    ],
)
def test_one_word_says_how_the_edition_stands(found, stops, word):
    assert overall_status(found, stops) == word


def test_a_header_stands_once_and_lines_end_as_spreadsheets_want_them():
    text = csv_lines([], header=True) + csv_lines([_line(), _line()], header=False)
    assert text.count("job,row,variant") == 1
    assert text.count("\r\n") == 3


def test_the_image_an_entry_was_made_from_is_told_whole():
    assert Image(**{**an_image(0), "fate": ImageFate.ARCHIVED}).key == "assets/hero/mug-1.png"
