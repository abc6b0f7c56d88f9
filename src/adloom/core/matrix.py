"""The prompt matrix: axes multiplied in file order, combinations left out, a stable sample taken."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from adloom.core.campaign import Variables
from adloom.core.identity import digest

Value: TypeAlias = "str | Variables"
"""One value of an axis: text, or a mapping of values that belong together."""

ROWS_PER_CAMPAIGN = 1_000_000
"""Our own: a matrix beyond this is a typing error, and is refused before it is multiplied out."""


def combination_count(axes: Mapping[str, Sequence[Value]]) -> int:
    """How many combinations the axes have, without making them."""
    return math.prod(len(values) for values in axes.values())


def combinations(axes: Mapping[str, Sequence[Value]]) -> Iterator[dict[str, Value]]:
    """Yield every combination; the last axis turns fastest."""
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def matches(combination: Mapping[str, Value], pattern: Mapping[str, Value]) -> bool:
    """Whether everything that the pattern names is so in the combination; mappings are compared in the same way."""
    for name, wanted in pattern.items():
        value = combination.get(name)
        if isinstance(wanted, Mapping) and isinstance(value, Mapping):
            if not matches(value, wanted):
                return False
        elif value != wanted:
            return False
    return True


def sample(contents: Iterable[object], count: int, seed: str) -> frozenset[int]:
    """The positions of ``count`` contents, chosen by a hash of seed and content.

    The choice does not depend on the order, and adding or removing one content changes at most one of the others, so a
    campaign that grows keeps most of what it has bought. Memory is bounded by ``count``.
    """
    hashed = ((digest("sample", seed, content), position) for position, content in enumerate(contents))
    return frozenset(position for _, position in heapq.nsmallest(count, hashed))


def first_text(value: Value) -> str:
    """The text that stands for a value in a file name: itself, or the first one of a mapping."""
    while not isinstance(value, str):
        value = next(iter(value.values()), "")
    return value
