"""The life of tasks: accepted, pending, processing, ended and settled.

A running task uses no process or timer. Its ending is decided when it is accepted and takes effect when the sandbox is
next used after that time; a heap of end times keeps this cheap for any number of tasks.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from itertools import islice

from adloom.sandbox import tables
from adloom.sandbox.billing import ZERO, Account
from adloom.sandbox.dice import SeededRandom
from adloom.sandbox.hosting import ReferenceFault
from adloom.sandbox.outcomes import Ending, Outcome, images_made
from adloom.sandbox.settings import LiveSettings, SandboxSettings
from adloom.sandbox.submission import Wanted
from adloom.sandbox.submission import price as list_price

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_PENDING_SHARE = 0.2
_HIGHEST_RUNNING_PROGRESS = 95
FOREVER = float("inf")


class State(StrEnum):
    """States of a task. ``RUNNING`` covers pending and processing, which differ only by the clock."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Submission:
    """One POST that passed every check, and its account. ``sha256`` is of the body's bytes."""

    account: Account
    wanted: Wanted
    idempotency_key: str
    sha256: str


@dataclass(slots=True, eq=False)
class SandboxTask:
    """One accepted POST: the request, its future outcome, and its cost."""

    id: str
    ordinal: int
    account: Account
    wanted: Wanted
    outcome: Outcome
    idempotency_key: str
    request_sha256: str
    created: float
    ends_at: float
    reserved: Decimal
    state: State = State.RUNNING
    made: int = 0
    charged: Decimal = ZERO
    error_code: str = ""
    error_message: str = ""
    readings: int = 0
    """How often it was read since it completed."""

    @property
    def started_at(self) -> float:
        """When it leaves the queue."""
        return self.created + _PENDING_SHARE * min(self.ends_at - self.created, 60.0)

    @property
    def links(self) -> int:
        """How many result links it shows; a duplicate adds a link without a new image."""
        return self.made + (1 if self.outcome.ending is Ending.DUPLICATE and self.made else 0)

    @property
    def released(self) -> Decimal:
        """The part of the reserve that was released."""
        return ZERO if self.state is State.RUNNING else max(ZERO, self.reserved - self.charged)

    def progress(self, now: float) -> int:
        """0 to 100; it never falls while running, and is 0 for failed tasks."""
        if self.state is not State.RUNNING:
            return 100 if self.state is State.COMPLETED else 0
        span = min(self.ends_at - self.created, 3600.0)
        share = (now - self.created) / span if span > 0 else 1.0
        return int(_HIGHEST_RUNNING_PROGRESS * min(1.0, max(0.0, share)))


@dataclass(slots=True)
class Totals:
    """Running totals over all accounts."""

    images_made: int = 0
    reserved: Decimal = ZERO
    charged: Decimal = ZERO
    released: Decimal = ZERO
    most_running: int = 0
    states: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _AccountTasks:
    """The tasks of one account."""

    tasks: list[SandboxTask] = field(default_factory=list)
    running: dict[str, SandboxTask] = field(default_factory=dict)
    counts: Counter[tuple[State, str]] = field(default_factory=Counter)


class TaskStore:
    """Every task since the last reset."""

    def __init__(
        self,
        board: LiveSettings,
        dice: SeededRandom,
        references_fail: Callable[[Wanted, float], ReferenceFault | None],
        settled: Callable[[SandboxTask], None],
    ) -> None:
        self._board = board
        self._dice = dice
        self._references_fail = references_fail
        self._settled = settled
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.totals = Totals()
        self._all: list[SandboxTask] = []
        self._by_id: dict[str, SandboxTask] = {}
        self._shelves: dict[str, _AccountTasks] = {}
        self._ends: list[tuple[float, int, SandboxTask]] = []

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[SandboxTask]:
        return iter(self._all)

    def accept(self, submission: Submission, decide: Callable[[int], Outcome], now: float) -> SandboxTask:
        """Reserve and start a task, whose ending is decided by its ordinal. Raises the 402 refusal."""
        settings = self._board.settings
        wanted = submission.wanted
        reserved = (self.price(wanted) + _search_price(wanted)) * wanted.n
        submission.account.reserve(reserved, now)
        ordinal = len(self._all)
        outcome = decide(ordinal)
        task = SandboxTask(
            id=self._new_id(ordinal, now),
            ordinal=ordinal,
            account=submission.account,
            wanted=wanted,
            outcome=outcome,
            idempotency_key=submission.idempotency_key,
            request_sha256=submission.sha256,
            created=now,
            ends_at=self._end(ordinal, outcome, settings, now),
            reserved=reserved,
        )
        self._file(task)
        return task

    def price(self, wanted: Wanted) -> Decimal:
        """Credits for one image of the next purchase."""
        settings = self._board.settings
        begun = [step for step in settings.price_steps if step <= len(self._all) + 1]
        factor = settings.price_steps[max(begun)] if begun else 1
        price = settings.prices_by_quality.get(wanted.quality, settings.credits_per_image)
        return (price or list_price(wanted)) * factor

    def settle_due(self, now: float) -> None:
        """Settle what has ended by now, in order of time."""
        while self._ends and self._ends[0][0] <= now:
            ends_at, _, task = heapq.heappop(self._ends)
            if task.state is State.RUNNING and task.ends_at == ends_at:
                self._settle(task)

    def finish(self, now: float, ids: Iterable[str] | None = None) -> int:
        """End running tasks at once, including those that would never end; how many there were."""
        self.settle_due(now)
        wanted = None if ids is None else set(ids)
        running = [task for shelf in self._shelves.values() for task in shelf.running.values()]
        chosen = [task for task in running if wanted is None or task.id in wanted]
        for task in chosen:
            if task.outcome.ending in {Ending.NEVER, Ending.STRANGE}:
                task.outcome = Outcome(Ending.COMPLETED)
            task.ends_at = now
            heapq.heappush(self._ends, (now, task.ordinal, task))
        self.settle_due(now)
        return len(chosen)

    def end_at_once(self, task: SandboxTask) -> None:
        """End this one task now, whatever its time was."""
        self.finish(task.created, [task.id])

    def find(self, task_id: str) -> SandboxTask | None:
        """A task of any account."""
        return self._by_id.get(task_id)

    def numbered(self, ordinal: int) -> SandboxTask | None:
        """The task of an ordinal."""
        return self._all[ordinal] if 0 <= ordinal < len(self._all) else None

    def running(self, account: Account) -> int:
        """How many tasks of an account have not ended."""
        return len(self._shelf(account).running)

    def listed(
        self, account: Account, status: str, model: str, start: int, count: int
    ) -> tuple[int, list[SandboxTask]]:
        """How many tasks of a status and model (``""`` for all) an account has, and a page of them, newest first."""
        shelf = self._shelf(account)
        states = _states_of(status)
        total = sum(number for (state, name), number in shelf.counts.items() if state in states and model in {"", name})
        tasks = shelf.running.values() if states == {State.RUNNING} else shelf.tasks
        fitting = (task for task in reversed(tasks) if task.state in states and model in {"", task.wanted.model.name})
        if total == len(shelf.tasks):
            newest = len(shelf.tasks) - start
            return total, shelf.tasks[max(0, newest - count) : max(0, newest)][::-1]
        return total, list(islice(fitting, start, start + count))

    def _shelf(self, account: Account) -> _AccountTasks:
        return self._shelves.setdefault(account.name, _AccountTasks())

    def _new_id(self, ordinal: int, now: float) -> str:
        fate = self._dice.number("task id", ordinal)
        suffix = "".join(_ALPHABET[(fate // 36**place) % 36] for place in range(8))
        task_id = f"task-unified-{int(now)}-{suffix}"
        return task_id if task_id not in self._by_id else self._new_id(ordinal + (1 << 40), now)

    def _end(self, ordinal: int, outcome: Outcome, settings: SandboxSettings, now: float) -> float:
        if outcome.ending in {Ending.NEVER, Ending.STRANGE}:
            return FOREVER
        slow = self._dice.hits(settings.slow_task_rate, "slow task", ordinal)
        span = settings.slow_task_seconds if slow else settings.task_seconds
        return now + self._dice.between(span, "task seconds", ordinal)

    def _file(self, task: SandboxTask) -> None:
        shelf = self._shelf(task.account)
        shelf.tasks.append(task)
        shelf.running[task.id] = task
        shelf.counts[task.state, task.wanted.model.name] += 1
        self._all.append(task)
        self._by_id[task.id] = task
        if task.ends_at != FOREVER:
            heapq.heappush(self._ends, (task.ends_at, task.ordinal, task))
        self.totals.reserved += task.reserved
        self.totals.states[task.state] += 1
        self.totals.most_running = max(self.totals.most_running, self.totals.states[State.RUNNING])

    def _settle(self, task: SandboxTask) -> None:
        state = self._decide(task)
        self._move(task, state)
        lags = self._board.settings.credits_lag_s > 0
        task.account.settle(task.reserved, task.charged, task.ends_at, seen_late=lags)
        self.totals.reserved -= task.reserved
        self.totals.charged += task.charged
        self.totals.released += task.released
        self.totals.images_made += task.made
        self._settled(task)

    def _decide(self, task: SandboxTask) -> State:
        ending = task.outcome.ending
        if ending is Ending.CANCELLED:
            task.charged = task.reserved if self._board.settings.cancelled_is_charged else ZERO
            return State.CANCELLED
        if ending in {Ending.FAILED, Ending.ERRORLESS}:
            task.error_code = task.outcome.code or ("service_error" if ending is Ending.FAILED else "")
            return State.FAILED
        fault = self._references_fail(task.wanted, task.started_at)
        if fault is not None:
            task.error_code, task.error_message = fault.code, fault.message
            return State.FAILED
        task.made = images_made(task.wanted, task.outcome, task.ordinal, self._board.settings, self._dice)
        search = _search_price(task.wanted)  # one for the task, where one for each image was reserved
        due = min(task.reserved, (task.reserved / task.wanted.n - search) * task.made + search)
        task.charged = due * self._board.settings.charge_factor
        return State.COMPLETED

    def _move(self, task: SandboxTask, state: State) -> None:
        shelf = self._shelf(task.account)
        del shelf.running[task.id]
        name = task.wanted.model.name
        shelf.counts[task.state, name] -= 1
        shelf.counts[state, name] += 1
        self.totals.states[task.state] -= 1
        self.totals.states[state] += 1
        task.state = state


def _search_price(wanted: Wanted) -> Decimal:
    return tables.CREDITS_PER_SEARCH if wanted.searches else ZERO


def _states_of(status: str) -> set[State]:
    if not status:
        return set(State)
    if status in {"processing", "pending"}:  # a list of processing tasks includes the queued ones
        return {State.RUNNING}
    return {State(status)} if status in {State.COMPLETED, State.FAILED, State.CANCELLED} else set()
