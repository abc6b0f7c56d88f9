"""Who has which task: a task that was found, and not answered to a purchase, belongs to whoever claims it first.

``tasks/<task's name>.json`` at the archive's root is created once: ``schema`` (``adloom.claim/1``), ``edition`` (its
prefix), ``call`` and ``attempt`` that the task is for, ``writer``, and ``time`` or ``by``. An accepted fact of that
attempt follows; where a run died in between, the same attempt may take its claim up, and nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from adloom.core.facts import CallFacts, task_name
from adloom.ledger import Ledger, from_json, to_json
from adloom.ports import Store

SCHEMA = "adloom.claim/1"
Claimant: TypeAlias = tuple[str, str, int]
"""The prefix of an edition, a call, and an attempt of it."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What an archive claims of an account's tasks, by the tasks' names.

    ``tasks`` are all that anything claims: an adoption's claim, or a ledger's accepted fact. ``dangling`` says for whom
    each claim is that no accepted fact has followed.
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
    return Claims(frozenset(claimed | accepted), dangling)


def claimant(ledger: Ledger, facts: CallFacts) -> Claimant:
    """Whom a claim is for: the latest attempt of a call of this ledger's edition."""
    return ledger.edition.prefix, facts.call, facts.latest.number


async def claim_task(store: Store, ledger: Ledger, facts: CallFacts, task_id: str, **more: str) -> bool:
    """Claim a task for the latest attempt of a call: True when it is its own, also by a run that died right after."""
    edition, call, attempt = mine = claimant(ledger, facts)
    claim = {
        "schema": SCHEMA,
        "edition": edition,
        "call": call,
        "attempt": attempt,
        "writer": ledger.writer,
        **more,
    }
    created = await store.create(_claim_key(task_name(task_id)), to_json(claim))
    return created or await _claimant_of(store, task_name(task_id)) == mine


async def _claimant_of(store: Store, name: str) -> Claimant:
    key = _claim_key(name)
    claim = from_json(await store.read(key) or b"", key)
    return str(claim.get("edition")), str(claim.get("call")), int(claim.get("attempt", 0))


def _claim_key(name: str) -> str:
    return f"tasks/{name}.json"
