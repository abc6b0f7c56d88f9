"""Stand-in pictures: an abstract still life in colours of the prompt, labelled as what it is.

Everything follows from the arguments, so that painting the same picture twice gives the same bytes. The scene is
painted small and enlarged, only the lettering is drawn at full size: a 2K picture takes under a tenth of a second.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass

from PIL import Image

from adloom.sandbox.painting import lettering
from adloom.sandbox.painting.scene import Palette, painted


@dataclass(frozen=True, slots=True)
class Painting:
    """What a picture shows. ``mark`` makes its bytes unique; ``index`` counts from 0."""

    prompt: str
    index: int
    count: int
    width_px: int
    height_px: int
    mark: str
    media: str = "jpeg"


def paint(painting: Painting) -> bytes:
    """The picture's file: a whole JPEG or PNG of exactly the asked size."""
    palette = Palette.of(painting.prompt, painting.index)
    size = (painting.width_px, painting.height_px)
    picture = painted(size, f"{painting.prompt}\x1f{painting.index}", palette)
    lettering.sandbox_on_top(picture, palette.ink)
    number = f"image {painting.index + 1} of {painting.count}"
    lettering.caption(picture, painting.prompt, number, palette.ink)
    return marked(encoded(picture, painting.media, quality=86), painting.mark)


def plain(width_px: int, height_px: int, media: str) -> bytes:
    """One cheap picture of a size, to be marked for each use."""
    palette = Palette.of(f"{width_px}x{height_px}", 0)
    picture = Image.new("RGB", (width_px, height_px), palette.wall)
    picture.paste(palette.table, (0, height_px * 2 // 3, width_px, height_px))
    lettering.sandbox_on_top(picture, palette.ink)
    return encoded(picture, media, quality=40)


def encoded(picture: Image.Image, media: str, *, quality: int) -> bytes:
    """A picture as a file."""
    out = io.BytesIO()
    if media == "png":
        picture.save(out, "PNG", compress_level=1)
    else:
        picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def marked(content: bytes, mark: str) -> bytes:
    """The same picture with a comment in its file, so that equal pictures have different bytes."""
    start = _start(content)
    return content[:start] + _comment(content, mark.encode("ascii", "replace")) + content[start:]


def _start(content: bytes) -> int:
    """Where a file may contain a comment: after JPEG's first marker, or PNG's signature and IHDR."""
    return 2 if content.startswith(b"\xff\xd8") else 33


def _comment(content: bytes, text: bytes) -> bytes:
    """A comment in the format of a picture's file; JPEG's has at most 65,533 bytes."""
    if content.startswith(b"\xff\xd8"):
        return b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text
    chunk = b"tEXt" + b"Comment\x00" + text
    return (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")


def padded(content: bytes, size_bytes: int) -> bytes:
    """The same picture with enough comments for its file to have about this size."""
    pieces = [_comment(content, b" " * min(size_bytes - len(content), 65_000))] if size_bytes > len(content) else []
    pieces *= max(0, size_bytes - len(content)) // 65_000 + 1
    start = _start(content)
    return b"".join((content[:start], *pieces, content[start:]))
