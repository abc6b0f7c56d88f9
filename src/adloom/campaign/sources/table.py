"""A CSV, or a sheet of a workbook, as a stream of rows of text in bounded memory.

Two passes: the csv module walks the file for its structure (encoding, quotes, ragged rows, sizes, the line on which
each row begins), then pandas reads the same rows in chunks as text. When the structure has problems, nothing will be
bought and the sound rows are read with the csv module alone, so that their problems are reported as well.

``a,b`` with commas is expected; semicolons or tabs are recognised from the header, with a warning. A row that is empty
or blank as a whole is skipped. A column's number in a message counts cells, a line is the line of the file.
"""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from adloom.campaign.problems import Place, Report, not_utf_8
from adloom.campaign.sources.workbook.reader import is_workbook, read_sheet
from adloom.core.bidi import ALLOWED, first_control, said_of
from adloom.core.matrix import ROWS_PER_CAMPAIGN
from adloom.core.quoting import shown

if TYPE_CHECKING:
    import _csv

LONGEST_LINE_BYTES = 1 << 20
LONGEST_CELL = 8192
ROWS_A_CHUNK = 5000
_HEADER_COLUMNS = 256
_TOO_MANY = f"at most {ROWS_PER_CAMPAIGN:,} rows in a campaign"
_BLANKS = " \t"  # what pandas treats as a blank line, too
_ENCODING = 'save it as "CSV UTF-8"'
_EXCEL_MARK = "sep="
_MARK = "\ufeff"
_QUOTES = 'a quoted cell starts and ends with ", and "" is a quote inside it'
_LINE_ENDS = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")


@dataclass(frozen=True, slots=True)
class Table:
    """The structure of a CSV whose header could be read.

    ``lines`` holds the first line of each row. ``chunked`` says that pandas reads the rows exactly as the csv module
    did: it does not if there is a lone carriage return (pandas 3.1 then drops an empty first cell).
    """

    path: Path
    file: str
    separator: str
    columns: tuple[str, ...]
    lines: array[int] = field(repr=False)
    sound: bool
    chunked: bool
    sheet: tuple[tuple[str, ...], ...] | None = field(default=None, repr=False)
    """The rows below the header when they come from a workbook, which is small and read at once."""


class _Broken(Exception):
    """The file cannot be read beyond this place."""

    def __init__(self, line: int, column: int, message: str, allowed: str) -> None:
        super().__init__(message)
        self.line = line
        self.column = column
        self.message = message
        self.allowed = allowed


def survey(path: Path, file: str, report: Report, *, most_rows: int) -> Table | None:
    """Walk the file for its structure and report what is wrong. None when not even the header can be read."""
    if is_workbook(path):
        return _survey_sheet(path, file, report, most_rows)
    try:
        with path.open("rb") as handle:
            return _survey(handle, path, file, report, most_rows)
    except OSError as error:
        report.add(Place(file), f"this file cannot be read: {error.strerror}", "an existing CSV file")
    return None


def _survey(handle: BinaryIO, path: Path, file: str, report: Report, most_rows: int) -> Table | None:
    lines: array[int] = array("L")
    sound, separator, physical = True, ",", _Lines(handle)
    columns: tuple[str, ...] = ()
    try:
        separator = _separator(handle)
        records = _records(physical, separator)
        line, header = next(records, (1, []))
        columns = tuple(cell.strip() for cell in header)
        sound = _header_is_good(columns, Place(file, line), report)
        if not columns:
            return None
        for line, cells in records:
            lines.append(line)
            if (found := _row_fault(cells, columns)) is not None:
                sound = False
                report.add(Place(file, line, found[0]), *found[1:])
            if len(lines) > most_rows:
                report.add(Place(file, line), f"more than {most_rows:,} rows", _TOO_MANY)
                return None
    except _Broken as broken:
        sound = False
        report.add(Place(file, broken.line, broken.column), broken.message, broken.allowed)
    if not columns or columns[0].lower().startswith(_EXCEL_MARK):
        return None
    if separator != ",":
        name = "semicolons" if separator == ";" else "tabs"
        report.warn(f"{file}: the cells are separated by {name} instead of commas; it is read that way")
    return Table(path, file, separator, columns, lines, sound, chunked=sound and not physical.has_lone_returns)


def _survey_sheet(path: Path, file: str, report: Report, most_rows: int) -> Table | None:
    sheet = read_sheet(path, file, report, most_rows)
    if sheet is None:
        return None
    columns = tuple(cell.strip() for cell in sheet.columns)
    sound = _header_is_good(columns, Place(file, 1), report)
    if not columns:
        return None
    if len(sheet.rows) > most_rows:
        report.add(Place(file, sheet.rows[most_rows][0]), f"more than {most_rows:,} rows", _TOO_MANY)
        return None
    for line, cells in sheet.rows:
        if (found := _row_fault(cells, columns)) is not None:
            sound = False
            report.add(Place(file, line, found[0]), *found[1:])
    lines = array("L", (line for line, _ in sheet.rows))
    return Table(path, file, ",", columns, lines, sound, chunked=False, sheet=tuple(cells for _, cells in sheet.rows))


def cells_of(table: Table, report: Report) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield (line, cells) of every row that has the header's number of cells."""
    if table.sheet is not None:
        yield from zip(table.lines, table.sheet, strict=True)
        return
    if table.chunked:
        yield from _with_pandas(table, report)
        return
    with table.path.open("rb") as handle:
        try:
            _separator(handle)
            records = _records(_Lines(handle), table.separator)
            next(records)
            yield from ((line, tuple(cells)) for line, cells in records if _row_fault(cells, table.columns) is None)
        except _Broken:
            return  # the survey has reported it


def _with_pandas(table: Table, report: Report) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The rows of a sound table, each with the line that the survey found for it."""
    count = 0
    try:
        for rows in _chunks(table):
            if count + len(rows) > len(table.lines):
                break
            yield from zip(table.lines[count : count + len(rows)], rows, strict=True)
            count += len(rows)
    except (ValueError, OSError):  # pandas' parser errors and those of decoding are ValueErrors
        count = -1
    if count != len(table.lines):
        report.add(Place(table.file), "the file changed while it was being read", "start again")


def _chunks(table: Table) -> Iterator[list[tuple[str, ...]]]:
    import pandas as pd  # noqa: PLC0415 - takes most of a second, and many campaigns have no CSV

    with pd.read_csv(
        table.path,
        sep=table.separator,
        names=range(len(table.columns)),
        header=0,
        index_col=False,
        dtype=object,
        keep_default_na=False,
        na_filter=False,
        encoding="utf-8-sig",
        chunksize=ROWS_A_CHUNK,
        compression=None,
    ) as chunks:
        for chunk in chunks:
            rows = list(zip(*(chunk[number].tolist() for number in chunk.columns), strict=True))
            if len(table.columns) == 1:
                rows = [cells for cells in rows if cells[0].strip(_BLANKS)]  # a lone "" is a blank line to the survey
            yield rows


def _header_is_good(columns: tuple[str, ...], place: Place, report: Report) -> bool:
    if not columns:
        report.add(Place(place.file, 1, 1), "the file is empty", "a first line with the names of the columns")
        return False
    if columns[0].lower().startswith(_EXCEL_MARK):
        report.add(
            place,
            f"the first line {shown(columns[0])} is an instruction to Excel",
            "delete it: the column names come first",
        )
        return False
    if len(columns) > _HEADER_COLUMNS:
        report.add(place, f"the header has {len(columns):,} columns", f"at most {_HEADER_COLUMNS}")
        return False
    good = True
    lower: dict[str, int] = {}
    for number, name in enumerate(columns, start=1):
        at = Place(place.file, place.line, number)
        if (control := first_control(name)) >= 0:
            report.add(at, said_of(name[control]), ALLOWED)
            good = False
        elif _MARK in name:  # one that begins the file is gone by now
            allowed = "delete the name and type it again"
            report.add(at, f"the name of column {number} contains an invisible byte order mark", allowed)
            good = False
        elif not name:
            report.add(at, f"column {number} has no name", "name it in the first line, or remove the column")
            good = False
        elif (first := lower.setdefault(name.lower(), number)) != number:
            report.add(at, f"the column {shown(name)} appears twice, as columns {first} and {number}", "each name once")
            good = False
    return good


def _row_fault(cells: Sequence[str], columns: tuple[str, ...]) -> tuple[int, str, str] | None:
    if len(cells) != len(columns):
        message = f"this row has {_count(cells)}, the header has {len(columns)}: {shown(' | '.join(cells))}"
        allowed = "one cell for each column; quote a cell that holds the separator"
        return min(len(cells), len(columns)) + 1, message, allowed
    if (at := first_control("".join(cells))) >= 0:
        number = next(number for number, cell in enumerate(cells) if first_control(cell) >= 0)
        return number + 1, said_of("".join(cells)[at]), ALLOWED
    if len(max(cells, key=len)) > LONGEST_CELL:
        number = next(number for number, cell in enumerate(cells) if len(cell) > LONGEST_CELL)
        message = f"the cell in column {shown(columns[number])} has {len(cells[number]):,} characters"
        return number + 1, message, f"at most {LONGEST_CELL:,}; perhaps a closing quote is missing"
    return None


def _count(cells: Sequence[str]) -> str:
    return "1 cell" if len(cells) == 1 else f"{len(cells):,} cells"


def _records(lines: _Lines, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (first line, cells) of every record, the header first; blank ones are left out."""
    reader: _csv.Reader = csv.reader(iter(lines), delimiter=separator, strict=True)
    while True:
        line = reader.line_num + 1
        lines.row_begins = ""
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if reader.line_num == line and lines.longest_of_line > csv.field_size_limit():
                message = f"a cell of this row has more than {csv.field_size_limit():,} characters"
                raise _Broken(line, 1, message, f"at most {LONGEST_CELL:,}") from error
            until = f", read until line {reader.line_num}" if reader.line_num > line else ""
            message = f"the quotes of this row do not match{until}: {shown(lines.row_begins.strip())}"
            raise _Broken(line, 1, message, _QUOTES) from error
        if cells and (len(cells) > 1 or cells[0].strip(_BLANKS)):
            yield line, cells


class _Lines:
    """The lines of a file as text with their ends, without a byte order mark."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self.has_lone_returns = False
        self.longest_of_line = 0
        self.row_begins = ""

    def __iter__(self) -> Iterator[str]:
        offset, number = 0, 1
        while content := self._handle.readline(LONGEST_LINE_BYTES + 1):
            text = _decoded(content, offset, number)
            if offset == 0:
                text = text.removeprefix(_MARK)
            offset += len(content)
            self.longest_of_line = len(text)
            self.row_begins = self.row_begins or text
            if "\r" not in text:
                number += 1
                yield text
                continue
            for line in _LINE_ENDS.findall(text):
                self.has_lone_returns |= line[-1] == "\r"
                number += 1
                yield line


def _decoded(content: bytes, offset: int, number: int) -> str:
    """One line as text; ``offset`` is where it begins in the file."""
    if len(content) > LONGEST_LINE_BYTES:
        raise _Broken(number, 1, f"this line has more than {LONGEST_LINE_BYTES:,} bytes", "shorter rows")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Broken(number, 1, not_utf_8(content, error.start, offset), _ENCODING) from error
    if "\0" in text:
        at = f"a NUL character at byte {offset + content.index(0):,} is not allowed in a CSV"
        raise _Broken(number, 1, at, _ENCODING)
    return text


def _separator(handle: BinaryIO) -> str:
    """The character between the cells of the header: a comma unless it has none but semicolons or tabs."""
    start = handle.readline(LONGEST_LINE_BYTES).decode("utf-8", "replace")
    handle.seek(0)
    outside = re.sub(r'"[^"]*"', "", start)
    return next((mark for mark in ",;\t" if mark in outside), ",")
