"""Images back into a workbook: one row per wanted image, next to whatever columns a team has added.

The sheet is filled in place. adloom's own columns are found by their names in the first row, an image by ``job``,
``row``, ``variant`` and ``take``; other columns, their formats and the order of the rows stay as they are. Images that
are new come at the end. Text is always written as text, never as a formula.
"""

from __future__ import annotations

import io
import os
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openpyxl import Workbook, load_workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, MergedCell
from openpyxl.drawing.image import Image
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from adloom.core.counting import counted
from adloom.core.errors import InputError, SettingInvalid

KEY = ("job", "row", "variant", "take")
OWN = (
    "image", *KEY, "status", "decision", "stars", "note", "change", "by", "decided_at", "link", "credits", "usd",
    "reason", "prompt",
)  # fmt: skip
TYPED = ("decision", "stars", "note", "change")
"""What a person may fill in: `review --apply` takes it from the sheet, saved as CSV."""
MOST_THUMBNAILS = 2000
"""A workbook with more is slow to open; further rows have only their links."""
MOST_CHARACTERS = 32_000
"""Excel's own limit of a cell is 32,767."""
LARGEST_BYTES = 100 << 20
LONGEST_NAME = 31
"""Excel's own limit of a sheet's name, in which it takes none of the characters below."""
NOT_IN_NAMES = "[]:*?/\\"
_THUMB_PX = 96
_ROW_POINTS = 76
_WIDTHS = {"image": 15, "prompt": 60, "reason": 30, "note": 30, "change": 30, "row": 30, "link": 12}

Place = tuple[str, str, int, int]


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One wanted image: the values of adloom's columns, its variables by name, and its thumbnail (empty without)."""

    place: Place
    values: Mapping[str, Any]
    variables: Mapping[str, str]
    link: str = ""
    thumbnail: bytes = b""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: rows that were there, rows that were added, and how many have a thumbnail.

    ``typed`` rows hold a decision that a person typed and adloom does not know yet.
    """

    updated: int
    added: int
    thumbnails: int
    typed: int = 0

    @property
    def unapplied(self) -> str:
        """What to do about the typed decisions; empty without any."""
        if not self.typed:
            return ""
        found = f"{counted(self.typed, 'typed decision')} {'is' if self.typed == 1 else 'are'} not applied yet"
        return f"{found}: save the sheet as CSV and use review --apply"


def check_sheet_name(name: str) -> None:
    """Raises SettingInvalid for a name that Excel does not take."""
    if (
        not name.strip()
        or len(name) > LONGEST_NAME
        or any(character in NOT_IN_NAMES for character in name)
        or ILLEGAL_CHARACTERS_RE.search(name)
        or name.startswith("'")
        or name.endswith("'")
    ):
        raise SettingInvalid(
            f"--sheet: {name!r} cannot be the name of a sheet",
            remedy=f"Use 1 to {LONGEST_NAME} characters, none of {' '.join(NOT_IN_NAMES)}, and no ' at either end.",
        )


def export_sheet(path: Path, name: str, rows: Iterable[SheetRow]) -> Exported:
    """Write the rows into the sheet of that name, which is made where it is missing, as is the workbook.

    The file is replaced as a whole or not at all. Raises InputError when it is not a workbook, or when the sheet is not
    adloom's.
    """
    workbook, sheet = _open(path, name)
    columns = _columns(sheet, path)
    known = _known(sheet, columns)
    _take_pictures_away(sheet, columns["image"])
    updated = added = thumbnails = typed = 0
    for row in rows:
        number = known.get(row.place)
        if number is None:
            number, added = max(2, sheet.max_row + 1), added + 1
            known[row.place] = number
        else:
            updated += 1
        typed += _fill(sheet, number, columns, row)
        if row.thumbnail and thumbnails < MOST_THUMBNAILS:
            _show(sheet, number, columns["image"], row.thumbnail)
            thumbnails += 1
    _replace(workbook, Path(os.path.realpath(path)))
    return Exported(updated, added, thumbnails, typed)


def _open(path: Path, name: str) -> tuple[Workbook, Worksheet]:
    if not path.exists():
        workbook = Workbook()
        workbook.active.title = name
        return workbook, workbook.active
    if path.stat().st_size > LARGEST_BYTES:
        raise InputError(f"{path} is larger than {LARGEST_BYTES >> 20} MiB", remedy="Choose another workbook.")
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            # what openpyxl does not keep is in docs/review.md
            warnings.filterwarnings("ignore", category=UserWarning, module=r"openpyxl\.")
            workbook = load_workbook(file, rich_text=True)
    except Exception as error:  # a damaged file raises whatever the parsers inside openpyxl do
        raise InputError(f"{path} cannot be read as a workbook", remedy="Name a new .xlsx file.") from error
    for there in workbook.sheetnames:
        if there.casefold() == name.casefold():  # to Excel they are the same
            return workbook, _worksheet(workbook[there], path)
    return workbook, workbook.create_sheet(name)


def _worksheet(sheet: object, path: Path) -> Worksheet:
    if isinstance(sheet, Worksheet):
        return sheet
    raise InputError(
        f"{path}: {getattr(sheet, 'title', '')!r} is a chart sheet", remedy="Choose a new sheet with --sheet NAME."
    )


def _columns(sheet: Worksheet, path: Path) -> dict[str, int]:
    """The column of each name in the first row; adloom's own are added where they are missing."""
    found = {
        str(cell.value).strip(): cell.column for cell in sheet[1] if cell.value is not None and str(cell.value).strip()
    }
    if found and not set(KEY) <= set(found):
        lacking = ", ".join(name for name in KEY if name not in found)
        raise InputError(
            f"{path}: the sheet {sheet.title!r} has content of its own: its first row lacks {lacking}",
            remedy="Choose a new sheet with --sheet NAME.",
        )
    for name in OWN:
        if name not in found:
            _head(sheet, found, name)
    sheet.freeze_panes = sheet.freeze_panes or "A2"
    return found


def _head(sheet: Worksheet, columns: dict[str, int], name: str) -> int:
    """A new column behind all others."""
    number = max(columns.values(), default=0) + 1
    cell = sheet.cell(1, number)
    _set(cell, name)
    cell.font = Font(bold=True)
    sheet.column_dimensions[get_column_letter(number)].width = _WIDTHS.get(name, 14)
    columns[name] = number
    return number


def _known(sheet: Worksheet, columns: Mapping[str, int]) -> dict[Place, int]:
    """The rows that are images already. What is not an image, such as a total below, stays where it is."""
    names = {columns[name] for name in KEY}
    for merged in sheet.merged_cells.ranges:
        if merged.max_row > merged.min_row and names & set(range(merged.min_col, merged.max_col + 1)):
            raise _is_merged(sheet, merged.coord)  # only the first of its rows has a value
    found: dict[Place, int] = {}
    for number in range(2, sheet.max_row + 1):
        job, row, variant, take = (sheet.cell(number, columns[name]).value for name in KEY)
        try:
            place = (str(job), str(row), int(variant), int(take))
        except (TypeError, ValueError):
            continue
        found.setdefault(place, number)
    return found


def _fill(sheet: Worksheet, number: int, columns: dict[str, int], row: SheetRow) -> bool:
    """Whether the row keeps something that a person typed."""
    typed = _typed(sheet, number, columns, row.values)
    for name, value in row.values.items():
        if name in typed or (typed and name in ("by", "decided_at") and not _text(value)):
            continue  # who typed it and when belongs to it
        _set(sheet.cell(number, columns[name]), value)
    for name, value in row.variables.items():
        column = columns.get(name) if name not in OWN else None
        if column is None and name not in OWN:
            column = _head(sheet, columns, name)
        if column is not None and sheet.cell(number, column).value is None:
            _set(sheet.cell(number, column), value)  # a team may have overwritten it: its version stays
    link = sheet.cell(number, columns["link"])
    _set(link, "open" if row.link else None)
    link.hyperlink = row.link or None
    sheet.cell(number, columns["prompt"]).alignment = Alignment(wrap_text=True, vertical="top")
    return bool(typed)


def _typed(sheet: Worksheet, number: int, columns: Mapping[str, int], values: Mapping[str, Any]) -> set[str]:
    """The columns in which a person typed what adloom does not know yet.

    If the row was written with the decision that still stands, by its time, then whatever differs was typed; with an
    earlier one, it may be outdated. If the times do not tell, only what adloom has no value for was surely typed.
    """
    stands = _text(values.get("decided_at"))
    written = _text(sheet.cell(number, columns["decided_at"]).value) if stands else ""
    typed = set()
    for name in TYPED:
        there, own = _text(sheet.cell(number, columns[name]).value), _text(values.get(name))
        if there and there != own and (written == stands if written else not own):
            typed.add(name)
    return typed


def _text(value: object) -> str:
    """A cell's value for comparing: no star is nothing, and programs change the ends of lines."""
    return " ".join(ILLEGAL_CHARACTERS_RE.sub("", str(value or ""))[:MOST_CHARACTERS].split())


def _set(cell: Any, value: object) -> None:  # noqa: ANN401 - a cell of openpyxl, which is untyped
    """Text stays text, whatever it begins with. Raises InputError for a cell that is merged into another one."""
    if isinstance(cell, MergedCell):
        raise _is_merged(cell.parent, cell.coordinate)
    if isinstance(value, str):
        cell.value = ILLEGAL_CHARACTERS_RE.sub("", value)[:MOST_CHARACTERS]
        cell.data_type = "s"
    else:
        cell.value = value


def _is_merged(sheet: Worksheet, place: str) -> InputError:
    return InputError(
        f"sheet {sheet.title!r}, {place}: merged cells in a column of adloom's", remedy="Unmerge them, then try again."
    )


def _take_pictures_away(sheet: Worksheet, column: int) -> None:
    """Those below the head of adloom's own column, which are set again: all others are the team's."""

    def is_own(picture: Image) -> bool:
        corner = getattr(picture.anchor, "_from", None)  # counts from 0; a picture at no cell has none
        return corner is not None and corner.col == column - 1 and corner.row > 0

    # openpyxl has no other way to take pictures away
    sheet._images = [picture for picture in sheet._images if not is_own(picture)]  # noqa: SLF001


def _show(sheet: Worksheet, number: int, column: int, thumbnail: bytes) -> None:
    picture = Image(io.BytesIO(thumbnail))
    scale = _THUMB_PX / max(picture.width, picture.height)
    picture.width, picture.height = round(picture.width * scale), round(picture.height * scale)
    sheet.row_dimensions[number].height = _ROW_POINTS
    sheet.add_image(picture, f"{get_column_letter(column)}{number}")


def _replace(workbook: Workbook, path: Path) -> None:
    """Write the workbook to a temporary file and move it into place, so that a crash leaves the old one."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".xlsx")
        os.close(handle)
        try:
            workbook.save(name)
            Path(name).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        remedy = "Create its folder first." if isinstance(error, FileNotFoundError) else "Close it, or name another."
        raise InputError(f"{path} cannot be written: {error.strerror}", remedy=remedy) from error
