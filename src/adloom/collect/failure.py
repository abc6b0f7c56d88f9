"""From a failed task to the outcome of its call: read twice before it counts, and checked again for a day.

Gateways report a task as failed that completes a second later, so a new attempt, or giving a call up, needs the same
failure at a second reading (``core.results.second_reading_after_s``), and a charge that has come back or has had time
to. Right before a new attempt is bought, at the end of a run, by later runs and by the sweep a failed task is read once
more: one that is completed after all is adopted, and its images fill the variants.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator

from adloom.collect.completion import Completions, Reader, estimate
from adloom.core.backoff import poll_wait_s
from adloom.core.facts import Attempt
from adloom.core.limits import LINKS_LIVE_S
from adloom.core.records import Decided, RefusalKind
from adloom.core.results import second_reading_after_s
from adloom.core.task import Task, TaskState
from adloom.core.triage import failed_task
from adloom.ledger.ledger import Ledger

log = logging.getLogger(__name__)

RELEASE_INTERVALS = 20
"""A failed task's charge is waited for this long (1 min) to come back; then it counts as spent."""

SILENT_INTERVALS = 200
"""A failed task that the API no longer knows is held after this long (10 min): nothing confirms its failure."""


class Failures:
    """The failed tasks of one process."""

    def __init__(self, ledger: Ledger, reader: Reader, completions: Completions) -> None:
        self._ledger = ledger
        self._reader = reader
        self._completions = completions
        self._since: dict[str, float] = {}
        """When the failure of a call's task was first read, by call."""
        self._by_variant: dict[str, list[tuple[str, str, Attempt]]] | None = None
        self.adopted: list[str] = []
        """Other calls than the one that was to be bought whose failed tasks completed after all."""

    async def begin(self, call: str, task: Task) -> None:
        """Record the first reading that shows a task failed: evidence only, nothing is decided yet."""
        self._since[call] = self._reader.clock.monotonic()
        attempt = self._ledger.facts(call).latest.number
        fields = {"task": task.task_id, "code": task.error_code, "reason": _reason(task)}
        await self._ledger.note(call, f"a{attempt}-failed", fields)

    async def confirm(self, call: str) -> Task | None:
        """Read a failed task by itself until its failure counts, and settle it: a batch may show it otherwise.

        Else the task, which has not failed after all. None also where the API does not know it any more: it is held.
        """
        attempt, reads = self._ledger.facts(call).latest, 0
        while True:
            task = await self._reader.look_again(attempt.task, self._wait_s(call, reads), alone=True)
            reads += 1
            now = self._reader.clock.monotonic()
            if task is not None and task.state not in (TaskState.FAILED, TaskState.CANCELLED):
                self._since.pop(call, None)
                return task
            since_s = now - self._since.setdefault(call, now)
            if task is None and since_s >= SILENT_INTERVALS * self._reader.interval_s:
                reason = f"task {attempt.task} has failed once, and the API no longer knows it"
                await self._ledger.note_held(call, attempt.number, reason)
                break
            if task is not None and self._counts(task, since_s):
                await self._settle(call, task)
                break
        self._since.pop(call, None)
        return None

    async def came_back(self, call: str, variants: Iterable[str] = ()) -> bool:
        """Read every former task of a call once more, each by itself; whether one of them forbids buying it again.

        One that the API does not show does so for a day: another key may not see it. So do tasks of other calls that
        failed within the last day and were for one of these ``variants``, by their keys: an edit may have put these
        into another call.
        """
        tasks = {task: (call, attempt) for task, attempt in _failed(self._ledger.facts(call).attempts)}
        if self._by_variant is None:
            self._by_variant = self._recent_by_variant()
        for key in variants:
            tasks |= {task: (other, attempt) for task, other, attempt in self._by_variant.get(key, ())}
        found = await asyncio.gather(*(self._reader.look_again(task, 0, alone=True) for task in tasks))
        for (task_id, (owner, attempt)), task in zip(tasks.items(), found, strict=True):
            if task is not None and task.state is TaskState.COMPLETED:
                await self._adopt(owner, task)
                self.adopted += [owner] if owner != call else []
            elif task is None and _failed_at(attempt) > self._reader.clock.now() - LINKS_LIVE_S:
                log.warning("call %s is not bought: the API does not show its former task %s now", call, task_id)
            elif task is not None and (not task.state.is_final or (_was_charged(task) and _is_free(attempt))):
                log.warning("call %s is not bought: task %s reads %s now", call, task_id, task.word)
            else:
                continue
            return True
        return False

    async def look_again(self) -> list[str]:
        """Read every task that failed within the last day; the calls with one that completed after all."""
        tasks = list(self.recent())
        found = await asyncio.gather(*(self._reader.look_again(task, 0) for task in tasks))
        return await self.adopt_completed(found) + self.adopted

    async def adopt_completed(self, tasks: Iterable[Task | None]) -> list[str]:
        """Adopt those of the ``recent`` tasks that read completed; their calls."""
        calls, adopted = self.recent(), []
        for task in tasks:
            if task is not None and task.state is TaskState.COMPLETED and task.task_id in calls:
                await self._adopt(calls[task.task_id], task)
                adopted.append(calls[task.task_id])
        return adopted

    def recent(self) -> dict[str, str]:
        """The tasks that failed within the last day, with their calls."""
        return {task: call for task, call, _ in self._recent()}

    def _recent(self) -> Iterator[tuple[str, str, Attempt]]:
        oldest = self._reader.clock.now() - LINKS_LIVE_S
        for facts in self._ledger.unended():
            for task, attempt in _failed(facts.attempts):
                if _failed_at(attempt) > oldest:
                    yield task, facts.call, attempt

    def _recent_by_variant(self) -> dict[str, list[tuple[str, str, Attempt]]]:
        found: dict[str, list[tuple[str, str, Attempt]]] = {}
        for task, call, attempt in self._recent():
            for variant in attempt.intent.variants if attempt.intent else ():
                found.setdefault(variant.key, []).append((task, call, attempt))
        return found

    async def _adopt(self, call: str, task: Task) -> None:
        log.warning("call %s: task %s had failed and is completed after all", call, task.task_id)
        await self._completions.begin(call, task)

    def _wait_s(self, call: str, reads: int) -> float:
        interval_s, random = self._reader.interval_s, self._reader.random
        if call not in self._since:  # failed in a former run: this run's first reading
            return 0
        left_s = self._since[call] + second_reading_after_s(interval_s) - self._reader.clock.monotonic()
        return left_s if left_s > 0 else poll_wait_s(reads, 0, interval_s, random.random())

    def _counts(self, task: Task, since_s: float) -> bool:
        interval_s = self._reader.interval_s
        is_held_back = task.charge_status == "reserved" and since_s < RELEASE_INTERVALS * interval_s
        return since_s >= second_reading_after_s(interval_s) and not is_held_back

    async def _settle(self, call: str, task: Task) -> None:
        facts = self._ledger.facts(call)
        attempt = facts.latest
        verdict = failed_task(
            task.error_code,
            task.error_message,
            attempts=facts.task_attempts,
            of_model=facts.task_attempts_of_model,
        )
        final = verdict.final or task.state is TaskState.CANCELLED
        if _was_charged(task):
            charged = estimate(attempt, attempt.asked) if task.credits_used is None else task.credits_used
            fields = {"outcome": Decided.CHARGED, "credits": str(charged), "kind": RefusalKind.TASK, "final": True}
        else:
            fields = {"outcome": Decided.FREE, "kind": verdict.kind, "final": final}
        await self._ledger.decide(call, f"a{attempt.number}-settled", {**fields, "reason": _reason(task)})


def failed_until(ledger: Ledger) -> float:
    """Until when, as a Unix time, some failed task of a ledger may still turn out completed; 0 where none failed."""
    attempts = (attempt for facts in ledger.unended() for _, attempt in _failed(facts.attempts))
    return max((_failed_at(attempt) + LINKS_LIVE_S for attempt in attempts), default=0)


def _failed(attempts: tuple[Attempt, ...]) -> Iterator[tuple[str, Attempt]]:
    """The tasks that failed, with their attempts, and have not turned out completed."""
    for attempt in attempts:
        if attempt.failed is not None and attempt.settled is not None and attempt.completed is None and attempt.tasks:
            yield attempt.task, attempt


def _is_free(attempt: Attempt) -> bool:
    """Whether a failed task counted as free: one whose charge is known and counted may be followed by another take."""
    return attempt.settled is not None and attempt.settled.outcome is not Decided.CHARGED


def _failed_at(attempt: Attempt) -> float:
    return attempt.failed.unix_s if attempt.failed else 0


def _reason(task: Task) -> str:
    told = f" ({task.error_message})" if task.error_message else ""
    return f"task {task.task_id} {task.word or task.state}: {task.error_code or 'no reason given'}{told}"


def _was_charged(task: Task) -> bool:
    """Whether a task without images must be taken as paid for.

    According to EvoLink's clients a failed task's reserve comes back by itself; what a cancelled one costs is
    undocumented.
    """
    if task.charge_status == "released":
        return False
    told = task.charge_status in ("charged", "reserved") or bool(task.credits_used)
    return told or task.state is TaskState.CANCELLED
