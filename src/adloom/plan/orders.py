"""The work of a frozen plan: the calls that earlier runs began, then those that nobody has bought.

Whatever was bought for a row that the plan no longer has, or that was not selected, is finished as well, but nothing
more is bought for it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

from adloom.core.callbacks import CallbackAddresses, Secret
from adloom.core.campaign import Grouping, Row
from adloom.core.facts import CallFacts, Stage
from adloom.core.identity import top_up_id
from adloom.core.order import Order
from adloom.core.outcomes import TopUp, missing
from adloom.core.planned import PlannedRow
from adloom.core.pricing import kind_of, price_of
from adloom.core.records import Intent
from adloom.plan.assessment import Assessment
from adloom.plan.planner import is_asked_for
from adloom.plan.revision import Revision, planned_rows
from adloom.ports import Store

_BOUGHT = frozenset({Stage.SENDING, Stage.UNKNOWN, Stage.ACCEPTED, Stage.FAILING, Stage.UNSHOWN, Stage.COMPLETED})
_UNFINISHED = _BOUGHT | {Stage.WAITING}


class OrderQueue:
    """The orders of one run."""

    def __init__(
        self, store: Store, assessment: Assessment, revision: Revision, callback_secret: Secret | None
    ) -> None:
        self._store = store
        self._edition = assessment.edition
        self._ledger = assessment.ledger
        self._known = assessment.known
        self._only = assessment.wish.only
        self._choice = assessment.choice
        self._share = assessment.wish.share
        url, prefix = assessment.source.campaign.callback_url, assessment.edition.prefix
        self._callbacks = CallbackAddresses(url, prefix, callback_secret) if url else None
        self._revision = revision

    async def unfinished(self) -> list[Order]:
        """What earlier runs left unfinished, the oldest first: its links die first."""
        if not self._ledger.calls():
            return []
        picker = self._choice.picker()
        found: dict[str, Order] = {}
        async for planned in self._rows():
            is_stray = not picker.takes(planned.row)
            for order in self._unfinished(planned):
                if order.call not in found or found[order.call].is_stray:  # rows that ask for the same share calls
                    found[order.call] = replace(order, is_stray=is_stray)
        orders = [*found.values(), *self._unfinished_for_no_row(set(found))]
        return sorted(orders, key=self._began)

    async def unbought(self) -> AsyncIterator[Order]:
        """What is left to buy, in plan order; a run that shares the work starts at its own part and wraps around."""
        rows = sum(shard.rows for shard in self._revision.shards)
        first = rows * self._share.number // self._share.of
        for part in (range(first, rows), range(first)):
            if part:
                async for order in self._unbought_of(part):
                    yield order

    async def _unbought_of(self, part: range) -> AsyncIterator[Order]:
        picker = self._choice.picker()
        number = -1
        async for planned in self._rows():
            number += 1
            if picker.takes(planned.row) and number in part:
                for order in self._unbought(planned):
                    yield order

    def is_ready(self, order: Order) -> bool:
        """Whether an order's images only wait to be downloaded."""
        return self._ledger.stage(order.call) is Stage.COMPLETED

    def _rows(self) -> AsyncIterator[PlannedRow]:
        return planned_rows(self._store, self._edition, self._revision)

    def _unfinished(self, planned: PlannedRow) -> Iterator[Order]:
        own = planned.variants[planned.row.shared :]
        outcomes = (self._known.get(variant.key) for variant in own)
        calls = {outcome.call for outcome in outcomes if outcome is not None}
        for call in sorted(call for call in calls if self._ledger.ended(call) is None):
            facts = self._ledger.facts(call)
            if _goes_on(facts):
                yield self._order_of(facts, planned.row)

    def _unfinished_for_no_row(self, begun: set[str]) -> Iterator[Order]:
        for call in sorted(set(self._ledger.calls()) - begun):
            if self._ledger.ended(call) is not None:
                continue
            facts = self._ledger.facts(call)
            if facts.intent is not None and facts.stage in _BOUGHT:
                yield replace(self._order_of(facts, _row_of(facts.intent)), is_stray=True)

    def _began(self, order: Order) -> str:
        intent = self._ledger.facts(order.call).intent
        return intent.time.isoformat() if intent else ""

    def _unbought(self, planned: PlannedRow) -> Iterator[Order]:
        price = price_of(kind_of(planned.row), self._revision.prices)
        for call in planned.calls:
            if is_asked_for(call, self._only) and self._ledger.stage(call.id) is Stage.UNBOUGHT:
                yield Order(call.id, planned.row, call.variants, price * len(call.variants), self._callbacks)

    def _order_of(self, facts: CallFacts, row: Row) -> Order:
        intent = facts.intent
        assert intent is not None  # noqa: S101 - asked for by the callers
        return Order(
            facts.call,
            row,
            intent.variants,
            intent.credits,
            self._callbacks,
            intent.parent,
            intent.round,
            intent.fruitless,
            fallback_model="" if intent.model == row.model else intent.model,
        )


def top_up_order(order: Order, top_up: TopUp) -> Order:
    """The order for what a call did not bring: a child with an id of its own, paid from its parent's reserve."""
    return replace(
        order,
        call=top_up_id(top_up.parent, top_up.round),
        variants=top_up.variants,
        credits=order.credits / order.n * len(top_up.variants),
        parent=top_up.parent,
        round=top_up.round,
        fruitless=top_up.fruitless,
    )


def _goes_on(facts: CallFacts) -> bool:
    """Whether a call that was begun is unfinished: a top-up that was free belongs to its parent's chain alone."""
    if facts.intent is None:
        return False
    free_top_up = facts.stage is Stage.UNBOUGHT and bool(facts.intent.parent)
    return facts.stage in _UNFINISHED or missing(facts) is not None or free_top_up


def _row_of(intent: Intent) -> Row:
    """A row that the plan no longer has, as far as its purchase recorded it."""
    return Row(
        job=intent.job,
        identity="",
        name=intent.row,
        label=intent.label,
        prompt="",
        variables={},
        model=intent.model,
        size="",
        quality=intent.kind.quality,
        priority="",
        references=(),
        grouping=Grouping.SET,
        variants=len(intent.variants),
    )
