"""The ledger's facts, and the state of a call that follows from them.

A call's facts are create-once objects ``ledger/<call id>/<name>.json``; none is ever changed or deleted. ``<name>`` is
``a<attempt>-<what>``:

====================  =========  ===============================================================================
``a1-intent``         decision   ``bought`` by an owner, with the exact body, or ``withdrawn``: send number 1
``a1-send-2`` …       decision   the same for the next send under the same key; exists only behind a free answer.
                                 ``withdrawn`` behind a refusal that ends the attempt. With ``probe`` it repeats a
                                 purchase that has its answer, to see whether the API remembers the key
``a1-settled``        decision   ``free``, ``charged`` or ``released`` (by a person)
``a1-refused-<k>``    evidence   send k provably made no task, and why
``a1-unknown-<k>``    evidence   nobody can tell whether send k made a task. A probe writes it before it sends
``a1-accepted.<id>``  evidence   the API answered with this task; a second one for an attempt is kept and reported
``a1-disowned.<id>``  evidence   that task is another purchase's, so it counts as never accepted: see ``claims``
``a1-second.<id>``    evidence   what a second task of the attempt cost, and where its images are
``a1-completed``      evidence   the result links, in the one order that counts; fixed before the first download
``a1-completed-2`` …  evidence   what a later reading of the same task showed: links that are new come behind the others
``a1-failed``         evidence   the task read failed; what follows from that is settled by a second reading
``a1-held`` …         evidence   a run gave up on an unknown or stuck call; later runs try again. ``a1-held-2``: its
                                 task had turned up meanwhile, and a run gave up on that too
``a1-archived-<k>``   evidence   what became of links: archived, quarantined or lost; the weightiest word stands
====================  =========  ===============================================================================

A *decision* has one name with the outcome inside: whoever creates it has decided, everybody else reads it. *Evidence*
is additive and welcome from anyone: accepted supersedes unknown and held.

A ``completed`` record has ``links``, what they cost (``credits``, ``told`` by the API or estimated), how many images
are ``billed`` where that is known, and ``final``: false while the task may have made more than it shows (see
``core.results``). Records without the last two are final: what was not shown was not made.

Every record carries ``schema`` (``adloom.fact/1``), ``time`` (UTC), ``writer`` (the run's token) and ``written`` (that
run's count of records), so that no two records are equal. A newer schema is refused rather than guessed at. Only the
ledger holds result links.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum

from adloom.core.errors import RecordDamaged, RecordUnreadable
from adloom.core.identity import digest
from adloom.core.limits import LINKS_LIVE_S
from adloom.core.links import joined, mark
from adloom.core.records import (
    Accepted,
    Archived,
    Completed,
    Decided,
    Disowned,
    Failed,
    Held,
    Image,
    ImageFate,
    Intent,
    Record,
    RefusalKind,
    Refused,
    SecondTask,
    Settled,
    Unknown,
)

SCHEMA = "adloom.fact/1"

_NAME = re.compile(
    r"a(?P<attempt>\d+)-(?:(?P<single>intent|settled|completed|failed|held)"
    r"|(?P<counted>send|refused|unknown|archived|completed|held)-(?P<number>\d+)"
    r"|(?P<of_task>accepted|disowned|second)\.[A-Za-z0-9_-]+)"
)


_FOR_GOOD = (RefusalKind.REQUEST, RefusalKind.MODERATION)


@dataclass(slots=True)
class Attempt:
    """What the facts say about one attempt. Built by ``fold``, then only read."""

    number: int
    intent: Intent | None = None
    """None before anything was decided, and where the purchase was withdrawn before it was sent."""
    sends: int = 0
    """Decisions to send that were taken: 1 for the intent."""
    owner: str = ""
    """The writer of the latest decision to send."""
    last_sent_s: float = 0
    """When that decision was recorded, in seconds since 1970: a key may be sent again long after its intent."""
    repeats: frozenset[int] = frozenset()
    """Sends that repeated a purchase which had its answer: the probe's."""
    withdrawn: bool = False
    withdrawn_by: int = 0
    """The revision of the plan that withdrew the intent, 0 for none."""
    answered: dict[int, Refused] = field(default_factory=dict)
    """Refusals by send number."""
    unknown: dict[int, Unknown] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    accepted: Accepted | None = None
    completed: Completed | None = None
    """All that its completed task has shown, as one: the first reading's with the links of all, in their order."""
    completions: dict[int, Completed] = field(default_factory=dict)
    failed: Failed | None = None
    held: Held | None = None
    """The latest word that a run gave up on it."""
    held_facts: int = 0
    settled: Settled | None = None
    images: tuple[Image, ...] = ()
    """What became of images for good, by index: archived, or given up when their links had died."""
    archived: dict[int, Archived] = field(default_factory=dict)
    """What was recorded of images, by the record's number."""
    seconds: dict[str, SecondTask] = field(default_factory=dict)
    """Second tasks of the attempt and what they cost, by the name of the task."""
    disowned: tuple[Disowned, ...] = ()
    """Tasks that the API answered with and that are other purchases'."""

    @property
    def asked(self) -> int:
        """How many images it asked for; 0 where the intent is lost."""
        return len(self.intent.variants) if self.intent else 0

    @property
    def quoted(self) -> Decimal:
        """What all its images cost by the plan, in credits; 0 where the intent is lost."""
        return self.intent.credits if self.intent else Decimal(0)

    @property
    def archived_facts(self) -> int:
        """The number of the latest record on images, 0 for none."""
        return max(self.archived, default=0)

    @property
    def last_refusal(self) -> Refused | None:
        return self.answered.get(self.sends)

    @property
    def is_refused_for_good(self) -> bool:
        """Whether the same request would be refused again."""
        return self.last_refusal is not None and self.last_refusal.kind in _FOR_GOOD

    @property
    def open_unknowns(self) -> dict[int, Unknown]:
        """The unknown sends that no refusal has proven free since: whoever took them over was too early."""
        return {send: unknown for send, unknown in self.unknown.items() if send not in self.answered}

    @property
    def in_doubt(self) -> dict[int, Unknown]:
        """The unknown sends of an attempt with a task that may each have made one more, which nobody has found."""
        doubts = [send for send in sorted(self.open_unknowns) if send in self.repeats] if self.tasks else []
        return {send: self.unknown[send] for send in doubts[len(self.tasks) - 1 :]}

    @property
    def task(self) -> str:
        """The task that counts: whose links are fixed, else the first that was accepted; empty without one."""
        known = self.completed or self.accepted
        return known.task if known else ""

    @property
    def is_released_too_early(self) -> bool:
        """A person released the attempt, and then its task turned up after all: the task counts."""
        return bool(self.tasks) and self.settled is not None and self.settled.outcome is Decided.RELEASED

    @property
    def was_charged_in_vain(self) -> bool:
        """Whether its task failed and its charge was kept."""
        return self.completed is None and self.settled is not None and self.settled.outcome is Decided.CHARGED

    @property
    def was_given_up(self) -> bool:
        """Whether it counted as free, or was released, before its task was completed after all."""
        free = (Decided.FREE, Decided.RELEASED)
        return self.completed is not None and self.settled is not None and self.settled.outcome in free

    @property
    def stuck(self) -> Held | None:
        """Why a run gave up on the accepted task. What was held before the task turned up is superseded by it."""
        is_later = self.held and self.accepted and self.held.time >= self.accepted.time
        return self.held if is_later else None

    @property
    def is_held(self) -> bool:
        """Whether a run gave up on it as it is now."""
        return (self.stuck if self.accepted else self.held) is not None

    @property
    def links(self) -> tuple[str, ...]:
        return self.completed.links if self.completed else ()

    @property
    def readings(self) -> tuple[tuple[str, ...], ...]:
        """The links of each recorded reading of the completed task that counts; ``links`` has them joined."""
        return tuple(completed.links for completed in _of_one_task(self.completions))

    @property
    def shows_all(self) -> bool:
        """Whether its completed task has shown all that it made, or all that it ever will."""
        return self.completed is not None and self.completed.final

    @property
    def images_paid(self) -> int:
        """How many images its completed task made, as far as links and bill tell."""
        return max(len(self.links), (self.completed.billed if self.completed else 0) or 0)


class Stage(StrEnum):
    """How far the latest attempt of a call has come."""

    UNBOUGHT = "unbought"
    """No attempt, or the latest one is over and provably free: it may be bought (again)."""
    SENDING = "sending"
    """A send was decided and nothing is known of its answer: in flight, or its owner died."""
    WAITING = "waiting"
    """Every send so far was free and the attempt continues: the same key is sent again later."""
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    FAILING = "failing"
    """Its task read failed, and that is not settled: it is read again."""
    UNSHOWN = "unshown"
    """Its task is completed and may have made more images than it shows."""
    COMPLETED = "completed"
    """Links are fixed, some are not archived yet."""
    ARCHIVED = "archived"
    REFUSED = "refused"
    FAILED = "failed"
    RELEASED = "released"


_CAME_TO_NOTHING = frozenset({Stage.UNBOUGHT, Stage.WAITING, Stage.REFUSED, Stage.FAILED})


@dataclass(slots=True)
class CallFacts:
    """All that is known of one call."""

    call: str
    attempts: tuple[Attempt, ...]

    def attempt(self, number: int) -> Attempt:
        """The attempt of this number, which has a fact."""
        return next(attempt for attempt in self.attempts if attempt.number == number)

    @property
    def latest(self) -> Attempt:
        """The attempt that counts: the last, unless that came to nothing and a former one is under way or completed."""
        under_way = (attempt for attempt in reversed(self.attempts) if _stage(attempt) not in _CAME_TO_NOTHING)
        return next(under_way, self.attempts[-1])

    @property
    def stage(self) -> Stage:
        return _stage(self.latest) if self.attempts else Stage.UNBOUGHT

    @property
    def intent(self) -> Intent | None:
        """The latest intent that bought, which says what the call is for."""
        return next((attempt.intent for attempt in reversed(self.attempts) if attempt.intent), None)

    @property
    def doubtful(self) -> Attempt | None:
        """The first attempt that may have made a task besides those that are known."""
        return next((attempt for attempt in self.attempts if attempt.in_doubt), None)

    @property
    def charged_in_vain(self) -> Attempt | None:
        """The first attempt whose task failed and kept its charge."""
        return next((attempt for attempt in self.attempts if attempt.was_charged_in_vain), None)

    @property
    def task_attempts(self) -> int:
        """How many attempts came as far as a task: what the limit of three counts."""
        return sum(1 for attempt in self.attempts if attempt.tasks)

    @property
    def task_attempts_of_model(self) -> int:
        """The same of the model that the latest attempt asked for."""
        asked = [attempt.intent.model for attempt in self.attempts if attempt.tasks and attempt.intent]
        return asked.count(self.latest.intent.model) if self.latest.intent else self.task_attempts

    @property
    def withdrawn_by(self) -> int:
        """The newest revision of the plan that does not want it, 0 for none."""
        return max((attempt.withdrawn_by for attempt in self.attempts), default=0)

    @property
    def former_are_free(self) -> bool:
        """Whether all attempts before the latest one are proven free, or released and no task of theirs turned up."""
        return all(_stage(attempt) in (Stage.UNBOUGHT, Stage.REFUSED) for attempt in self.attempts[:-1])

    @property
    def next_attempt(self) -> int:
        return self.attempts[-1].number + 1 if self.attempts else 1


def _stage(attempt: Attempt) -> Stage:
    if attempt.completed is not None:
        return _completed_stage(attempt)
    if attempt.settled is not None and not attempt.is_released_too_early:
        return _settled_stage(attempt.settled)
    if attempt.tasks:
        return Stage.FAILING if attempt.failed is not None else Stage.ACCEPTED
    return _stage_without_task(attempt)


def _stage_without_task(attempt: Attempt) -> Stage:
    is_answered = attempt.sends in attempt.unknown or attempt.last_refusal is not None
    if attempt.sends and not is_answered and not attempt.withdrawn:
        return Stage.SENDING
    if attempt.open_unknowns:  # a later send that was refused says nothing about the one before
        return Stage.UNKNOWN
    if not attempt.withdrawn:
        return Stage.WAITING
    return Stage.REFUSED if attempt.is_refused_for_good else Stage.UNBOUGHT


def _completed_stage(attempt: Attempt) -> Stage:
    if not attempt.shows_all:
        return Stage.UNSHOWN
    done = {image.index for image in attempt.images}
    return Stage.ARCHIVED if all(index in done for index in range(len(attempt.links))) else Stage.COMPLETED


def _settled_stage(settled: Settled) -> Stage:
    if settled.outcome is Decided.RELEASED:
        return Stage.UNBOUGHT
    if settled.outcome is Decided.CHARGED:
        return Stage.FAILED
    if settled.kind in _FOR_GOOD:
        return Stage.REFUSED
    if settled.kind == RefusalKind.TASK and settled.final:
        return Stage.FAILED
    return Stage.UNBOUGHT


def fold(call: str, facts: Mapping[str, Record]) -> CallFacts:
    """The state of a call from its facts, by name, in any order.

    Raises RecordUnreadable for a record of a newer schema or a name that this version does not know, RecordDamaged for
    one that lacks what its kind has.
    """
    attempts: dict[int, Attempt] = {}
    for name, record in sorted(facts.items()):  # a listing has no order, and the first record of a kind counts
        match = _NAME.fullmatch(name)
        if match is None or record.get("schema") != SCHEMA:
            known = f"has the schema {record.get('schema')!r}, this version knows {SCHEMA!r}"
            raise RecordUnreadable(
                f"ledger/{call}/{name} {known if match else 'is a kind of record that this version does not know'}",
                remedy="Use the version of adloom that wrote the archive, or a newer one.",
            )
        if name.replace("-accepted.", "-disowned.") in facts and match["of_task"] == "accepted":
            continue
        number = int(match["attempt"])
        attempt = attempts.setdefault(number, Attempt(number))
        what = match["single"] or match["counted"] or match["of_task"]
        try:
            _add(attempt, what, int(match["number"] or 1), record)
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise RecordDamaged(
                f"ledger/{call}/{name} is not what a fact of its kind looks like: {error!r}",
                remedy="Run `adloom verify` on the edition; restore this object from a backup.",
            ) from error
    for attempt in attempts.values():
        attempt.images = _final_images(attempt)
    return CallFacts(call, tuple(attempts[number] for number in sorted(attempts)))


def _final_images(attempt: Attempt) -> tuple[Image, ...]:
    """The weightiest word on each image, the first of equals.

    Former versions gave an image up after a few tries although its link lived on. Such a word is not believed: it is
    looked for again. So is one for bytes that another index has, if they were fetched for another link than the one
    that is at the index now: two runs knew different readings of the task, and a backup made one ledger of theirs.
    """
    owners = _owners(attempt)
    final: dict[int, Image] = {}
    for _, archived in sorted(attempt.archived.items()):
        for image in archived.images:
            known = final.get(image.index)
            if owners and owners.get(image.sha256, image.index) != image.index and _is_misplaced(attempt, image):
                continue
            if known is not None and known.fate.weight >= image.fate.weight:
                continue
            if image.fate in _GIVEN_UP and _may_have_lived(attempt, archived):
                continue
            final[image.index] = image
    return tuple(final[index] for index in sorted(final))


def _owners(attempt: Attempt) -> dict[str, int]:
    """The indexes of images by SHA-256, for an attempt of which two indexes have the same bytes; else nothing."""
    images = {(image.index, image.sha256): image for each in attempt.archived.values() for image in each.images}
    shared = Counter(sha256 for _, sha256 in images if sha256)
    if len(attempt.archived) == 1 or all(count == 1 for count in shared.values()):
        return {}
    return {image.sha256: image.index for image in images.values() if not _is_misplaced(attempt, image)}


def _is_misplaced(attempt: Attempt, image: Image) -> bool:
    links = attempt.links
    return bool(image.link) and image.index < len(links) and mark(links[image.index]) != image.link


_GIVEN_UP = (ImageFate.LOST, ImageFate.QUARANTINED)


def _may_have_lived(attempt: Attempt, archived: Archived) -> bool:
    """Whether links were good when this was recorded: 24 h had not passed since their task was seen to have ended."""
    if attempt.completed is None:
        return False
    return archived.time - attempt.completed.time < timedelta(seconds=LINKS_LIVE_S)


def _add(attempt: Attempt, what: str, number: int, record: Record) -> None:  # noqa: C901, PLR0912 - one case a fact
    match what:
        case "intent" | "send" if record["outcome"] == Decided.WITHDRAWN:
            attempt.withdrawn = True
            attempt.withdrawn_by = record.get("revision", 0) if what == "intent" else attempt.withdrawn_by
        case "intent" | "send":
            attempt.intent = Intent.of(record) if what == "intent" else attempt.intent
            if record.get("probe"):
                attempt.repeats |= {number}
            if number > attempt.sends:
                attempt.sends, attempt.owner = number, record["writer"]
                attempt.last_sent_s = datetime.fromisoformat(record["time"]).timestamp()
        case "refused":
            attempt.answered[number] = Refused.of(record)
        case "unknown":
            attempt.unknown[number] = Unknown.of(record)
        case "accepted":
            accepted = Accepted.of(record)
            attempt.tasks = tuple(sorted({*attempt.tasks, accepted.task}))
            if attempt.accepted is None or accepted.time < attempt.accepted.time:
                attempt.accepted = accepted
        case "archived":
            attempt.archived[number] = Archived.of(record)
        case "disowned":
            attempt.disowned = (*attempt.disowned, Disowned.of(record))
        case "second":
            attempt.seconds[task_name(record["task"])] = SecondTask.of(record)
        case "completed":
            attempt.completions[number] = Completed.of(record)
            attempt.completed = _all_shown(attempt.completions)
        case "failed":
            attempt.failed = Failed.of(record)
        case "held":
            held = Held.of(record)
            attempt.held_facts = max(attempt.held_facts, number)
            if attempt.held is None or attempt.held.time < held.time:
                attempt.held = held
        case _:
            attempt.settled = Settled.of(record)


def _all_shown(completions: Mapping[int, Completed]) -> Completed:
    """All readings of one task as one; what another task showed under the same attempt is not among them.

    A reading was final because of the links before it. If some of these are gone, with a ledger that was restored, it
    is not: whoever found that a link had died waited for a day.
    """
    same = _of_one_task(completions)
    first = same[0]
    last = next((completed for completed in same if completed.final), same[-1])
    links = tuple(joined(*(completed.links for completed in same)))
    is_whole = len(links) >= (last.billed or 0) or last.time - first.time >= timedelta(seconds=LINKS_LIVE_S)
    return replace(last, time=first.time, writer=first.writer, links=links, final=last.final and is_whole)


def _of_one_task(completions: Mapping[int, Completed]) -> list[Completed]:
    """The readings of the task that was completed first, in their order."""
    found = [completed for _, completed in sorted(completions.items())]
    return [completed for completed in found if completed.task == found[0].task]


def task_name(task_id: str) -> str:
    """The part of an ``accepted`` fact's name that identifies its task: the id itself if it is safe, else its hash."""
    return task_id if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}", task_id) else "h-" + digest(task_id)[:32]


@dataclass(frozen=True, slots=True)
class Money:
    """What a call has cost, in credits: charged for good, reserved and outstanding, at risk in an unknown send."""

    charged: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)
    at_risk: Decimal = Decimal(0)

    def __add__(self, other: Money) -> Money:
        return Money(self.charged + other.charged, self.reserved + other.reserved, self.at_risk + other.at_risk)

    def __sub__(self, other: Money) -> Money:
        return Money(self.charged - other.charged, self.reserved - other.reserved, self.at_risk - other.at_risk)

    @property
    def committed(self) -> Decimal:
        """What counts against the cap."""
        return self.charged + self.reserved


def money_of(facts: CallFacts) -> Money:
    """What the call's attempts cost so far. An unknown send counts as reserved and as at risk."""
    total = Money()
    for attempt in facts.attempts:
        total += _attempt_money(attempt) + _second_money(attempt)
    return total


def _second_money(attempt: Attempt) -> Money:
    """The cost of all tasks except the one that counts: their charge once known, until then their reserve.

    Those that it may have made unseen are at risk.
    """
    quoted = attempt.quoted if attempt.sends else Decimal(0)
    unknown = max(0, len(attempt.tasks) - 1 - len(attempt.seconds))
    charged = sum((second.credits for second in attempt.seconds.values()), start=Decimal(0))
    at_risk = quoted * len(attempt.in_doubt)
    return Money(charged=charged, reserved=quoted * unknown + at_risk, at_risk=at_risk)


def _unshown_credits(attempt: Attempt, charged: Decimal) -> Decimal:
    """The part of its charge that a task which is read on has shown nothing for."""
    if attempt.shows_all or attempt.completed is None or attempt.intent is None:
        return Decimal(0)
    paid = attempt.images_paid if attempt.completed.billed else len(attempt.intent.variants)
    return charged * max(0, paid - len(attempt.links)) / paid


def _attempt_money(attempt: Attempt) -> Money:
    if attempt.completed is not None:
        charged = attempt.completed.credits
        return Money(charged=charged, at_risk=_unshown_credits(attempt, charged))
    if attempt.settled is not None and not attempt.is_released_too_early:
        return Money(charged=attempt.settled.credits) if attempt.settled.outcome is Decided.CHARGED else Money()
    if attempt.intent is None or not attempt.sends:
        return Money()
    quoted = attempt.intent.credits
    if attempt.accepted is not None:
        return Money(reserved=attempt.accepted.credits)
    if attempt.withdrawn and not attempt.open_unknowns:
        return Money()
    return Money(reserved=quoted, at_risk=quoted if attempt.open_unknowns else Decimal(0))
