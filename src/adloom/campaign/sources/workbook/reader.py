"""One sheet of an Excel workbook as rows of text, as a person sees them in Excel.

``book.xlsx`` means the first sheet, ``book.xlsx#May`` the one called May. Text stays as typed, so a number with leading
zeros has to be a text cell; a whole number has no ``.0``, a date is ``2026-03-01``. A formula is its last saved result.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from adloom.campaign.problems import Place, Report, did_you_mean
from adloom.campaign.sources.workbook.bounds import LARGEST_BYTES, MOST_CELLS, Damaged, TooLarge, too_many_cells
from adloom.campaign.sources.workbook.stream import Book
from adloom.core.quoting import shown

_ADDRESS = re.compile(r"(?s)(.+\.xlsx)(?:#(.+))?", re.IGNORECASE)
_SAVED = "a workbook without a password, saved by Excel as .xlsx; or save the sheet as CSV UTF-8"


def is_workbook(path: Path) -> bool:
    """Whether a path names a workbook, with or without a sheet."""
    return _ADDRESS.fullmatch(path.name) is not None


def file_of(path: Path) -> Path:
    """The file that a path names, without the sheet of a workbook."""
    found = _ADDRESS.fullmatch(path.name)
    return path.with_name(found[1]) if found and not path.is_file() else path


class Sheet(NamedTuple):
    """The first row of a sheet, and the rows below it that hold something, each with its line and as wide as the first.

    Blank cells that the right side has in every row are left out.
    """

    columns: tuple[str, ...]
    rows: list[tuple[int, tuple[str, ...]]]


def read_sheet(path: Path, file: str, report: Report, most_rows: int) -> Sheet | None:
    """The sheet that ``path`` names; of one that has more than ``most_rows``, one row more than those.

    None when it cannot be read, which is then in the report; so is every cell that has no text.
    """
    book = file_of(path)
    sheet = path.name.removeprefix(book.name).removeprefix("#")
    try:
        return _read(_content(book), sheet, file, report, most_rows)
    except TooLarge as large:
        report.add(Place(file, large.line, large.column), large.message, large.allowed)
    except (Damaged, OSError) as error:
        what = str(error) if isinstance(error, Damaged) else error.strerror
        report.add(Place(file), f"this workbook cannot be read ({what})", _SAVED)
    return None


def _content(book: Path) -> bytes:
    with book.open("rb") as handle:
        content = handle.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        size_mb = book.stat().st_size / 1e6
        raise TooLarge(f"this workbook has {size_mb:,.0f} MB", f"at most {LARGEST_BYTES / 1e6:.0f} MB; or a CSV")
    return content


def _read(content: bytes, sheet: str, file: str, report: Report, most_rows: int) -> Sheet | None:
    book = Book(content)
    names = book.sheets
    if sheet and sheet not in names:
        near = did_you_mean(sheet, names)
        report.add(Place(file), f"there is no sheet {shown(sheet)}{near}", "sheets: " + ", ".join(names[:12]))
        return None
    header: tuple[str, ...] = ()
    rows: list[tuple[int, tuple[str, ...]]] = []
    for line, cells in book.rows(sheet or names[0]):
        texts = _texts(cells, Place(file, line), report)
        if line == 1:
            header = texts
        elif any(map(str.strip, texts)):
            rows.append((line, texts))
            if len(rows) > most_rows:
                break
    width = max((len(cells) for _, cells in rows), default=len(header))
    width = max(width, len(header))
    if width * len(rows) > MOST_CELLS:
        raise too_many_cells()
    return Sheet(_padded(header, width), [(line, _padded(cells, width)) for line, cells in rows])


def _texts(cells: tuple[str | None, ...], place: Place, report: Report) -> tuple[str, ...]:
    """The cells of a row; an error such as #N/A is reported, and blank."""
    if None in cells:
        at = place._replace(column=cells.index(None) + 1)
        report.add(at, "this cell contains an error such as #N/A", "text, a number or a date")
    return tuple(text or "" for text in cells)


def _padded(cells: tuple[str, ...], width: int) -> tuple[str, ...]:
    return cells if len(cells) == width else cells + ("",) * (width - len(cells))
