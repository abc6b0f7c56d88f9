"""What became of each wanted image, derived from the facts of all calls.

A variant may have been asked for by several calls: its first one, then top-ups for what that one did not bring. An
archived image beats everything; otherwise the latest round speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from functools import reduce
from typing import TypeAlias

from adloom.core.ended import Ended
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
    came_back: bool = False
    """Whether its task read failed before it was completed after all."""


@dataclass(frozen=True, slots=True)
class TopUp:
    """What a call leaves to be asked for again: the variants and the place in the chain of rounds."""

    parent: str
    round: int
    fruitless: int
    """Calls of the chain in a row, up to the parent, that brought no image."""
    variants: tuple[Variant, ...]


AT_HAND = 64
"""Variants of one row are consecutive, so few calls are looked up at a time."""

FRUITLESS_CALLS = 2
"""A call that brings nothing is asked for once more; after the second its variants are short."""


def outcomes(calls: Iterable[CallFacts]) -> dict[str, Outcome]:
    """The outcome of every variant that any call asked for, by variant key."""
    found: dict[str, _End] = {}
    shared: dict[str, str] = {}
    for facts in sorted(calls, key=lambda facts: facts.call):
        shared |= _shared_tasks(facts)
        for key, end in _ends(facts).items():
            found[key] = _better(found.get(key), end)
    return {key: _flagged(outcome, shared.get(outcome.task, "")) for key, (_, outcome) in found.items()}


def outcomes_in_short(calls: Iterable[CallFacts | Ended]) -> dict[str, Outcome]:
    """The same without images, charges, tasks and reasons: 0.3 kB a variant, which is all that planning needs.

    The facts are gone through once; their calls come in the order of their ids.
    """
    found: dict[str, _End] = {}
    for facts in calls:
        if isinstance(facts, Ended):
            archived = (_ARCHIVED_RANK, Outcome(Status.ARCHIVED, covered=True, call=facts.call, attempt=1))
            for key in facts.variants:
                found[key] = _better(found.get(key), archived)
            continue
        for key, (rank, end) in _ends(facts).items():
            short = Outcome(end.status, end.covered, end.call, end.attempt, change=end.change, came_back=end.came_back)
            found[key] = _better(found.get(key), (rank, short))
    return {key: outcome for key, (_, outcome) in found.items()}


_ARCHIVED_RANK = 1_000_000

_End: TypeAlias = tuple[int, Outcome]
"""What one call came to for a variant, and the rank by which it beats other calls for it."""


DOUBT = "may have been bought twice"


def _ends(facts: CallFacts) -> dict[str, _End]:
    if (intent := facts.intent) is None:
        return {}
    changes = {variant.key: variant.change for variant in intent.variants if variant.change}
    doubt = DOUBT if facts.doubtful else ""
    return {
        key: (
            _ARCHIVED_RANK if outcome.status is Status.ARCHIVED else intent.round,
            _also(replace(outcome, change=changes[key]) if key in changes else outcome, doubt),
        )
        for key, outcome in _call_outcomes(facts, intent).items()
    }


def _better(former: _End | None, later: _End) -> _End:
    """Of two calls, the latter by its id, the one that speaks: of equals the one that nobody can tell about."""
    if former is None or later[0] > former[0]:
        return later
    is_held = former[1].covered and former[1].status is Status.HELD
    return later if later[0] == former[0] and later[1].covered and not is_held else former


def _shared_tasks(facts: CallFacts) -> dict[str, str]:
    return {disowned.task: facts.call for attempt in facts.attempts for disowned in attempt.disowned}


class Outcomes(Mapping[str, Outcome]):
    """The same as ``outcomes``, each derived when it is asked for: of 100,000 calls only their variants stay in memory.

    ``facts_of`` tells the facts of a call, which must not change meanwhile, and ``ended`` those calls in short that
    need no facts until they are asked for. ``also`` is given the one or the other of every call once.
    """

    def __init__(
        self,
        facts_of: Callable[[str], CallFacts],
        calls: Iterable[str],
        also: Callable[[CallFacts | Ended], None] = lambda _: None,
        ended: Callable[[str], Ended | None] = lambda _: None,
    ) -> None:
        self._facts_of = facts_of
        self._shared: dict[str, str] = {}
        self._calls: dict[str, tuple[str, ...]] = {}
        self._derived: dict[str, dict[str, _End]] = {}
        for call in sorted(calls):
            if (short := ended(call)) is not None:
                also(short)
                for key in short.variants:
                    self._calls[key] = (*self._calls.get(key, ()), call)
                continue
            facts = facts_of(call)
            also(facts)
            self._shared |= _shared_tasks(facts)
            for variant in facts.intent.variants if facts.intent else ():
                self._calls[variant.key] = (*self._calls.get(variant.key, ()), call)

    def __getitem__(self, key: str) -> Outcome:
        _, best = reduce(_better, (self._ends_of(call)[key] for call in self._calls[key]))
        return _flagged(best, self._shared.get(best.task, ""))

    def _ends_of(self, call: str) -> dict[str, _End]:
        """The ends of a call's variants; those of the calls asked about last are at hand."""
        if call not in self._derived:
            if len(self._derived) >= AT_HAND:
                self._derived.clear()
            self._derived[call] = _ends(self._facts_of(call))
        return self._derived[call]

    def calls_of(self, key: str) -> tuple[str, ...]:
        """The calls that asked for a variant, in order."""
        return self._calls.get(key, ())

    def __iter__(self) -> Iterator[str]:
        return iter(self._calls)

    def __len__(self) -> int:
        return len(self._calls)

    def __contains__(self, key: object) -> bool:
        return key in self._calls


def _flagged(outcome: Outcome, other: str) -> Outcome:
    """Say of an outcome that another call, if any, was answered with its task too: a person should look at both."""
    return _also(outcome, f"the API answered call {other} with its task too" if other else "")


def _also(outcome: Outcome, said: str) -> Outcome:
    """An outcome with one more reason, if there is one."""
    return replace(outcome, reason="; ".join(filter(None, (outcome.reason, said)))) if said else outcome


def missing(facts: CallFacts) -> TopUp | None:
    """What a finished call leaves to be asked for again; None when nothing is, or when asking again is pointless."""
    return shortfall(facts) if facts.stage is Stage.ARCHIVED else None


def shortfall(facts: CallFacts) -> TopUp | None:
    """What will be ``missing`` once the images that a finished call shows are fetched."""
    intent = facts.intent
    if intent is None or facts.stage not in (Stage.COMPLETED, Stage.ARCHIVED):
        return None
    fruitless = 0 if facts.latest.links else intent.fruitless + 1
    absent = intent.variants[facts.latest.images_paid :]  # what is billed and was never shown is not a shortfall
    if not absent or fruitless >= FRUITLESS_CALLS or facts.charged_in_vain is not None:
        return None
    return TopUp(facts.call, intent.round + 1, fruitless, absent)


def stands_for(facts: CallFacts, variants: Collection[str]) -> bool:
    """Whether a call has asked for one of these variants, by key, so that no other call may."""
    return any(end.covered for key, (_, end) in _ends(facts).items() if key in variants)


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
    settled = attempt.settled or (attempt.last_refusal if stage is Stage.REFUSED else None)
    settled_reason = settled.reason if settled else ""
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
    paid = Outcome(
        Status.OPEN,
        covered=True,
        call=facts.call,
        attempt=attempt.number,
        task=task,
        model=intent.model,
        came_back=attempt.failed is not None,
    )
    for index, variant in enumerate(intent.variants):
        image = by_index.get(index)
        if index >= len(links):
            status, reason = _unseen(facts, index, len(intent.variants), goes_on=goes_on)
            result[variant.key] = replace(paid, status=status, reason=reason)
        elif image is None:
            result[variant.key] = replace(paid, status=Status.OPEN, reason="paid, not fetched yet", credits=share)
        else:
            status = Status.ARCHIVED if image.fate is ImageFate.ARCHIVED else Status.FAILED
            result[variant.key] = replace(paid, status=status, reason=image.reason, credits=share, image=image)
    return result


def _unseen(facts: CallFacts, index: int, asked: int, *, goes_on: bool) -> tuple[Status, str]:
    """The end so far of a variant that its completed task shows no image for."""
    attempt = facts.latest
    shown, paid = len(attempt.links), attempt.images_paid
    if facts.stage is Stage.UNSHOWN:
        status = Status.HELD if attempt.stuck else Status.OPEN
        made = f"{paid} images are billed" if paid > shown else "its charge is not known"
        found = f"task {attempt.task} is completed and shows {shown} of {asked} images"
        return status, f"{found}; {made}, so it is read again"
    if index < paid:
        return (
            Status.FAILED,
            f"billed, never shown: task {attempt.task} shows {shown} of {paid} images that it charged for",
        )
    if (failed := facts.charged_in_vain) is not None:
        return Status.FAILED, f"task {failed.task} for it failed and its charge was kept"
    status = Status.OPEN if goes_on or facts.stage is Stage.COMPLETED else Status.SHORT
    return status, f"the API made {paid} of {asked} images"
