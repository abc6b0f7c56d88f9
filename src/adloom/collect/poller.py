"""One loop that polls all tasks of a process, in batches as large as the API allows.

``core.durations`` says when a task is due; a callback makes it due at once.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from adloom.collect.completion import Unreachable
from adloom.core.backoff import READ
from adloom.core.durations import SCARCE, USUAL, Durations, Kind
from adloom.core.errors import AccountStopped, ReadFailed
from adloom.core.exits import Stop, StopReason
from adloom.core.results import ended_as
from adloom.core.task import Task, TaskState
from adloom.guards.gate import Gate, sleep_or
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


@dataclass(order=True, slots=True)
class _Watched:
    due: float
    task_id: str
    started: float = field(compare=False)
    """Wall clock time at which the task was accepted."""
    ended: asyncio.Future[Task | None] = field(compare=False)
    once: bool = field(default=False, compare=False)
    """Whether one reading is enough, whatever it shows."""
    alone: bool = field(default=False, compare=False)
    """Whether the answer must be about this task alone."""
    kind: Kind | None = field(default=None, compare=False)
    """Its kind, for a task that was new when its watch began; nothing is learned from the ages of others."""
    polls: int = field(default=0, compare=False)
    unfinished_s: float = field(default=0, compare=False)
    """The age at which it was last seen unfinished."""
    absent_since: float | None = field(default=None, compare=False)


class Poller:
    """Watches every task of this process. ``run`` is its one loop.

    ``is_scarce`` says whether the API allows only so many tasks at once, so that each end makes room for a purchase.
    """

    def __init__(
        self,
        *,
        api: ImageApi,
        gate: Gate,
        clock: Clock,
        random: Random,
        interval_s: float,
        is_scarce: Callable[[], bool] = lambda: False,
    ) -> None:
        self._api = api
        self._gate = gate
        self.clock = clock
        self.random = random
        self.interval_s = interval_s
        self._durations = Durations(interval_s)
        self._is_scarce = is_scarce
        self._watched: list[_Watched] = []
        self._added = asyncio.Event()
        self._failures = 0
        self._last_success = clock.monotonic()

    async def watch(self, task_id: str, started: float, kind: Kind | None = None) -> Task | None:
        """Wait for the end of a task: its last reading, or None when it is stuck or the API does not know it.

        Raises Unreachable when the API cannot be read for too long.
        """
        young = self.clock.now() - started < self.interval_s
        due = self.clock.monotonic() + (self._durations.first_reading_s(kind) if young else 0)
        ended = asyncio.get_running_loop().create_future()
        return await self._await(_Watched(due, task_id, started, ended, kind=kind if young else None))

    def hear(self, task_id: str) -> None:
        """A task is said to have ended: read it at once. Only the reading counts."""
        told = [watched for watched in self._watched if watched.task_id == task_id and not watched.once]
        self._bring_forward(told, 0)

    async def look_again(self, task_id: str, wait_s: float, *, alone: bool = False) -> Task | None:
        """Read a task once more after a wait, in a request of its own where it must be ``alone``.

        None when the API does not know it then. Raises Unreachable when the API cannot be read for too long.
        """
        due, now = self.clock.monotonic() + wait_s, self.clock.now()
        ended = asyncio.get_running_loop().create_future()
        return await self._await(_Watched(due, task_id, now, ended, once=True, alone=alone))

    async def _await(self, watched: _Watched) -> Task | None:
        if not self._watched:
            self._last_success = self.clock.monotonic()
        heapq.heappush(self._watched, watched)
        self._added.set()
        return await watched.ended

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            if not self._watched:
                self._added.clear()
                await self._added.wait()
            wait_s = self._watched[0].due - self.clock.monotonic()
            if wait_s > 0:
                self._added.clear()
                await sleep_or(self._added, wait_s, self.clock)
                continue
            due = self._take_due()
            try:
                await self._poll(due)
            except Exception as surprise:  # noqa: BLE001 - it is raised where the tasks are waited for
                for watched in due:
                    if not watched.ended.done():
                        watched.ended.set_exception(surprise)

    def _take_due(self) -> list[_Watched]:
        """The tasks of one request: all that are due, and those that would be due before long."""
        if self._watched[0].alone:
            watched = heapq.heappop(self._watched)
            return [] if watched.ended.done() else [watched]
        horizon = self.clock.monotonic() + self.interval_s / 4
        due: list[_Watched] = []
        while self._watched and self._watched[0].due <= horizon and len(due) < TASKS_PER_READ:
            if self._watched[0].alone:
                break
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
            self._last_success = self.clock.monotonic()
        self._durations.schedule = SCARCE if self._is_scarce() else USUAL
        for watched in read:
            task = tasks.get(watched.task_id)
            self._judge(watched, task and ended_as(task))

    def _postpone(self, due: list[_Watched], error: ReadFailed | AccountStopped, advised_s: float | None) -> None:
        now = self.clock.monotonic()
        self._failures += 1
        if now - self._last_success > PATIENCE_INTERVALS * self.interval_s:
            reason = StopReason.ACCOUNT if isinstance(error, AccountStopped) else StopReason.OUTAGE
            self._gate.close(Stop(reason, f"tasks cannot be read: {error.message}", error.remedy))
            for watched in (*due, *self._watched):
                if not watched.ended.done():
                    watched.ended.set_exception(Unreachable(error.message))
            self._watched.clear()
            return
        wait_s = advised_s or max(self.interval_s, READ.wait_s(self._failures - 1, self.random.random()))
        for watched in due:
            watched.due = now + wait_s
            heapq.heappush(self._watched, watched)

    def _judge(self, watched: _Watched, task: Task | None) -> None:
        if watched.ended.done():
            return
        now = self.clock.monotonic()
        if watched.once:
            watched.ended.set_result(task)
            return
        watched.polls += 1
        age_s = self.clock.now() - watched.started
        if task is None:
            watched.absent_since = now if watched.absent_since is None else watched.absent_since
        else:
            watched.absent_since = None
        if task is not None and task.state.is_final:
            watched.ended.set_result(task)
        elif self._has_waited_too_long(watched, age_s, now):
            watched.ended.set_result(None)
        else:
            if task is not None and task.state is TaskState.OTHER:
                log.warning("task %s has an unknown state: %r", task.task_id, task.word[:40])
            wait_s = self._durations.wait_s(watched.kind, watched.polls, age_s, self.random.random())
            watched.due = now + wait_s
            heapq.heappush(self._watched, watched)
        if task is not None and watched.kind is not None:
            self._learn(watched, watched.kind, task, age_s)

    def _learn(self, watched: _Watched, kind: Kind, task: Task, age_s: float) -> None:
        """Learn how long tasks take, and schedule those that wait for this."""
        completed = task.state is TaskState.COMPLETED
        if task.state.is_final and not completed:  # a failure says nothing about the others, so another one goes ahead
            if not self._durations.is_known(kind):
                self._bring_forward(sorted(self._unread(kind))[:1], self.interval_s)
            return
        is_known_now = self._durations.learn(
            kind, age_s, unfinished_s=watched.unfinished_s, completed=completed, is_first=watched.polls == 1
        )
        watched.unfinished_s = age_s
        if is_known_now:
            self._bring_forward(self._unread(kind), self._durations.first_reading_s(kind))

    def _unread(self, kind: Kind) -> list[_Watched]:
        return [watched for watched in self._watched if watched.kind == kind and not watched.polls]

    def _bring_forward(self, chosen: Sequence[_Watched], age_s: float) -> None:
        """Bring watched tasks forward to be read at this age, if they were due later."""
        if not chosen:
            return
        wall, now = self.clock.now(), self.clock.monotonic()
        for watched in chosen:
            watched.due = min(watched.due, now + max(0, age_s - (wall - watched.started)))
        heapq.heapify(self._watched)
        self._added.set()

    def _has_waited_too_long(self, watched: _Watched, age_s: float, now: float) -> bool:
        if watched.absent_since is not None:
            return now - watched.absent_since >= ABSENT_INTERVALS * self.interval_s
        return age_s >= STUCK_INTERVALS * self.interval_s
