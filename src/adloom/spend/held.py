"""Held purchases: what a person sees of them, and the two ways to settle one.

*Adopt* names the task that a purchase made: the task is evidence like any other, and the next run collects it.
*Release* declares that it made none: the reserve comes back and the next run may buy it again. A release is a decision:
it is refused before 15 minutes have passed since the last send, when a late answer may still bring a task, and where a
callback has named one. As long as nothing was bought instead, adopting a task takes it back.

A purchase that has a task and may have made another one is settled in the same two ways; it is not bought again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypedDict

from adloom.core.callbacks import inbox
from adloom.core.errors import InputError
from adloom.core.facts import Attempt, CallFacts, Stage, money_of, task_name
from adloom.core.limits import is_another_model
from adloom.core.outcomes import DOUBT
from adloom.core.records import Decided, Intent, RefusalKind
from adloom.core.task import Task
from adloom.ledger.claims import claim_task, is_free_for
from adloom.ledger.edition import utc
from adloom.ledger.ledger import Ledger
from adloom.ports import Clock, ImageApi, Store

RELEASE_AFTER_S = 15 * 60
API_CLOCK_OFF_S = 3600
"""A person has compared the prompts, so the API's clock may differ by this much."""


class _Marks(TypedDict):
    sent_s: float
    model: str
    prompt: str


@dataclass(frozen=True, slots=True)
class Held:
    """One purchase that needs a person's decision. ``age_s`` counts from its last send.

    ``sent_s`` (Unix time of that), ``model`` and ``prompt`` tell its task from others in EvoLink's console.
    """

    call: str
    job: str
    row: str
    images: int
    age_s: float
    credits_at_risk: Decimal
    task: str
    reason: str
    sent_s: float = 0
    model: str = ""
    prompt: str = ""


def held_calls(ledger: Ledger, now: float) -> Sequence[Held]:
    """Every purchase of an edition that is unknown or held, the oldest first."""
    found = (_held(facts, now) or _in_doubt(facts, now) for facts in ledger.unended())
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
        age_s=now - _last_sent(attempt),
        credits_at_risk=money.at_risk if facts.stage is Stage.UNSHOWN else money.reserved,
        task=attempt.tasks[0] if attempt.tasks else "",
        reason=reason,
        **_to_look_for(attempt, intent),
    )


def _in_doubt(facts: CallFacts, now: float) -> Held | None:
    """What of a call may have been bought twice: the task that is known is not the one to look for."""
    attempt, intent = facts.doubtful, facts.intent
    if attempt is None or intent is None:
        return None
    first = attempt.in_doubt[min(attempt.in_doubt)]
    return Held(
        call=facts.call,
        job=intent.job,
        row=intent.row,
        images=attempt.asked * len(attempt.in_doubt),
        age_s=now - _last_sent(attempt),
        credits_at_risk=attempt.quoted * len(attempt.in_doubt),
        task="",
        reason=f"{DOUBT}: {first.reason}; a task besides {', '.join(attempt.tasks)} is looked for",
        **_to_look_for(attempt, intent),
    )


def _to_look_for(attempt: Attempt, intent: Intent) -> _Marks:
    return {"sent_s": _last_sent(attempt), "model": intent.model, "prompt": _prompt(intent.body)}


def _prompt(body: str) -> str:
    """The prompt of a request; empty where the record holds no request."""
    try:
        return str(json.loads(body)["prompt"])
    except (ValueError, KeyError, TypeError):
        return ""


def _last_sent(attempt: Attempt) -> float:
    return max(fact.unix_s for fact in (attempt.intent, *attempt.unknown.values()) if fact is not None)


async def adopt(ledger: Ledger, store: Store, api: ImageApi, call: str, task: str, by: str) -> None:
    """Record that a held purchase made this task.

    Raises InputError when the call is not held, the API does not know the task, it is of another model or made before
    the call was sent, or another call has it.
    """
    released = _released(ledger.facts(call))
    attempt, is_in_doubt = (released, False) if released else _to_settle(ledger, call)
    if ledger.facts(call).stage is Stage.UNSHOWN and not is_in_doubt:
        raise InputError(
            f"call {call} has the completed task {attempt.task}", remedy="Run the campaign to read it again."
        )
    found = (await api.tasks([task])).get(task)
    if found is None:
        raise InputError(
            f"the API does not know the task {task[:80]!r}", remedy="Copy the task's id from the API's console."
        )
    _require_fit(found, call, attempt)
    owners = {task_id: other for other in ledger.calls() for a in ledger.facts(other).attempts for task_id in a.tasks}
    mine = (ledger.edition.prefix, call, attempt.number)
    if task in owners or not await claim_task(store, ledger, mine, task, by=by):
        raise InputError(f"task {task} belongs to {owners.get(task, 'another call')}", remedy="Adopt another task.")
    await ledger.accept(call, attempt.number, task, str(attempt.quoted), via=f"adopted by {by}")


def _require_fit(task: Task, call: str, attempt: Attempt) -> None:
    """Refuse a task that cannot be an attempt's: its image would be archived as what another prompt asks for."""
    if (intent := attempt.intent) is None:
        return
    if is_another_model(task.model, intent.model):
        told, asked = f"was made with {task.model}", f"asked for {intent.model}"
    elif task.created_at is not None and task.created_at < intent.unix_s - API_CLOCK_OFF_S:
        told, asked = f"was made at {utc(task.created_at)}", f"was sent at {utc(intent.unix_s)}"
    else:
        return
    raise InputError(f"task {task.task_id} {told}, and call {call} {asked}", remedy="Adopt another task.")


async def release(ledger: Ledger, clock: Clock, call: str, reason: str, by: str) -> None:
    """Record a person's statement that a held purchase created no task.

    Raises InputError when the call is not held, has a task, a callback has named one, or it was sent less than 15
    minutes ago.
    """
    attempt, is_in_doubt = _to_settle(ledger, call)
    if attempt.tasks and not is_in_doubt:
        raise InputError(
            f"call {call} has the task {attempt.tasks[0]}: it was bought",
            remedy="Run the campaign to collect it. If no run can, ask EvoLink about that task; rows with another id "
            "buy its images again.",
        )
    waited_s = clock.now() - _last_sent(attempt)
    if waited_s < RELEASE_AFTER_S:
        allowed = utc(clock.now() + RELEASE_AFTER_S - waited_s)
        remedy = f"Its task may still appear. It can be released from {allowed} on."
        raise InputError(f"call {call} was sent {waited_s:.0f} s ago", remedy=remedy)
    if told := await told_by_callbacks(ledger, call, attempt):
        raise InputError(
            f"a callback has named task {told[0]} for call {call}",
            remedy=f"Run the campaign, which collects what that has made, or use --adopt {told[0]}.",
        )
    if is_in_doubt:
        for send in attempt.in_doubt:
            refused = {"kind": RefusalKind.PERSON, "reason": reason, "by": by}
            await ledger.note(call, f"a{attempt.number}-refused-{send}", refused)
        return
    fields = {"outcome": Decided.RELEASED, "kind": "person", "reason": reason, "by": by, "final": False}
    _, mine = await ledger.decide(call, f"a{attempt.number}-settled", fields)
    if not mine:
        raise InputError(f"call {call} has just been settled by somebody else", remedy="Look at the call again.")


def _to_settle(ledger: Ledger, call: str) -> tuple[Attempt, bool]:
    """The attempt that a person may settle, and whether it is one that may have been bought twice."""
    facts = ledger.facts(call)
    if facts.attempts and _held(facts, 0) is not None:
        return facts.latest, False
    if (doubtful := facts.doubtful) is not None:
        return doubtful, True
    raise InputError(f"call {call[:80]!r} is not held", remedy="`adloom resolve TARGET` lists the held calls.")


def _released(facts: CallFacts) -> Attempt | None:
    """The attempt that a person has released, unless another one was bought since."""
    bought = [attempt for attempt in facts.attempts if attempt.intent is not None and not attempt.withdrawn]
    return bought[-1] if bought and _is_released(bought[-1]) else None


def _is_released(attempt: Attempt) -> bool:
    is_released = attempt.settled is not None and attempt.settled.outcome is Decided.RELEASED
    return is_released and not attempt.tasks


async def told_by_callbacks(ledger: Ledger, call: str, attempt: Attempt) -> list[str]:
    """The tasks that callbacks have named for an attempt, without those that it has or another purchase has claimed."""
    mine = (ledger.edition.prefix, call, attempt.number)
    prefix = inbox(*mine)
    told = [listed.key.removeprefix(prefix).removesuffix(".json") async for listed in ledger.store.list(prefix)]
    new = [task for task in sorted(told) if task not in attempt.tasks]
    return [task for task in new if await is_free_for(ledger.store, mine, task_name(task))]


async def told_of_released(ledger: Ledger, call: str) -> list[str]:
    """The tasks that callbacks have named for purchases of a call that were released."""
    released = [attempt for attempt in ledger.facts(call).attempts if _is_released(attempt)]
    return [task for attempt in released for task in await told_by_callbacks(ledger, call, attempt)]
