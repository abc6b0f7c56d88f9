"""From tasks in flight to outcomes: one poller for all tasks of a process.

Tasks due at about the same time are read together, up to 50 per request; ``core.durations`` says when one is due, and a
callback makes it due at once. Reading is free and repeated for as long as the task may live; the end of a task is
written to the ledger before anything is done about it. ``completion`` decides what a completed task has made.
"""

from __future__ import annotations

import logging

from adloom.collect.completion import Completions, Fetch, Recorded
from adloom.collect.failure import Failures
from adloom.collect.poller import (
    Poller,
)
from adloom.core.durations import Kind
from adloom.core.facts import Attempt, Stage
from adloom.core.task import TaskState
from adloom.ledger.claims import hold
from adloom.ledger.ledger import Ledger

log = logging.getLogger(__name__)


class Collector:
    """Writes the ends of tasks to the ledger."""

    def __init__(self, ledger: Ledger, poller: Poller) -> None:
        self._ledger = ledger
        self._poller = poller
        self._completions = Completions(ledger, poller)
        self.failures = Failures(ledger, poller, self._completions)

    async def collect(self, call: str, started: float) -> None:
        """Wait for the task of a call's latest attempt and record its end.

        One that may have made more images than it shows, or that reads failed, is left to ``read_on``.
        """
        attempt = self._ledger.facts(call).latest
        if await hold(self._ledger, call, attempt.number, attempt.task):
            await self._wait_for_end(call, attempt, started)

    async def read_on(self, call: str, fetch: Fetch, recorded: Recorded = lambda _: None) -> None:
        """Read a task that has ended until what it shows counts, or for so long that the rest is held."""
        while (facts := self._ledger.facts(call)).stage is Stage.FAILING:
            task = await self.failures.confirm(call)
            if task is None:
                return
            if task.state is TaskState.COMPLETED:
                await self._completions.begin(call, task)
            elif not await self._wait_for_end(call, facts.latest, self._poller.clock.now()):
                return
        if facts.stage is Stage.UNSHOWN:
            await self._completions.read_on(call, fetch, recorded)

    async def _wait_for_end(self, call: str, attempt: Attempt, started: float) -> bool:
        """Whether a task has ended; one that does not is held."""
        task = await self._poller.watch(attempt.task, started, _kind(attempt))
        if task is None:
            reason = f"task {attempt.task} has not ended, or the API no longer knows it"
            await self._ledger.note_held(call, attempt.number, reason)
            return False
        if task.state is TaskState.COMPLETED:
            await self._completions.begin(call, task)
        else:
            await self.failures.begin(call, task)
        return True


def _kind(attempt: Attempt) -> Kind | None:
    intent = attempt.intent
    return None if intent is None else (*intent.kind[:2], len(intent.variants))
