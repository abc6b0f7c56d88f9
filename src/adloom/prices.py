"""What images cost now, against what the plan says.

The first purchase of each model and quality goes alone until its price is read: from its answer, or else from the end
of its task. A price that has moved stops the buying, and so does a charge above what was reserved for it once the plan
no longer fits its cap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

from adloom.core.exits import Stop, StopReason
from adloom.core.facts import Attempt, Record
from adloom.core.order import Order
from adloom.core.pricing import has_moved
from adloom.gate import Gate

log = logging.getLogger(__name__)


class PriceWatch:
    """The prices and the cap of one run. Money is in credits; ``planned`` is what the whole plan comes to."""

    def __init__(self, gate: Gate, cap_credits: Decimal, planned_credits: Decimal) -> None:
        self._gate = gate
        self._cap = cap_credits
        self._planned = planned_credits
        self._excess = Decimal(0)
        self._seen: set[tuple[str, str]] = set()
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}
        self._first: dict[tuple[str, str], str] = {}
        """The call that goes alone now, by kind."""
        self._untold: dict[str, tuple[str, str]] = {}
        """The kind of each call that was accepted without a word on its price: it goes alone until its end."""

    @asynccontextmanager
    async def first_alone(self, order: Order) -> AsyncIterator[None]:
        """Hold everyone else of the same model and quality back until one price was read.

        Where the purchase was accepted without one, that goes on until ``let_go``.
        """
        kind = _kind(order)
        lock = self._locks.setdefault(kind, asyncio.Lock())
        await lock.acquire()
        if kind in self._seen:
            lock.release()
            yield
            return
        self._first[kind] = order.call
        try:
            yield
        finally:
            if order.call not in self._untold:
                lock.release()

    def let_go(self, order: Order) -> None:
        """Let others of the same kind buy again, whatever is known now."""
        if (kind := self._untold.pop(order.call, None)) is not None:
            self._locks[kind].release()

    def read_reserve(self, order: Order, reserved: Decimal | None) -> None:
        """Take note of what the answer to a purchase reserves, None when it does not say."""
        kind = _kind(order)
        if reserved is None:
            if kind not in self._seen and self._first.get(kind) == order.call:
                self._untold[order.call] = kind
            return
        self._seen.add(kind)
        if has_moved(order.credits, reserved):
            self._stop_for_price(order.model, reserved / order.n, order.credits / order.n)
        elif reserved > order.credits and self._planned * reserved / order.credits > self._cap:
            message = f"at the {reserved / order.n:f} credits an image that are charged now the plan passes its budget"
            self._gate.close(Stop(StopReason.BUDGET, message, "Raise the budget and run the campaign again."))

    def read_charge(self, attempt: Attempt) -> None:
        """Take note of what a finished task was charged, where it was told."""
        intent, completed, accepted = attempt.intent, attempt.completed, attempt.accepted
        if intent is None or completed is None or accepted is None:
            return
        charged = Decimal(completed["credits"])
        if attempt.links and (intent["model"], intent["quality"]) not in self._seen:
            self._read_first_charge(intent, charged, len(attempt.links), told=completed["told"])
        self._excess += max(Decimal(0), charged - Decimal(accepted["credits"]))
        if self._excess and self._planned + self._excess > self._cap:
            message = (
                f"the API has charged {self._excess:f} credits more than it had reserved: "
                f"with them the plan comes to {self._planned + self._excess:f} of {self._cap:f} credits"
            )
            self._gate.close(Stop(StopReason.BUDGET, message, "Ask EvoLink why; raise the budget to go on."))

    def _read_first_charge(self, intent: Record, charged: Decimal, images: int, *, told: bool) -> None:
        model, quoted, n = intent["model"], Decimal(intent["credits"]), len(intent["variants"])
        self._seen.add((model, intent["quality"]))
        if not told:
            log.warning("the API tells no price of %s; it is bought at the table's", model)
        elif has_moved(quoted * images / n, charged) and has_moved(quoted, charged):  # by images made, nor by asked for
            self._stop_for_price(model, charged / images, quoted / n)

    def _stop_for_price(self, model: str, now: Decimal, then: Decimal) -> None:
        message = f"{model} costs {now:f} credits an image now, the plan says {then:f}"
        remedy = f"Set `prices: {{{model}: {now:f}}}` in the campaign and run it again."
        self._gate.close(Stop(StopReason.PRICE, message, remedy))


def _kind(order: Order) -> tuple[str, str]:
    return order.model, order.row.quality
