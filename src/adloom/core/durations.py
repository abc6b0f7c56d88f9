"""When to read a task: learned from similar tasks of this process, never from the API's estimate.

Tasks of one model, quality and number of images take about as long as each other. The first few of a kind are scouts:
they are read at every step, while the others wait for what they tell. From then on a task is read first at the age by
which most of its kind have ended, and then in short steps. That age follows the tasks: each first reading that finds
its task unfinished moves it up a little, each that finds it completed moves it down, which keeps it where a given share
of the tasks are over whichever way the API drifts. Where the API allows only so many tasks at once, an end that is seen
late leaves a place empty: then tasks are read sooner and more often.

All of it is arithmetic: ages and waits in seconds, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from adloom.core.backoff import aged_pace

Kind: TypeAlias = tuple[str, str, int]
"""Model, quality, and how many images were asked for."""

SCOUTS = 3
PATIENCE_INTERVALS = 5.0
"""Without word from the scouts a task is read first at this age, in poll intervals."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How soon and how often tasks are read.

    ``share`` of the tasks are over at the first reading. A step after it is ``step_intervals`` long, or for slow tasks
    ``step_share`` of what they take.
    """

    share: float
    step_intervals: float
    step_share: float


USUAL = Schedule(share=0.6, step_intervals=0.6, step_share=1 / 8)
"""Simulated with 200 tasks of 2…4 s, 50 at a time, an interval of 1 s: 1.8 readings a task, and 0.4 s from its end to
the reading that sees it. With a share of 0.5 it is 2.0 and 0.4."""

SCARCE = Schedule(share=0.2, step_intervals=0.3, step_share=1 / 24)
"""Simulated with 20 places, tasks of 12…30 s and an interval of 3 s: an end is seen after 1.1 s instead of 3.4, in 6
readings a task instead of 2.4; tasks of 20 s are seen after 0.6 s instead of 1.8, in 3 readings instead of 1.6."""

GROWTH = 1.25
LONGEST_INTERVALS = 5.0
LEAST_INTERVALS = 0.5
MOST_INTERVALS = 40.0
"""A first reading is never later than this (2 min at the default): one odd task must not delay all others."""

LATE_INTERVALS = 2 * LONGEST_INTERVALS
"""An end that was seen this long after the reading before was not seen when it came: the process was paused, or the API
out of reach. Nothing is learned from it."""

GAIN_INTERVALS = 0.05
GAIN_SHARE = 1 / 60
_JITTER = 0.2


@dataclass(slots=True)
class _Known:
    scouts: int = 0
    expected_s: float | None = None


class Durations:
    """What one process knows of how long tasks take."""

    def __init__(self, interval_s: float) -> None:
        self.schedule = USUAL
        self._interval_s = interval_s
        self._known: dict[Kind, _Known] = {}

    def first_reading_s(self, kind: Kind | None) -> float:
        """The age at which a new task is first read. A task without a kind neither learns nor uses durations."""
        if kind is None:
            return self._interval_s
        known = self._known.setdefault(kind, _Known())
        if known.expected_s is not None:
            return known.expected_s
        known.scouts += 1
        return self._interval_s * (1 if known.scouts <= SCOUTS else PATIENCE_INTERVALS)

    def wait_s(self, kind: Kind | None, readings: int, age_s: float, chance: float) -> float:
        """How long after a reading that found a task unfinished comes the next, ± 20 % by ``chance`` in [0, 1).

        ``readings`` counts those made, at least 1. From 5 min on, at the default interval of 3 s, a task is read every
        30 s, from 30 min on every 60 s, from 2 h on every 5 min.
        """
        interval_s = self._interval_s
        known = self._known.get(kind) if kind else None
        expected_s = known.expected_s if known and known.expected_s else 0
        step_s = max(self.schedule.step_intervals * interval_s, self.schedule.step_share * expected_s)
        step_s = min(step_s * GROWTH ** min(readings - 1, 30), max(LONGEST_INTERVALS * interval_s, step_s))
        pace = aged_pace(age_s / interval_s)
        return (step_s if pace is None else pace * interval_s) * (1 + _JITTER * (2 * chance - 1))

    def learn(self, kind: Kind, age_s: float, *, unfinished_s: float, completed: bool, is_first: bool) -> bool:
        """Take a reading of a young task into account; whether its kind's time is known from now on.

        ``unfinished_s`` is the age at which it was last seen unfinished.
        """
        known = self._known.setdefault(kind, _Known())
        if known.expected_s is None:
            is_timely = age_s - unfinished_s <= LATE_INTERVALS * self._interval_s
            if completed and is_timely:
                known.expected_s = self._bounded((unfinished_s + age_s) / 2)
            return known.expected_s is not None
        if is_first:
            gain_s = max(GAIN_INTERVALS * self._interval_s, GAIN_SHARE * known.expected_s)
            share = self.schedule.share
            known.expected_s = self._bounded(known.expected_s + gain_s * (share - 1 if completed else share))
        return False

    def is_known(self, kind: Kind) -> bool:
        known = self._known.get(kind)
        return known is not None and known.expected_s is not None

    def _bounded(self, seconds: float) -> float:
        return min(max(seconds, LEAST_INTERVALS * self._interval_s), MOST_INTERVALS * self._interval_s)
