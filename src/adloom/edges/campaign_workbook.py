"""One sheet of an Excel workbook as rows of text, as a person sees them in Excel.

``book.xlsx`` means the first sheet, ``book.xlsx#May`` the one called May. Text stays as typed, so a number with leading
zeros has to be a text cell; a whole number has no ``.0``, a date is ``2026-03-01``. A formula is its last saved result.
openpyxl reads the workbook through pandas: it is an extra, and this module is its one importer.
"""

from __future__ import annotations

import datetime as dt
import math
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from adloom.edges.campaign_report import Place, Report, did_you_mean, shown

LARGEST_BYTES = 50_000_000
LARGEST_UNPACKED_BYTES = 500_000_000
"""Our own, both: 100,000 rows of prompts take a tenth of it, a bomb takes more."""

_ADDRESS = re.compile(r"(?s)(.+\.xlsx)(?:#(.+))?", re.IGNORECASE)
_SAVED = "a workbook without a password, saved by Excel as .xlsx; or save the sheet as CSV UTF-8"
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, OSError, EOFError, SyntaxError, KeyError, IndexError, ValueError, TypeError,
    AttributeError, NotImplementedError, RuntimeError, ArithmeticError,
)  # fmt: skip
"""What openpyxl, zipfile and the XML parser were seen to end with on damaged workbooks."""


def is_workbook(path: Path) -> bool:
    """Whether a path names a workbook, with or without a sheet."""
    return _ADDRESS.fullmatch(path.name) is not None


def file_of(path: Path) -> Path:
    """The file that a path names, without the sheet of a workbook."""
    found = _ADDRESS.fullmatch(path.name)
    return path.with_name(found[1]) if found and not path.is_file() else path


def read_sheet(path: Path, file: str, report: Report) -> list[tuple[str, ...]] | None:
    """All rows of the sheet that ``path`` names, without the blank cells that its right side has in every row.

    None when it cannot be read, which is then in the report; so is every cell that has no text.
    """
    book = file_of(path)
    sheet = path.name.removeprefix(book.name).removeprefix("#")
    if find_spec("openpyxl") is None:
        report.add(Place(file), "reading .xlsx needs openpyxl", "pip install 'adloom[xlsx]', or save it as CSV UTF-8")
        return None
    try:
        return _read(book, sheet, file, report)
    except _DAMAGE as error:
        report.add(Place(file), f"this workbook cannot be read ({type(error).__name__})", _SAVED)
        return None


def _read(book: Path, sheet: str, file: str, report: Report) -> list[tuple[str, ...]] | None:
    if problem := _size_problem(book):
        report.add(Place(file), *problem)
        return None
    import pandas as pd  # noqa: PLC0415 - takes most of a second, and most campaigns have no workbook

    with warnings.catch_warnings(action="ignore"), pd.ExcelFile(book, engine="openpyxl") as workbook:
        names = [str(name) for name in workbook.sheet_names]
        if sheet and sheet not in names:
            near = did_you_mean(sheet, names)
            report.add(Place(file), f"there is no sheet {shown(sheet)}{near}", "sheets: " + ", ".join(names[:12]))
            return None
        frame = workbook.parse(sheet or 0, header=None, dtype=object, keep_default_na=False, na_filter=False)
    return _without_blank_edge(list(_as_text(frame.itertuples(index=False, name=None), file, report)))


def _size_problem(book: Path) -> tuple[str, str] | None:
    """Why a workbook is too large to be opened; what it unpacks to is read from its directory."""
    if (size_bytes := book.stat().st_size) > LARGEST_BYTES:
        return f"this workbook has {size_bytes / 1e6:,.0f} MB", f"at most {LARGEST_BYTES / 1e6:.0f} MB; or a CSV"
    with zipfile.ZipFile(book) as archive:
        unpacked_bytes = sum(part.file_size for part in archive.infolist())
    if unpacked_bytes > LARGEST_UNPACKED_BYTES:
        most = f"at most {LARGEST_UNPACKED_BYTES / 1e6:.0f} MB; or a CSV"
        return f"this workbook unpacks to {unpacked_bytes / 1e6:,.0f} MB", most
    return None


def _as_text(rows: Iterator[tuple[object, ...]], file: str, report: Report) -> Iterator[tuple[str, ...]]:
    for line, cells in enumerate(rows, start=1):
        texts = tuple(map(_text, cells))
        if None in texts:
            column = texts.index(None) + 1
            report.add(Place(file, line, column), "this cell holds an error such as #N/A", "text, a number or a date")
        yield tuple(text or "" for text in texts)


def _text(value: object) -> str | None:
    """A cell as Excel shows it in a column of general format; None for an error."""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return None if math.isnan(value) else str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, dt.datetime):
        return value.date().isoformat() if value.time() == dt.time() else value.isoformat(" ", "seconds")
    if isinstance(value, dt.time):
        return value.isoformat("minutes" if not value.second else "seconds")
    return str(value)


def _without_blank_edge(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The rows without the columns on the right that hold nothing: formatting alone makes Excel save those."""
    width = max((number for row in rows for number, cell in enumerate(row, start=1) if cell), default=0)
    return [row[:width] for row in rows]
