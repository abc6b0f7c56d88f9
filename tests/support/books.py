"""Workbooks written part by part, as no spreadsheet would: small files that stand for a lot."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml"
PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="rels" ContentType='
    '"application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_SHEET}.sheet.main+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_SHEET}.worksheet+xml"/>'
    f'<Override PartName="/xl/sharedStrings.xml" ContentType="{_SHEET}.sharedStrings+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
    f'Type="{_DOCUMENT}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_DOCUMENT}"><sheets><sheet name="Sheet" sheetId="1" '
    'r:id="r1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="r1" '
    f'Type="{_DOCUMENT}/worksheet" Target="worksheets/sheet1.xml"/><Relationship Id="r2" '
    f'Type="{_DOCUMENT}/sharedStrings" Target="sharedStrings.xml"/></Relationships>',
    "xl/sharedStrings.xml": f'<sst xmlns="{_MAIN}"><si><t>prompt</t></si><si><t>a cup</t></si></sst>',
    "xl/worksheets/sheet1.xml": "",
}
HEADER = '<row r="1"><c r="A1" t="s"><v>0</v></c></row>'


def sheet(rows: str) -> str:
    """A sheet whose first row is a header of one column."""
    return f'<worksheet xmlns="{_MAIN}"><sheetData>{HEADER}{rows}</sheetData></worksheet>'


def write(path: Path, rows: str = "", *, method: int = zipfile.ZIP_DEFLATED, texts: str = "", book: str = "") -> Path:
    """A workbook with these rows below its header, or with other shared texts or another workbook part."""
    parts = PARTS | {"xl/worksheets/sheet1.xml": sheet(rows)}
    parts |= {"xl/sharedStrings.xml": texts} if texts else {}
    parts |= {"xl/workbook.xml": book} if book else {}
    with zipfile.ZipFile(path, "w", method, compresslevel=6) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def _texts(inside: str) -> str:
    return f'<sst xmlns="{_MAIN}">{inside}</sst>'


def _many_entries(path: Path) -> None:
    write(path, '<row r="2"><c r="A2" t="s"><v>1</v></c></row>')
    with zipfile.ZipFile(path, "a") as archive:
        for number in range(10_000):
            archive.writestr(f"x{number}", b"")


ROW = '<row r="2"><c r="A2" t="inlineStr"><is><t>{}</t></is></c></row>'
ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "two corners": (
        lambda path: write(
            path, '<row r="2"><c r="A2"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
        ),
        "book.xlsx:1048576:16384: a cell is in column 16,384 of this sheet (at most 256 columns)",
    ),
    "a row beyond the last": (
        lambda path: write(path, '<row r="900000000"><c r="A900000000"><v>1</v></c></row>'),
        "book.xlsx: this workbook cannot be read (a row out of order)",
    ),
    "a wide row many times": (
        lambda path: write(
            path, "".join(f'<row r="{n}"><c r="A{n}"><v>1</v></c><c r="XFD{n}"/></row>' for n in range(2, 15_002))
        ),
        "",
    ),
    "a narrow sheet with one wide row": (
        lambda path: write(
            path,
            "".join(f'<row r="{n}"><c r="A{n}"><v>1</v></c></row>' for n in range(2, 20_002))
            + '<row r="20002"><c r="IV20002"><v>1</v></c></row>',
        ),
        "book.xlsx: this sheet has more than 1,500,000 cells, empty ones included",
    ),
    "cells without end in one row": (
        lambda path: write(path, '<row r="2">' + "<c/>" * 2_000_000 + "</row>"),
        "book.xlsx: this sheet has more than 1,500,000 cells, empty ones included",
    ),
    "elements without end": (
        lambda path: write(path, '<row r="2">' + "<x/>" * 7_000_000 + "</row>"),
        "book.xlsx: this sheet has more than 1,500,000 cells, empty ones included",
    ),
    "texts without end": (
        lambda path: write(path, method=zipfile.ZIP_STORED, texts=_texts("<si/>" * 2_000_000)),
        "book.xlsx: this sheet has more than 1,500,000 cells, empty ones included",
    ),
    "texts that are all alike": (
        lambda path: write(path, texts=_texts("<si><t/></si>" * 4_000_000)),
        "book.xlsx: a part of this workbook, xl/sharedStrings.xml, has 52 MB (at most ",
    ),
    "a text of many pieces": (
        lambda path: write(path, method=zipfile.ZIP_STORED, texts=_texts("<si>" + "<t>ab</t>" * 3_000_000 + "</si>")),
        "book.xlsx: this workbook cannot be read (an endless text)",
    ),
    "long texts": (
        lambda path: write(path, texts=_texts(f"<si><t>{'€' * 30_000}</t></si>" * 2_000)),
        "book.xlsx: a part of this workbook, xl/sharedStrings.xml, has 180 MB (at most ",
    ),
    "a text that is not a cell's": (
        lambda path: write(path, ROW.format("x" * 60_000_000)),
        "book.xlsx: the texts of this workbook have more than 50,000,000 characters",
    ),
    "a tag without end": (
        lambda path: write(path, f'<row r="2"><c a="{"x" * 30_000_000}"/></row>'),
        "book.xlsx: this workbook cannot be read (endless tags or names)",
    ),
    "names without end": (
        lambda path: write(path, '<row r="2">' + "".join(f"<c{n}/>" for n in range(2_000_000)) + "</row>"),
        "book.xlsx: this workbook cannot be read (endless tags or names)",
    ),
    "levels without end": (
        lambda path: write(path, "<row>" * 3_000_000),
        "book.xlsx: this workbook cannot be read (endless tags)",
    ),
    "a number without end": (
        lambda path: write(path, f'<row r="2"><c r="A2"><v>{"1" * 5_000_000}</v></c></row>'),
        "book.xlsx: this workbook cannot be read (an endless number)",
    ),
    "formats without end": (
        lambda path: write(path, book=f'<workbook xmlns="{_MAIN}">' + "<x/>" * 3_000_000 + "</workbook>"),
        "book.xlsx: a part of this workbook, xl/workbook.xml, has 12 MB (at most 10 MB; or a CSV)",
    ),
    "bytes without end": (
        lambda path: write(path, "<row/>" + " " * 260_000_000),
        "book.xlsx: this workbook unpacks to 260 MB (at most 250 MB; or a CSV)",
    ),
    "parts without end": (_many_entries, "book.xlsx: this workbook has more than 10,000 parts"),
    "entities": (
        lambda path: write(
            path,
            texts='<!DOCTYPE sst [<!ENTITY a "'
            + "x" * 1000
            + '"><!ENTITY b "'
            + "&a;" * 1000
            + '">]>'
            + _texts("<si><t>&b;&b;</t></si>"),
        ),
        "book.xlsx: this workbook cannot be read (declarations in XML)",
    ),
    "another compression": (
        lambda path: write(path, ROW.format("x"), method=zipfile.ZIP_LZMA),
        "book.xlsx: this workbook cannot be read (unknown compression)",
    ),
}
"""By name: what writes the workbook, and how what is said of it begins; nothing where it can be read."""

SLOW = ("elements without end",)
"""Takes as long as all others together: for the long form."""
