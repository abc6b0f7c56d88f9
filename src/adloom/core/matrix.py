"""The prompt matrix: axes multiplied in file order, combinations excluded, a stable sample taken."""

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

EXCLUDED_NAMES = 256
"""Our own: values of each row that the entries of one ``exclude`` may look at. It makes a minute of a million rows."""


def combinations(axes: Mapping[str, Sequence[Value]]) -> Iterator[dict[str, Value]]:
    """Yield every combination; the last axis turns fastest."""
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


class Exclusions:
    """Patterns of what is to be left out, and how many combinations each has met.

    A pattern is met where everything that it names is so; mappings are compared in the same way. Patterns that name the
    same keys are one look-up, so a combination takes as long for one as for ten thousand of them.
    """

    __slots__ = ("_met",)

    def __init__(self, patterns: Iterable[Mapping[str, Value]]) -> None:
        self._met: dict[tuple[_Keys, ...], dict[tuple[str, ...], int]] = {}
        for pattern in patterns:
            keys, values = _parted(pattern)
            self._met.setdefault(keys, {})[values] = 0

    @property
    def names(self) -> int:
        """How many values of each combination are looked at."""
        return sum(map(len, self._met))

    def leave_out(self, combination: Mapping[str, Value]) -> bool:
        """Whether a pattern is met, which is then counted."""
        out = False
        for keys, met in self._met.items():
            values = tuple(_text_at(combination, each) for each in keys)
            if values in met:
                met[values] += 1  # type: ignore[index]  # what is in it holds no None
                out = True
        return out

    def met(self, pattern: Mapping[str, Value]) -> int:
        """How many combinations have met one of the patterns."""
        keys, values = _parted(pattern)
        return self._met[keys][values]


_Keys: TypeAlias = "tuple[str, ...]"
"""A name, followed by those inside its mapping."""


def _parted(pattern: Mapping[str, Value]) -> tuple[tuple[_Keys, ...], tuple[str, ...]]:
    """The keys of a pattern in a fixed order, and the text at each."""
    leaves = sorted(_leaves(pattern, ()))
    return tuple(keys for keys, _ in leaves), tuple(text for _, text in leaves)


def _leaves(pattern: Mapping[str, Value], above: _Keys) -> Iterator[tuple[_Keys, str]]:
    for name, value in pattern.items():
        if isinstance(value, str):
            yield (*above, name), value
        else:
            yield from _leaves(value, (*above, name))


def _text_at(combination: Mapping[str, Value], keys: _Keys) -> str | None:
    """The text where the keys lead, None where there is none."""
    value: Value | None = combination
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else None


def sample(contents: Iterable[object], count: int, seed: str) -> frozenset[int]:
    """The positions of ``count`` contents, chosen by a hash of seed and content.

    The choice does not depend on the order, and adding or removing one content changes at most one of the others, so a
    campaign that grows keeps most of what it has bought. Memory is bounded by ``count``.
    """
    hashed = ((digest("sample", seed, content), position) for position, content in enumerate(contents))
    return frozenset(position for _, position in heapq.nsmallest(count, hashed))


def weighted_sample(contents: Iterable[tuple[object, float]], count: int, seed: str) -> frozenset[int]:
    """The positions of ``count`` contents, each as likely as its weight says beside the others.

    Like ``sample``, which this is where all weights are the same: stable, whatever the order. The hash is taken for a
    number between 0 and 1, and the contents with the smallest waiting times at their rate are chosen (Efraimidis and
    Spirakis, 2006). A weight of 0 is never chosen.
    """
    waiting = (
        (-math.log1p(-int(hashed, 16) / 2**256) / weight, hashed, position)
        for position, (content, weight) in enumerate(contents)
        if weight > 0
        for hashed in (digest("sample", seed, content),)
    )
    return frozenset(position for *_, position in heapq.nsmallest(count, waiting))


def first_text(value: Value) -> str:
    """The text that represents a value in a file name: the value itself, or the first value of a mapping."""
    while not isinstance(value, str):
        value = next(iter(value.values()), "")
    return value
