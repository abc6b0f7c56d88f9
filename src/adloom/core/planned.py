"""A row with what is wanted of it and what is bought for it."""

from __future__ import annotations

from dataclasses import dataclass

from adloom.core.campaign import Row


@dataclass(frozen=True, slots=True)
class Variant:
    """One wanted image of a row. ``number`` and ``take`` count from 1."""

    key: str
    number: int
    take: int


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call to buy: 1…15 variants of one row, all different."""

    id: str
    variants: tuple[Variant, ...]


@dataclass(frozen=True, slots=True)
class PlannedRow:
    """A row with all its wanted variants, in order, and the calls that buy those which nothing covers."""

    row: Row
    variants: tuple[Variant, ...]
    calls: tuple[PlannedCall, ...]
