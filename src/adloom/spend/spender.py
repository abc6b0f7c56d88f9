"""Buys orders: decides on the model, the turn, and how often to retry after a free refusal; ``purchase`` sends.

A purchase whose outcome is unknown is handed to ``unknown`` at once.
"""

from __future__ import annotations

import json

from adloom.core.errors import ApiError, FileRefused, ModelUnavailable, NotSent, ReferenceTooSlow, Throttled
from adloom.core.exits import Stop, StopReason
from adloom.core.facts import Stage
from adloom.core.fallback import Fallback
from adloom.core.order import Order
from adloom.core.records import Intent
from adloom.guards.gate import Gate, GateClosed
from adloom.guards.pace import Throttle
from adloom.guards.prices import PriceWatch
from adloom.ledger.ledger import Ledger
from adloom.spend.purchase import Sender
from adloom.spend.unknown import UnknownPurchases
from adloom.world import World

SENDS_WITHOUT_CONNECTION = 5
"""A POST that cannot leave this machine is tried this many times; then the API counts as out of reach."""

THROTTLED_FOR_S = 3600
"""A call that gets only 429 for this long stops the run's buying: something else is wrong."""

_TO_BUY = frozenset({Stage.UNBOUGHT, Stage.WAITING})


class Spender:
    """Buys orders for one run."""

    def __init__(  # noqa: PLR0913 - the parts of one run
        self,
        world: World,
        ledger: Ledger,
        *,
        gate: Gate,
        throttle: Throttle,
        prices: PriceWatch,
        sender: Sender,
        unknowns: UnknownPurchases,
        fallback: Fallback,
    ) -> None:
        self._account = world.api.account
        self._clock = world.clock
        self._ledger = ledger
        self._gate = gate
        self._throttle = throttle
        self._prices = prices
        self._sender = sender
        self._unknowns = unknowns
        self._fallback = fallback

    async def buy(self, order: Order) -> None:
        """Buy one order, unless someone else has it or buying stops; the ledger shows which.

        Two refusals, which cost nothing, are followed up: an unavailable model is replaced by the next one at once, and
        a reference that was not fetched in time is tried once more a little later.
        """
        try:
            while isinstance(refusal := await self._buy_once(order), ModelUnavailable | ReferenceTooSlow):
                if isinstance(refusal, ReferenceTooSlow) and self._ledger.facts(order.call).stage in _TO_BUY:
                    await self._gate.sleep(self._sender.wait_s(refusal, 0), self._clock)
        except GateClosed:
            return

    async def give_up(self, order: Order, refusal: FileRefused) -> None:
        """End an order that cannot be bought because nobody hosts one of its files, unless someone else has it."""
        attempt = await self._next_attempt(order)
        if self._ledger.facts(order.call).stage in _TO_BUY:
            await self._sender.give_up(order, attempt, refusal)

    async def _buy_once(self, order: Order) -> ApiError | None:
        """One attempt, with the next model; how it ended if it was not a purchase."""
        order = self._fallback.order_for(order, self._ledger.facts(order.call))
        if self.is_blocked(order):
            return None
        while True:
            async with self._prices.turn(order):
                await self._throttle.turn()
                try:
                    if order.model in self._fallback.broken:  # since this waits
                        return ModelUnavailable(self._fallback.broken[order.model])
                    if self._prices.may_go(order):
                        return await self._attempt(order) if self._ledger.facts(order.call).stage in _TO_BUY else None
                finally:
                    self._throttle.give_back()

    def is_blocked(self, order: Order) -> bool:
        """Whether an order's model is not bought from any more, and no other may take its place: then it is left open.

        That is a reason to end with; what other models make is bought on.
        """
        if not self._fallback.is_blocked(order):
            return False
        remedy = "Run the campaign again later, or name other models with `fallback: [...]`."
        self._gate.remember(Stop(StopReason.OUTAGE, self._fallback.broken[order.model], remedy))
        return True

    async def _attempt(self, order: Order) -> ApiError | None:
        """Buy with the next attempt, or go on with the latest one; the refusal that ended it, if one did."""
        attempt, send = await self._place(order)
        if self._ledger.facts(order.call).stage in _TO_BUY:
            return await self._send_until_over(order, attempt, send)
        return None  # another run goes on with it, or it is refused for good

    async def _send_until_over(self, order: Order, attempt: int, send: int) -> ApiError | None:
        started = self._clock.monotonic()
        unsent = 0
        try:
            while True:
                async with self._unknowns.turn():
                    if not await self._sender.decide_to_send(order, attempt, send):
                        return None
                    if is_open := self._gate.is_open:  # deciding takes long while the archive is away
                        try:
                            refusal = await self._sender.send(order, attempt, send)
                        finally:
                            self._unknowns.note(order)
                    else:
                        await self._sender.take_back(order, attempt, send, "buying was paused before it was sent")
                send += 1
                if not is_open:
                    self._prices.refused(order)
                    await self._gate.wait_open()
                    await self._turn_again(order)
                    continue
                if not isinstance(refusal, NotSent | Throttled):
                    return refusal
                unsent += isinstance(refusal, NotSent)
                late = self._clock.monotonic() - started > THROTTLED_FOR_S
                if late or unsent >= SENDS_WITHOUT_CONNECTION:
                    self._gate.close(Stop(StopReason.OUTAGE, refusal.message, refusal.remedy))
                self._prices.refused(order)
                await self._gate.sleep(self._sender.wait_s(refusal, send - 2), self._clock)
                await self._turn_again(order)
                if order.model in self._fallback.broken:
                    return ModelUnavailable(self._fallback.broken[order.model])
        except GateClosed:
            if send > 1:
                await self._sender.withdraw(order, attempt, send)
            raise

    async def _turn_again(self, order: Order) -> None:
        """Wait for the turn of a purchase that was refused, as for its first one."""
        while True:
            await self._prices.turn_again(order)
            await self._throttle.turn()
            if self._prices.may_go(order):
                return
            self._throttle.give_back()

    async def _place(self, order: Order) -> tuple[int, int]:
        """The attempt and send to continue with.

        An attempt whose sends were all free continues for the account that it began with, while its bytes have the
        words that are wanted now and its references are still at the addresses in them.
        """
        facts = self._ledger.facts(order.call)
        if facts.stage is Stage.WAITING and facts.latest.intent and self._can_go_on(order, facts.latest.intent):
            return facts.latest.number, facts.latest.sends + 1
        return await self._next_attempt(order), 1

    async def _next_attempt(self, order: Order) -> int:
        """The number of a new attempt. One that waits to be sent again is withdrawn."""
        facts = self._ledger.facts(order.call)
        if facts.stage is not Stage.WAITING:
            return facts.next_attempt
        await self._sender.withdraw(order, facts.latest.number, facts.latest.sends + 1)
        return facts.latest.number + 1

    def _can_go_on(self, order: Order, intent: Intent) -> bool:
        sent, wanted = json.loads(intent.body), json.loads(order.body())
        same = all(sent.get(name) == wanted.get(name) for name in ("model", "prompt", "image_urls"))
        return same and intent.account == self._account
