"""When to read a task: learned from similar tasks of this process, never from the API's estimate.

Tasks of one model, quality and number of images take about as long as each other. The first few of a kind are scouts:
they are read at every step, while the others wait for what they tell. From then on a task is read first at the age by
which most of its kind have ended, and then in short steps. That age follows the tasks: each first reading that finds
its task unfinished moves it up a little, each that finds it completed moves it down, which keeps it where ``SHARE`` of
the tasks are over whichever way the API drifts.

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

SHARE = 0.6
"""Of tasks to be over at the first reading. Simulated with 200 tasks of 2…4 s, 50 at a time, an interval of 1 s: 1.8
readings a task and 0.4 s from its end to the reading that sees it; at 0.5 it is 2.0 and 0.4."""

STEP_INTERVALS = 0.6
STEP_SHARE = 1 / 8
"""A step is so many intervals, or for slow tasks such a share of what they take."""

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
        step_s = max(STEP_INTERVALS * interval_s, STEP_SHARE * expected_s)
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
            known.expected_s = self._bounded(known.expected_s + gain_s * (SHARE - 1 if completed else SHARE))
        return False

    def is_known(self, kind: Kind) -> bool:
        known = self._known.get(kind)
        return known is not None and known.expected_s is not None

    def _bounded(self, seconds: float) -> float:
        return min(max(seconds, LEAST_INTERVALS * self._interval_s), MOST_INTERVALS * self._interval_s)
