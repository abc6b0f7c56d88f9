"""Reading and writing the decisions of an edition; ``core.decision`` defines what a decision is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from adloom.core.decision import FOLDER, Decision, conflicts, decision_from, is_fact, standing
from adloom.core.errors import RecordUnreadable
from adloom.ledger.edition import Edition, from_json, to_json
from adloom.ports import Store

log = logging.getLogger(__name__)

READ_AT_ONCE = 32
"""Objects read concurrently: a decision is small, so only the store's latency counts."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """Every decision of an edition that could be read, by the key of its fact."""

    facts: dict[str, Decision]
    damaged: tuple[str, ...] = ()
    """Objects under ``decisions/`` that hold no decision."""

    @property
    def standing(self) -> dict[str, Decision]:
        return standing(self.facts.values())

    @property
    def conflicts(self) -> dict[str, tuple[Decision, ...]]:
        return conflicts(self.facts.values())

    def require_whole(self) -> Decisions:
        """The same. Raises RecordUnreadable where something damaged might be the decision that counts."""
        if self.damaged:
            raise RecordUnreadable(
                f"{self.damaged[0]} holds no decision"
                + (f", nor do {len(self.damaged) - 1} others" * (len(self.damaged) > 1)),
                remedy="Restore it from a backup, or remove it and decide again.",
            )
        return self


async def read_decisions(store: Store, edition: Edition) -> dict[str, Decision]:
    """The current decision on each image that has one, by variant key, including cleared ones.

    Raises RecordUnreadable for a damaged one.
    """
    return (await read_facts(store, edition)).require_whole().standing


async def read_facts(
    store: Store, edition: Edition, seen: Decisions | None = None, variants: Container[str] | None = None
) -> Decisions:
    """Every decision of an edition, or those on some ``variants``, by key; what is in ``seen`` is not read again."""
    facts = dict(seen.facts) if seen else {}
    names = [listed.key.removeprefix(edition.prefix) async for listed in store.list(edition.key(FOLDER))]
    waiting = iter([name for name in names if name not in facts and (variants is None or _variant(name) in variants)])
    damaged: list[str] = []

    async def work() -> None:
        for name in waiting:
            if (decision := await _read(store, edition, name)) is None:
                damaged.append(edition.key(name))
            else:
                facts[name] = decision

    await asyncio.gather(*(work() for _ in range(READ_AT_ONCE)))
    return Decisions(facts, tuple(sorted(damaged)))


def holds_decision(name: str, content: bytes) -> bool:
    """Whether an object, by its name in the edition, is a decision: these come at any time, also after a run."""
    try:
        return is_fact(name) and bool(decision_from(name, from_json(content, name)))
    except (RecordUnreadable, ValueError):
        return False


def _variant(name: str) -> str:
    return name.removeprefix(FOLDER).partition("/")[0]


async def _read(store: Store, edition: Edition, name: str) -> Decision | None:
    if not is_fact(name):
        return None
    key = edition.key(name)
    try:
        return decision_from(name, from_json(await store.read(key) or b"", key))
    except (RecordUnreadable, ValueError) as error:
        log.warning("%s holds no decision: %s", key, error)
        return None


async def write_decision(store: Store, edition: Edition, decision: Decision, after: Decision | None = None) -> Decision:
    """Store a decision durably; returns it as written.

    Its time is moved behind ``after``, the decision that the person saw, so that a clock that is behind undoes nothing.
    """
    if after is not None and decision.time <= after.time:
        decision = replace(decision, time=after.time + _STEP)
    while not await store.create(edition.key(decision.key), to_json(decision.record())):
        kept = await _read(store, edition, decision.key)
        if kept == decision:  # a create that was tried again after a lost reply, or the same file once more
            return decision
        decision = replace(decision, time=decision.time + _STEP)
    return decision


_STEP = timedelta(microseconds=1)


def count(decisions: Iterable[Decision]) -> dict[str, int]:
    """The number of decisions by verdict."""
    found: dict[str, int] = {}
    for decision in decisions:
        found[decision.verdict.value] = found.get(decision.verdict.value, 0) + 1
    return found
