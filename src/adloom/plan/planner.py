"""The planner: from rows and what the archive already covers to the calls to buy. Pure.

For each row the wanted variants that no purchase covers are grouped into as few calls as the limits allow. What a
variant *is* does not depend on the grouping, so a changed phrase, profile or order buys nothing again. A plan may be
requested for a part: all rows are planned anyway, and the requested part is counted separately.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import groupby

from adloom.core.campaign import Prices, Row
from adloom.core.channel import ORIGINAL
from adloom.core.decision import Decision, Verdict
from adloom.core.identity import call_id, row_digest, variant_key
from adloom.core.limits import images_per_call
from adloom.core.outcomes import Outcome, Status
from adloom.core.packing import Packing, Repeats, Request, request_of
from adloom.core.planned import PlannedCall, PlannedRow, Variant
from adloom.core.pricing import Kind, kind_of, price_of
from adloom.core.selection import EVERYTHING, Again, Picker
from adloom.core.split import fewest_calls, split


@dataclass(slots=True)
class Saving:
    """What cutting one image for several channels saves."""

    images: int = 0
    credits: Decimal = Decimal(0)
    images_one_each: int = 0
    credits_one_each: Decimal = Decimal(0)
    """If every channel had an image of its own."""
    masters: set[tuple[str, str]] = field(default_factory=set)
    """Sizes and qualities."""
    channels: set[str] = field(default_factory=set)
    overlaps: bool = False
    """Whether a job has one channel from several sizes, so that nobody can say what is saved."""
    _sizes: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, row: Row, images: int, price: Decimal) -> None:
        """Count a row in, with all images that are wanted of it."""
        if not row.delivery.channels:
            return
        channels = [name for name in row.delivery.channels if name != ORIGINAL]
        if not channels:
            return
        self.images += images
        self.credits += images * price
        self.images_one_each += images * len(channels)
        self.credits_one_each += images * len(channels) * price
        self.masters.add((row.size, row.quality))
        self.channels.update(channels)
        self.overlaps |= any(self._sizes.setdefault((row.job, name), row.size) != row.size for name in channels)


@dataclass(slots=True)
class Totals:
    """The totals of a plan. ``found`` counts the wanted variants by what the archive already says about them."""

    rows: int = 0
    wanted: int = 0
    calls: int = 0
    floor: int = 0
    images: int = 0
    credits: Decimal = Decimal(0)
    dearest: Decimal = Decimal(0)
    dearest_call: Decimal = Decimal(0)
    images_by_kind: Counter[Kind] = field(default_factory=Counter)
    """Images to buy by what their price depends on."""
    new_takes: int = 0
    known_rows: int = 0
    found: Counter[Status] = field(default_factory=Counter)
    saving: Saving = field(default_factory=Saving)
    waiting: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Images that wait for approvals, by their job and the one whose images have to be approved."""

    def add(
        self, planned: PlannedRow, calls: Sequence[PlannedCall], kind: Kind, price: Decimal, floor: int | None = None
    ) -> None:
        """Count a row of a kind in, with these calls; ``floor`` is the fewest possible, where that is not its own."""
        sizes = [len(call.variants) for call in calls]
        images = sum(sizes)
        self.rows += 1
        self.wanted += len(planned.variants)
        self.calls += len(calls)
        self.floor += _fewest_calls(planned.row, images) if floor is None else floor
        self.images += images
        self.credits += images * price
        self.dearest = max(self.dearest, price)
        if sizes:
            self.dearest_call = max(self.dearest_call, max(sizes) * price)
        self.images_by_kind[kind] += images
        self.saving.add(planned.row, len(planned.variants), price)
        if name := planned.row.waits_for:
            self.waiting[planned.row.job, name] += len(planned.variants)


@dataclass(slots=True)
class Planner:
    """Plans rows one by one, so that a campaign of any length needs little memory.

    ``known`` holds the outcome of every variant that was ever asked for, by key, and ``decisions`` the current
    decisions about them. ``only`` are the outcomes, or the decision, that are wanted once more, as the next take, of
    the rows that ``picker`` takes. A take is no longer wanted once the next one has been requested, unless its failed
    task was completed after all before the next one was bought. ``totals`` is the whole plan; ``asked`` is the part
    that was asked for: the picked rows, with new takes alone where there is an ``only``. Both are complete once
    ``plan`` was read to its end. With ``asked_only`` the planned rows have no other calls than those asked for.
    """

    known: Mapping[str, Outcome]
    prices: Prices
    only: frozenset[Again] = frozenset()
    picker: Picker = field(default_factory=EVERYTHING.picker)
    asked_only: bool = False
    totals: Totals = field(default_factory=Totals)
    asked: Totals = field(default_factory=Totals)
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    packing: Packing | None = None
    repeats: Repeats = field(default_factory=Repeats)
    _price_of: dict[Kind, Decimal] = field(default_factory=dict)

    def plan(self, rows: Iterable[Row]) -> Iterator[PlannedRow]:
        """Plan every row. Raises SettingInvalid for a model whose price is not known."""
        is_asked_whole = self.picker.takes_all and not self.only
        for row in rows:
            picked = is_asked_whole or self.picker.takes(row)
            request = request_of(row, picked=picked)
            planned = self._packed(self._plan_row(row, self.only if picked else frozenset()), request)
            self.repeats.add(request)
            floor = self.packing.floor(request) if self.packing else None
            kind = kind_of(row)
            if (price := self._price_of.get(kind)) is None:
                price = self._price_of[kind] = price_of(kind, self.prices)
            self.totals.add(planned, planned.calls, kind, price, floor)
            if is_asked_whole:
                yield planned
                continue
            asked = tuple(call for call in planned.calls if picked and is_asked_for(call, self.only))
            if picked:
                self.asked.add(planned, asked, kind, price, floor)
            yield PlannedRow(row, planned.variants, asked) if self.asked_only else planned
        if is_asked_whole:
            self.asked = replace(self.totals, found=Counter())

    def packing_of(self, rows: Iterable[Row], fallback: Sequence[str], picker: Picker) -> Packing:
        """How rows that ask for the same share calls; to be asked for once ``plan`` was read to its end.

        ``picker`` is a new one, for the rows come again.
        """
        packing = Packing(fallback)
        for row in rows:
            picked = picker.takes(row)
            request = request_of(row, picked=picked)
            if request in self.repeats:
                planned = self._plan_row(row, self.only if picked else frozenset())
                calls = [call for call in planned.calls if call.variants[0].take == 1]
                packing.add(row, request, sum(len(call.variants) for call in calls), len(calls))
        return packing

    def _packed(self, planned: PlannedRow, request: Request) -> PlannedRow:
        """The row with the calls that it carries for itself and others."""
        if self.packing is None:
            return planned
        first_takes = [variant for call in planned.calls for variant in call.variants if variant.take == 1]
        packed = self.packing.pack(planned.row, request, first_takes)
        if packed is None:
            return planned
        calls = tuple(PlannedCall(call_id(variant.key for variant in members), members) for members in packed)
        retakes = tuple(call for call in planned.calls if call.variants[0].take > 1)
        return PlannedRow(planned.row, planned.variants, (*calls, *retakes))

    def _plan_row(self, row: Row, only: frozenset[Again]) -> PlannedRow:
        row_key = row_digest(row)
        if row.waits_for:
            numbers = range(1, row.variants + 1)
            return PlannedRow(row, tuple(Variant(variant_key(row_key, n), n, 1) for n in numbers), ())
        if not self.known:  # nothing was ever requested: by far the most rows are planned like this, often 100,000
            keys = [variant_key(row_key, number) for number in range(1, row.variants + 1)]
            variants = tuple([Variant(key, number, 1) for number, key in enumerate(keys, start=1)])
            return PlannedRow(row, variants, tuple(_calls(row, variants[row.shared :])))
        variants = tuple(self._variant(row_key, number, only) for number in range(1, row.variants + 1))
        outcomes = [self.known.get(variant.key) for variant in variants]
        self.totals.known_rows += any(outcome is not None for outcome in outcomes)
        self.totals.found.update(outcome.status for outcome in outcomes if outcome is not None and outcome.covered)
        wanted = [v for v, outcome in zip(variants, outcomes, strict=True) if not (outcome and outcome.covered)]
        own = [variant for variant in wanted if variant.number > row.shared]
        first_takes = [variant for variant in own if variant.take == 1]
        retakes = sorted((variant for variant in own if variant.take > 1), key=_change)  # apart: a run may be for these
        groups = [tuple(alike) for _, alike in groupby(retakes, key=_change)]  # a call has one prompt
        calls = (*_calls(row, first_takes), *(call for alike in groups for call in _calls(row, alike)))
        return PlannedRow(row, variants, calls)

    def _variant(self, row_key: str, number: int, only: frozenset[Again]) -> Variant:
        take = 1
        while variant_key(row_key, number, take + 1) in self.known:
            take += 1
        key = variant_key(row_key, number, take)
        outcome = self.known.get(key)
        if take > 1 and outcome is not None and not outcome.covered:
            former = self.known.get(former_key := variant_key(row_key, number, take - 1))
            if former is not None and former.covered and (former.came_back or former.status is Status.ARCHIVED):
                # asked for because the former take had failed, or was rejected: what is so today decides
                key, outcome, take = former_key, former, take - 1
        if outcome is None:
            return Variant(key, number, take)
        rejected = Verdict.REJECTED in only and outcome.status is Status.ARCHIVED and self._rejected(key)
        if rejected or (outcome.status in only and outcome.status is not Status.REFUSED):
            self.totals.new_takes += 1
            change = self.decisions[key].change if rejected else outcome.change
            return Variant(variant_key(row_key, number, take + 1), number, take + 1, change)
        return Variant(key, number, take, outcome.change)

    def _rejected(self, key: str) -> bool:
        return key in self.decisions and self.decisions[key].verdict is Verdict.REJECTED


def _change(variant: Variant) -> str:
    return variant.change


def is_asked_for(call: PlannedCall, only: frozenset[Again]) -> bool:
    """Whether a run buys this call of a row that it is for: one for certain outcomes buys new takes alone."""
    return not only or any(variant.take > 1 for variant in call.variants)


def _calls(row: Row, variants: Sequence[Variant]) -> Iterator[PlannedCall]:
    most = images_per_call(row.model)
    for members in split(variants, references=len(row.references), grouping=row.grouping, most=most):
        yield PlannedCall(call_id(variant.key for variant in members), members)


def _fewest_calls(row: Row, images: int) -> int:
    return fewest_calls(images, references=len(row.references), most=images_per_call(row.model))
