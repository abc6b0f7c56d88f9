"""An .xlsx file as a stream of rows, with memory bounded before anything is built.

An .xlsx is a zip of XML parts: a workbook that names its sheets, the texts that cells share, the formats of numbers,
and a part for each sheet. Libraries for it build a tree of each part or of each row, and fill the gaps between cells;
a kilobyte can then take all memory. Here each part is inflated and parsed piece by piece, only what a table needs is
kept, and every count has its bound. XML that declares anything of its own (a DTD, and so entities) is refused.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from typing import TypeVar
from xml.parsers import expat

from adloom.campaign.sources.workbook.bounds import (
    LARGEST_UNPACKED_BYTES,
    LONGEST_TAG_BYTES,
    MOST_NAMES,
    MOST_PARTS,
    SMALL_PART_BYTES,
    SMALL_TEXTS_BYTES,
    TEXTS_PACKED,
    Damaged,
    TooLarge,
)
from adloom.campaign.sources.workbook.parts import Reader, Relations, Row, Rows, Styles, Texts, Workbook
from adloom.campaign.sources.workbook.values import MAC_EPOCH, WINDOWS_EPOCH, Formats

_PIECE_BYTES = 1 << 16
_DIRECTORY_ENTRY = b"PK\1\2"
_R = TypeVar("_R", bound=Reader)
_DAMAGE = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, expat.ExpatError, EOFError, KeyError, IndexError,
    NotImplementedError, OSError, OverflowError, RuntimeError, ValueError,
)  # fmt: skip
"""What zipfile, the parser and conversions end with on damaged workbooks."""


class Book:
    """A workbook whose parts have been found. Raises Damaged and TooLarge, as ``rows`` does."""

    def __init__(self, content: bytes) -> None:
        if content.count(_DIRECTORY_ENTRY) > MOST_PARTS:
            raise TooLarge(f"this workbook has more than {MOST_PARTS:,} parts", "a workbook saved by Excel; or a CSV")
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(content))
            unpacked_bytes = sum(part.file_size for part in self._archive.infolist())
            if unpacked_bytes > LARGEST_UNPACKED_BYTES:
                most = f"at most {LARGEST_UNPACKED_BYTES / 1e6:.0f} MB; or a CSV"
                raise TooLarge(f"this workbook unpacks to {unpacked_bytes / 1e6:,.0f} MB", most)
            self._find_parts()
        except _DAMAGE as error:
            raise Damaged(type(error).__name__) from error

    @property
    def sheets(self) -> tuple[str, ...]:
        """The names of the sheets, in their order."""
        return tuple(self._sheets)

    def rows(self, sheet: str) -> Iterator[Row]:
        """The rows of a sheet that hold something, each as soon as it was read."""
        try:
            texts = Texts()
            if self._texts in self._archive.namelist():
                packed_bytes = self._archive.getinfo(self._texts).compress_size
                most_bytes = min(LARGEST_UNPACKED_BYTES, max(SMALL_TEXTS_BYTES, TEXTS_PACKED * packed_bytes))
                for _ in self._parsed(self._texts, texts, most_bytes):
                    pass
            read = Rows(texts, self._formats, MAC_EPOCH if self._is_1904 else WINDOWS_EPOCH)
            for _ in self._parsed(self._sheets[sheet], read, LARGEST_UNPACKED_BYTES):
                yield from read.taken()
        except _DAMAGE as error:
            raise Damaged(type(error).__name__) from error

    def _find_parts(self) -> None:
        known = set(self._archive.namelist())
        package = self._relations("")
        path = next((target for kind, target in package.values() if kind == "officeDocument"), "xl/workbook.xml")
        relations = self._relations(path)
        workbook = self._small(path, Workbook())
        self._is_1904 = workbook.is_1904
        self._sheets: dict[str, str] = {}
        for name, relation in workbook.sheets:
            kind, target = relations[relation]
            if kind == "worksheet" and target in known:
                self._sheets.setdefault(name, target)
        if not self._sheets:
            raise Damaged("no sheet")
        parts = {kind: target for kind, target in relations.values() if target in known}
        self._texts = parts.get("sharedStrings", "")
        self._formats = self._small(parts["styles"], Styles()).formats if "styles" in parts else Formats()

    def _relations(self, path: str) -> dict[str, tuple[str, str]]:
        """What a part refers to: kind and path by its id."""
        folder, name = posixpath.split(path)
        read = self._small(f"{folder}/_rels/{name}.rels".lstrip("/"), Relations())
        return {
            key: (kind, posixpath.normpath(posixpath.join("/", folder, target)).lstrip("/"))
            for key, (kind, target) in read.found.items()
        }

    def _small(self, path: str, reader: _R) -> _R:
        for _ in self._parsed(path, reader, SMALL_PART_BYTES):
            pass
        return reader

    def _parsed(self, path: str, reader: Reader, most_bytes: int) -> Iterator[None]:
        """Give a part to its reader, piece by piece."""
        part = self._archive.getinfo(path)
        if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Damaged("unknown compression")
        if part.file_size > most_bytes:
            message = f"a part of this workbook, {path[:60]}, has {part.file_size / 1e6:,.0f} MB"
            raise TooLarge(message, f"at most {most_bytes / 1e6:.0f} MB; or a CSV")
        parser = expat.ParserCreate(namespace_separator="}")
        parser.buffer_text = True
        parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
        parser.CharacterDataHandler = reader.text
        parser.StartDoctypeDeclHandler = _refuse_declarations
        fed_bytes = 0
        with self._archive.open(part) as unpacked:
            while piece := unpacked.read(_PIECE_BYTES):
                parser.Parse(piece)
                fed_bytes += len(piece)
                if fed_bytes - parser.CurrentByteIndex > LONGEST_TAG_BYTES or len(parser.intern) > MOST_NAMES:
                    raise Damaged("endless tags or names")
                yield
        parser.Parse(b"", True)  # noqa: FBT003 - the parser takes no names
        yield


def _refuse_declarations(*_: object) -> None:
    raise Damaged("declarations in XML")
