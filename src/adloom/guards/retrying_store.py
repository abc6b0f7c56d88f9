"""A store that retries through outages, so that one failed write neither ends a run nor loses its record.

An operation that fails is tried again for ``PATIENCE_INTERVALS``; while any is being tried again, nobody buys: what
cannot be written down must not be bought. Operations that come through let the buying go on. One that never does ends
the buying for this run, and after that no operation is waited for any more.

A refusal in the middle of a run (a token that expired, a permission that was taken away) is an outage like another:
somebody may fix it, and what has been paid for waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from random import Random
from typing import TypeVar

from adloom.core.backoff import STORE
from adloom.core.errors import StoreError, StoreRefused, StoreUnavailable
from adloom.core.exits import Stop, StopReason
from adloom.core.retrying import retried
from adloom.guards.gate import Gate
from adloom.ports import Clock, Content, Listed, Spool, Store

log = logging.getLogger(__name__)

PATIENCE_INTERVALS = 100
"""A store that fails for this long (5 min at the default of 3 s) counts as out of reach, as the API does."""

_OUTAGES = (StoreUnavailable, StoreRefused)
_Answer = TypeVar("_Answer")


class RetryingStore:
    """A store for one run. Raises StoreUnavailable only once its patience, or the run's time, is over."""

    def __init__(self, store: Store, gate: Gate, clock: Clock, random: Random, interval_s: float) -> None:
        self._store = store
        self._gate = gate
        self._clock = clock
        self._random = random
        self._interval_s = interval_s
        self._failing = 0
        self._is_given_up = False

    @property
    def address(self) -> str:
        return self._store.address

    async def create(
        self,
        key: str,
        content: bytes,
        *,
        media_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        return await self._tried(
            key, lambda: self._store.create(key, content, media_type=media_type, metadata=metadata)
        )

    async def replace(self, key: str, content: Content, *, media_type: str = "application/json") -> None:
        await self._tried(key, lambda: self._store.replace(key, content, media_type=media_type))

    async def read(self, key: str) -> bytes | None:
        return await self._tried(key, lambda: self._store.read(key))

    async def open(self, key: str) -> Spool | None:
        return await self._tried(key, lambda: self._store.open(key))

    async def metadata(self, key: str) -> Mapping[str, str]:
        return await self._tried(key, lambda: self._store.metadata(key))

    async def list(self, prefix: str) -> AsyncIterator[Listed]:
        """As the store's own; a listing that breaks off in its middle is not begun again."""
        found = self._store.list(prefix)

        async def first() -> Listed | None:
            nonlocal found
            found = self._store.list(prefix)
            return await anext(found, None)

        one = await self._tried(prefix, first)
        while one is not None:
            yield one
            one = await anext(found, None)

    def link(self, key: str) -> str:
        return self._store.link(key)

    async def has_room(self) -> bool:
        return await self._store.has_room()

    async def aclose(self) -> None:
        """The store belongs to whoever opened it."""

    async def _tried(self, key: str, action: Callable[[], Awaitable[_Answer]]) -> _Answer:
        try:
            return await action()
        except _OUTAGES as error:
            if self._is_given_up:
                raise _outage(error) from error
            log.warning("%s; nothing is bought until %s succeeds", error.message, key)
        self._failing += 1
        self._gate.hold(self)
        try:
            return await self._tried_again(action)
        finally:
            self._failing -= 1
            if not self._failing:
                self._gate.lift(self)

    async def _tried_again(self, action: Callable[[], Awaitable[_Answer]]) -> _Answer:
        until = self._clock.monotonic() + PATIENCE_INTERVALS * self._interval_s
        await self._gate.sleep_until_over(self._wait_s(0), self._clock)  # it has failed before
        try:
            return await retried(
                action,
                again=lambda error: isinstance(error, _OUTAGES),
                wait_s=lambda _, failures: self._wait_s(failures + 1),
                sleep=lambda seconds: self._gate.sleep_until_over(seconds, self._clock),
                ends=lambda _: self._gate.over.is_set() or self._clock.monotonic() > until,
            )
        except _OUTAGES as error:
            self._give_up(error)
            raise _outage(error) from error

    def _wait_s(self, failures: int) -> float:
        return STORE.wait_s(failures, self._random.random()) * self._interval_s / 3

    def _give_up(self, error: StoreError) -> None:
        self._is_given_up = True
        self._gate.close(Stop.because(StopReason.OUTAGE, error))


def _outage(error: StoreError) -> StoreUnavailable:
    return StoreUnavailable(error.message, remedy=error.remedy)
