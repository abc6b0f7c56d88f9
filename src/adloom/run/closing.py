"""Closes an edition in the archive's index when nothing that its runs bought is outstanding.

The order makes it safe: first the runs that opened the edition are found to be over, then the ledger is read, so it
holds everything they bought. A run that begins later has an entry of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from adloom.collect.failure import failed_until
from adloom.core.facts import Stage
from adloom.core.process import Process
from adloom.ledger.claims import claim_if_none
from adloom.ledger.edition import utc
from adloom.ledger.heartbeats import read_heartbeat
from adloom.ledger.index import OLDER, Entry, create_entry, entries_of
from adloom.ledger.ledger import Ledger
from adloom.ports import Clock, Store

FORGOTTEN_AFTER_S = 24 * 3600
"""A run whose heartbeat is this old is over, wherever it ran: no process is paused for so long and then continues
buying."""

_NOTHING_OUT_THERE = frozenset(
    {Stage.UNBOUGHT, Stage.WAITING, Stage.ARCHIVED, Stage.REFUSED, Stage.FAILED, Stage.RELEASED}
)


async def close_if_over(ledger: Ledger, clock: Clock, is_gone: Callable[[Process], bool], *, mine: str = "") -> bool:
    """Close an edition's entries of runs that are over, if nothing is outstanding; whether it is closed.

    ``mine`` is the run that owns this ledger and has stopped buying. What others wrote since the ledger was loaded is
    read after their runs were found to be over.
    """
    store, edition, now = ledger.store, ledger.edition, clock.now()
    closed = await entries_of(store, "closed", edition)
    left = sorted(await entries_of(store, "open", edition) - closed, key=lambda entry: entry.name)
    if not left:
        return True
    over = [entry for entry in left if await _is_over(store, entry, now, is_gone, mine)]
    if not over:
        return False
    if await ledger.grew():
        await ledger.catch_up()
    if not is_settled(ledger, now):
        return False
    for call, attempt, task in ledger.accepted():
        if task not in ledger.claimed:
            await claim_if_none(store, (edition.prefix, call, attempt), task, utc(now))
    for entry in over:
        await create_entry(store, "closed", entry, now)
    return len(over) == len(left)


def is_settled(ledger: Ledger, now: float) -> bool:
    """Whether nothing is outstanding: no answer, task or image is waited for, and none can change."""
    if ledger.damaged:
        return False
    over = all(facts.stage in _NOTHING_OUT_THERE and not facts.doubtful for facts in ledger.unended())
    return over and failed_until(ledger) <= now


async def _is_over(store: Store, entry: Entry, now: float, is_gone: Callable[[Process], bool], mine: str) -> bool:
    if entry.run in (OLDER, mine):
        return True
    content = await store.read(entry.edition.key(f"runs/{entry.run}.json"))
    record = read_heartbeat(content, entry.run) if content is not None else None
    if record is None:
        return False
    is_old = now - datetime.fromisoformat(record["time"]).timestamp() > FORGOTTEN_AFTER_S
    return bool(record["ended"]) or is_old or is_gone(Process(**record["process"]))
