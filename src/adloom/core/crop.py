"""How a rendition is cut from its master: the largest part of the right shape around the focus."""

from __future__ import annotations

import re
from typing import NamedTuple

_FRACTION = re.compile(r"0?\.[0-9]{1,6}|0|1|0\.|1\.0{0,6}")


class Pixels(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


class Focus(NamedTuple):
    """A point of an image as fractions of its width and height, from the left and from the top."""

    x: float
    y: float


class Crop(NamedTuple):
    """A part of an image in pixels: its top left corner, width and height."""

    x: int
    y: int
    width: int
    height: int


DEFAULT_FOCUS = Focus(0.5, 0.45)
"""A little above the middle, where heads and products are more often than below it."""


def focus_of(text: str) -> Focus | None:
    """A focus from two fractions with a space, comma or bar between them; None for anything else."""
    parts = [part for part in re.split(r"[\s,;|\[\]]+", text) if part]
    if len(parts) != 2 or not all(map(_FRACTION.fullmatch, parts)):  # noqa: PLR2004 - x and y
        return None
    return Focus(float(parts[0]), float(parts[1]))


def focus_text(focus: Focus | None) -> str:
    """A focus as tables have it; empty for none."""
    return "" if focus is None else f"{focus.x:g} {focus.y:g}"


def part_of(master: Pixels, wanted: Pixels) -> Pixels:
    """The largest part of ``master`` with the shape of ``wanted``, to the pixel below."""
    if master.width * wanted.height >= master.height * wanted.width:
        return Pixels(max(1, master.height * wanted.width // wanted.height), master.height)
    return Pixels(master.width, max(1, master.width * wanted.height // wanted.width))


def serves(master: Pixels, wanted: Pixels) -> bool:
    """Whether ``wanted`` can be cut from ``master`` without upscaling."""
    part = part_of(master, wanted)
    return part.width >= wanted.width and part.height >= wanted.height


def kept(master: Pixels, wanted: Pixels) -> float:
    """The share of the master's area that remains, 0 to 1."""
    part = part_of(master, wanted)
    return part.width * part.height / (master.width * master.height)


def crop(master: Pixels, wanted: Pixels, focus: Focus) -> Crop:
    """The largest part with the shape of ``wanted``, with the focus as central as the master's edges allow."""
    part = part_of(master, wanted)
    return Crop(
        _start(focus.x, part.width, master.width), _start(focus.y, part.height, master.height), part.width, part.height
    )


def _start(at: float, length: int, whole: int) -> int:
    return min(max(round(at * whole - length / 2), 0), whole - length)
