"""Campaigns kept in Excel, read as a person sees them there."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import zipfile

import pytest
from openpyxl import Workbook

from adloom.core.errors import CampaignInvalid
from adloom.edges.campaign_files import open_campaign


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
    assert found.startswith('book.xlsx:2:2: the size "16:09" is not known, a spreadsheet made a time of "16:9"')


def test_an_error_in_a_cell_is_located(saved):
    path = saved(Sheet=[["prompt", "sku"], ["a cup", "#N/A"]])
    assert problems(path) == ["book.xlsx:2:2: this cell holds an error such as #N/A (text, a number or a date)"]


def test_a_sheet_that_is_not_there_is_said_with_those_that_are(saved):
    path = saved(April=[["prompt"], ["x"]])
    assert problems(path.with_name("book.xlsx#Apirl")) == [
        'book.xlsx#Apirl: there is no sheet "Apirl", did you mean "April"? (sheets: April)'
    ]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "book.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", bytes(1000))
        archive.infolist()[0].file_size = 600_000_000  # as its directory would say of so many
    assert problems(path)[0].startswith("book.xlsx: this workbook unpacks to 600 MB (at most 500 MB")


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


def test_without_the_extra_a_workbook_is_refused_with_how_to_get_it(saved):
    path = saved(Sheet=[["prompt"], ["x"]])
    code = (
        "import sys; sys.modules['openpyxl'] = None\n"
        "from pathlib import Path; from adloom.edges.campaign_files import open_campaign\n"
        f"list(open_campaign(Path({str(path)!r})).rows())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'adloom[xlsx]', or save it as CSV UTF-8" in done.stderr
