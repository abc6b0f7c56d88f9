"""The limits of an .xlsx, and the messages for one that is damaged or exceeds them."""

from __future__ import annotations

LARGEST_BYTES = 50_000_000
LARGEST_UNPACKED_BYTES = 250_000_000
"""Ours, both: 100,000 rows of prompts take a fifth of it, a bomb takes more."""

TEXTS_PACKED = 100
SMALL_TEXTS_BYTES = 5_000_000
"""Shared texts beyond so many bytes may be so many times larger than in the zip. Excel keeps each text once, and
300,000 texts that differ pack to a tenth; texts that are all alike pack to a five-hundredth, and each costs time."""

SMALL_PART_BYTES = 10_000_000
"""For the workbook itself, its relations and its formats, for which kilobytes suffice."""

MOST_PARTS = 10_000
"""Files in the zip; Excel makes one for each sheet, picture and comment."""

MOST_CELLS = 1_500_000
"""Cells of a sheet, and texts of a workbook, blank ones included: 100,000 rows of 15 columns."""

MOST_CHARACTERS = 50_000_000
"""For all texts together: 500 per row in 100,000 rows. In memory a character takes one to four bytes."""

MOST_COLUMNS = 256
"""Our own, as in a CSV."""

LONGEST_TEXT = 32_767
"""Pieces of one text, each of which has a character; Excel has no more characters in a cell (2026-11)."""

LONGEST_NUMBER = 100
"""Characters of a number; Excel saves 17 digits."""

LAST_LINE = 1_048_576
"""Of a sheet, by Excel's specification (2026-11)."""

ELEMENTS_A_CELL = 4
"""A cell of XML is itself, a value, a formula, or a text in an inline string."""

DEEPEST = 100
"""Levels of XML; a sheet has eight."""

LONGEST_TAG_BYTES = 1 << 20
"""The parser keeps a tag until it ends; text between tags is passed on."""

MOST_NAMES = 10_000
"""Of elements and attributes, which the parser keeps for good; the standard has 2,000."""


class Damaged(Exception):
    """The workbook cannot be read; the message says what was found."""


class TooLarge(Exception):
    """A limit is exceeded, at this line and column of the sheet if it has a place in it."""

    def __init__(self, message: str, allowed: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.allowed = allowed
        self.line = line
        self.column = column


def too_many_cells() -> TooLarge:
    """The error for a sheet beyond ``MOST_CELLS``."""
    message = f"this sheet has more than {MOST_CELLS:,} cells, empty ones included"
    return TooLarge(message, "delete the columns and rows around the table; or a CSV")
