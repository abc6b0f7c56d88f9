"""The orders of a run whose images came last: what its page shows where all images would be too many."""

from __future__ import annotations

from collections.abc import Iterator

from adloom.core.order import Order

MOST_IMAGES = 400
"""As many as a page of the gallery has: it is made in a tenth of a second."""


class Latest:
    """The latest orders with an image, the newest first, as far as they asked for at most ``most`` images."""

    def __init__(self, most: int = MOST_IMAGES) -> None:
        self._most = most
        self._images = 0
        self._orders: dict[str, Order] = {}

    def put(self, order: Order) -> None:
        """Note that images of an order have come."""
        self._drop(order.call)
        self._orders[order.call] = order
        self._images += order.n
        while self._images > self._most and len(self._orders) > 1:
            self._drop(next(iter(self._orders)))

    def _drop(self, call: str) -> None:
        if (order := self._orders.pop(call, None)) is not None:
            self._images -= order.n

    def __iter__(self) -> Iterator[Order]:
        return reversed(self._orders.values())

    def __bool__(self) -> bool:
        return bool(self._orders)
