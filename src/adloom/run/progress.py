"""The progress of a run, counted as it goes rather than recounted on demand."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias

from adloom.core.ended import Ended
from adloom.core.facts import CallFacts, Money, money_of
from adloom.core.origin import UNKNOWN, Origin
from adloom.core.outcomes import Status, outcomes
from adloom.core.pricing import usd


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is. Money is in credits."""

    wanted: int
    archived: int
    ended: int
    calls: int
    """Calls that were bought, those of earlier runs included."""
    in_flight: int
    charged: Decimal
    reserved: Decimal
    cap: Decimal
    origin: Origin = UNKNOWN
    """Whose money it is."""

    @property
    def usd(self) -> Decimal:
        return usd(self.charged)


_Counted: TypeAlias = tuple[Money, int, int]
"""What a call costs, and how many of its images are archived and have ended."""


@dataclass(slots=True)
class Counts:
    """Images and money of all counted calls; a call counts in its latest state."""

    archived: int = 0
    ended: int = 0
    money: Money = field(default_factory=Money)
    _by_call: dict[str, _Counted] = field(default_factory=dict)
    _alike: dict[_Counted, _Counted] = field(default_factory=dict)
    """Most calls come to the same, which is kept once."""

    @property
    def calls(self) -> int:
        return len(self._by_call)

    def update(self, facts: CallFacts | Ended, *, is_stray: bool = False) -> None:
        """Count a call, replacing its former state. Of a stray only the money counts: nobody waits for its images."""
        if isinstance(facts, Ended):
            archived = ended = len(facts.variants)
            money = Money(charged=facts.credits)
        else:
            ends = [outcome.status for outcome in outcomes([facts]).values()]
            archived, ended = ends.count(Status.ARCHIVED), sum(1 for end in ends if end is not Status.OPEN)
            money = money_of(facts)
        old_money, old_archived, old_ended = self._by_call.get(facts.call, (Money(), 0, 0))
        if is_stray:
            archived, ended = old_archived, old_ended
        counted = (money, archived, ended)
        self._by_call[facts.call] = self._alike.setdefault(counted, counted)
        self.archived += archived - old_archived
        self.ended += ended - old_ended
        self.money += money - old_money
