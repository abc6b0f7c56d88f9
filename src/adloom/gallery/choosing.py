"""The images of an edition to choose from: every take that has an image, and what was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from adloom.channels.shipped import shipped_channels
from adloom.core.channel import Channel
from adloom.core.crop import Focus
from adloom.core.decision import Decision, Verdict
from adloom.core.delivery import AUTO, NOTHING_WANTED, Wanted, settings_from_json
from adloom.core.errors import InputError, RecordUnreadable
from adloom.core.manifest import lines_of_takes
from adloom.core.origin import Origin
from adloom.core.outcomes import Outcomes, Status
from adloom.core.planned import Variant
from adloom.core.pricing import kind_of, price_of
from adloom.gallery.view import IMAGES_PER_PAGE, is_shown
from adloom.ledger.decisions import Decisions, read_facts
from adloom.ledger.edition import Edition, from_json
from adloom.ledger.ledger import Ledger
from adloom.plan.revision import planned_rows, read_newest
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
    revision = await read_newest(store, edition)
    if revision is None:
        raise InputError(
            f"{store.address}/{edition.prefix.rstrip('/')} holds no plan, so there is nothing to choose from",
            remedy="Run the campaign first: adloom run <campaign file>.",
        )
    known = Outcomes(ledger.facts, ledger.calls())
    decisions = await read_facts(store, edition)
    standing = decisions.standing
    found: list[Candidate] = []
    proposes = False
    async for planned in planned_rows(store, edition, revision):
        if not is_shown(planned, known, all_fit=revision.wanted <= IMAGES_PER_PAGE):
            continue
        price = price_of(kind_of(planned.row), revision.prices)
        latest = {variant.key for variant in planned.variants}
        shared = planned.row.shared
        proposes = proposes or planned.row.delivery.focus == AUTO
        for variant, line in lines_of_takes(planned, known, standing):
            if variant.number > shared:  # the others are an earlier row's
                found.append(
                    Candidate(
                        variant,
                        line,
                        price,
                        variant.key in latest,
                        planned.row.label,
                        planned.row.prompt,
                        planned.row.delivery,
                    )
                )
    return Choosing(
        edition,
        revision.edition_token,
        revision.origin,
        tuple(found),
        decisions,
        {**shipped_channels(), **settings_from_json(revision.delivery).channels},
        await _proposed(store, edition) if proposes else {},
    )


async def _proposed(store: Store, edition: Edition) -> dict[str, Focus]:
    """What the delivery in the edition's folder proposed; empty where there is none, or none that can be read."""
    content = await store.read(edition.key("delivery/delivery.jsonl"))
    try:
        lines = [from_json(line, "delivery.jsonl") for line in (content or b"").splitlines()]
    except RecordUnreadable:
        return {}
    found = [line for line in lines if line.get("focus_source") == AUTO and line.get("focus")]
    return {line["master"]["key"]: Focus(*line["focus"]) for line in found}
