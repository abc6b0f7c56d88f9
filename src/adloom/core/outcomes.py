"""What became of each wanted image, derived from the facts of all calls.

A variant may have been asked for by several calls: its first one, then top-ups for what that one did not bring. An
archived image beats everything; otherwise the latest round speaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from adloom.core.facts import Attempt, CallFacts, Stage
from adloom.core.planned import Variant
from adloom.core.records import Image, ImageFate, Intent, Unknown


class Status(StrEnum):
    """How a variant ends: exactly one of these."""

    ARCHIVED = "archived"
    SHORT = "short"
    REFUSED = "refused"
    FAILED = "failed"
    HELD = "held"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one variant so far.

    ``covered`` is true while the ledger holds a purchase that may still bring the image or has settled it: the planner
    does not buy a covered variant. ``credits`` is its share of what its call was charged.
    """

    status: Status
    covered: bool
    call: str
    attempt: int
    task: str = ""
    image: Image | None = None
    credits: Decimal = Decimal(0)
    reason: str = ""
    model: str = ""
    """The model that its call was sent to."""
    change: str = ""
    """What the reviewer of the take before wished for, as its call's prompt has it."""


@dataclass(frozen=True, slots=True)
class TopUp:
    """What a call leaves to be asked for again: the variants and the place in the chain of rounds."""

    parent: str
    round: int
    fruitless: int
    """Calls of the chain in a row, up to the parent, that brought no image."""
    variants: tuple[Variant, ...]


FRUITLESS_CALLS = 2
"""A call that brings nothing is asked for once more; after the second its variants are short."""


def outcomes(calls: Iterable[CallFacts]) -> dict[str, Outcome]:
    """The outcome of every variant that any call asked for, by variant key."""
    found: dict[str, tuple[int, Outcome]] = {}
    shared: dict[str, str] = {}
    for facts in sorted(calls, key=lambda facts: facts.call):
        shared |= {disowned.task: facts.call for attempt in facts.attempts for disowned in attempt.disowned}
        if (intent := facts.intent) is None:
            continue
        changes = {variant.key: variant.change for variant in intent.variants if variant.change}
        for key, outcome in _call_outcomes(facts, intent).items():
            rank = 1_000_000 if outcome.status is Status.ARCHIVED else intent.round
            if key not in found or rank > found[key][0] or (rank == found[key][0] and outcome.covered):
                found[key] = (rank, replace(outcome, change=changes[key]) if key in changes else outcome)
    return {key: _flagged(outcome, shared.get(outcome.task, "")) for key, (_, outcome) in found.items()}


def _flagged(outcome: Outcome, other: str) -> Outcome:
    """Say of an outcome that another call, if any, was answered with its task too: a person should look at both."""
    said = f"the API answered call {other} with its task too"
    return replace(outcome, reason="; ".join(filter(None, (outcome.reason, said)))) if other else outcome


def missing(facts: CallFacts) -> TopUp | None:
    """What a finished call leaves to be asked for again; None when nothing is, or when asking again is pointless."""
    intent = facts.intent
    if intent is None or facts.stage is not Stage.ARCHIVED:
        return None
    fruitless = 0 if facts.latest.links else intent.fruitless + 1
    absent = intent.variants[facts.latest.images_paid :]  # what is billed and was never shown is no shortfall
    if not absent or fruitless >= FRUITLESS_CALLS:
        return None
    return TopUp(facts.call, intent.round + 1, fruitless, absent)


def _call_outcomes(facts: CallFacts, intent: Intent) -> Mapping[str, Outcome]:
    attempt = facts.latest
    stage = facts.stage
    task = attempt.task
    if stage in (Stage.UNSHOWN, Stage.COMPLETED, Stage.ARCHIVED):
        return _image_outcomes(facts, intent, attempt, task)
    status, covered, reason = _without_images(stage, attempt)
    covered = covered or bool(intent.parent)  # its parent asks for it again, so nobody else may
    outcome = Outcome(status, covered, facts.call, attempt.number, task, reason=reason, model=intent.model)
    return {variant.key: outcome for variant in intent.variants}


def _without_images(stage: Stage, attempt: Attempt) -> tuple[Status, bool, str]:  # noqa: PLR0911 - one line a stage
    settled_reason = attempt.settled.reason if attempt.settled else ""
    match stage:
        case Stage.REFUSED:
            return Status.REFUSED, True, settled_reason
        case Stage.FAILED:
            return Status.FAILED, True, settled_reason
        case Stage.UNKNOWN:
            return (
                Status.HELD,
                True,
                f"nobody can tell whether it was bought: {_first_unknown(attempt).reason}",
            )
        case Stage.ACCEPTED | Stage.FAILING if attempt.stuck is not None:
            return Status.HELD, True, attempt.stuck.reason
        case Stage.FAILING:
            return Status.OPEN, True, "its task has failed once, which is read again"
        case Stage.ACCEPTED:
            return Status.OPEN, True, "its task is running"
        case Stage.SENDING | Stage.WAITING:
            return Status.OPEN, True, "its purchase is under way"
        case _:
            return Status.OPEN, False, settled_reason


def _first_unknown(attempt: Attempt) -> Unknown:
    return attempt.open_unknowns[min(attempt.open_unknowns)]


def _image_outcomes(facts: CallFacts, intent: Intent, attempt: Attempt, task: str) -> dict[str, Outcome]:
    by_index = {image.index: image for image in attempt.images}
    links = attempt.links
    charged = attempt.completed.credits if attempt.completed else Decimal(0)
    share = (charged / attempt.images_paid).quantize(Decimal("0.000001")).normalize() if links else Decimal(0)
    result: dict[str, Outcome] = {}
    goes_on = missing(facts) is not None
    for index, variant in enumerate(intent.variants):
        if index >= len(links):
            status, reason = _unseen(facts, index, len(intent.variants), goes_on=goes_on)
            result[variant.key] = Outcome(
                status,
                covered=True,
                call=facts.call,
                attempt=attempt.number,
                task=task,
                reason=reason,
                model=intent.model,
            )
            continue
        image = by_index.get(index)
        status = _fates.get(image.fate, Status.FAILED) if image else Status.OPEN
        reason = image.reason if image else "paid, not fetched yet"
        result[variant.key] = Outcome(
            status,
            covered=True,
            call=facts.call,
            attempt=attempt.number,
            task=task,
            image=image,
            credits=share,
            reason=reason,
            model=intent.model,
        )
    return result


def _unseen(facts: CallFacts, index: int, asked: int, *, goes_on: bool) -> tuple[Status, str]:
    """The end so far of a variant that its completed task shows no image for."""
    attempt = facts.latest
    shown, paid = len(attempt.links), attempt.images_paid
    if facts.stage is Stage.UNSHOWN:
        status = Status.HELD if attempt.stuck else Status.OPEN
        made = f"{paid} images are billed" if paid > shown else "it does not tell its charge"
        return status, f"task {attempt.task} is completed and shows {shown} of {asked} images, {made}: it is read again"
    if index < paid:
        return (
            Status.FAILED,
            f"billed, never shown: task {attempt.task} shows {shown} of {paid} images that it charged for",
        )
    status = Status.OPEN if goes_on or facts.stage is Stage.COMPLETED else Status.SHORT
    return status, f"the API made {paid} of {asked} images"


_fates = {ImageFate.ARCHIVED: Status.ARCHIVED}
