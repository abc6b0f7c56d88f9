"""Who owns what: the heartbeats of runs, and when an owner counts as dead.

A run replaces ``runs/<token>.json`` every 10 s. It is dead when that stayed unchanged for 60 s of the *observer's*
monotonic clock (no two machines' clocks are compared), at once when this machine shows that its process is gone, or
when it said itself that it ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from adloom.ledger import Edition, to_json, utc
from adloom.ports import Clock, Store

BEAT_EVERY_S = 10
DEAD_AFTER_S = 60


@dataclass(frozen=True, slots=True)
class Process:
    """A process as its own machine tells it from all others."""

    host: str
    pid: int
    started: str


class Heartbeat:
    """The heartbeat of one run."""

    def __init__(self, store: Store, edition: Edition, clock: Clock, token: str, process: Process) -> None:
        self._store = store
        self._key = edition.key(f"runs/{token}.json")
        self._clock = clock
        self._process = process
        self._beats = 0

    async def beat(self, *, ended: bool = False) -> None:
        """Show that this run lives, or that it has ended."""
        self._beats += 1
        record = {"process": asdict(self._process), "beat": self._beats, "ended": ended, "time": utc(self._clock.now())}
        await self._store.replace(self._key, to_json(record))


class Owners:
    """What this run knows of other runs."""

    def __init__(
        self, store: Store, edition: Edition, clock: Clock, *, me: str, is_surely_dead: Callable[[Process], bool]
    ) -> None:
        self._store = store
        self._edition = edition
        self._clock = clock
        self._me = me
        self._is_surely_dead = is_surely_dead
        self._seen: dict[str, tuple[bytes | None, float]] = {}
        self._dead: set[str] = set()

    async def is_dead(self, token: str) -> bool:
        """Whether a run is dead. This run itself is alive."""
        if token == self._me:
            return False
        if token not in self._dead and await self._looks_dead(token):
            self._dead.add(token)
        return token in self._dead

    async def _looks_dead(self, token: str) -> bool:
        now = self._clock.monotonic()
        content = await self._store.read(self._edition.key(f"runs/{token}.json"))
        if content is not None:
            record = json.loads(content)
            if record["ended"] or self._is_surely_dead(Process(**record["process"])):
                return True
        seen, since = self._seen.get(token, (b"", now))
        if content != seen:
            self._seen[token] = (content, now)
            return False
        return now - since >= DEAD_AFTER_S
