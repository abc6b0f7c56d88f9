"""What a plan comes to at the prices that are charged now.

The plan reserves each row's images at the price of the row's own model. What a purchase costs more than that, because
a price has risen or a fallback model makes the images, counts as soon as it is read, and for all images of the same
kind that are left: they may be bought at that price too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

from adloom.core.campaign import Prices
from adloom.core.order import Order
from adloom.core.pricing import Kind, kind_of, price_of


class Forecast:
    """The total of one run's plan, in credits. ``left`` has the images that it may buy, by what their rows ask for."""

    def __init__(self, planned: Decimal, left: Mapping[Kind, int], prices: Prices) -> None:
        self._planned = planned
        self._left = Counter(left)
        self._prices = prices
        self._more = Decimal(0)
        """What the purchases of this run cost more than planned."""
        self._open: dict[str, tuple[Decimal, Decimal]] = {}
        """What each purchase without a charge costs, and how much of that was not planned."""
        self._rise: dict[Kind, Decimal] = {}
        """How much more than planned an image of a kind cost when a price was last read."""

    @property
    def total(self) -> Decimal:
        """What the plan comes to."""
        return self._planned + self._more + sum(self._left[kind] * rise for kind, rise in self._rise.items())

    @property
    def has_grown(self) -> bool:
        return self.total > self._planned

    def read_reserve(self, order: Order, cost: Decimal) -> None:
        """Note what a purchase costs. A call that is bought again, after a free failure, counts once."""
        kind = kind_of(order.row)
        more = cost - price_of(kind, self._prices) * order.n
        if order.call not in self._open and not order.parent:
            self._left[kind] = max(0, self._left[kind] - order.n)
        _, former = self._open.get(order.call, (cost, Decimal(0)))
        self._open[order.call] = cost, more
        self._more += more - former
        self._rise[kind] = max(Decimal(0), more / order.n)

    def read_charge(self, call: str, charged: Decimal) -> None:
        """Note the charge of a purchase: what was not made is given back, at the price that it was reserved for."""
        cost, more = self._open.pop(call, (Decimal(0), Decimal(0)))
        if charged < cost:
            self._more -= more * (1 - charged / cost)
