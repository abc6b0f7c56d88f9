"""Encodes pixels at the highest quality that stays below the size limit, marks included.

The same pixels, marks and Pillow version give the same bytes: no time and no random number enters a file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import Any

from PIL import Image, PngImagePlugin

from adloom.core.channel import Gate
from adloom.deliver.pixels import SRGB

BEST_QUALITY = 90
"""Above it files grow by half and nobody sees a difference."""

FLOOR_QUALITY = 50
"""Below it a photograph shows blocks: a hard gate refuses the file, an advising one lets it pass with a warning."""

LEAST_QUALITY = 10
"""No file is written below this, whatever the gate."""

MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "avif": "image/avif"}
EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp", "avif": "avif"}


class DoesNotFit(Exception):
    """No acceptable quality is below the ceiling; the message says what the smallest came to."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A file's bytes. ``quality`` None is a lossless format; ``warning`` is empty where all is as it should be."""

    content: bytes
    quality: int | None
    warning: str = ""


def encode(image: Image.Image, kind: str, quality: int | None, xmp: bytes) -> bytes:
    """A file of a kind (``core.channel.WRITTEN``) with the sRGB profile, and the XMP packet unless that is empty."""
    extra: dict[str, Any] = {"xmp": xmp} if xmp else {}
    match kind:
        case "jpeg":
            extra |= {"quality": quality, "optimize": True}
        case "webp":
            extra |= {"quality": quality, "method": 4}
        case "avif":
            extra |= {"quality": quality, "speed": 8, "max_threads": 1}
        case _:
            extra = {"pnginfo": _as_png_text(xmp)} if xmp else {}
    file = BytesIO()
    image.save(file, format=kind.upper(), icc_profile=SRGB, **extra)
    return file.getvalue()


def _as_png_text(xmp: bytes) -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", xmp.decode())
    return text


def fit(image: Image.Image, kind: str, xmp: bytes, most_bytes: int | None, gate: Gate) -> Encoded:
    """The best file of at most ``most_bytes``. Raises DoesNotFit behind a hard gate.

    An advising gate takes a lower quality than the floor, and where even that is too large the floor's file as it is,
    both with a warning.
    """
    if kind == "png":
        return _lossless(encode(image, kind, None, xmp), most_bytes, gate)
    made = partial(encode, image, kind, xmp=xmp)
    if (found := _highest(made, most_bytes, FLOOR_QUALITY, BEST_QUALITY)) is not None:
        return found
    floor = made(FLOOR_QUALITY)
    problem = f"quality {FLOOR_QUALITY} makes {len(floor):,} bytes, at most {most_bytes:,} are allowed"
    if gate is Gate.HARD:
        raise DoesNotFit(problem)
    if (found := _highest(made, most_bytes, LEAST_QUALITY, FLOOR_QUALITY - 1)) is not None:
        return Encoded(found.content, found.quality, f"only quality {found.quality} is below the advised size")
    return Encoded(floor, FLOOR_QUALITY, f"above the advised size: {problem}")


def _lossless(content: bytes, most_bytes: int | None, gate: Gate) -> Encoded:
    if most_bytes is None or len(content) <= most_bytes:
        return Encoded(content, None)
    problem = f"as PNG it has {len(content):,} bytes, at most {most_bytes:,} are allowed"
    if gate is Gate.HARD:
        raise DoesNotFit(problem)
    return Encoded(content, None, f"above the advised size: {problem}")


def _highest(made: Callable[[int], bytes], most_bytes: int | None, low: int, high: int) -> Encoded | None:
    """The highest quality of a range that fits, by bisection; None when the lowest does not."""
    content = made(high)
    if most_bytes is None or len(content) <= most_bytes:
        return Encoded(content, high)
    best, best_quality = made(low), low
    if len(best) > most_bytes:
        return None
    while high - best_quality > 1:
        middle = (best_quality + high) // 2
        content = made(middle)
        if len(content) <= most_bytes:
            best, best_quality = content, middle
        else:
            high = middle
    return Encoded(best, best_quality)
