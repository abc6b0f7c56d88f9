"""Seeded randomness that does not depend on the order of calls.

Every roll is a hash of the seed, a name and numbers, so that the fifth submission has the same outcome in every run
with the same seed, whatever was rolled before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

_Option = TypeVar("_Option")


class SeededRandom:
    """Rolls of one seed."""

    def __init__(self, seed: int) -> None:
        self._seed = str(seed)

    def number(self, name: str, *parts: object) -> int:
        """An integer in [0, 2^64)."""
        text = "\x1f".join((self._seed, name, *map(str, parts)))
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")

    def roll(self, name: str, *parts: object) -> float:
        """A number in [0, 1)."""
        return (self.number(name, *parts) >> 11) / (1 << 53)

    def hits(self, rate: float, name: str, *parts: object) -> bool:
        """Whether something of this rate happens here."""
        return rate > 0 and self.roll(name, *parts) < rate

    def pick(self, options: Sequence[_Option], name: str, *parts: object) -> _Option:
        """One of the options, which must not be empty."""
        return options[self.number(name, *parts) % len(options)]

    def between(self, bounds: tuple[float, float], name: str, *parts: object) -> float:
        """A number between two bounds."""
        low, high = bounds
        return low if high <= low else low + (high - low) * self.roll(name, *parts)
