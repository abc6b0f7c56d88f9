"""``fallback: cheapest``: the model that supports every row of a campaign and costs least for all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from adloom.core.campaign import Grouping, Prices, Row
from adloom.core.family import unsupported
from adloom.core.limits import MODELS, Model, images_per_call
from adloom.core.pricing import kind_of, price_of
from adloom.core.prompt import length_problem
from adloom.core.split import room

CHEAPEST = "cheapest"
_SURELY_SHORT = 1200
"""Characters: even all Chinese and with a count phrase this is below every limit of a prompt."""


@dataclass(slots=True)
class Cheapest:
    """Rows go in one by one; few of them differ in what the choice depends on, and only those are looked at."""

    _fitting: set[str] = field(default_factory=lambda: set(MODELS))
    _used: set[str] = field(default_factory=set)
    _images: Counter[tuple[object, ...]] = field(default_factory=Counter)
    _rows: dict[tuple[object, ...], Row] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Count a row in."""
        like = (row.model, row.size, row.quality, row.priority, row.options, len(row.references), largest_call(row))
        if like not in self._rows:
            self._rows[like] = row
            self._used.add(row.model)
            self._fitting = {name for name in self._fitting if takes_row(MODELS[name], row)}
        elif len(row.prompt) > _SURELY_SHORT:
            self._fitting = {name for name in self._fitting if takes_row(MODELS[name], row)}
        self._images[like] += row.variants

    def chosen(self, prices: Prices) -> str:
        """The cheapest model that takes every row, one that no row names where there is one; empty without any."""
        others = self._fitting - self._used or (self._fitting if len(self._used) > 1 else set())
        return min(sorted(others), key=lambda model: self._price(model, prices), default="")

    def _price(self, model: str, prices: Prices) -> Decimal:
        return sum(
            (price_of(kind_of(row, model), prices) * self._images[like] for like, row in self._rows.items()),
            start=Decimal(0),
        )


def takes_row(model: Model, row: Row) -> bool:
    """Whether a model takes a row that was written for another: its request, and calls as large as they are."""
    n = largest_call(row)
    if n > model.images_per_call or length_problem(row.prompt, n, model.prompt_characters, model.prompt_tokens):
        return False
    return not any(_misfits(model, row))


def largest_call(row: Row) -> int:
    """The most images that a call of the row asks for."""
    if row.grouping is Grouping.INDEPENDENT:
        return 1
    return min(row.variants, room(len(row.references), images_per_call(row.model)))


def _misfits(model: Model, row: Row) -> Iterator[object]:
    yield from unsupported(model, row.size, row.quality, row.priority, row.options, len(row.references))
