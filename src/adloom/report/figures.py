"""The figures of a report, pure: counts calls and images into groups, each of which adds up to the whole.

Every purchase belongs to exactly one group of each kind, so the money of any kind of group sums to what the ledger
says, to the last credit. Unknown figures are never guessed: reserved and at-risk money are listed apart, and a cost per
approved image is unknown where nothing is approved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median
from typing import Any, NamedTuple

from adloom.core.campaign import flat
from adloom.core.decision import Decision, Verdict
from adloom.core.facts import CallFacts, Money, money_of
from adloom.core.outcomes import Status

NONE = "(none)"
UNPLANNED = "(no longer planned)"
LOST = "(records lost)"
"""Purchases whose records a person declared lost: their cost is known, their purpose is not."""
MOST_VALUES = 50
"""A variable with more values than this is not an axis to compare."""
REASONS = 5


class Group(NamedTuple):
    """What a line of the report is about: a kind, such as ``job`` or ``axis colour``, and which one."""

    kind: str
    name: str


@dataclass(slots=True)
class Figures:
    """The figures of one group. Money is in credits; ``money.reserved`` and ``money.at_risk`` may still be charged."""

    calls: int = 0
    money: Money = field(default_factory=Money)
    found: Counter[Status] = field(default_factory=Counter)
    """Wanted images, of each variant the latest take."""
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    """Archived images of all takes by what was decided; cleared are those that wait."""
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    """For each call, from its purchase to its result."""

    @property
    def wanted(self) -> int:
        return self.found.total()

    @property
    def images(self) -> int:
        """Archived images of all takes."""
        return self.verdicts.total()

    @property
    def approval(self) -> Decimal | None:
        """The approved share of what was decided; None before the first decision."""
        decided = self.verdicts[Verdict.APPROVED] + self.verdicts[Verdict.REJECTED]
        return Decimal(self.verdicts[Verdict.APPROVED]) / decided if decided else None

    @property
    def credits_per_approved(self) -> Decimal | None:
        """Everything charged, per approved image; None if unknown."""
        approved = self.verdicts[Verdict.APPROVED]
        return self.money.charged / approved if approved else None

    @property
    def credits_per_image(self) -> Decimal | None:
        return self.money.charged / self.images if self.images else None

    @property
    def seconds_per_call(self) -> float | None:
        return median(self.seconds) if self.seconds else None

    def rate(self, status: Status) -> Decimal | None:
        """The share of the wanted images that ended like this."""
        return Decimal(self.found[status]) / self.wanted if self.wanted else None


@dataclass(slots=True)
class Report:
    """The groups of one kind of money. ``sandbox`` money is never added to any other."""

    sandbox: bool
    groups: dict[Group, Figures] = field(default_factory=dict)

    def of(self, group: Group) -> Figures:
        """A group's figures, to count into."""
        return self.groups.setdefault(group, Figures())

    @property
    def total(self) -> Figures:
        return self.of(Group("total", ""))

    def kinds(self) -> list[str]:
        """The kinds of groups, the whole first, in the order in which they were met."""
        return list(dict.fromkeys(group.kind for group in self.groups))

    def lines(self, kind: str) -> list[tuple[str, Figures]]:
        """The groups of a kind, the most expensive first."""
        found = [(group.name, figures) for group, figures in self.groups.items() if group.kind == kind]
        return sorted(found, key=lambda line: (-line[1].money.charged, line[0]))


def axes_of(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The variables that an edition's rows differ in, from their ``vars``."""
    values: dict[str, set[str]] = {}
    for variables in rows:
        for name, value in flat(variables):
            known = values.setdefault(name, set())
            if len(known) <= MOST_VALUES:
                known.add(value)
    return tuple(name for name, known in values.items() if 1 < len(known) <= MOST_VALUES)


@dataclass(slots=True)
class Counting:
    """Counts one edition into a report. ``variables`` are those of each planned row, by job and name."""

    report: Report
    campaign: str
    edition: str
    axes: tuple[str, ...]
    variables: Mapping[tuple[str, str], Mapping[str, str]]

    def add_call(self, facts: CallFacts) -> None:
        """Count what a call cost and how long it took. A call that bought nothing is passed over."""
        intent, money = facts.intent, money_of(facts)
        if intent is None or not any(attempt.sends for attempt in facts.attempts):
            return
        seconds = [
            (attempt.completed.time - attempt.intent.time).total_seconds()
            for attempt in facts.attempts
            if attempt.completed is not None and attempt.intent is not None
        ]
        for group in self._groups(intent.job, intent.row, intent.model):
            figures = self.report.of(group)
            figures.calls += 1
            figures.money += money
            figures.seconds += seconds

    def add_loss(self, charged: Decimal) -> None:
        """Count what purchases cost whose records are lost."""
        for group in self._named(LOST, dict.fromkeys(self.axes, LOST), LOST):
            self.report.of(group).money += Money(charged=charged)

    def add_image(self, line: Mapping[str, Any], decision: Decision | None, *, is_latest: bool) -> None:
        """Count a line of ``assets.jsonl``."""
        status = Status(line["status"])
        for group in self._groups(line["job"], line["row"], line["model"]):
            figures = self.report.of(group)
            if is_latest:
                figures.found[status] += 1
                if status in (Status.SHORT, Status.REFUSED, Status.FAILED, Status.HELD):
                    figures.reasons[f"{status}: {line['reason'] or 'no reason is known'}"] += 1
            if status is Status.ARCHIVED:
                figures.verdicts[decision.verdict if decision else Verdict.CLEARED] += 1

    def _groups(self, job: str, row: str, model: str) -> Iterable[Group]:
        known = self.variables.get((job, row))
        values = {axis: UNPLANNED if known is None else known.get(axis, NONE) for axis in self.axes}
        return self._named(job, values, model)

    def _named(self, job: str, values: Mapping[str, str], model: str) -> Iterable[Group]:
        yield Group("total", "")
        yield Group("campaign", self.campaign)
        yield Group("edition", f"{self.campaign}/{self.edition}")
        yield Group("job", f"{self.campaign}/{job}")
        yield Group("model", model)
        for axis, value in values.items():
            yield Group(f"axis {self.campaign}/{axis}", value)
