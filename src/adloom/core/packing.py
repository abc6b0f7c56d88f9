"""Lets rows with identical requests share calls, so that a campaign sends no more calls than necessary.

Two rows ask for the same when what is sent for them is the same, character by character. Their images are packed in
the order of the rows, a call with those that fill it; the last row of a group carries what is left. Where calls of
their own are as few, rows keep them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from adloom.core.campaign import Grouping, Row
from adloom.core.limits import MODELS, images_per_call
from adloom.core.planned import Variant
from adloom.core.prompt import length_problem
from adloom.core.split import room

Request: TypeAlias = "tuple[object, ...]"
"""What is sent for a row, but for the number of images; how it is grouped, and whether it is asked for."""


def request_of(row: Row, *, picked: bool) -> Request:
    """What a row is packed by."""
    sent = (row.model, row.prompt, row.size, row.quality, row.priority, row.references, row.options)
    return (*sent, row.grouping, picked)


@dataclass(slots=True)
class Repeats:
    """Which requests have come more than once, known by their hashes: few campaigns have any."""

    _once: set[int] = field(default_factory=set)
    _again: set[int] = field(default_factory=set)

    def add(self, request: Request) -> None:
        """Count a row's request in."""
        number = hash(request)
        (self._again if number in self._once else self._once).add(number)

    def __contains__(self, request: Request) -> bool:
        return hash(request) in self._again

    def __bool__(self) -> bool:
        return bool(self._again)


@dataclass(slots=True)
class _Group:
    """The rows of one request: their images to buy, and the calls that these would take row by row."""

    room: int
    packed: int
    """The most images of a call that buys for several rows."""
    rows: int = 0
    buyers: int = 0
    """Those of them that buy images."""
    images: int = 0
    calls: int = 0

    @property
    def is_worth_it(self) -> bool:
        return _calls_for(self.images, self.packed) < self.calls


@dataclass(slots=True)
class Packing:
    """The groups of a campaign; rows go through ``pack`` in the order in which they went through ``add``."""

    fallback: Sequence[str] = ()
    _groups: dict[Request, _Group] = field(default_factory=dict)
    _left: dict[Request, int] = field(default_factory=dict)
    _waiting: dict[Request, list[Variant]] = field(default_factory=dict)

    def add(self, row: Row, request: Request, images: int, calls: int) -> None:
        """Count a row in with its images to buy, and the calls that it would make by itself."""
        most = room(len(row.references), images_per_call(row.model))
        group = self._groups.setdefault(request, _Group(most, self._most_packed(row, most)))
        group.rows += 1
        group.buyers += images > 0
        group.images += images
        group.calls += calls

    def start(self) -> None:
        """Begin to pack: the rows come again from the first."""
        self._left = {request: group.rows for request, group in self._groups.items()}
        self._waiting = {request: [] for request, group in self._groups.items() if group.is_worth_it}

    def floor(self, request: Request) -> int | None:
        """The fewest calls for all rows of a request: with the last of them, 0 before. None for a row that is alone."""
        if request not in self._left:
            return None
        group = self._groups[request]
        return 0 if self._left[request] else _calls_for(group.images, group.room)

    def pack(self, row: Row, request: Request, variants: Sequence[Variant]) -> list[tuple[Variant, ...]] | None:
        """The calls that a row carries, for itself and for rows before it; None where it makes its own."""
        if request not in self._left:
            return None
        self._left[request] -= 1
        if request not in self._waiting:
            return None
        most = self._groups[request].packed
        pool = [*self._waiting[request], *variants]
        full = len(pool) - len(pool) % most if self._left[request] else len(pool)
        owner = (row.job, row.label)
        self._waiting[request] = [replace(each, owner=each.owner or owner) for each in pool[full:]]
        return [tuple(pool[start : start + most]) for start in range(0, full, most)]

    @property
    def bought_apart(self) -> int:
        """Rows that buy images although a row before them asks for exactly the same."""
        return sum(group.buyers - 1 for group in self._groups.values() if group.buyers)

    @property
    def saved(self) -> int:
        """Calls that packing saves."""
        worth_it = (group for group in self._groups.values() if group.is_worth_it)
        return sum(group.calls - _calls_for(group.images, group.packed) for group in worth_it)

    def _most_packed(self, row: Row, most: int) -> int:
        """How many images a packed call may ask for: fallbacks and the length of the prompt have a say."""
        if row.grouping is Grouping.INDEPENDENT:
            return 1
        most = min(most, *map(images_per_call, (row.model, *self.fallback)))
        for name in (row.model, *self.fallback):
            model = MODELS.get(name)
            bounds = (model.prompt_characters, model.prompt_tokens) if model else ()
            if length_problem(row.prompt, most, *bounds):
                return min(most, row.variants)
        return most


def _calls_for(images: int, most: int) -> int:
    return -(-images // most)
