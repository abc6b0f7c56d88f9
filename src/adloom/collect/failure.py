"""From a failed task to the outcome of its call: read twice before it counts, and checked again for a day.

Gateways report a task as failed that completes a second later, so a new attempt, or giving a call up, needs the same
failure at a second reading (``core.results.second_reading_after_s``), and a charge that has come back or has had time
to. Right before a new attempt is bought, at the end of a run, by later runs and by the sweep a failed task is read once
more: one that is completed after all is adopted, and its images fill the variants.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

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

    async def begin(self, call: str, task: Task) -> None:
        """Record the first reading that shows a task failed: evidence only, nothing is decided yet."""
        self._since[call] = self._reader.clock.monotonic()
        attempt = self._ledger.facts(call).latest.number
        fields = {"task": task.task_id, "code": task.error_code, "reason": _reason(task)}
        await self._ledger.note(call, f"a{attempt}-failed", fields)

    async def confirm(self, call: str) -> Task | None:
        """Read a failed task again until its failure counts, and settle it.

        Else the task, which has not failed after all. None also where the API does not know it any more: it is held.
        """
        attempt, reads = self._ledger.facts(call).latest, 0
        while True:
            task = await self._reader.look_again(attempt.task, self._wait_s(call, reads))
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

    async def came_back(self, call: str) -> bool:
        """Read every former task of a call once more; whether one of them forbids buying the call again."""
        tasks = [task for task, _ in _failed(self._ledger.facts(call).attempts)]
        found = await asyncio.gather(*(self._reader.look_again(task, 0) for task in tasks))
        for task_id, task in zip(tasks, found, strict=True):
            if task is not None and task.state is TaskState.COMPLETED:
                await self._adopt(call, task)
            elif task is not None and (not task.state.is_final or _was_charged(task)):
                log.warning("call %s is not bought again: its task %s reads %s now", call, task_id, task.word)
            else:
                continue
            return True
        return False

    async def look_again(self) -> list[str]:
        """Read every task that failed within the last day, fifty per request; the calls with one that completed."""
        oldest = self._reader.clock.now() - LINKS_LIVE_S
        tasks = {
            task: facts.call
            for facts in self._ledger.unended()
            for task, attempt in _failed(facts.attempts)
            if _failed_at(attempt) > oldest
        }
        found = await asyncio.gather(*(self._reader.look_again(task, 0) for task in tasks))
        adopted = []
        for call, task in zip(tasks.values(), found, strict=True):
            if task is not None and task.state is TaskState.COMPLETED:
                await self._adopt(call, task)
                adopted.append(call)
        return adopted

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
        verdict = failed_task(task.error_code, facts.task_attempts)
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
