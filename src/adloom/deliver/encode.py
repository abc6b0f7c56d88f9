"""Encodes pixels at the highest quality that stays below the size limit, marks included.

The same pixels, marks and Pillow version give the same bytes: no time and no random number enters a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from PIL import Image, PngImagePlugin

from adloom.core.channel import Gate
from adloom.deliver.pixels import SRGB

BEST_QUALITY = 90
"""Above it files grow by half without a visible difference."""

FLOOR_QUALITY = 50
"""Below it a photograph shows blocks: a hard gate refuses the file, an advising one lets it pass with a warning."""

LEAST_QUALITY = 10
"""No file is written below this, whatever the gate."""

MEDIA_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "avif": "image/avif"}
EXTENSIONS = {"jpeg": "jpg", "png": "png", "webp": "webp", "avif": "avif"}


class DoesNotFit(Exception):
    """No acceptable quality is below the size limit; the message says how large the smallest was."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A file's bytes. ``quality`` None is a lossless format; ``warning`` is empty if there is nothing to report."""

    content: bytes
    quality: int | None
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Encoder:
    """Pixels and marks to be written as a file of a kind; encodings are cached.

    Channels that take the same pixels share one, and so do the searches below different size limits.
    """

    image: Image.Image
    kind: str
    xmp: bytes
    _made: dict[int | None, bytes] = field(default_factory=dict)

    def at(self, quality: int | None) -> bytes:
        """The file at this quality; None for a lossless kind."""
        if quality not in self._made:
            self._made[quality] = encode(self.image, self.kind, quality, self.xmp)
        return self._made[quality]


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


def fit(encoder: Encoder, most_bytes: int | None, gate: Gate, signature_bytes: int = 0) -> Encoded:
    """The best file of at most ``most_bytes``, with a signature of so many. Raises DoesNotFit behind a hard gate.

    An advising gate takes a lower quality than the floor, and where even that is too large the floor's file as it is,
    both with a warning.
    """
    if most_bytes is None:
        quality = None if encoder.kind == "png" else BEST_QUALITY
        return Encoded(encoder.at(quality), quality)
    room = most_bytes - signature_bytes
    allowed = f"at most {most_bytes:,} are allowed"
    if signature_bytes:
        allowed += f", of which the signature takes {signature_bytes:,}"
    if encoder.kind == "png":
        return _lossless(encoder.at(None), room, gate, allowed)
    if (found := _highest(encoder, room, FLOOR_QUALITY, BEST_QUALITY)) is not None:
        return found
    floor = encoder.at(FLOOR_QUALITY)
    problem = f"quality {FLOOR_QUALITY} makes {len(floor):,} bytes, {allowed}"
    if gate is Gate.HARD:
        raise DoesNotFit(problem)
    if (found := _highest(encoder, room, LEAST_QUALITY, FLOOR_QUALITY - 1)) is not None:
        return Encoded(found.content, found.quality, f"only quality {found.quality} is below the advised size")
    return Encoded(floor, FLOOR_QUALITY, f"above the advised size: {problem}")


def _lossless(content: bytes, room: int, gate: Gate, allowed: str) -> Encoded:
    if len(content) <= room:
        return Encoded(content, None)
    problem = f"as PNG it has {len(content):,} bytes, {allowed}"
    if gate is Gate.HARD:
        raise DoesNotFit(problem)
    return Encoded(content, None, f"above the advised size: {problem}")


def _highest(encoder: Encoder, most_bytes: int, low: int, high: int) -> Encoded | None:
    """The highest quality of a range that fits; None when the lowest does not. ``high`` ends one above it."""
    if len(encoder.at(high)) <= most_bytes:
        return Encoded(encoder.at(high), high)
    if len(encoder.at(low)) > most_bytes:
        return None
    while high - low > 1:
        middle = _between(low, high, len(encoder.at(low)), len(encoder.at(high)), most_bytes)
        if len(encoder.at(middle)) <= most_bytes:
            low = middle
        else:
            high = middle
    return Encoded(encoder.at(low), low)


def _between(low: int, high: int, low_bytes: int, high_bytes: int, most_bytes: int) -> int:
    """The quality to try next: where the size would be reached if its logarithm rose evenly, and never at an end.

    Two to four files instead of the six of a bisection; each takes up to 80 ms.
    """
    share = math.log(most_bytes / low_bytes) / math.log(high_bytes / low_bytes)
    return min(max(low + round(share * (high - low)), low + 1), high - 1)
