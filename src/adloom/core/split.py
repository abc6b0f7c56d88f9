"""How wanted variants become calls: as few as the API's limits allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from adloom.core.campaign import Grouping
from adloom.core.limits import IMAGES_PER_CALL, REFERENCES_AND_IMAGES

V = TypeVar("V")


def room(references: int, most: int = IMAGES_PER_CALL) -> int:
    """How many images one call with this many reference images may ask for: 0 when there is none left.

    ``most`` is what the model makes in one call.
    """
    return max(0, min(most, REFERENCES_AND_IMAGES - references))


def split(
    variants: Sequence[V], *, references: int, grouping: Grouping, most: int = IMAGES_PER_CALL
) -> tuple[tuple[V, ...], ...]:
    """Cut variants, or their numbers, into calls, in order, each as full as is legal.

    Raises ValueError when the references leave no room for an image.
    """
    size = 1 if grouping is Grouping.INDEPENDENT else room(references, most)
    if size < 1 or room(references) < 1:
        raise ValueError(f"{references} references leave no room for an image")
    if 0 < len(variants) <= size:  # most rows
        return (tuple(variants),)
    return tuple(tuple(variants[start : start + size]) for start in range(0, len(variants), size))


def fewest_calls(variants: int, *, references: int, most: int = IMAGES_PER_CALL) -> int:
    """The floor: no plan for these variants can send fewer calls."""
    return -(-variants // room(references, most))
