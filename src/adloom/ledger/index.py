"""The archive's index: which editions may still owe something, without reading the whole archive.

``index/open/<campaign>@<edition>@<run>.json`` at the archive's root is created before a run's first purchase, and
``index/closed/`` with the same name once every run of that edition that opened it is over and nothing that they bought
is out there. Both are created once: ``schema`` (``adloom.index/1``) and ``time``. Each run has an entry of its own, so
an edition that is run again is open again, and closing one run's entry never closes another's. An edition is open while
one of its entries is not closed; whoever wants to know reads the closed ones first, so that what changes meanwhile
counts as open. Both lists together take one LIST for a thousand entries.

``index/made.json`` says that all editions of older versions are in it, under ``older`` instead of a run: those are
entered once, by whoever first needs the index. An archive that versions without an index still write to is not to be
shared with later ones.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import Any

from adloom.ledger.claims import claim_if_none
from adloom.ledger.edition import Edition, to_json, utc
from adloom.ledger.heartbeats import has_failed_tasks
from adloom.ledger.ledger import record_place
from adloom.ports import Clock, Store

log = logging.getLogger(__name__)

SCHEMA = "adloom.index/1"
MADE = "index/made.json"
OLDER = "older"
"""Represents the runs of versions without an index."""

_PLAN = "plan-r1.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """One run's entry for one edition."""

    edition: Edition
    run: str

    @property
    def name(self) -> str:
        return f"{self.edition.campaign}@{self.edition.edition}@{self.run}.json"


class Opening:
    """One run's entry: made before its first purchase, whoever buys first."""

    def __init__(self, store: Store, edition: Edition, run: str, clock: Clock) -> None:
        self._store = store
        self._entry = Entry(edition, run)
        self._clock = clock
        self._lock = asyncio.Lock()
        self._is_open = False

    async def ensure(self) -> None:
        """Return once the archive says that this run's edition is open."""
        if self._is_open:
            return
        async with self._lock:
            if not self._is_open:
                await create_entry(self._store, "open", self._entry, self._clock.now())
                self._is_open = True


async def open_editions(store: Store, now: float) -> list[Edition]:
    """The editions that may owe something, sorted. An archive without an index is indexed first."""
    await index_once(store, now)
    closed = await entries_of(store, "closed")
    entries = await entries_of(store, "open") - closed
    return sorted({entry.edition for entry in entries}, key=lambda edition: edition.prefix)


async def indexed_editions(store: Store, now: float) -> tuple[list[Edition], frozenset[Edition]]:
    """Every edition of an archive, sorted, and those of them that are open."""
    await index_once(store, now)
    closed = await entries_of(store, "closed")
    entries = await entries_of(store, "open")
    every = sorted({entry.edition for entry in entries}, key=lambda edition: edition.prefix)
    return every, frozenset(entry.edition for entry in entries - closed)


async def index_once(store: Store, now: float) -> None:
    """Enter the editions of versions without an index, unless that has been done."""
    if await store.read(MADE) is not None:
        return
    known = {entry.edition for entry in await entries_of(store, "open")}
    found = [older for older in (await _read_all(store)).values() if older.edition not in known]
    for older in found:
        entry = Entry(older.edition, OLDER)
        await create_entry(store, "open", entry, now)
        if await _is_at_rest(store, older, now):
            for task, (call, attempt) in older.accepted.items():
                await claim_if_none(store, (older.edition.prefix, call, attempt), task, utc(now))
            await create_entry(store, "closed", entry, now)
    await store.create(MADE, to_json({"schema": SCHEMA, "time": utc(now), "editions": len(found)}))
    if found:
        log.info("%d editions of the archive were entered into its index", len(found))


@dataclass(slots=True)
class _Older:
    """An edition by its objects' names alone."""

    edition: Edition
    has_plan: bool = False
    facts: int = 0
    accepted: dict[str, tuple[str, int]] = field(default_factory=dict)
    """The call and the attempt of each accepted task, by the task's name."""

    def add(self, parts: list[str]) -> None:
        if parts == [_PLAN]:
            self.has_plan = True
        if len(parts) != 3 or parts[0] != "ledger":  # noqa: PLR2004 - ledger/<call>/<fact>
            return
        call, name = record_place("/".join(parts))
        self.facts += bool(name)
        attempt, accepted, task = name.partition("-accepted.")
        if accepted and attempt[1:].isdigit():
            self.accepted[task] = (call, int(attempt[1:]))


async def _read_all(store: Store) -> dict[str, _Older]:
    found: dict[str, _Older] = {}
    async for listed in store.list(""):
        campaign, slash, rest = listed.key.partition("/")
        edition, more, name = rest.partition("/")
        if slash and more and not campaign.startswith("_"):  # the receiver's folder is not a campaign
            older = found.setdefault(f"{campaign}/{edition}/", _Older(Edition(campaign, edition)))
            older.add(name.split("/"))
    return {prefix: older for prefix, older in found.items() if older.has_plan or older.facts}


async def _is_at_rest(store: Store, older: _Older, now: float) -> bool:
    """Whether an edition's manifest covers all of its facts and shows nothing outstanding."""
    try:
        manifest = json.loads(await store.read(older.edition.key("manifest.json")) or b"")
        totals: dict[str, Any] = manifest["totals"]
        owes = any(totals[name] for name in ("credits_reserved", "credits_at_risk", "held", "open"))
        if owes or manifest["facts"] != older.facts:
            return False
    except (ValueError, LookupError, TypeError, RecursionError):
        return False
    return not await has_failed_tasks(store, older.edition, now)


async def create_entry(store: Store, what: str, entry: Entry, now: float) -> None:
    """Enter that a run has opened or closed its edition; ``what`` is ``open`` or ``closed``."""
    await store.create(f"index/{what}/{entry.name}", to_json({"schema": SCHEMA, "time": utc(now)}))


async def entries_of(store: Store, what: str, edition: Edition | None = None) -> frozenset[Entry]:
    """The entries of all editions, or of one; ``what`` is ``open`` or ``closed``."""
    folder = f"index/{what}/"
    prefix = folder if edition is None else f"{folder}{edition.campaign}@{edition.edition}@"
    found = set()
    async for listed in store.list(prefix):
        parts = listed.key.removeprefix(folder).removesuffix(".json").split("@")
        if len(parts) == 3 and "/" not in listed.key.removeprefix(folder):  # noqa: PLR2004 - campaign, edition, run
            found.add(Entry(Edition(parts[0], parts[1]), parts[2]))
    return frozenset(found)
