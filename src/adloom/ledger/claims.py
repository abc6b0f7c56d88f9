"""Who has which task: a task belongs to one purchase, whatever number of purchases the API answers with it.

``tasks/<task's name>.json`` at the archive's root is created once: ``schema`` (``adloom.claim/1``), ``edition`` (its
prefix), ``call`` and ``attempt`` that the task is for, ``writer``, and ``time`` or ``by``. A task that the API answered
a purchase with is accepted first and claimed before anything that it made is used; one that was found otherwise is
claimed first, and the same attempt may take such a claim up where a run died before it accepted.

An attempt whose task is claimed by another gets ``unknown`` and ``disowned`` facts: its own task has another id.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from adloom.core.errors import RecordUnreadable
from adloom.core.facts import CallFacts, task_name
from adloom.ledger.edition import from_json, to_json
from adloom.ledger.ledger import Ledger
from adloom.ports import Store

log = logging.getLogger(__name__)

SCHEMA = "adloom.claim/1"
Claimant: TypeAlias = tuple[str, str, int]
"""The prefix of an edition, a call, and an attempt of it."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What an archive claims of an account's tasks, by the tasks' names.

    ``tasks`` are all that anything claims: a claim, or a ledger's accepted fact. ``dangling`` says for whom each claim
    is that no accepted fact has followed.
    """

    tasks: frozenset[str]
    dangling: Mapping[str, Claimant]


async def claims_of(store: Store) -> Claims:
    """Read the claims of a whole archive."""
    claimed, accepted = set(), set()
    async for listed in store.list(""):
        folder, _, file = listed.key.rpartition("/")
        name = file.removesuffix(".json")
        if folder == "tasks":
            claimed.add(name)
        elif "/ledger/" in listed.key and "-accepted." in name:
            accepted.add(name.split("-accepted.", 1)[1])
    dangling = {name: await _claimant_of(store, name) for name in claimed - accepted}
    return Claims(frozenset(claimed | accepted), {name: mine for name, mine in dangling.items() if mine is not None})


def claimant(ledger: Ledger, facts: CallFacts) -> Claimant:
    """Whom a claim is for: the latest attempt of a call of this ledger's edition."""
    return ledger.edition.prefix, facts.call, facts.latest.number


async def claim_task(store: Store, ledger: Ledger, facts: CallFacts, task_id: str, **more: str) -> bool:
    """Claim a task for the latest attempt of a call: True when it is its own, also by a run that died right after."""
    return await _claim(store, ledger, claimant(ledger, facts), task_id, **more) == claimant(ledger, facts)


async def hold(ledger: Ledger, call: str, attempt: int, task_id: str) -> bool:
    """Claim a task that an attempt has accepted; to be asked before anything that the task made is used.

    False when the task is another purchase's. The attempt is unknown again then, and the log names both.
    """
    name, mine = task_name(task_id), (ledger.edition.prefix, call, attempt)
    if ledger.claimed.get(name) == (call, attempt):
        return True
    owner = await _claim(ledger.store, ledger, mine, task_id)
    if owner in (mine, None):  # a claim that is damaged speaks for nobody else
        ledger.claimed[name] = (call, attempt)
        return True
    edition, other, number = owner
    reason = f"the API answered with task {task_id}, which belongs to call {other} of {edition}"
    log.error("call %s: %s; check both", call, reason)
    sends = next(known.sends for known in ledger.facts(call).attempts if known.number == attempt)
    await ledger.note(call, f"a{attempt}-unknown-{sends}", {"reason": reason})
    fields = {"task": task_id, "edition": edition, "call": other, "attempt": number, "reason": reason}
    await ledger.note(call, f"a{attempt}-disowned.{name}", fields)
    return False


async def _claim(store: Store, ledger: Ledger, mine: Claimant, task_id: str, **more: str) -> Claimant | None:
    """Claim a task unless it is claimed: whose it is, None when its claim cannot be read."""
    edition, call, attempt = mine
    key = _claim_key(task_name(task_id))
    first = ledger.first_with_task(task_name(task_id))
    if first not in (None, (call, attempt)) and await store.read(key) is None:  # accepted by a version without claims
        return edition, *first
    claim = {
        "schema": SCHEMA,
        "edition": edition,
        "call": call,
        "attempt": attempt,
        "writer": ledger.writer,
        **more,
    }
    return mine if await store.create(key, to_json(claim)) else await _claimant_of(store, task_name(task_id))


async def _claimant_of(store: Store, name: str) -> Claimant | None:
    """Whom a claim is for, None when it cannot be read."""
    key = _claim_key(name)
    try:
        claim = from_json(await store.read(key) or b"", key)
        return str(claim.get("edition")), str(claim.get("call")), int(claim.get("attempt", 0))
    except (RecordUnreadable, ValueError, TypeError) as error:
        log.warning("%s cannot be read: %s", key, error)
        return None


def _claim_key(name: str) -> str:
    return f"tasks/{name}.json"
