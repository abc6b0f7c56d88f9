"""Campaigns kept in Excel, read as a person sees them there."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import warnings

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from support import books

from adloom.campaign.files import open_campaign
from adloom.campaign.problems import Report
from adloom.campaign.sources.workbook.reader import Sheet, read_sheet
from adloom.core.errors import CampaignInvalid
from adloom.core.matrix import ROWS_PER_CAMPAIGN


@pytest.fixture
def saved(tmp_path):
    def save(**sheets: list[list[object]]):
        book = Workbook()
        book.remove(book.active)
        for name, rows in sheets.items():
            sheet = book.create_sheet(name)
            for row in rows:
                sheet.append(row)
        book.save(tmp_path / "book.xlsx")
        return tmp_path / "book.xlsx"

    return save


def problems(path) -> list[str]:
    with pytest.raises(CampaignInvalid) as caught:
        list(open_campaign(path).rows())
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_cells_are_read_as_they_are_shown(saved):
    shown = {
        "007": "007", 7: "7", 8.0: "8", 2.5: "2.5", 4006381333931: "4006381333931", "=1": "", True: "TRUE",
        dt.datetime(2026, 3, 1): "2026-03-01", dt.datetime(2026, 3, 1, 14, 30): "2026-03-01 14:30:00",  # noqa: DTZ001
        dt.time(9, 5): "09:05", "NaN": "NaN", "N/A": "N/A", "  x ": "  x ", "a\nb": "a\nb", "春季，新品": "春季，新品",
        None: "",
    }  # fmt: skip
    path = saved(Sheet=[["prompt", "note"], *(["a cup", value] for value in shown)])
    assert [row.variables["note"] for row in open_campaign(path).rows()] == list(shown.values())


def test_the_first_sheet_is_read_or_the_one_that_is_named(saved):
    path = saved(April=[["prompt"], ["a cup"]], May=[["prompt"], ["a jug"]])
    assert [row.prompt for row in open_campaign(path).rows()] == ["a cup"]
    may = open_campaign(path.with_name("book.xlsx#May"))
    assert [row.prompt for row in may.rows()] == ["a jug"]
    assert (open_campaign(path).campaign.name, may.campaign.name) == ("book", "book-may")


def test_a_workbook_can_hold_rows_and_axes_of_a_campaign_file(saved, tmp_path):
    saved(rows=[["id", "mood", "variants"], ["r1", "calm", 2]], axes=[["a", "b"], ["x", 1], [None, 2]])
    campaign = tmp_path / "c.yaml"
    campaign.write_text(
        "campaign: c\njobs:\n  - {id: r, prompt: '{{ mood }}', rows: book.xlsx}\n"
        "  - {id: g, prompt: '{{ a }} {{ b }}', matrix: 'book.xlsx#axes'}\n"
    )
    rows = list(open_campaign(campaign).rows())
    assert [(row.prompt, row.variants) for row in rows] == [("calm", 2), ("x 1", 1), ("x 2", 1)]


def test_blank_rows_and_formatted_columns_on_the_right_mean_nothing(saved):
    path = saved(Sheet=[["prompt", "sku", None, None], ["a cup", "1"], [], ["a jug", "2", None, ""]])
    assert [row.variables for row in open_campaign(path).rows()] == [{"sku": "1"}, {"sku": "2"}]


def test_a_ratio_that_excel_made_a_time_of_is_explained(saved):
    (found,) = problems(saved(Sheet=[["prompt", "size"], ["a cup", dt.time(16, 9)]]))
    assert found.startswith('book.xlsx:2:2: the size "16:09" is not known, a spreadsheet turned "16:9" into')


def test_an_error_in_a_cell_is_located(saved):
    path = saved(Sheet=[["prompt", "sku"], ["a cup", "#N/A"]])
    assert problems(path) == ["book.xlsx:2:2: this cell contains an error such as #N/A (text, a number or a date)"]


def test_a_sheet_that_is_not_there_is_said_with_those_that_are(saved):
    path = saved(April=[["prompt"], ["x"]])
    assert problems(path.with_name("book.xlsx#Apirl")) == [
        'book.xlsx#Apirl: there is no sheet "Apirl", did you mean "April"? (sheets: April)'
    ]


LIMITED = """
import resource, sys
from adloom.campaign.files import open_campaign
from adloom.core.errors import CampaignInvalid
from adloom.core.matrix import ROWS_PER_CAMPAIGN
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 250_000_000,) * 2)
for path in sys.argv[1:]:
    try:
        print(sum(1 for _ in open_campaign(path).rows()), "rows")
    except CampaignInvalid as refused:
        print(refused.problems[0])
"""


@pytest.mark.timeout(600)  # ten seconds on a quiet machine
def test_workbooks_that_stand_for_a_lot_are_refused_in_little_memory(tmp_path):
    attacks = {name: attack for name, attack in books.ATTACKS.items() if name not in books.SLOW}
    paths = []
    for name, (write, _) in attacks.items():
        (tmp_path / name).mkdir()
        paths.append(tmp_path / name / "book.xlsx")
        write(paths[-1])
    done = subprocess.run([sys.executable, "-c", LIMITED, *paths], capture_output=True, text=True, check=False)
    said = [line.replace(f"{path.parent}/", "") for path, line in zip(paths, done.stdout.splitlines(), strict=True)]
    expected = [begins or "15000 rows" for _, begins in attacks.values()]
    assert [line[: len(begins)] for line, begins in zip(said, expected, strict=True)] == expected, done.stderr


@pytest.mark.parametrize("content", [b"", b"PK", b"id,prompt\n1,x\n", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)])
def test_what_is_no_workbook_is_refused_with_what_to_do(tmp_path, content):
    path = tmp_path / "book.xlsx"
    path.write_bytes(content)
    assert problems(path)[0].endswith("saved by Excel as .xlsx; or save the sheet as CSV UTF-8)")


def test_a_workbook_damaged_anywhere_is_read_or_refused(saved):
    path = saved(Sheet=[["prompt", "sku"], ["a cup", "1"], ["a jug", 2.5]])
    whole = path.read_bytes()
    for position in range(0, len(whole), 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            list(open_campaign(path).rows())
        except CampaignInvalid as refused:
            assert all(problem.message for problem in refused.problems)  # noqa: PT017


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.text("aä春\n <&>\"'_x0", max_size=6),
    st.integers(-(10**15), 10**15),
    st.floats(-1e6, 1e6),
    st.floats(0, 1),
    st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1)),  # noqa: DTZ001
    st.times(),
    st.timedeltas(dt.timedelta(0), dt.timedelta(days=9)),
    st.sampled_from(["007", "#N/A", "#DIV/0!", "=1+1", 1e300, 1e-9]),
)
FORMATS = st.sampled_from(
    ["General", "0.00", "@", "0%", "yyyy-mm-dd", "h:mm", "[h]:mm:ss", "mm:ss.0", "d/m/yy h:mm", '"day" 0', "_d0",
     "[$-409]d-mmm", "#,##0;[Red]-0"]
)  # fmt: skip


def as_pandas_reads(path) -> list[tuple[str, ...]]:
    """The same sheet by another library, its values as adloom shows them."""
    with warnings.catch_warnings(action="ignore"), pd.ExcelFile(path, engine="openpyxl") as book:
        frame = book.parse(0, header=None, dtype=object, keep_default_na=False, na_filter=False)
    return [tuple(map(as_shown, cells)) for cells in frame.itertuples(index=False, name=None)]


def as_shown(value: object) -> str:
    match value:
        case bool():
            return str(value).upper()
        case float():
            return "" if value != value else str(int(value)) if value.is_integer() else repr(value)  # noqa: PLR0124
        case dt.datetime():
            return value.date().isoformat() if value.time() == dt.time() else value.isoformat(" ", "seconds")
        case dt.time():
            return value.isoformat("seconds" if value.second else "minutes")
    return str(value)


def in_full(sheet: Sheet) -> list[tuple[str, ...]]:
    """A sheet as read, with its blank rows."""
    rows, blank = dict(sheet.rows), ("",) * len(sheet.columns)
    return [sheet.columns, *(rows.get(line, blank) for line in range(2, max(rows, default=1) + 1))]


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.lists(st.tuples(VALUES, FORMATS), max_size=5), min_size=1, max_size=6))
def test_a_workbook_is_read_as_other_readers_read_it(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("read") / "book.xlsx"
    book = Workbook()
    for line, cells in enumerate(rows, start=1):
        for column, (value, number_format) in enumerate(cells, start=1):
            cell = book.active.cell(line, column, value)
            if not isinstance(value, dt.datetime | dt.time | dt.timedelta):
                cell.number_format = number_format
    book.save(path)
    sheet = read_sheet(path, "book.xlsx", Report("book.xlsx"), ROWS_PER_CAMPAIGN)
    assert sheet is not None
    found, expected = in_full(sheet), as_pandas_reads(path)
    width = len(sheet.columns)
    expected = [cells[:width] if any(map(str.strip, cells)) or not line else ("",) * width
                for line, cells in enumerate(expected)] or [()]  # fmt: skip
    while len(expected) > 1 and not any(expected[-1]):
        expected.pop()
    assert found == expected


def test_dates_from_1904_readings_aloud_and_rich_texts_are_read(tmp_path):
    texts = (
        '<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><si><t>prompt</t></si>'
        "<si><r><t>a </t></r><r><rPr/><t>cup</t></r><rPh><t>aloud</t></rPh></si></sst>"
    )
    rows = (
        '<row r="2"><c t="s"><v>1</v></c></row><row><c r="A3" t="inlineStr"><is><t>a jug</t></is></c></row>'
        '<row r="5"><c r="A5" t="str"><f>"a" &amp; "b"</f><v>a pot</v></c><c r="C5"/></row>'
        '<row r="6"><c r="A6" t="d"><v>2026-03-01T14:30:00Z</v></c></row>'
    )
    found = open_campaign(books.write(tmp_path / "book.xlsx", rows, texts=texts))
    assert [row.prompt for row in found.rows()] == ["a cup", "a jug", "a pot", "2026-03-01 14:30:00"]
