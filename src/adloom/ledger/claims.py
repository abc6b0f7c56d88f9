"""Claims of tasks: a task belongs to one purchase, however many purchases the API answers with it.

``tasks/<task's name>.json`` at the archive's root is created once: ``schema`` (``adloom.claim/1``), ``edition`` (its
prefix), ``call`` and ``attempt`` that the task is for, ``writer``, and ``time`` or ``by``. A task that the API answered
a purchase with is accepted first and claimed before anything that it made is used; one that was found otherwise is
claimed first, and the same attempt may take such a claim up where a run died before it accepted.

An attempt whose task is claimed by another gets ``unknown`` and ``disowned`` facts: its own task has another id.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from adloom.core.errors import RecordUnreadable
from adloom.core.facts import CallFacts, task_name
from adloom.ledger.edition import Edition, from_json, to_json
from adloom.ledger.ledger import Ledger
from adloom.ports import Store

log = logging.getLogger(__name__)

SCHEMA = "adloom.claim/1"
Claimant: TypeAlias = tuple[str, str, int]
"""The prefix of an edition, a call, and an attempt of it."""


NAMES_ALIKE = 19
"""Claims are listed by this many leading characters of their tasks' names: ``task-unified-179547`` spans three
hours."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What an archive claims of some of an account's tasks, by the tasks' names.

    ``tasks`` are all that anything claims: a claim, or a ledger's accepted fact. ``dangling`` has the owner of each
    claim that no accepted fact has followed.
    """

    tasks: frozenset[str]
    dangling: Mapping[str, Claimant]


async def claims_of(store: Store, open_editions: Iterable[Edition], names: Collection[str]) -> Claims:
    """Read what an archive claims of the tasks of these names.

    In an edition that is not open every accepted task has its claim, so only the ledgers of open ones are listed, and
    before the claims, which follow what is accepted.
    """
    claimed, accepted = set(), set()
    for edition in open_editions if names else ():
        async for listed in store.list(edition.key("ledger/")):
            _, is_accepted, name = listed.key.removesuffix(".json").rpartition("-accepted.")
            if is_accepted:
                accepted.add(name)
    for beginning in sorted({name[:NAMES_ALIKE] for name in names}):
        async for listed in store.list(f"tasks/{beginning}"):
            folder, _, file = listed.key.rpartition("/")
            if folder == "tasks":
                claimed.add(file.removesuffix(".json"))
    dangling = {name: await _claimant_of(store, name) for name in claimed.intersection(names) - accepted}
    tasks = frozenset(names) & (claimed | accepted)
    return Claims(tasks, {name: mine for name, mine in dangling.items() if mine is not None})


async def claim_if_none(store: Store, mine: Claimant, name: str, time: str) -> None:
    """Claim an accepted task by its name for the attempt that accepted it, if nobody has."""
    edition, call, attempt = mine
    claim = {"schema": SCHEMA, "edition": edition, "call": call, "attempt": attempt, "writer": "index", "time": time}
    await store.create(_claim_key(name), to_json(claim))


def claimant(ledger: Ledger, facts: CallFacts) -> Claimant:
    """Whom a claim is for: the latest attempt of a call of this ledger's edition."""
    return ledger.edition.prefix, facts.call, facts.latest.number


async def claim_task(store: Store, ledger: Ledger, mine: Claimant, task_id: str, **more: str) -> bool:
    """Claim a task for an attempt: True when it is its own, also by a run that died right after."""
    return await _claim(store, ledger, mine, task_id, **more) == mine


async def is_claimed_for(store: Store, mine: Claimant, name: str) -> bool:
    """Whether the task of this name has a claim, and for this attempt."""
    return await store.read(_claim_key(name)) is not None and await _claimant_of(store, name) == mine


async def is_free_for(store: Store, mine: Claimant, name: str) -> bool:
    """Whether nobody but this attempt has claimed the task of this name."""
    return await store.read(_claim_key(name)) is None or await _claimant_of(store, name) == mine


async def hold(ledger: Ledger, call: str, attempt: int, task_id: str) -> bool:
    """Claim a task that an attempt has accepted; to be asked before anything that the task made is used.

    False when the task is another purchase's. The attempt is unknown again then, and the log names both.
    """
    name, mine = task_name(task_id), (ledger.edition.prefix, call, attempt)
    if ledger.claimed.get(name) == (call, attempt):
        return True
    owner = await _claim(ledger.store, ledger, mine, task_id)
    if owner in (mine, None):  # a damaged claim is not evidence of another owner
        ledger.claimed[name] = (call, attempt)
        return True
    edition, other, number = owner
    reason = f"the API answered with task {task_id}, which belongs to call {other} of {edition.rstrip('/')}"
    log.error("call %s: %s; check both", call, reason)
    sends = ledger.facts(call).attempt(attempt).sends
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
    """The owner of a claim; None when it cannot be read."""
    key = _claim_key(name)
    try:
        claim = from_json(await store.read(key) or b"", key)
        return str(claim.get("edition")), str(claim.get("call")), int(claim.get("attempt", 0))
    except (RecordUnreadable, ValueError, TypeError) as error:
        log.warning("%s cannot be read: %s", key, error)
        return None


def _claim_key(name: str) -> str:
    return f"tasks/{name}.json"
