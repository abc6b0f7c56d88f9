"""Held purchases: what a person sees of them, and the two ways to settle one.

*Adopt* names the task that a purchase made: the task is evidence like any other, and the next run collects it.
*Release* declares that it made none: the reserve comes back and the next run may buy it again. A release is a decision:
it is refused before 15 minutes have passed since the last send, when a late answer may still bring a task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from adloom.core.errors import InputError
from adloom.core.facts import CallFacts, Stage, money_of
from adloom.core.records import Decided
from adloom.ledger.claims import claim_task
from adloom.ledger.edition import utc
from adloom.ledger.ledger import Ledger
from adloom.ports import Clock, ImageApi, Store

RELEASE_AFTER_S = 15 * 60


@dataclass(frozen=True, slots=True)
class Held:
    """One purchase that needs a person's decision. ``age_s`` counts from its last send."""

    call: str
    job: str
    row: str
    images: int
    age_s: float
    credits_at_risk: Decimal
    task: str
    reason: str


def held_calls(ledger: Ledger, now: float) -> Sequence[Held]:
    """Every purchase of an edition that is unknown or held, the oldest first."""
    found = (_held(facts, now) for facts in ledger.unended())
    return sorted((held for held in found if held is not None), key=lambda held: -held.age_s)


def _held(facts: CallFacts, now: float) -> Held | None:
    is_stuck = facts.stage in (Stage.ACCEPTED, Stage.FAILING, Stage.UNSHOWN) and facts.latest.stuck is not None
    if facts.stage is not Stage.UNKNOWN and not is_stuck:
        return None
    attempt, intent = facts.latest, facts.intent
    if intent is None:
        return None
    money = money_of(facts)
    unknown = (attempt.unknown[send] for send in sorted(attempt.unknown))
    records = (attempt.stuck, *unknown, attempt.held)  # why it is not over, then that a run gave up on it
    reason = next((record.reason for record in records if record is not None), "")
    return Held(
        call=facts.call,
        job=intent.job,
        row=intent.row,
        images=len(intent.variants),
        age_s=now - _last_sent(facts),
        credits_at_risk=money.at_risk if facts.stage is Stage.UNSHOWN else money.reserved,
        task=attempt.tasks[0] if attempt.tasks else "",
        reason=reason,
    )


def _last_sent(facts: CallFacts) -> float:
    attempt = facts.latest
    return max(fact.unix_s for fact in (attempt.intent, *attempt.unknown.values()) if fact is not None)


async def adopt(ledger: Ledger, store: Store, api: ImageApi, call: str, task: str, by: str) -> None:
    """Record that a held purchase made this task.

    Raises InputError when the call is not held, the API does not know the task, or another call has it.
    """
    facts = _held_facts(ledger, call)
    if facts.stage is Stage.UNSHOWN:
        raise InputError(
            f"call {call} has the completed task {facts.latest.task}", remedy="Run the campaign to read it again."
        )
    if not (await api.tasks([task])).get(task):
        raise InputError(
            f"the API does not know the task {task[:80]!r}", remedy="Copy the task's id from the API's console."
        )
    owners = {task_id: other for other in ledger.calls() for a in ledger.facts(other).attempts for task_id in a.tasks}
    if task in owners or not await claim_task(store, ledger, facts, task, by=by):
        raise InputError(f"task {task} belongs to {owners.get(task, 'another call')}", remedy="Adopt another task.")
    intent = facts.latest.intent
    await ledger.accept(call, facts.latest.number, task, str(intent.credits) if intent else "0", via=f"adopted by {by}")


async def release(ledger: Ledger, clock: Clock, call: str, reason: str, by: str) -> None:
    """Record a person's statement that a held purchase created no task.

    Raises InputError when the call is not held, has a task, or was sent less than 15 minutes ago.
    """
    facts = _held_facts(ledger, call)
    if facts.latest.tasks:
        raise InputError(
            f"call {call} has the task {facts.latest.tasks[0]}: it was bought", remedy="Run the campaign to collect it."
        )
    waited_s = clock.now() - _last_sent(facts)
    if waited_s < RELEASE_AFTER_S:
        allowed = utc(clock.now() + RELEASE_AFTER_S - waited_s)
        raise InputError(f"call {call} was sent {waited_s:.0f} s ago", remedy=f"It can be released from {allowed} on.")
    fields = {"outcome": Decided.RELEASED, "kind": "person", "reason": reason, "by": by, "final": False}
    _, mine = await ledger.decide(call, f"a{facts.latest.number}-settled", fields)
    if not mine:
        raise InputError(f"call {call} has just been settled by somebody else", remedy="Look at the call again.")


def _held_facts(ledger: Ledger, call: str) -> CallFacts:
    facts = ledger.facts(call)
    if not facts.attempts or _held(facts, 0) is None:
        raise InputError(f"call {call[:80]!r} is not held", remedy="`adloom resolve TARGET` lists the held calls.")
    return facts
