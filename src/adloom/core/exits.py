"""Why a run ended, and the exit code that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from adloom.core.errors import AdloomError
from adloom.core.outcomes import Status


class StopReason(StrEnum):
    """What made a run stop buying."""

    INTERRUPTED = "interrupted"
    ACCOUNT = "account"
    OUTAGE = "outage"
    BUDGET = "budget"
    PRICE = "price"
    NEWER_PLAN = "newer plan"
    INPUT_CHANGED = "input changed"
    """A file that the campaign names is not the one that the run was planned with."""
    REFERENCES = "references"
    """The campaign had its references looked at, and the API could not use one of them."""
    UNFINISHED = "unfinished"
    UNCONFIRMED = "unconfirmed"
    """Nobody has agreed to the price."""
    OLDER_LEDGER = "older ledger"
    """The ledger knows less than the edition has said before."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A stop with its reason and what a person should know and do."""

    reason: StopReason
    message: str
    remedy: str = ""

    @classmethod
    def because(cls, reason: StopReason, error: AdloomError) -> Stop:
        """The stop that an error leads to, in the error's words."""
        return cls(reason, error.message, error.remedy)

    @classmethod
    def for_newer_plan(cls, newer: int, mine: int) -> Stop:
        """The stop of a run whose plan is not the newest revision."""
        message = f"plan revision {newer} of this edition exists; this run bought for {mine}"
        return cls(StopReason.NEWER_PLAN, message, "Run the newer campaign file; nothing is lost.")


@dataclass(slots=True)
class Sent:
    """Requests to buy that one run has sent: how many left this machine, and how many of these may have cost money."""

    left: int = 0
    may_have_cost: int = 0

    def __add__(self, other: Sent) -> Sent:
        return Sent(self.left + other.left, self.may_have_cost + other.may_have_cost)

    def told(self) -> dict[str, bool]:
        """The two answers that every command gives with ``--json``."""
        return {"request_left": self.left > 0, "money_may_have_moved": self.may_have_cost > 0}


EXIT_OK = 0
EXIT_UNEXPECTED = 1
EXIT_INPUT = 2
EXIT_INCOMPLETE = 3
EXIT_BUDGET = 4
EXIT_ACCOUNT = 5
EXIT_HELD = 6
EXIT_OUTAGE = 7
EXIT_INTERRUPTED = 130

_BY_STOP = {
    StopReason.INTERRUPTED: EXIT_INTERRUPTED,
    StopReason.ACCOUNT: EXIT_ACCOUNT,
    StopReason.OUTAGE: EXIT_OUTAGE,
    StopReason.BUDGET: EXIT_BUDGET,
    StopReason.PRICE: EXIT_BUDGET,
    StopReason.NEWER_PLAN: EXIT_OUTAGE,
    StopReason.INPUT_CHANGED: EXIT_INPUT,
    StopReason.REFERENCES: EXIT_INPUT,
    StopReason.UNFINISHED: EXIT_OUTAGE,
    StopReason.UNCONFIRMED: EXIT_INPUT,
    StopReason.OLDER_LEDGER: EXIT_INPUT,
}
_PRECEDENCE = (
    EXIT_INTERRUPTED,
    EXIT_ACCOUNT,
    EXIT_OUTAGE,
    EXIT_BUDGET,
    EXIT_INPUT,
    EXIT_HELD,
    EXIT_INCOMPLETE,
    EXIT_OK,
)


def exit_code(stops: tuple[Stop, ...], found: Mapping[Status, int], *, in_doubt: bool = False) -> int:
    """The code of a run that came to its end. ``found`` counts what it was for: what is open there is not done.

    ``in_doubt`` says that something in its edition may have been bought twice, which a person has to settle.
    """
    codes = {_BY_STOP[stop.reason] for stop in stops}
    if found.get(Status.OPEN) and not stops:
        codes.add(EXIT_OUTAGE)
    if found.get(Status.HELD) or in_doubt:
        codes.add(EXIT_HELD)
    if any(found.get(status) for status in (Status.SHORT, Status.REFUSED, Status.FAILED)):
        codes.add(EXIT_INCOMPLETE)
    return next((code for code in _PRECEDENCE if code in codes), EXIT_OK)


EXIT_REASONS = {
    EXIT_OK: "all archived",
    EXIT_UNEXPECTED: "unexpected error",
    EXIT_INPUT: "bad input",
    EXIT_INCOMPLETE: "some variants are short, refused or failed",
    EXIT_BUDGET: "stopped by the budget or by a price that moved",
    EXIT_ACCOUNT: "stopped by the account",
    EXIT_HELD: "some variants are held",
    EXIT_OUTAGE: "stopped by an outage",
    EXIT_INTERRUPTED: "interrupted",
}
