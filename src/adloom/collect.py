"""From tasks in flight to outcomes: one poller for all tasks of a process.

Tasks that are due at about the same time are read together, up to 50 a request. Reading is free and repeated for as
long as the task may live; the end of a task is written to the ledger before anything is done about it.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from adloom.claims import hold
from adloom.core.backoff import READ, poll_wait_s
from adloom.core.errors import AccountStopped, ReadFailed
from adloom.core.exits import Stop, StopReason
from adloom.core.facts import Decided, RefusalKind
from adloom.core.task import Task, TaskState
from adloom.core.triage import failed_task
from adloom.gate import Gate
from adloom.ledger import Ledger
from adloom.ports import Clock, ImageApi

log = logging.getLogger(__name__)

TASKS_PER_READ = 50
"""The largest batch that EvoLink's own clients ask for."""

PATIENCE_INTERVALS = 100
"""Without one successful read for this long (5 min at the default) the API counts as out of reach."""

ABSENT_INTERVALS = 200
"""A task that the API does not know for this long (10 min) is held; a 404 at first proves nothing."""

STUCK_INTERVALS = 2400
"""A task that has not ended after this long (2 h) is held; later runs look at it again."""

RELEASE_INTERVALS = 20
"""A failed task's charge is waited for this long (1 min) to come back; then it counts as spent."""


class Unreachable(Exception):
    """The API could not be read for so long that the run gives up; the task stays accepted in the ledger."""


@dataclass(order=True, slots=True)
class _Watched:
    due: float
    task_id: str
    started: float = field(compare=False)
    """Wall clock time at which the task was accepted."""
    ended: asyncio.Future[Task | None] = field(compare=False)
    polls: int = field(default=0, compare=False)
    absent_since: float | None = field(default=None, compare=False)
    failed_since: float | None = field(default=None, compare=False)


class Poller:
    """Watches every task of this process. ``run`` is its one loop."""

    def __init__(self, *, api: ImageApi, gate: Gate, clock: Clock, random: Random, interval_s: float) -> None:
        self._api = api
        self._gate = gate
        self._clock = clock
        self._random = random
        self._interval_s = interval_s
        self._watched: list[_Watched] = []
        self._added = asyncio.Event()
        self._failures = 0
        self._last_success = clock.monotonic()

    async def watch(self, task_id: str, started: float) -> Task | None:
        """Wait for the end of a task: its last reading, or None when it is stuck or the API does not know it.

        Raises Unreachable when the API cannot be read for too long.
        """
        young = self._clock.now() - started < self._interval_s
        due = self._clock.monotonic() + (self._interval_s if young else 0)
        watched = _Watched(due, task_id, started, asyncio.get_running_loop().create_future())
        if not self._watched:
            self._last_success = self._clock.monotonic()
        heapq.heappush(self._watched, watched)
        self._added.set()
        return await watched.ended

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            if not self._watched:
                self._added.clear()
                await self._added.wait()
            wait_s = self._watched[0].due - self._clock.monotonic()
            if wait_s > 0:
                await self._sleep_or_added(wait_s)
                continue
            due = self._take_due()
            try:
                await self._poll(due)
            except Exception as surprise:  # noqa: BLE001 - it is raised where the tasks are waited for
                for watched in due:
                    if not watched.ended.done():
                        watched.ended.set_exception(surprise)

    async def _sleep_or_added(self, seconds: float) -> None:
        self._added.clear()
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        added = asyncio.ensure_future(self._added.wait())
        try:
            await asyncio.wait({sleeping, added}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            added.cancel()

    def _take_due(self) -> list[_Watched]:
        """The tasks of one request: all that are due, and those that would be due before long."""
        horizon = self._clock.monotonic() + self._interval_s / 4
        due: list[_Watched] = []
        while self._watched and self._watched[0].due <= horizon and len(due) < TASKS_PER_READ:
            watched = heapq.heappop(self._watched)
            if not watched.ended.done():
                due.append(watched)
        return due

    async def _poll(self, due: list[_Watched]) -> None:
        if not due:
            return
        try:
            tasks = await self._api.tasks([watched.task_id for watched in due])
        except AccountStopped as error:
            self._postpone(due, error, None)
        except ReadFailed as error:
            read = [watched for watched in due if watched.task_id in error.read]
            self._note(read, error.read)
            self._postpone([watched for watched in due if watched not in read], error, error.retry_after_s)
        else:
            self._note(due, tasks)

    def _note(self, read: list[_Watched], tasks: Mapping[str, Task]) -> None:
        if read:
            self._failures = 0
            self._last_success = self._clock.monotonic()
        for watched in read:
            self._judge(watched, tasks.get(watched.task_id))

    def _postpone(self, due: list[_Watched], error: ReadFailed | AccountStopped, advised_s: float | None) -> None:
        now = self._clock.monotonic()
        self._failures += 1
        if now - self._last_success > PATIENCE_INTERVALS * self._interval_s:
            reason = StopReason.ACCOUNT if isinstance(error, AccountStopped) else StopReason.OUTAGE
            self._gate.close(Stop(reason, f"tasks cannot be read: {error.message}", error.remedy))
            for watched in (*due, *self._watched):
                if not watched.ended.done():
                    watched.ended.set_exception(Unreachable(error.message))
            self._watched.clear()
            return
        wait_s = advised_s or max(self._interval_s, READ.wait_s(self._failures - 1, self._random.random()))
        for watched in due:
            watched.due = now + wait_s
            heapq.heappush(self._watched, watched)

    def _judge(self, watched: _Watched, task: Task | None) -> None:
        now = self._clock.monotonic()
        watched.polls += 1
        age_s = self._clock.now() - watched.started
        if task is None:
            watched.absent_since = now if watched.absent_since is None else watched.absent_since
        else:
            watched.absent_since = None
        if task is not None and task.state.is_final and not self._awaits_release(watched, task, now):
            watched.ended.set_result(task)
        elif self._has_waited_too_long(watched, age_s, now):
            watched.ended.set_result(None)
        else:
            if task is not None and task.state is TaskState.OTHER:
                log.warning("task %s has a state that is not known: %r", task.task_id, task.word[:40])
            watched.due = now + poll_wait_s(watched.polls, age_s, self._interval_s, self._random.random())
            heapq.heappush(self._watched, watched)

    def _awaits_release(self, watched: _Watched, task: Task, now: float) -> bool:
        if task.state is TaskState.COMPLETED or task.charge_status != "reserved":
            return False
        if watched.failed_since is None:
            watched.failed_since = now
        return now - watched.failed_since < RELEASE_INTERVALS * self._interval_s

    def _has_waited_too_long(self, watched: _Watched, age_s: float, now: float) -> bool:
        if watched.absent_since is not None:
            return now - watched.absent_since >= ABSENT_INTERVALS * self._interval_s
        return age_s >= STUCK_INTERVALS * self._interval_s


class Collector:
    """Writes the ends of tasks to the ledger."""

    def __init__(self, ledger: Ledger, poller: Poller) -> None:
        self._ledger = ledger
        self._poller = poller

    async def collect(self, call: str, started: float) -> None:
        """Wait for the task of a call's latest attempt and record its end."""
        attempt = self._ledger.facts(call).latest
        if not await hold(self._ledger, call, attempt.number, attempt.task):
            return
        task = await self._poller.watch(attempt.task, started)
        if task is None:
            reason = f"task {attempt.task} has not ended, or the API does not know it any more"
            await self._ledger.note(call, f"a{attempt.number}-held", {"reason": reason})
        elif task.state is TaskState.COMPLETED:
            await self._completed(call, task)
        else:
            await self._failed(call, task)

    async def _completed(self, call: str, task: Task) -> None:
        attempt = self._ledger.facts(call).latest
        links = list(dict.fromkeys(task.results))
        told = task.credits_used is not None
        charged = task.credits_used if task.credits_used is not None else self._estimate(call, len(links))
        record = await self._ledger.note(
            call,
            f"a{attempt.number}-completed",
            {
                "task": task.task_id,
                "links": links,
                "reported": len(task.results),
                "credits": str(charged),
                "told": told,
            },
        )
        charge = {"outcome": Decided.CHARGED, "credits": record["credits"], "reason": "", "kind": "", "final": True}
        await self._ledger.decide(call, f"a{attempt.number}-settled", charge)

    def _estimate(self, call: str, images: int) -> Decimal:
        """The charge where the API does not tell it: the reserve's share for the images that were made."""
        facts = self._ledger.facts(call)
        accepted, intent = facts.latest.accepted, facts.intent
        assert accepted is not None  # noqa: S101 - there is no task without an accepted fact
        assert intent is not None  # noqa: S101 - and none without an intent
        return Decimal(accepted["credits"]) * images / len(intent["variants"])

    async def _failed(self, call: str, task: Task) -> None:
        facts = self._ledger.facts(call)
        attempt = facts.latest.number
        reason = f"task {task.task_id} {task.word or task.state}: {task.error_code or 'no reason given'}"
        if task.error_message:
            reason += f" ({task.error_message})"
        await self._ledger.note(
            call, f"a{attempt}-failed", {"task": task.task_id, "code": task.error_code, "reason": reason}
        )
        verdict = failed_task(task.error_code, facts.task_attempts)
        final = verdict.final or task.state is TaskState.CANCELLED
        if _was_charged(task):
            charged = self._estimate(call, self._wanted(call)) if task.credits_used is None else task.credits_used
            fields = {"outcome": Decided.CHARGED, "credits": str(charged), "kind": RefusalKind.TASK, "final": True}
        else:
            fields = {"outcome": Decided.FREE, "kind": verdict.kind, "final": final}
        await self._ledger.decide(call, f"a{attempt}-settled", {**fields, "reason": reason})

    def _wanted(self, call: str) -> int:
        intent = self._ledger.facts(call).intent
        return len(intent["variants"]) if intent else 0


def _was_charged(task: Task) -> bool:
    """Whether a task without images must be taken as paid for.

    EvoLink's clients say that a failed task's reserve comes back by itself; what a cancelled one costs nobody says.
    """
    if task.charge_status == "released":
        return False
    told = task.charge_status in ("charged", "reserved") or bool(task.credits_used)
    return told or task.state is TaskState.CANCELLED
