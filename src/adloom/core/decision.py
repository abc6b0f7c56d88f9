"""What people decide about images: approved, rejected or cleared, with stars, a note and a wish for the next take.

A decision *sets*, it never toggles. Each is a fact of its own, ``decisions/<variant key>/<time>-<writer>.json`` in the
edition, created once and never changed: ``{"schema": "adloom.decision/1", "variant", "decision", "stars", "note",
"change", "by", "time", "writer"}``, and ``focus`` (two fractions) where somebody moved
the point that every crop keeps. The fact with the latest time stands; of equal times, the one with the higher
writer. ``time`` is when the person decided, in UTC with microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from adloom.core.crop import Focus

SCHEMA = "adloom.decision/1"
FOLDER = "decisions/"
MOST_STARS = 5
MOST_CHARACTERS = 2000
"""Of a note or a change: as many as a whole prompt may have."""

_NAME = re.compile(r"decisions/([0-9a-f]{64})/(\d{8}T\d{6}\.\d{6}Z)-([0-9a-f]{16})\.json")
_HALF = re.compile("[\ud800-\udfff]")
_COMPACT = "%Y%m%dT%H%M%S.%fZ"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class Verdict(StrEnum):
    """What a decision says of an image; ``cleared`` takes an earlier one back."""

    APPROVED = "approved"
    REJECTED = "rejected"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True)
class Decision:
    """One decision about one image. ``stars`` are 0…5; ``change`` are words for the prompt of the next take."""

    variant: str
    """The variant's key, which names its take too."""
    verdict: Verdict
    stars: int = 0
    note: str = ""
    change: str = ""
    focus: Focus | None = None
    """The point that crops keep instead of the row's own; None leaves that to the row."""
    by: str = ""
    time: datetime = _LONG_AGO
    writer: str = ""
    """16 hex digits: who wrote the fact, a process or a file that was applied."""

    @property
    def key(self) -> str:
        """Where the fact is, relative to its edition."""
        return f"{FOLDER}{self.variant}/{self.time.astimezone(UTC).strftime(_COMPACT)}-{self.writer}.json"

    @property
    def said(self) -> tuple[object, ...]:
        """What was decided, without who and when."""
        return (self.verdict, self.stars, self.note, self.change, self.focus)

    @property
    def order(self) -> tuple[datetime, str]:
        """The decision with the highest one stands."""
        return (self.time, self.writer)

    def record(self) -> dict[str, Any]:
        """The fact as it is stored."""
        return {
            "schema": SCHEMA,
            "variant": self.variant,
            "decision": self.verdict.value,
            "stars": self.stars,
            "note": self.note,
            "change": self.change,
            **({"focus": list(self.focus)} if self.focus is not None else {}),
            "by": self.by,
            "time": self.time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "writer": self.writer,
        }


NOTHING_DECIDED: Mapping[str, Decision] = MappingProxyType({})


def decision_from(key: str, record: Mapping[str, Any]) -> Decision:
    """A stored fact. ``key`` is relative to the edition. Raises ValueError for one that is malformed or misnamed."""
    decision = Decision(
        variant=_text(record, "variant"),
        verdict=Verdict(_text(record, "decision")),
        stars=stars_of(record.get("stars", 0)),
        note=_text(record, "note"),
        change=_text(record, "change"),
        focus=_focus(record.get("focus")),
        by=_text(record, "by"),
        time=datetime.fromisoformat(_text(record, "time")),
        writer=_text(record, "writer"),
    )
    if record.get("schema") != SCHEMA or decision.time.tzinfo is None or decision.key != key:
        raise ValueError(f"{key} does not hold the decision that its name promises")
    return decision


def is_fact(key: str) -> bool:
    """Whether a key of an edition is the name of a decision."""
    return _NAME.fullmatch(key) is not None


def stars_of(value: object) -> int:
    """A number of stars. Raises ValueError for what is not a whole number from 0 to 5."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_STARS:
        raise ValueError(f"stars are a whole number from 0 to {MOST_STARS}")
    return value


def is_whole(text: str) -> bool:
    """Whether every character of a text is whole: half of a surrogate pair, which JSON may hold, cannot be stored."""
    return _HALF.search(text) is None


def standing(decisions: Iterable[Decision]) -> dict[str, Decision]:
    """The decision that stands, by variant key; a cleared one is among them."""
    found: dict[str, Decision] = {}
    for decision in decisions:
        if decision.variant not in found or decision.order > found[decision.variant].order:
            found[decision.variant] = decision
    return found


def conflicts(decisions: Iterable[Decision]) -> dict[str, tuple[Decision, ...]]:
    """The images of which the last words of different people contradict each other, the standing one first."""
    last: dict[str, dict[str, Decision]] = {}
    for decision in decisions:
        by_person = last.setdefault(decision.variant, {})
        if decision.by not in by_person or decision.order > by_person[decision.by].order:
            by_person[decision.by] = decision
    return {
        variant: tuple(sorted(people.values(), key=lambda each: each.order, reverse=True))
        for variant, people in last.items()
        if len({each.verdict for each in people.values() if each.verdict is not Verdict.CLEARED}) > 1
    }


def _focus(value: object) -> Focus | None:
    match value:
        case None:
            return None
        case [int() | float() as x, int() | float() as y] if 0 <= x <= 1 and 0 <= y <= 1:
            return Focus(float(x), float(y))
    raise ValueError("a focus is two fractions from 0 to 1")


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{name} is not text")  # noqa: TRY004 - a wrong record, not a wrong program
    return value
