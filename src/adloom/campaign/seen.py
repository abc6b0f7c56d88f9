"""The ids and identities that a job has already used, in few bytes per row: a campaign may have a million rows."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass, field

_FIRST_PLACES = 1024
_FULLEST = 0.6  # beyond it numbers lie in each other's way


def number_of(text: str) -> int:
    """64 bits of a hash: a set of them is a third of a set of the texts."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())


class FirstLineIndex:
    """The 64-bit numbers seen so far, each with the line where it first occurred.

    They take 20 to 40 bytes each, where a dictionary would take 150. The numbers are hashes, so they serve as their own
    hash values.
    """

    __slots__ = ("_count", "_lines", "_numbers")

    def __init__(self) -> None:
        self._clear(_FIRST_PLACES)

    def first(self, number: int, line: int) -> int | None:
        """The line where the number first occurred; None if that is now, and ``line`` is stored for it."""
        number = number or 1  # 0 marks a free place
        place = self._place_of(number)
        if self._numbers[place]:
            return self._lines[place]
        self._numbers[place], self._lines[place] = number, line
        self._count += 1
        if self._count > _FULLEST * len(self._numbers):
            self._grow()
        return None

    def _clear(self, places: int) -> None:
        self._numbers = array("Q", bytes(8 * places))
        self._lines = array("I", bytes(4 * places))
        self._count = 0

    def _place_of(self, number: int) -> int:
        """The slot of the number, or the free slot for it."""
        numbers = self._numbers
        last = len(numbers) - 1  # a power of two less one
        place = number & last
        while (found := numbers[place]) and found != number:
            place = (place + 1) & last
        return place

    def _grow(self) -> None:
        numbers, lines, count = self._numbers, self._lines, self._count
        self._clear(2 * len(numbers))
        for number, line in zip(numbers, lines, strict=True):
            if number:
                place = self._place_of(number)
                self._numbers[place], self._lines[place] = number, line
        self._count = count


@dataclass(slots=True)
class SeenRows:
    """The ids, contents and names of a job's rows so far.

    The line of an id is doubled, and odd where it is among the included rows: ``files`` names both files.
    """

    ids: FirstLineIndex = field(default_factory=FirstLineIndex)
    files: dict[bool, str] = field(default_factory=dict)
    contents: FirstLineIndex = field(default_factory=FirstLineIndex)
    repeats: dict[int, int] = field(default_factory=dict)
    names: FirstLineIndex = field(default_factory=FirstLineIndex)
