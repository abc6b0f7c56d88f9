"""The images of an edition to choose from: every take that has an image, and what was decided."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Self

from adloom.channels.shipped import shipped_channels
from adloom.core.channel import Channel
from adloom.core.crop import Focus
from adloom.core.decision import Decision, Verdict
from adloom.core.delivery import AUTO, NOTHING_WANTED, Wanted, settings_from_json
from adloom.core.errors import InputError, RecordUnreadable
from adloom.core.manifest import lines_of_takes
from adloom.core.order import Order
from adloom.core.origin import Origin
from adloom.core.outcomes import Outcome, Outcomes, Status, outcomes
from adloom.core.planned import PlannedRow, Variant
from adloom.core.pricing import kind_of, price_of
from adloom.gallery.view import IMAGES_PER_PAGE, is_shown
from adloom.ledger.decisions import Decisions, read_facts
from adloom.ledger.edition import Edition, from_json
from adloom.ledger.ledger import Ledger
from adloom.plan.revision import Revision, planned_rows, read_newest
from adloom.ports import Store

Place = tuple[str, str, int, int]
"""Job, row, variant and take: how people refer to an image."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One wanted variant and take. ``line`` is its line of ``assets.jsonl``; ``price`` is a next take's, in credits."""

    variant: Variant
    line: Mapping[str, Any]
    price: Decimal
    is_latest: bool
    label: str
    """The readable part of its row's name."""
    prompt: str
    """Its row's own, without the change of a later take."""
    wanted: Wanted = NOTHING_WANTED
    """Where its row's images go."""

    @property
    def place(self) -> Place:
        return (self.line["job"], self.line["row"], self.variant.number, self.variant.take)

    @property
    def has_image(self) -> bool:
        return bool(self.line["status"] == Status.ARCHIVED)

    def __str__(self) -> str:
        take = f", take {self.variant.take}" if self.variant.take > 1 else ""
        return f"{self.line['job']}/{self.line['row']}, variant {self.variant.number}{take}"


@dataclass(frozen=True, slots=True)
class Choosing:
    """An edition with everything that was decided about its images; candidates in plan order."""

    edition: Edition
    edition_token: str
    """Distinguishes this edition from others of its name in other archives."""
    origin: Origin
    candidates: tuple[Candidate, ...]
    decisions: Decisions
    channels: Mapping[str, Channel] = field(default_factory=dict)
    """The channels that are known here, the campaign's own among them."""
    shared: Mapping[Place, str] = field(default_factory=dict)
    """The lines of ``assets.jsonl`` that name an earlier row's image, with that image's key."""
    proposed: Mapping[str, Focus] = field(default_factory=dict)
    """The focus that the last delivery proposed for images whose rows leave it to adloom, by the image's key."""

    @property
    def standing(self) -> Mapping[str, Decision]:
        return self.decisions.standing

    def verdict(self, candidate: Candidate, standing: Mapping[str, Decision]) -> Verdict:
        """The current decision on an image; cleared if there is none."""
        decision = standing.get(candidate.variant.key)
        return decision.verdict if decision else Verdict.CLEARED

    @property
    def waiting(self) -> int:
        """Archived images, of each variant the latest take, that wait for a decision."""
        standing = self.standing
        return sum(
            each.is_latest and each.has_image and self.verdict(each, standing) is Verdict.CLEARED
            for each in self.candidates
        )

    @property
    def to_replace(self) -> tuple[Candidate, ...]:
        """Rejected images whose next take a run for rejected ones would buy."""
        standing = self.standing
        return tuple(
            each
            for each in self.candidates
            if each.is_latest and each.has_image and self.verdict(each, standing) is Verdict.REJECTED
        )


async def read_choosing(store: Store, edition: Edition, ledger: Ledger) -> Choosing:
    """Read what there is to choose from; ``ledger`` is loaded already.

    If the edition fills more than one page, rows for which nothing was bought yet are left out. Raises InputError when
    the edition has no plan yet.
    """
    reading = await Reading.begin(store, edition, ledger)
    found = tuple([each async for each in reading.candidates()])
    return replace(reading.frame, candidates=found, shared=reading.shared, proposed=await reading.proposed())


@dataclass(slots=True)
class Reading:
    """The same for whom one candidate at a time is enough: all of 100,000 take a quarter of a gigabyte."""

    store: Store
    frame: Choosing
    """Everything but the candidates and what was proposed for them."""
    _revision: Revision
    _known: Outcomes
    shared: dict[Place, str] = field(default_factory=dict)
    """As in ``Choosing``, of the rows that were read so far."""
    _proposes: bool = False

    @classmethod
    async def begin(cls, store: Store, edition: Edition, ledger: Ledger) -> Self:
        """Raises as ``read_choosing`` does."""
        revision = await read_newest(store, edition)
        if revision is None:
            raise InputError(
                f"{store.address}/{edition.prefix.rstrip('/')} holds no plan, so there is nothing to choose from",
                remedy="Run the campaign first: adloom run <campaign file>.",
            )
        known = Outcomes(ledger.facts, ledger.calls(), ended=ledger.ended)
        return cls(store, _frame(edition, revision, await read_facts(store, edition)), revision, known)

    async def candidates(self) -> AsyncIterator[Candidate]:
        """In plan order."""
        edition, standing = self.frame.edition, self.frame.standing
        async for planned in planned_rows(self.store, edition, self._revision):
            if is_shown(planned, self._known, all_fit=self._revision.wanted <= IMAGES_PER_PAGE):
                self._proposes = self._proposes or planned.row.delivery.focus == AUTO
                self.shared |= _shared(planned, self._known, standing)
                for each in _candidates(planned, self._known, standing, self._revision):
                    yield each

    async def proposed(self) -> dict[str, Focus]:
        """What the last delivery proposed for the candidates, once all are read."""
        return await _proposed(self.store, self.frame.edition) if self._proposes else {}


async def choosing_of_latest(store: Store, ledger: Ledger, revision: Revision, orders: Iterable[Order]) -> Choosing:
    """What some orders of a plan brought, in their order. What it costs depends on them alone, not on the edition.

    Images of other rows that an order bought as well are left out.
    """
    found: list[Candidate] = []
    own: list[tuple[PlannedRow, Mapping[str, Outcome]]] = []
    for order in orders:
        variants = tuple(variant for variant in order.variants if variant.owner is None)
        own.append((PlannedRow(order.row, variants, ()), outcomes([ledger.facts(order.call)])))
    keys = {variant.key for planned, _ in own for variant in planned.variants}
    frame = _frame(ledger.edition, revision, await read_facts(store, ledger.edition, variants=keys))
    standing = frame.standing
    for planned, known in own:
        found += [each for each in _candidates(planned, known, standing, revision) if each.has_image]
    return replace(frame, candidates=tuple(found))


def _frame(edition: Edition, revision: Revision, decisions: Decisions) -> Choosing:
    channels = {**shipped_channels(), **settings_from_json(revision.delivery).channels}
    return Choosing(edition, revision.edition_token, revision.origin, (), decisions, channels)


def _candidates(
    planned: PlannedRow, known: Mapping[str, Outcome], standing: Mapping[str, Decision], revision: Revision
) -> Iterator[Candidate]:
    row = planned.row
    price = price_of(kind_of(row), revision.prices)
    latest = {variant.key for variant in planned.variants}
    for variant, line in lines_of_takes(planned, known, standing):
        if variant.number > row.shared:  # the others are an earlier row's
            yield Candidate(variant, line, price, variant.key in latest, row.label, row.prompt, row.delivery)


def _shared(
    planned: PlannedRow, known: Mapping[str, Outcome], standing: Mapping[str, Decision]
) -> Iterator[tuple[Place, str]]:
    if planned.row.shared:
        for variant, line in lines_of_takes(planned, known, standing):
            if variant.number <= planned.row.shared:
                yield (line["job"], line["row"], variant.number, variant.take), variant.key


async def _proposed(store: Store, edition: Edition) -> dict[str, Focus]:
    """What the delivery in the edition's folder proposed; empty where there is none, or none that can be read."""
    content = await store.read(edition.key("delivery/delivery.jsonl"))
    try:
        lines = [from_json(line, "delivery.jsonl") for line in (content or b"").splitlines()]
    except RecordUnreadable:
        return {}
    found = [line for line in lines if line.get("focus_source") == AUTO and line.get("focus")]
    return {line["master"]["key"]: Focus(*line["focus"]) for line in found}
