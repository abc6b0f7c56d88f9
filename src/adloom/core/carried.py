"""What an image file already declares about its origin: C2PA, XMP, and the AIGC label of Chinese rules.

Only the file's own sections are looked at, so words in the pixels or in a prompt prove nothing. Whether a C2PA manifest
is valid is another question, which ``deliver.marks.credentials`` answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

NAMES = ("c2pa", "xmp", "aigc")
"""The marks as ``provenance`` of ``assets.jsonl`` names them, in its order."""

AIGC = b"AIGC"
"""The name under which GB 45438-2025 keeps its label, in XMP, in Exif or in a text chunk of a PNG."""

_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_IN_PNG = b"XML:com.adobe.xmp\0"
_C2PA_BOX = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_SOURCE_TYPE = re.compile(rb"digitalsourcetype/([A-Za-z]{3,60})")


@dataclass(frozen=True, slots=True)
class Carried:
    """What was found. ``source_type`` is the last word of IPTC's code, empty where the XMP has none."""

    c2pa: bool = False
    xmp: bool = False
    aigc: bool = False
    source_type: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The marks that were found, by name."""
        return tuple(name for name in NAMES if getattr(self, name))


def carried(content: bytes) -> Carried:
    """The marks of a JPEG, PNG, WebP or AVIF; none of any other file."""
    content = content.lstrip(b"\r\n\t ")
    c2pa = xmp = aigc = False
    source_type = ""
    for name, section in _sections(content):
        c2pa = c2pa or name == "c2pa"
        if name == "xmp":
            xmp = True
            found = _SOURCE_TYPE.search(section)
            source_type = source_type or (found[1].decode() if found else "")
        aigc = aigc or (name in ("xmp", "text") and AIGC in section)
    return Carried(c2pa, xmp, aigc, source_type)


def _sections(content: bytes) -> Iterator[tuple[str, bytes]]:
    """The sections that may hold marks: ``c2pa``, ``xmp`` or other ``text``."""
    if content.startswith(b"\xff\xd8"):
        yield from _of_jpeg(content)
    elif content.startswith(b"\x89PNG\r\n\x1a\n"):
        yield from _of_png(content)
    elif content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        yield from _of_webp(content)
    elif content[4:8] == b"ftyp":
        yield from _of_bmff(content)


def _of_jpeg(content: bytes) -> Iterator[tuple[str, bytes]]:
    place = 2
    while content[place : place + 1] == b"\xff" and (code := content[place + 1]) != 0xDA:  # noqa: PLR2004 - the scan
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        section = content[place + 4 : end]
        if code == 0xEB and b"jumb" in section[:24]:  # noqa: PLR2004 - APP11
            yield "c2pa", section
        elif code == 0xE1 and section.startswith(_XMP_IN_JPEG):  # noqa: PLR2004 - APP1
            yield "xmp", section
        elif code in (0xE1, 0xFE):  # Exif, a comment
            yield "text", section
        if end <= place + 2 or end >= len(content) - 1:
            return
        place = end


def _of_png(content: bytes) -> Iterator[tuple[str, bytes]]:
    place = 8
    while place + 8 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        kind, section = content[place + 4 : place + 8], content[place + 8 : place + 8 + size]
        if kind == b"caBX":
            yield "c2pa", section
        elif kind == b"iTXt" and section.startswith(_XMP_IN_PNG):
            yield "xmp", section
        elif kind in (b"iTXt", b"tEXt", b"eXIf"):
            yield "text", section
        place += 12 + size


def _of_webp(content: bytes) -> Iterator[tuple[str, bytes]]:
    names = {b"C2PA": "c2pa", b"XMP ": "xmp", b"EXIF": "text"}
    place = 12
    while place + 8 <= len(content):
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        if name := names.get(content[place : place + 4]):
            yield name, content[place + 8 : place + 8 + size]
        place += 8 + size + size % 2


def _of_bmff(content: bytes) -> Iterator[tuple[str, bytes]]:
    place = 0
    while place + 8 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        if size == 1:  # the size is in the next 8 bytes
            size = int.from_bytes(content[place + 8 : place + 16], "big")
        if content[place + 4 : place + 8] == b"uuid" and content[place + 8 : place + 24] == _C2PA_BOX:
            yield "c2pa", content[place + 24 : place + size]
        if size < 8:  # noqa: PLR2004 - to the end of the file, or damaged
            break
        place += size
    if b"application/rdf+xml" in content and (start := content.find(b"<x:xmpmeta")) >= 0:
        yield "xmp", content[start : content.find(b"</x:xmpmeta>", start)]
