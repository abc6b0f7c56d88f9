"""A row with its wanted variants and the calls that buy them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from adloom.core.campaign import Row


@dataclass(frozen=True, slots=True)
class Variant:
    """One wanted image of a row. ``number`` and ``take`` count from 1.

    ``change`` is what a reviewer asked to change in the prompt for this take; it is not part of the key.
    """

    key: str
    number: int
    take: int
    change: str = ""
    owner: tuple[str, str] | None = None
    """Job and label of its row, if another row's call buys it."""

    def record(self) -> dict[str, Any]:
        """The variant as an intent names it."""
        change = {"change": self.change} if self.change else {}
        owner = {"job": self.owner[0], "label": self.owner[1]} if self.owner else {}
        return {"key": self.key, "number": self.number, "take": self.take, **change, **owner}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """The variant that an intent names."""
        owner = (record["job"], record["label"]) if "job" in record else None
        return cls(record["key"], record["number"], record["take"], record.get("change", ""), owner)


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call to buy: 1…15 variants, all different, all with the same change.

    They are of one row, or of rows that ask for exactly the same; then the row that carries the call is one of them.
    """

    id: str
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row with all its wanted variants, in order, and the calls that buy those not yet covered."""

    row: Row
    variants: tuple[Variant, ...]
    calls: tuple[PlannedCall, ...]
