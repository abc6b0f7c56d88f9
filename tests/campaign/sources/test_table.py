"""CSV files as people and spreadsheets write them."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import tracemalloc

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from adloom.campaign.files import open_campaign
from adloom.campaign.sources import table
from adloom.core.errors import CampaignInvalid

TRAPS = [
    "NaN",
    "NA",
    "null",
    "None",
    "1e5",
    "00123",
    "TRUE",
    "1.0",
    " padded ",
    "=cmd|' /C calc'!A0",
    "-1",
    "",
    "'",
    "#N/A",
]
QUOTING = [csv.QUOTE_ALL, csv.QUOTE_MINIMAL]
REFUSED = "\0\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
CELLS = st.text(st.characters(exclude_characters=REFUSED, exclude_categories=("Cs",)), max_size=12)


def read(path, content: str | bytes):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    source = open_campaign(path)
    return source, list(source.rows())


def problems(path, content: str | bytes) -> list[str]:
    with pytest.raises(CampaignInvalid) as caught:
        read(path, content)
    return [str(problem).replace(str(path.parent) + "/", "") for problem in caught.value.problems]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.csv"


def test_cells_are_text_whatever_they_look_like(path):
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["prompt", "note"], *(["a cup", trap] for trap in TRAPS)])
    _, rows = read(path, buffer.getvalue())
    assert [row.variables["note"] for row in rows] == TRAPS


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(QUOTING),
)
def test_variables_reach_the_row_exactly_as_a_csv_writer_wrote_them(path, cells, ending, quoting):
    # Python 3.11's writer quotes only the line ends that it writes itself and leaves the others bare.
    bare = set("\r\n") - set(ending)
    assume(quoting == csv.QUOTE_ALL or bare.isdisjoint("".join(map("".join, cells))))
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator=ending, quoting=quoting)
    writer.writerows([["a", "prompt", "b"], *([first, "a cup", second] for first, second in cells)])
    _, rows = read(path, buffer.getvalue())
    assert [(row.variables["a"], row.variables["b"]) for row in rows] == cells


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "with byte order mark"])
@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
def test_all_line_ends_and_the_byte_order_mark_are_fine(path, start, ending):
    _, rows = read(path, start + ending.join([b"prompt,sku", b"a cup,007", b"", "杯子,012".encode()]))
    assert [(row.prompt, row.variables) for row in rows] == [("a cup", {"sku": "007"}), ("杯子", {"sku": "012"})]


@pytest.mark.parametrize(("separator", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_other_separators_are_recognised_and_said(path, separator, name):
    source, rows = read(path, f'prompt{separator}sku\n"a, b"{separator}007\n')
    assert [(row.prompt, row.variables) for row in rows] == [("a, b", {"sku": "007"})]
    assert f"separated by {name} instead of commas" in source.warnings[0]


def test_a_single_column_may_have_blank_lines_and_empty_quotes(path):
    _, rows = read(path, 'prompt\n""\n\n   \none\n"  "\ntwo\n')
    assert [row.prompt for row in rows] == ["one", "two"]


def test_rows_without_any_text_are_skipped_and_said(path):
    source, rows = read(path, "prompt,sku\none,1\n,\n,\n")
    assert len(rows) == 1
    assert source.warnings[0].startswith("2 rows of the CSV are empty and were skipped")


def test_only_the_prompt_is_a_template(path):
    source, rows = read(
        path, "prompt,name,note\n{{ name }} in light,cup,{{ name }}\n100% {cotton},x,\n{{ note }},x,{{ y }}\n"
    )
    assert [row.prompt for row in rows] == ["cup in light", "100% {cotton}", "{{ y }}"]
    assert rows[0].variables["note"] == "{{ name }}"
    assert source.warnings[0].startswith("1 prompts still contain {{")


def test_a_column_that_is_nearly_reserved_is_warned_about(path):
    source, _ = read(path, "prompt,Size\nx,1:1\n")
    assert 'the column "Size" is read as a variable; the reserved column is "size"' in source.warnings[0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", ["x.csv:1:1: the file is empty"]),
        ("prompt\n", ["x.csv: the campaign has no rows"]),
        ("sku\n1\n2\n", ["x.csv:1:1: no column is called prompt (a column called prompt"]),
        ("prompts\na\n", ['x.csv:1:1: no column is called prompt, but one is called "prompts"']),
        (
            "a,a,promt\n1,2,x\n",
            [
                'x.csv:1:2: the column "a" appears twice, as columns 1 and 2',
                'x.csv:1:3: no column is called prompt, but one is called "promt"',
            ],
        ),
        ("prompt,sku\n,1\n", ["x.csv:2:1: the prompt is empty"]),
        ("prompt,,a\nx,1,2\n", ["x.csv:1:2: column 2 has no name"]),
        ("prompt,a,A\nx,1,2\n", ['x.csv:1:3: the column "A" appears twice, as columns 2 and 3']),
        ("prompt,a\nx\ny,1,2\n", ["x.csv:2:2: this row has 1 cell,", "x.csv:3:3: this row has 3 cells"]),
        ('prompt,a\n"x\ny",1\nz\n', ['x.csv:4:2: this row has 1 cell, the header has 2: "z"']),
        ('prompt,a\nx,1\n"y,2\nz,3\n', ["x.csv:3:1: the quotes of this row do not match"]),
        ('prompt,a\n"x"y,1\n', ["x.csv:2:1: the quotes of this row do not match"]),
        ("prompt,a\nx,1\ny\0,2\n", ["x.csv:3:1: a NUL character at byte 14"]),
        ("prompt,a\nx," + "y" * 8193 + "\n", ['x.csv:2:2: the cell in column "a" has 8,193 characters']),
        ("prompt,a\nx," + "y" * (1 << 20) + "\n", ["x.csv:2:1: this line has more than 1,048,576 bytes"]),
        ("prompt,a\nx,é\n".encode("cp1252"), ['x.csv:2:1: byte 11 (0xE9, after "x,") is not UTF-8 text']),
        ("prompt\nx\n".encode("utf-16"), ["x.csv:1:1: this is UTF-16 text, not UTF-8"]),
        ("id,prompt\na,x\nb,y\na,z\n", ['x.csv:4:1: the id "a" is already taken in']),
        ("id,prompt\n../a,x\n", ['x.csv:2:1: the id "../a" cannot be used']),
        ("prompt,variants\nx,0\ny,2.0\n", ['x.csv:2:2: "0" is not a number', 'x.csv:3:2: "2.0" is not a number']),
        ("prompt,references\nx,http://169.254.169.254/a\n", ['x.csv:2:2: "169.254.169.254" is an internal host']),
        ("prompt\nx\n{{ y }}\n", ['x.csv:3:1: the prompt of job "x": there is no variable "y" (known here: none)']),
    ],
)
def test_a_bad_csv_is_located(path, content, expected):
    found = problems(path, content)
    assert len(found) == len(expected), found
    assert all(each.startswith(start) for each, start in zip(found, expected, strict=True)), found


def test_the_rows_around_a_ragged_one_are_examined_as_well(path):
    found = problems(path, "prompt,size\nx,1:7\ny\nz,1:8\n")
    assert [each.partition(": ")[0] for each in found] == ["x.csv:2:2", "x.csv:3:2", "x.csv:4:2"]


def test_a_hundred_thousand_wrong_rows_are_counted_not_listed(path):
    found = problems(path, "prompt,size\n" + "x,1:7\n" * 5000)
    assert len(found) == 1001
    assert found[-1] == "x.csv: 4000 more problems are not listed here"


def test_an_axes_file_multiplies_its_columns(path, tmp_path):
    path.write_text("a,b,size\nx,1,1:1\ny,2,9:16\n,3,\n")
    campaign = tmp_path / "c.yaml"
    campaign.write_text("campaign: c\njobs: [{id: g, prompt: '{{ a }} {{ b }}', matrix: x.csv}]\n")
    rows = list(open_campaign(campaign).rows())
    assert len(rows) == 12
    assert [(row.prompt, row.size) for row in rows[:3]] == [("x 1", "1:1"), ("x 1", "9:16"), ("x 2", "1:1")]
    path.write_text("a,b\nx,\n")
    with pytest.raises(CampaignInvalid, match=r'x\.csv:1:2: the axis "b" has no values'):
        list(open_campaign(campaign).rows())


def test_memory_does_not_grow_with_the_text_of_the_rows(path, monkeypatch):
    monkeypatch.setattr(table, "ROWS_A_CHUNK", 500)  # what is held at once, so that few rows will do

    def peak(count: int) -> int:
        path.write_text("prompt,note\n" + "".join(f"cup {n} {'x' * 400},{'y' * 400}\n" for n in range(count)))
        source = open_campaign(path)
        tracemalloc.start()
        for _ in source.rows():
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)  # pandas is imported now
    assert peak(3_000) - peak(1_000) < 2_000 * 400  # bytes a row, of about 900 in the file


def test_pandas_is_imported_only_when_a_csv_is_read(tmp_path):
    campaign = tmp_path / "c.yaml"
    campaign.write_text("campaign: c\njobs: [{id: a, prompt: x}]\n")
    code = (
        "import sys; from pathlib import Path; from adloom.campaign.files import open_campaign;"
        f"list(open_campaign(Path({str(campaign)!r})).rows());"
        "sys.exit('pandas' in sys.modules or 'PIL' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
