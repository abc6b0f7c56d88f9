"""Current image prices compared with the plan's, and how much a run risks before it knows them.

Buying of each model and quality starts slowly: one purchase, then two, four … up to what may be in flight, each step
after a price was read. A price is read from the answer to a purchase, or else from the end of its task. A price that
differs from the last one read restarts this. One above the plan's stops buying, a lower one is noted. So does a charge
above what was reserved for it, at the first one read: an API that does that once may do it for everything in flight.
Later runs of the edition then trust no reserve of that model and quality: each purchase is waited for, and one whose
charge is not reported opens the way for one more and no others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

from adloom.core.exits import Stop, StopReason
from adloom.core.facts import Attempt, CallFacts
from adloom.core.order import Order
from adloom.core.pricing import has_moved, is_dearer, is_same_price, search_credits, surcharge
from adloom.core.records import Intent
from adloom.guards.forecast import Forecast
from adloom.guards.gate import Gate

log = logging.getLogger(__name__)

PricedAs = tuple[str, str]
"""Model and billed quality."""


class Window:
    """How many purchases of one kind may be in flight without a known price: 1, doubled by each reading."""

    def __init__(self, gate: Gate, most: int) -> None:
        self._gate = gate
        self._most = most
        self._width = 1
        self._unread: dict[str, None] = {}  # in the order in which they came
        self._changed = asyncio.Event()

    async def enter(self, call: str) -> None:
        """Wait for room. Raises GateClosed once buying has stopped."""
        self._gate.check()
        while len(self._unread) >= self._width:
            self._changed.clear()
            await self._changed.wait()
            self._gate.check()
        self._unread[call] = None

    def holds(self, call: str) -> bool:
        """Whether a purchase that entered and was not sent yet may still go, should the window be narrower now."""
        return call in list(self._unread)[: self._width]

    async def enter_again(self, call: str) -> None:
        """Wait until a purchase that entered and was refused may go again; it is the last of those that entered."""
        while not self.holds(call):
            self._changed.clear()
            await self._changed.wait()
            self._gate.check()

    def put_last(self, call: str) -> None:
        """A purchase was refused and will be sent again: those that are out go first should the window be narrower."""
        self._unread[call] = self._unread.pop(call, None)
        self._changed.set()

    def leave(self, call: str) -> None:
        """A purchase is over, or its price was read."""
        self._unread.pop(call, None)
        self._changed.set()

    def widen(self) -> None:
        self._width = min(self._most, 2 * self._width)
        self._changed.set()

    def open(self) -> None:
        """Lift the limit: there is no price to wait for."""
        self._width = self._most
        self._changed.set()

    def narrow(self) -> None:
        self._width = 1


class PriceWatch:
    """The prices and the cap of one run.

    Money is in credits. ``most`` is how many tasks may be in flight. ``notes`` tell a person about prices that fell.
    """

    def __init__(self, gate: Gate, cap_credits: Decimal, forecast: Forecast, *, most: int) -> None:
        self._gate = gate
        self._cap = cap_credits
        self._forecast = forecast
        self._most = most
        self._excess = Decimal(0)
        self._windows: dict[PricedAs, Window] = {}
        self._last: dict[tuple[str, str, int], Decimal] = {}
        """The last price of an image that was read, by kind and number of references, which may cost extra."""
        self._unsure: set[PricedAs] = set()
        """Kinds of which a charge passed its reserve before this run."""
        self._price_unknown: dict[str, PricedAs] = {}
        """The kind of each purchase whose price is known only when its task ends."""
        self._tells: set[str] = set()
        """Purchases of this run whose charge tells what an image costs now; one of an earlier run tells of its time."""
        self._read: set[str] = set()
        """The tasks whose charges were read."""
        self._out: dict[str, Decimal] = {}
        """What is reserved for each purchase of this run whose charge was not read."""
        self.notes: tuple[str, ...] = ()

    def remember(self, facts: CallFacts) -> None:
        """Learn from a call of an earlier run."""
        for attempt in facts.attempts:
            if attempt.intent is not None and _above_reserve(attempt):
                self._unsure.add(attempt.intent.kind[:2])

    @asynccontextmanager
    async def turn(self, order: Order) -> AsyncIterator[None]:
        """Hold a purchase back while too many of its kind are in flight without a known price. Raises GateClosed.

        Where the purchase is accepted without a price, it counts as unread until ``release``.
        """
        window = self._window(_kind(order))
        await window.enter(order.call)
        try:
            yield
        finally:
            if order.call not in self._price_unknown:
                window.leave(order.call)

    def may_go(self, order: Order) -> bool:
        """Whether a purchase that has its turn may be sent now: a price may have moved while it waited for its pace."""
        return self._window(_kind(order)).holds(order.call)

    def refused(self, order: Order) -> None:
        """A purchase that has its turn was refused free of charge, and will be sent again."""
        self._window(_kind(order)).put_last(order.call)

    async def turn_again(self, order: Order) -> None:
        """Hold back a purchase that was refused while the price has moved. Raises GateClosed."""
        await self._window(_kind(order)).enter_again(order.call)

    def release(self, order: Order) -> None:
        """A purchase has come to its end, or as far as it goes now, whatever was read."""
        self._out.pop(order.call, None)
        if (kind := self._price_unknown.pop(order.call, None)) is not None:
            self._window(kind).leave(order.call)

    def read_reserve(self, order: Order, reserved: Decimal | None) -> None:
        """Note what the answer to a purchase reserves; None when it does not say."""
        kind = _kind(order)
        self._out[order.call] = order.credits if reserved is None else reserved
        self._forecast.read_reserve(order, max(order.credits, self._out[order.call]))
        if reserved is None or kind in self._unsure:
            self._price_unknown[order.call] = kind
            self._tells.add(order.call)
        if reserved is None:
            return
        price = reserved / order.n
        if kind not in self._unsure:
            self._step(kind, len(order.row.references), price)
        if is_dearer(order.credits, reserved):
            self._stop_for_price(kind, price, order.credits / order.n, surcharge(order.kind))
        elif has_moved(order.credits, reserved):
            self._note_cheaper(kind, price, order.credits / order.n)
        elif self._forecast.has_grown and self._total > self._cap:
            self._stop_for_cap(kind, price)

    def read_charge(self, call: str, attempt: Attempt) -> None:
        """Note what a completed task was charged, once the API reports it or the task has shown all: once a task."""
        intent, completed, accepted = attempt.intent, attempt.completed, attempt.accepted
        if intent is None or completed is None or accepted is None or attempt.task in self._read:
            return
        if not (completed.told or attempt.shows_all):
            return
        self._read.add(attempt.task)
        self._out.pop(call, None)
        charged = completed.credits
        above = _above_reserve(attempt)
        told = accepted.credits_told is not False
        is_news = call in self._tells
        self._tells.discard(call)
        if attempt.links and (not told or intent.kind[:2] in self._unsure):
            self._read_only_charge(intent, charged, len(attempt.links), told=completed.told, is_news=is_news)
        if above and told:
            self._stop_for_charge(intent, charged, charged - above)
        self._excess += above
        self._forecast.read_charge(call, charged)
        if self._excess and self._total > self._cap:
            message = (
                f"the API has charged {self._excess:f} credits more than was planned for: "
                f"the plan then comes to {self._total:f} of {self._cap:f} credits"
            )
            self._gate.close(Stop(StopReason.BUDGET, message, "Ask EvoLink why; raise the budget to go on."))

    @property
    def _total(self) -> Decimal:
        """What the plan comes to, with what was charged above its reserve."""
        return self._forecast.total + self._excess

    def _read_only_charge(self, intent: Intent, charged: Decimal, images: int, *, told: bool, is_news: bool) -> None:
        """The charge of a task whose reserve was not reported, or is not trusted; ``is_news`` if this run bought it."""
        kind, quoted, n = intent.kind[:2], intent.credits, len(intent.variants)
        if not told:
            if is_news and kind not in self._unsure:
                log.warning("the API reports no price for %s; it is bought at the list price", intent.model)
                self._window(kind).open()
            return
        by_asked = not has_moved(quoted, charged)  # some bill the images asked for, some those that were made
        price = charged / n if by_asked else charged / images
        if is_news:
            self._step(kind, -1, price)
        if is_dearer(quoted / n, price):
            self._stop_for_price(kind, price, quoted / n, surcharge(intent.kind))
        elif has_moved(quoted / n, price):
            self._note_cheaper(kind, price, quoted / n)

    def _step(self, kind: PricedAs, extras: int, price: Decimal) -> None:
        last, self._last[*kind, extras] = self._last.get((*kind, extras)), price
        if last is None or is_same_price(last, price):
            self._window(kind).widen()
        else:
            self._window(kind).narrow()

    def _window(self, kind: PricedAs) -> Window:
        return self._windows.setdefault(kind, Window(self._gate, self._most))

    def _note_cheaper(self, kind: PricedAs, now: Decimal, then: Decimal) -> None:
        note = f"{_named(kind)} costs {now:f} credits an image now, the plan says {then:f}: bought at the lower price"
        if note not in self.notes:
            self.notes = (*self.notes, note)
            log.warning("%s", note)

    def _stop_for_price(self, kind: PricedAs, now: Decimal, then: Decimal, beside: Decimal) -> None:
        """Close the gate. ``beside`` is the part of the price that is for references and searches."""
        message = f"{_named(kind)} costs {now:f} credits an image now, the plan says {then:f}"
        own = f"{now - beside:f}"
        price = f"{{{kind[1]}: {own}}}" if kind[1] else own
        remedy = f"Set `prices: {{{kind[0]}: {price}}}` in the campaign and run it again."
        self._gate.close(Stop(StopReason.PRICE, message, remedy))

    def _stop_for_cap(self, kind: PricedAs, price: Decimal) -> None:
        message = (
            f"{_named(kind)} costs {price:f} credits an image now: "
            f"the plan then comes to {self._total:f} of {self._cap:f} credits"
        )
        self._gate.close(Stop(StopReason.BUDGET, message, "Raise the budget and run the campaign again."))

    def _stop_for_charge(self, intent: Intent, charged: Decimal, reserved: Decimal) -> None:
        others = sum(self._out.values(), start=Decimal(0))
        message = (
            f"{charged:f} credits were charged for a call of {intent.row} for which {reserved:f} were reserved; "
            f"{len(self._out)} other purchases were in flight, with {others:f} credits reserved for them"
        )
        self._gate.close(Stop(StopReason.PRICE, message, "Ask EvoLink why, before you run it again."))


def _named(kind: PricedAs) -> str:
    return " ".join(kind)


def _kind(order: Order) -> PricedAs:
    return order.kind[:2]


def _above_reserve(attempt: Attempt) -> Decimal:
    """By how much a finished task's charge passes what the ledger holds as its reserve; 0 where it does not."""
    if attempt.completed is None or attempt.accepted is None:
        return Decimal(0)
    charged, reserved = attempt.completed.credits, attempt.accepted.credits
    if attempt.intent is not None and (searching := search_credits(attempt.intent.kind)):
        charged -= min(searching * len(attempt.intent.variants), max(Decimal(0), charged - reserved))
    return Decimal(0) if is_same_price(reserved, charged) else max(Decimal(0), charged - reserved)
