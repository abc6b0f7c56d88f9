"""Another model for a call, after a free failure that says that the requested one is unavailable.

Who a call and its variants are does not change with it: the intent records the model that was sent, and what it costs.
In every run a call begins with its row's own model, which may be available again, and moves on to the next after each
such failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from adloom.core.campaign import Prices
from adloom.core.facts import Attempt, CallFacts
from adloom.core.order import Order
from adloom.core.pricing import kind_of, price_of
from adloom.core.records import Decided, RefusalKind
from adloom.core.triage import MODEL_UNAVAILABLE_CODES


@dataclass(frozen=True, slots=True)
class Fallback:
    """The models that a campaign names for this, in their order, and the campaign's own prices.

    ``writer`` is the run's token: the failures of its own attempts count. ``broken`` has the models that this run no
    longer buys from, each with the reason, and grows during the run.
    """

    models: tuple[str, ...]
    prices: Prices
    writer: str
    broken: Mapping[str, str] = field(default_factory=dict)

    def is_blocked(self, order: Order) -> bool:
        """Whether no model is left that the order may be bought from."""
        return all(model in self.broken for model in self._chain(order))

    def order_for(self, order: Order, facts: CallFacts) -> Order:
        """The order as the call's next attempt sends it."""
        chain = tuple(model for model in self._chain(order) if model not in self.broken) or self._chain(order)
        model = chain[self._times_unavailable(facts) % len(chain)]
        if model == order.model:
            return order
        other = "" if model == order.row.model else model
        price = price_of(kind_of(order.row, model), self.prices)
        return replace(order, fallback_model=other, credits=price * order.n)

    def is_exhausted(self, order: Order, facts: CallFacts) -> bool:
        """Whether every model has been unavailable as often as the others."""
        return self._times_unavailable(facts) % len(self._chain(order)) == 0

    def _chain(self, order: Order) -> tuple[str, ...]:
        own = order.row.model
        return (own, *(model for model in self.models if model != own))

    def _times_unavailable(self, facts: CallFacts) -> int:
        return sum(attempt.owner == self.writer and _says_unavailable(attempt) for attempt in facts.attempts)


def _says_unavailable(attempt: Attempt) -> bool:
    """Whether an attempt was free because of its model, refused at once or as a task that failed."""
    if attempt.settled is None or attempt.settled.outcome is not Decided.FREE:
        return False
    failed = attempt.failed is not None and attempt.failed.code in MODEL_UNAVAILABLE_CODES
    return failed or attempt.settled.kind == RefusalKind.MODEL
