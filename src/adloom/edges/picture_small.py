"""Scales pictures down, in the child process: thumbnails, and contact sheets.

They are encoded from bare pixels, so that nothing but pixels gets into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import simplejpeg
from PIL import Image, ImageCms

LONGER_SIDE_PX = 480
QUALITY = 82

BLANK_SPAN = 8
"""Levels, of 256 per colour: a plain surface has fewer after JPEG compression."""

BLANK_BUT_FOR = 0.005
"""A speck does not make a picture; a line of small print does."""

COLUMNS = 6
CELL_PX = 150
GAP_PX = 6
QUALITIES = (78, 60, 40)
LARGEST_BYTES = 90_000
"""A sheet travels as a ``data:`` URL wherever a flow run's artifacts are listed, so it is kept small."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Notes:
    """The metadata of a file that is used: its Exif orientation, 1 to 8, and its colour profile."""

    orientation: int = 1
    profile: bytes = b""


@dataclass(frozen=True, slots=True)
class Small:
    """A reduced image: as a JPEG, and as numbers.

    ``likeness`` is a difference hash of 256 bits in hexadecimal: in a grid of 16 by 16, whether it gets brighter to the
    right. The same picture at quality 40 and in another size is 3 bits away, another one some 130 (measured 2026-11).
    """

    jpeg: bytes
    likeness: str
    is_blank: bool


def small_of(image: Image.Image, notes: Notes) -> Small:
    """The reduced image, upright, and on white where it was transparent."""
    small = _opaque(_reduced(image))
    if notes.profile:
        small = _in_srgb(small, notes.profile)
    small = upright(small, notes.orientation)
    return Small(_encoded(small, QUALITY), _likeness(small), _is_blank(small))


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """An image turned as its Exif orientation says."""
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def sheet(thumbs: Sequence[bytes]) -> bytes:
    """Thumbnails in rows on a white sheet, as a JPEG of at most ``LARGEST_BYTES``; empty for none."""
    opened = [small for small in map(_opened, thumbs) if small]
    if not opened:
        return b""
    columns, pitch = min(COLUMNS, len(opened)), CELL_PX + GAP_PX
    rows = -(-len(opened) // columns)
    whole = Image.new("RGB", (columns * pitch + GAP_PX, rows * pitch + GAP_PX), "white")
    for number, small in enumerate(opened):
        small.thumbnail((CELL_PX, CELL_PX))
        left, top = (GAP_PX + place * pitch for place in (number % columns, number // columns))
        whole.paste(small, (left + (CELL_PX - small.width) // 2, top + (CELL_PX - small.height) // 2))
    tried = (_encoded(whole, quality) for quality in QUALITIES)
    return next((content for content in tried if len(content) <= LARGEST_BYTES), b"")


def _reduced(image: Image.Image) -> Image.Image:
    if image.mode == "P":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX), Image.Resampling.HAMMING, reducing_gap=2.0)
    return image


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    white.alpha_composite(layer)
    return white.convert("RGB")


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The image with its colours as a screen without colour management shows them; as it is if the profile is bad."""
    with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        found = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        return found or image
    return image


def _likeness(image: Image.Image) -> str:
    pixels = np.asarray(image.convert("L").resize((17, 16), Image.Resampling.BOX))
    return np.packbits(pixels[:, 1:] > pixels[:, :-1]).tobytes().hex()


def _is_blank(image: Image.Image) -> bool:
    """Whether all but a few pixels have nearly one colour."""
    few = image.width * image.height * BLANK_BUT_FOR
    counts = image.histogram()
    return all(_span(counts[start : start + 256], few) <= BLANK_SPAN for start in range(0, len(counts), 256))


def _span(counts: Sequence[int], few: float) -> int:
    """The levels from the darkest to the brightest pixel, with ``few`` left out at each end."""
    sums = np.cumsum(counts)
    first, last = np.searchsorted(sums, [few, sums[-1] - few])
    return int(last - first)


def _opened(thumb: bytes) -> Image.Image | None:
    with suppress(ValueError):
        return Image.fromarray(simplejpeg.decode_jpeg(thumb))
    return None


def _encoded(image: Image.Image, quality: int) -> bytes:
    pixels = np.ascontiguousarray(np.asarray(image))
    return bytes(simplejpeg.encode_jpeg(pixels, quality, "RGB", "420"))
