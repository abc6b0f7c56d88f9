"""A row with what is wanted of it and what is bought for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adloom.core.campaign import Row


@dataclass(frozen=True, slots=True)
class Variant:
    """One wanted image of a row. ``number`` and ``take`` count from 1.

    ``change`` are a reviewer's words for the prompt of this take; they are no part of its key.
    """

    key: str
    number: int
    take: int
    change: str = ""

    def record(self) -> dict[str, Any]:
        """The variant as an intent names it."""
        change = {"change": self.change} if self.change else {}
        return {"key": self.key, "number": self.number, "take": self.take, **change}


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call to buy: 1…15 variants of one row, all different, all with the same change."""

    id: str
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row with all its wanted variants, in order, and the calls that buy those which nothing covers."""

    row: Row
    variants: tuple[Variant, ...]
    calls: tuple[PlannedCall, ...]
