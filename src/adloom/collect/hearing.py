"""Lets a run react to callbacks that the receiver has recorded, while it waits for its tasks.

A callback only means that a task is worth reading now; the reading is what counts. Callbacks are found with one LIST of
the edition's inbox, which holds one object per task that called back, so the pauses grow with their number.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from adloom.core.callbacks import FOLDER
from adloom.core.errors import StoreError
from adloom.ledger.edition import Edition
from adloom.ports import Clock, Store

log = logging.getLogger(__name__)

PAUSE_INTERVALS = 0.5
LISTED_AT_ONCE = 1000
"""Objects per S3 listing; each such page doubles the pause."""


class Hearing:
    """Calls ``hear`` once for each task that calls back for an edition. ``run`` is its one loop."""

    def __init__(
        self, store: Store, edition: Edition, clock: Clock, hear: Callable[[str], None], *, interval_s: float
    ) -> None:
        self._store = store
        self._inbox = f"{FOLDER}/{edition.prefix}"
        self._clock = clock
        self._hear = hear
        self._pause_s = PAUSE_INTERVALS * interval_s
        self._heard: set[str] = set()

    async def run(self) -> None:
        """Listen until cancelled. If the store does not answer, tasks are read without callbacks."""
        while True:
            await self._clock.sleep(self._pause_s * (1 + len(self._heard) / LISTED_AT_ONCE))
            try:
                async for listed in self._store.list(self._inbox):
                    self._note(listed.key)
            except StoreError as error:
                log.info("callbacks are not heard: %s", error.message)

    def _note(self, key: str) -> None:
        if key not in self._heard:
            self._heard.add(key)
            self._hear(key.rsplit("/", 1)[1].partition(".")[2].removesuffix(".json"))
