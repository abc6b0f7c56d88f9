"""Ownership: the heartbeats of runs, and when an owner counts as dead.

A run replaces ``runs/<token>.json`` every 10 s, and before the first purchase of an edition. It is dead when that
stayed unchanged for 60 s of the *observer's* monotonic clock (no two machines' clocks are compared), at once when
this machine shows that its process is gone, or when it has recorded its own end.

A heartbeat holds ``schema`` (``adloom.run/1``), ``run`` (the token), ``process``, ``since`` and ``time`` (UTC, of the
first and of this beat), ``beat`` (a count), ``ended``, ``facts`` (how many records the ledger had, as far as this run
knows), and ``sha256`` over all of these: it changes under its name, so that it has to prove itself. The last one may
have ``failed_until`` (UTC): when the last of the edition's failed tasks is a day old, until which it may turn out
completed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from adloom.core.process import Process
from adloom.ledger.edition import Edition, parse_json, to_json, utc
from adloom.ports import Clock, Store

SCHEMA = "adloom.run/1"
BEAT_EVERY_S = 10
DEAD_AFTER_S = 60


class Heartbeat:
    """The heartbeat of one run."""

    def __init__(
        self, store: Store, edition: Edition, clock: Clock, token: str, process: Process, facts: Callable[[], int]
    ) -> None:
        self._store = store
        self._key = edition.key(f"runs/{token}.json")
        self._clock = clock
        self._beats = 0
        self._facts = facts
        self._counted = 0
        self._one_at_a_time = asyncio.Lock()
        self._constant = {"schema": SCHEMA, "run": token, "process": asdict(process), "since": utc(clock.now())}

    async def beat(self, *, ended: bool = False, failed_until: float = 0) -> None:
        """Show that this run lives, or that it has ended, and until when (Unix time) failed tasks are to be read."""
        await self._beat(self._store, ended=ended, failed_until=failed_until)

    async def count_first_purchase(self, store: Store) -> None:
        """Return once a heartbeat counts records, so that a ledger that is deleted after that is missed.

        ``store`` is another way to the same store.
        """
        if not self._counted:
            await self._beat(store)

    async def _beat(self, store: Store, *, ended: bool = False, failed_until: float = 0) -> None:
        async with self._one_at_a_time:
            self._beats += 1
            facts = self._facts()
            changing = {"beat": self._beats, "ended": ended, "facts": facts, "time": utc(self._clock.now())}
            record = {**self._constant, **changing}
            if failed_until:
                record["failed_until"] = utc(failed_until)
            await store.replace(self._key, to_json({**record, "sha256": _sha256(record)}))
            self._counted = facts


def run_of(name: str) -> str:
    """The run whose heartbeat an object of an edition is; empty for any other object."""
    token = name.removeprefix("runs/").removesuffix(".json")
    return token if name == f"runs/{token}.json" and not token.endswith(".probe") else ""


def is_probe(name: str, content: bytes) -> bool:
    """Whether an object of an edition is what a run leaves behind when it tests its store, see ``plan.reserve``."""
    return name.startswith("runs/") and name.endswith(".probe.json") and content == b"1\n"


def read_heartbeat(content: bytes, token: str) -> dict[str, Any] | None:
    """A run's heartbeat; None when the bytes are not what that run wrote."""
    try:
        record = parse_json(content)
    except ValueError:
        return None
    if not isinstance(record, dict) or record.get("run") != token:
        return None
    sha256 = record.pop("sha256", None)
    return record if sha256 == _sha256(record) and content == to_json({**record, "sha256": sha256}) else None


def _sha256(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(to_json(record)).hexdigest()


async def has_failed_tasks(store: Store, edition: Edition, now: float) -> bool:
    """Whether a run's last heartbeat reports a task that failed less than a day ago and must be read again."""
    keys = [listed.key async for listed in store.list(edition.key("runs/"))]
    for key in keys:
        content, token = await store.read(key), run_of(key.removeprefix(edition.prefix))
        record = read_heartbeat(content, token) if content is not None and token else None
        if record is not None and datetime.fromisoformat(record.get("failed_until", record["time"])).timestamp() > now:
            return True
    return False


class Liveness:
    """What this run knows of other runs."""

    def __init__(
        self, store: Store, edition: Edition, clock: Clock, *, me: str, is_gone: Callable[[Process], bool]
    ) -> None:
        self._store = store
        self._edition = edition
        self._clock = clock
        self._me = me
        self._is_gone = is_gone
        self._seen: dict[str, tuple[bytes | None, float]] = {}
        self._dead: set[str] = set()

    def through(self, store: Store) -> Liveness:
        """The same watch with all its observations, reading through another client of the same store."""
        same = Liveness(store, self._edition, self._clock, me=self._me, is_gone=self._is_gone)
        same._seen, same._dead = self._seen, self._dead
        return same

    async def is_dead(self, token: str) -> bool:
        """Whether a run is dead. This run itself is alive."""
        if token == self._me:
            return False
        if token not in self._dead and await self._looks_dead(token):
            self._dead.add(token)
        return token in self._dead

    async def count_live(self) -> int:
        """How many runs of the edition are alive, this one among them."""
        edition = self._edition
        tokens = [
            run_of(listed.key.removeprefix(edition.prefix)) async for listed in self._store.list(edition.key("runs/"))
        ]
        dead = await asyncio.gather(*(self.is_dead(token) for token in tokens if token not in ("", self._me)))
        return 1 + dead.count(False)

    async def _looks_dead(self, token: str) -> bool:
        now = self._clock.monotonic()
        content = await self._store.read(self._edition.key(f"runs/{token}.json"))
        record = None if content is None else read_heartbeat(content, token)
        if record is not None and (record["ended"] or self._is_gone(Process(**record["process"]))):
            return True
        seen, since = self._seen.get(token, (b"", now))
        if content != seen:
            self._seen[token] = (content, now)
            return False
        return now - since >= DEAD_AFTER_S
