"""Parses the parts of an .xlsx: relations, sheets, formats, shared texts, rows of cells.

A reader is given each tag and text as it comes, and keeps only what a table needs.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias

from adloom.campaign.sources.workbook.bounds import (
    DEEPEST,
    ELEMENTS_A_CELL,
    LAST_LINE,
    LONGEST_NUMBER,
    LONGEST_TEXT,
    MOST_CELLS,
    MOST_CHARACTERS,
    MOST_COLUMNS,
    Damaged,
    TooLarge,
    too_many_cells,
)
from adloom.campaign.sources.workbook.values import Formats, shown_date, shown_number

Attributes: TypeAlias = Mapping[str, str]
Row: TypeAlias = "tuple[int, tuple[str | None, ...]]"
"""The line of a row, and its cells without the blank ones on the right; None is an error such as #N/A."""

_REFERENCE = re.compile(r"([A-Za-z]{1,3})[0-9]{1,7}")


class Reader:
    """The events of a part while it is parsed. Names come without their namespace."""

    def __init__(self) -> None:
        self.depth = 0
        self.elements = 0

    def start(self, name: str, attributes: Attributes) -> None:
        self.depth += 1
        self.elements += 1
        if self.depth > DEEPEST:
            raise Damaged("endless tags")
        if self.elements > ELEMENTS_A_CELL * MOST_CELLS:
            raise too_many_cells()
        self.opened(name.rpartition("}")[2], attributes)

    def end(self, name: str) -> None:
        self.closed(name.rpartition("}")[2])
        self.depth -= 1

    def opened(self, name: str, attributes: Attributes) -> None:
        """An element begins."""

    def closed(self, name: str) -> None:
        """An element ends."""

    def text(self, text: str) -> None:
        """Text between tags, possibly only a piece of it."""


class Relations(Reader):
    """``_rels/*.rels``: the last word of a relation's type, and its target, by its id."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, tuple[str, str]] = {}

    def opened(self, name: str, attributes: Attributes) -> None:
        if name == "Relationship":
            self.found[attributes["Id"]] = (attributes["Type"].rpartition("/")[2], attributes["Target"])


class Workbook(Reader):
    """``workbook.xml``: the names of the sheets with the ids of their relations."""

    def __init__(self) -> None:
        super().__init__()
        self.sheets: list[tuple[str, str]] = []
        self.is_1904 = False

    def opened(self, name: str, attributes: Attributes) -> None:
        if name == "sheet":
            relation = next((value for key, value in attributes.items() if key.endswith("}id")), None)
            if relation is not None:
                self.sheets.append((attributes["name"], relation))
        elif name == "workbookPr":
            self.is_1904 = attributes.get("date1904") in ("1", "true")


class Styles(Reader):
    """``styles.xml``: the formats of the cells."""

    def __init__(self) -> None:
        super().__init__()
        self.formats = Formats()
        self._written: dict[int, str] = {}
        self._inside = ""

    def opened(self, name: str, attributes: Attributes) -> None:
        if name in ("numFmts", "cellXfs"):
            self._inside = name
        elif name == "numFmt" and self._inside == "numFmts":
            self._written[int(attributes["numFmtId"])] = attributes["formatCode"]
        elif name == "xf" and self._inside == "cellXfs":
            number = int(attributes.get("numFmtId", "0"))
            self.formats.add(number, self._written.get(number))

    def closed(self, name: str) -> None:
        if name == self._inside:
            self._inside = ""


class Collector(Reader):
    """Collects the texts of an element, within the limits of a workbook; phonetic readings are left out."""

    def __init__(self, characters: int) -> None:
        super().__init__()
        self.characters = characters
        self._aloud = False
        self._pieces: list[str] = []
        self._is_open = False

    def text(self, text: str) -> None:
        if not self._is_open:
            return
        self.characters += len(text)
        if self.characters > MOST_CHARACTERS:
            message = f"the texts of this workbook have more than {MOST_CHARACTERS:,} characters"
            raise TooLarge(message, "fewer rows; or a CSV")
        self._pieces.append(text)
        if len(self._pieces) > LONGEST_TEXT:
            raise Damaged("an endless text")

    def _collected(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        return text

    def opened(self, name: str, attributes: Attributes) -> None:  # noqa: ARG002 - as readers are called
        self._aloud = self._aloud or name == "rPh"
        self._is_open = name == "t" and not self._aloud

    def closed(self, name: str) -> None:
        if name == "rPh":
            self._aloud = False
        elif name == "t":
            self._is_open = False


class Texts(Collector):
    """``sharedStrings.xml``: the texts that cells name by their number."""

    def __init__(self) -> None:
        super().__init__(0)
        self.shared: list[str] = []

    def closed(self, name: str) -> None:
        super().closed(name)
        if name == "si":
            if len(self.shared) >= MOST_CELLS:
                raise too_many_cells()
            self.shared.append(self._collected().replace("x005F_", ""))  # an escaped underscore


class Rows(Collector):
    """A sheet: rows of cells, each row complete when its element ends."""

    def __init__(self, texts: Texts, formats: Formats, epoch: dt.datetime) -> None:
        super().__init__(texts.characters)
        self._shared = texts.shared
        self._formats = formats
        self._epoch = epoch
        self._ready: list[Row] = []
        self._cells: dict[int, str | None] | None = None
        self._cell_depth = 0
        self._count = 0
        self._line = 0
        self._column = 0
        self._type = ""
        self._style = 0

    def taken(self) -> list[Row]:
        """The rows completed since the last call."""
        ready, self._ready = self._ready, []
        return ready

    def opened(self, name: str, attributes: Attributes) -> None:
        if name == "row":
            self._begin_row(int(attributes.get("r", self._line + 1)))
        elif name == "c" and self._cells is not None:
            self._begin_cell(attributes)
        elif name == "v" and self.depth == self._cell_depth + 1:
            self._is_open = self._type != "inlineStr"
        else:
            super().opened(name if self._type == "inlineStr" else "", attributes)

    def closed(self, name: str) -> None:
        if name == "row":
            self._end_row()
        elif name == "c" and self.depth == self._cell_depth:
            self._end_cell()
        elif name == "v":
            self._is_open = False
        else:
            super().closed(name)

    def _begin_row(self, line: int) -> None:
        if not self._line < line <= LAST_LINE:
            raise Damaged("a row out of order")
        self._line, self._column, self._cells = line, 0, {}

    def _end_row(self) -> None:
        if self._cells:
            width = max(self._cells)
            self._count += width
            self._ready.append((self._line, tuple(self._cells.get(n, "") for n in range(1, width + 1))))
        self._cells = None

    def _begin_cell(self, attributes: Attributes) -> None:
        self._count += 1
        if self._count > MOST_CELLS:
            raise too_many_cells()
        place = _REFERENCE.fullmatch(attributes["r"]) if "r" in attributes else None
        if place is None and "r" in attributes:
            raise Damaged("a cell without a place")
        self._column = _column(place[1]) if place else self._column + 1
        self._type, self._style = attributes.get("t", "n"), int(attributes.get("s", "0"))
        self._cell_depth = self.depth
        self._pieces.clear()

    def _end_cell(self) -> None:
        assert self._cells is not None  # noqa: S101 - cells are begun in rows
        text = self._collected()
        shown = self._shown(text) if text else ""
        self._cell_depth = 0
        if shown == "":
            return
        if self._column > MOST_COLUMNS:
            message = f"a cell is in column {self._column:,} of this sheet"
            raise TooLarge(message, f"at most {MOST_COLUMNS} columns", self._line, self._column)
        self._cells[self._column] = shown

    def _shown(self, text: str) -> str | None:
        if self._type == "s":
            return self._shared[int(text)]
        if self._type == "b":
            return str(bool(int(text))).upper()
        if self._type == "e":
            return None
        if self._type == "n":
            if len(text) > LONGEST_NUMBER:
                raise Damaged("an endless number")
            epoch = self._epoch if self._style in self._formats.dates else None
            return shown_number(text, epoch, is_duration=self._style in self._formats.durations)
        return shown_date(text) if self._type == "d" else text


@lru_cache(maxsize=1024)
def _column(letters: str) -> int:
    number = 0
    for letter in letters.upper():
        number = 26 * number + ord(letter) - ord("A") + 1
    return number
