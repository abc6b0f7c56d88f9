"""From a completed task to its images: recorded at once if it shows them all, otherwise read on.

Whatever a reading shows for the first time is recorded first and then fetched, while the task is read on: its charge
may show next. Only a task's own call waits for the rest of it. ``core.results`` judges the readings.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from decimal import Decimal
from random import Random
from typing import Protocol

from adloom.core.backoff import poll_wait_s
from adloom.core.facts import Attempt
from adloom.core.limits import LINKS_LIVE_S
from adloom.core.links import joined, others
from adloom.core.records import Decided
from adloom.core.results import (
    Reading,
    Verdict,
    billed_beyond,
    images_billed,
    is_doubtful,
    judge,
    second_reading_after_s,
    told_charge,
)
from adloom.core.task import Task, TaskState
from adloom.ledger.ledger import Ledger
from adloom.ports import Clock

Fetch = Callable[[str], Coroutine[None, None, None]]
"""Fetches what the ledger knows of a call's images and has not stored, which may take minutes."""

Recorded = Callable[[str], None]
"""Told of a call whose task was read and written down: its charge may be new."""


class Unreachable(Exception):
    """The API could not be read for so long that the run gives up; the task stays accepted in the ledger."""


class Reader(Protocol):
    """Reads tasks again: the poller. Raises Unreachable."""

    clock: Clock
    random: Random
    interval_s: float

    async def look_again(self, task_id: str, wait_s: float, *, alone: bool = False) -> Task | None: ...


class Completions:
    """The completed tasks of one process."""

    def __init__(self, ledger: Ledger, reader: Reader) -> None:
        self._ledger = ledger
        self._reader = reader
        self._readings: dict[str, list[Reading]] = {}
        """The readings of tasks that are read again, by task."""

    async def begin(self, call: str, task: Task) -> None:
        """Record what the first reading of a completed task shows."""
        attempt = self._attempt(call, task.task_id)
        self._readings[task.task_id] = [self._reading(attempt, task, is_own=False)]
        if await self._heed(call, _without_lower_charge(attempt, task)) is Verdict.FINAL:
            del self._readings[task.task_id]

    async def read_on(self, call: str, fetch: Fetch, recorded: Recorded) -> None:
        """Read a task until it shows all that it made, or for so long that the rest is held.

        ``fetch`` is called whenever the task has shown more, one after the other.
        """
        fetching: asyncio.Task[None] | None = None
        shown = 0
        try:
            async for links in self._until_over(call):
                recorded(call)
                if links > shown:
                    fetching, shown = asyncio.create_task(_then(fetching, call, fetch)), links
            if fetching is not None:
                await fetching
        except Unreachable:
            if fetching is not None:
                await fetching
            raise
        finally:
            if fetching is not None:
                fetching.cancel()  # unless it has ended

    async def _until_over(self, call: str) -> AsyncIterator[int]:
        """Read a task until its readings are over; how many links it has shown, at first and after each reading."""
        task_id = self._ledger.facts(call).latest.task
        readings = self._readings.setdefault(task_id, [])
        verdict, reads = Verdict.READ_ON, 0
        while True:
            attempt = self._attempt(call, task_id)
            yield len(attempt.links)
            if verdict is not Verdict.READ_ON:
                break
            wait_s, alone = self._next_look(attempt, readings, reads)
            task = await self._reader.look_again(task_id, wait_s, alone=alone)
            reads += 1
            if task is None or task.state is not TaskState.COMPLETED:  # it was completed: this says nothing about it
                task = Task(task_id, TaskState.COMPLETED)
            readings.append(self._reading(attempt, task, is_own=alone))
            verdict = await self._heed(call, task if alone else _without_lower_charge(attempt, task))
        del self._readings[task_id]
        if verdict is Verdict.HELD:
            reason = f"task {task_id} is completed and does not show all that it may have made"
            await self._ledger.note_held(call, attempt.number, reason)

    def _attempt(self, call: str, task_id: str) -> Attempt:
        """The attempt whose task it is."""
        return next(attempt for attempt in self._ledger.facts(call).attempts if task_id in attempt.tasks)

    def _next_look(self, attempt: Attempt, readings: Sequence[Reading], reads: int) -> tuple[float, bool]:
        """After how many seconds to read a task again, and whether alone: a line of a batch can be a summary.

        So it is read where something says that what it shows is all, and where that may be the last look. What a line
        of a batch bills is asked about at once.
        """
        billed = readings[-1].billed if readings else None
        is_billed = billed is not None and 0 < billed <= len(attempt.links)
        is_known = attempt.completed is not None and attempt.completed.billed is not None
        has_evidence = attempt.completed is not None and (bool(attempt.links) or billed == 0)
        alone = has_evidence and (is_billed or not is_known)
        alone = alone or self._ended_ago_s(attempt) >= LINKS_LIVE_S
        if not readings or (is_billed and not reads):
            return 0, alone
        if alone:
            return second_reading_after_s(self._reader.interval_s), alone
        return poll_wait_s(reads, 0, self._reader.interval_s, self._reader.random.random()), alone

    def _reading(self, attempt: Attempt, task: Task, *, is_own: bool) -> Reading:
        told = told_charge(task, shows=_shows(attempt, task))
        return Reading(self._reader.clock.monotonic(), task.results, is_own, _bill(attempt, task, told))

    async def _heed(self, call: str, task: Task) -> Verdict:
        """Judge a call by its readings, of which this is the last, and write down what it adds to the ledger."""
        attempt = self._attempt(call, task.task_id)
        verdict = judge(
            self._readings[task.task_id],
            known=attempt.links,
            asked=attempt.asked,
            billed=_bill(attempt, task, _used(attempt, task)),
            interval_s=self._reader.interval_s,
            now_s=self._reader.clock.monotonic(),
            ended_ago_s=self._ended_ago_s(attempt),
            doubtful=_is_doubtful(attempt, task),
        )
        await self._record(call, task, verdict)
        return verdict

    def _ended_ago_s(self, attempt: Attempt) -> float:
        """How long ago anybody first read that its task is completed."""
        return self._reader.clock.now() - attempt.completed.unix_s if attempt.completed else 0

    async def _record(self, call: str, task: Task, verdict: Verdict) -> None:
        while _adds(attempt := self._attempt(call, task.task_id), task, verdict):
            name = f"a{attempt.number}-completed" + (f"-{len(attempt.completions) + 1}" if attempt.completions else "")
            if (await self._ledger.decide(call, name, _fields(attempt, task, verdict)))[1]:
                break
        attempt = self._attempt(call, task.task_id)
        if attempt.shows_all and attempt.completed is not None and attempt.settled is None:
            charge = {"outcome": Decided.CHARGED, "credits": str(attempt.completed.credits), "reason": "", "kind": ""}
            await self._ledger.decide(call, f"a{attempt.number}-settled", {**charge, "final": True})


async def _then(former: asyncio.Task[None] | None, call: str, fetch: Fetch) -> None:
    if former is not None:
        await former
    await fetch(call)


_OVER = (Verdict.FINAL, Verdict.NEVER_SHOWN)


def _adds(attempt: Attempt, task: Task, verdict: Verdict) -> bool:
    """Whether a reading shows anything that the ledger does not have."""
    known = attempt.completed
    if known is None:
        return True
    is_charge_new = not known.told and not attempt.shows_all and bool(_fields(attempt, task, verdict)["told"])
    is_over = verdict in _OVER and not attempt.shows_all
    return known.task == task.task_id and (bool(others(attempt.links, task.results)) or is_charge_new or is_over)


def _fields(attempt: Attempt, task: Task, verdict: Verdict) -> dict[str, object]:
    """The ``completed`` record of a reading."""
    asked, used = attempt.asked, _used(attempt, task)
    billed = _bill(attempt, task, used)
    shown = len(joined(attempt.links, task.results))
    assert attempt.accepted is not None  # noqa: S101 - there is no task without an accepted fact
    is_part = used is not None and used < attempt.accepted.credits and not (billed is not None and billed > shown)
    if (is_part and verdict not in _OVER) or (used == 0 and verdict is not Verdict.FINAL):
        billed, used = billed if billed and billed > shown else None, None
    if verdict is Verdict.NEVER_SHOWN and billed is None:
        billed = asked
    charged = estimate(attempt, shown if verdict is Verdict.FINAL else asked) if used is None else used
    return {
        "task": task.task_id,
        "links": list(dict.fromkeys(task.results)),
        "reported": len(task.results),
        "credits": str(charged),
        "told": used is not None,
        "billed": billed,
        "final": verdict in _OVER or attempt.shows_all,
    }


def _without_lower_charge(attempt: Attempt, task: Task) -> Task:
    """A line of a batch; without its charge, if a higher one is known: it can be a summary."""
    known, told = attempt.completed, told_charge(task, shows=_shows(attempt, task))
    is_lower = known is not None and known.told and told is not None and told < known.credits
    return replace(task, credits_used=None) if is_lower else task


def _shows(attempt: Attempt, task: Task) -> bool:
    return bool(attempt.links or task.results or task.unreadable)


def _used(attempt: Attempt, task: Task) -> Decimal | None:
    """What the task was charged, according to this reading or, where it tells no bill, to an earlier one."""
    shows, known = _shows(attempt, task), attempt.completed
    told = told_charge(task, shows=shows)
    if known is None or not known.told or not (known.credits or not shows):
        return told
    if told is not None and not _is_short(attempt, task, told):
        return told
    return told if _is_short(attempt, task, known.credits) else known.credits


def _is_short(attempt: Attempt, task: Task, used: Decimal) -> bool:
    """Whether a charge pays for fewer images than are shown.

    It is no bill then: a line of a batch can be a summary, with the charge for one image.
    """
    paid = images_billed(used, _reserved(attempt), attempt.asked)
    return paid is not None and paid < _shown(attempt, task)


def _bill(attempt: Attempt, task: Task, used: Decimal | None) -> int | None:
    """How many images a charge pays for, or the task shows, readable or not; None if unknown."""
    shown = _shown(attempt, task)
    billed: int | None
    if used is not None and not used and not shown:  # whatever was reserved
        billed = 0
    elif attempt.accepted is not None and attempt.accepted.credits_told is None:  # nobody has heard the answer
        billed = billed_beyond(shown, used, attempt.accepted.credits, attempt.asked)
    elif used is None or _is_short(attempt, task, used):
        billed = None
    else:
        billed = images_billed(used, _reserved(attempt), attempt.asked)
    if task.unreadable:
        billed = min(max(billed or 0, shown + task.unreadable), attempt.asked)
    return billed


def _shown(attempt: Attempt, task: Task) -> int:
    """How many of the images that were asked for a task has shown so far."""
    return min(len(joined(attempt.links, task.results)), attempt.asked)


def _is_doubtful(attempt: Attempt, task: Task) -> bool:
    """Whether the number of links is the only evidence of a shortfall."""
    assert attempt.accepted is not None  # noqa: S101 - there is no task without an accepted fact
    shown, used = len(joined(attempt.links, task.results)), _used(attempt, task)
    return is_doubtful(used, _reserved(attempt), attempt.accepted.credits, attempt.asked, shown)


def _reserved(attempt: Attempt) -> Decimal | None:
    """What the API reserved for an attempt; None if its answer was lost or did not say."""
    return attempt.accepted.credits if attempt.accepted and attempt.accepted.credits_told else None


def estimate(attempt: Attempt, images: int) -> Decimal:
    """The charge if the API does not report it: the reserve's share for this many images."""
    assert attempt.accepted is not None  # noqa: S101 - there is no task without an accepted fact
    return attempt.accepted.credits * images / attempt.asked
