"""Decides from the readings of a completed task whether it has shown all the images that it made.

An API can say *completed* before it shows every link, or any. So a reading is believed at once only where it shows all
that was asked for, or, in an answer about this task alone, all that is billed: a line of a batch can be a summary, with
the first link and the charge for that. What is neither shown nor billed was not made, and may be asked for again; what
is billed and not shown is read on, then held, and never bought again without a person.

A charge of 0 is also what a reading says before the charge is known. So it is no charge for images that are shown, and
where none is shown it is a bill once it is read twice.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from adloom.core.limits import LINKS_LIVE_S
from adloom.core.links import joined, show_the_same
from adloom.core.pricing import is_dearer
from adloom.core.task import Task, TaskState

SECOND_READING_S = 5.0
"""A second reading that money depends on never comes sooner after the first: a cache in between lives for seconds."""

SECOND_READING_INTERVALS = 3
"""Nor sooner than this many poll intervals (9 s at the default)."""

READ_ON_INTERVALS = 100
"""What is billed and not shown is read for this long (5 min at the default), then held; later runs look again."""

WHOLE_WITHIN = Decimal("0.1")
"""Our own: a bill further than this from a whole number of images is not a bill: something else is charged for."""


class Verdict(StrEnum):
    """What follows from the readings of a completed task."""

    FINAL = "final"
    """It shows all that it made."""
    READ_ON = "read on"
    HELD = "held"
    """It was read on for long enough: a later run looks again."""
    NEVER_SHOWN = "never shown"
    """Its links are dead by now, so what it has not shown is lost."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of a completed task: its links, at a time in seconds.

    ``is_own`` is true for an answer that was about this task alone: a line of a batch can be a summary. ``billed`` is
    how many images it was charged for, None if this answer does not tell.
    """

    at_s: float
    links: Collection[str]
    is_own: bool
    billed: int | None = None


def second_reading_after_s(interval_s: float) -> float:
    """How long after one reading another counts as a second one."""
    return max(SECOND_READING_S, SECOND_READING_INTERVALS * interval_s)


def ended_as(task: Task) -> Task:
    """A reading of a task; as completed where it ended otherwise, but shows images and was charged for them."""
    is_paid = task.charge_status == "charged" or (bool(task.credits_used) and not task.charge_status)
    if task.state in (TaskState.FAILED, TaskState.CANCELLED) and task.results and is_paid:
        return replace(task, state=TaskState.COMPLETED)
    return task


def told_charge(task: Task, *, shows: bool) -> Decimal | None:
    """The charge in credits that a reading tells, None if it tells none; ``shows``: images of the task are known."""
    if task.credits_used is None or task.charge_status in ("reserved", "unknown"):
        return None
    is_placeholder = shows and not task.credits_used and task.charge_status not in ("charged", "released")
    return None if is_placeholder else task.credits_used


def images_billed(used: Decimal | None, reserved: Decimal | None, n: int, extras: Decimal = Decimal(0)) -> int | None:
    """How many of ``n`` images a charge in credits pays for; None when it does not tell.

    ``reserved`` is what the API set aside for this very task, ``extras`` the part of the charge that is for no image.
    """
    if used is None or not reserved:
        return None
    images = (used - extras) / (reserved / n)
    whole = round(images)
    is_bill = (whole > 0 or not used) and abs(images - whole) <= WHOLE_WITHIN
    return min(whole, n) if is_bill else None


def billed_beyond(shown: int, used: Decimal | None, quoted: Decimal, n: int) -> int | None:
    """How many images a charge pays for at the price that the plan ``quoted``, if these are more than are ``shown``.

    It is the bill of a purchase whose answer nobody has heard. None otherwise, and for a charge above the quote.
    """
    if used is None or is_dearer(quoted, used):
        return None
    billed = images_billed(used, quoted, n) or 0
    return billed if billed > shown else None


def is_doubtful(used: Decimal | None, reserved: Decimal | None, quoted: Decimal, n: int, shown: int) -> bool:
    """Whether the only evidence of a shortfall is what the task shows, ``shown`` of ``n`` images.

    A purchase whose answer was lost has no ``reserved``, so its charge is a bill only for more than is shown, see
    ``billed_beyond``. One for exactly what is shown, at the price that the plan ``quoted``, is evidence all the same;
    one of 0, which may only mean that no charge is known yet, is not.
    """
    return reserved is None and (not used or images_billed(used, quoted, n) != shown)


def judge(  # noqa: PLR0913 - all that the decision rests on
    readings: Sequence[Reading],
    *,
    known: Collection[str],
    asked: int,
    billed: int | None,
    interval_s: float,
    now_s: float,
    ended_ago_s: float,
    doubtful: bool = False,
) -> Verdict:
    """Judge a completed task by its readings in this run, at least one, in their order.

    ``known`` are the links that the ledger has already, ``ended_ago_s`` is how long ago anybody first read that the
    task is completed. Where a shortfall is ``doubtful``, its second reading comes after as long a time as what is
    billed is read on for.
    """
    shown = joined(known, *(reading.links for reading in readings))
    is_nothing = billed == 0 and not shown
    patience_s = READ_ON_INTERVALS * interval_s
    if len(shown) >= asked:
        return Verdict.FINAL
    if billed is not None and len(shown) >= billed and not is_nothing:
        agreed = [each for each in readings if each.billed in (None, billed) and show_the_same(each.links, shown)]
        bills = any(each.is_own and each.billed == billed for each in agreed)
        if bills or _is_confirmed(agreed, shown, second_reading_after_s(interval_s)):
            return Verdict.FINAL
    if is_nothing or (billed is None and shown):
        evidence = [reading for reading in readings if reading.billed == 0] if is_nothing else readings
        if _is_confirmed(evidence, shown, patience_s if doubtful else second_reading_after_s(interval_s)):
            return Verdict.FINAL
        if now_s - readings[0].at_s < patience_s:
            return Verdict.READ_ON
    if ended_ago_s >= LINKS_LIVE_S:
        return Verdict.NEVER_SHOWN if any(reading.is_own for reading in readings) else Verdict.READ_ON
    return Verdict.HELD if ended_ago_s >= patience_s else Verdict.READ_ON


def _is_confirmed(readings: Sequence[Reading], shown: Collection[str], after_s: float) -> bool:
    """Whether two readings far enough apart show all that was ever shown, one of them being about this task alone."""
    alike = [reading for reading in readings if show_the_same(reading.links, shown)]
    pairs = ((first, second) for first in alike for second in alike if second.at_s - first.at_s >= after_s)
    return any(first.is_own or second.is_own for first, second in pairs)
