"""How long to wait: before another try, after a server's advice, and between two polls of a task.

All of it is arithmetic. The caller passes ``chance``, a random number in [0, 1), and does the sleeping. Waits before
another try have full jitter, so that a crowd of clients that failed together does not come back together.
"""

from __future__ import annotations

from dataclasses import dataclass

_DOUBLINGS = 30  # far beyond every cap; keeps 2**k a small number whatever the caller counts


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter: a wait is drawn from [0, min(cap, base · 2^tries))."""

    base_s: float
    cap_s: float

    def wait_s(self, tries: int, chance: float) -> float:
        """Seconds before the next try, ``tries`` being the failures so far less one: 0 after the first."""
        ceiling_s = min(self.cap_s, self.base_s * 2.0 ** min(max(tries, 0), _DOUBLINGS))
        return ceiling_s * chance


READ = Backoff(base_s=0.5, cap_s=30)
"""Reads of tasks, the task list and credits: free, and wanted soon."""

RESULT = Backoff(base_s=1, cap_s=60)
"""Downloads of results: paid for, and good for 24 h."""

STORE = Backoff(base_s=0.2, cap_s=20)
"""The archive: the nearest of the services, and nothing is bought while it is away."""

THROTTLE = Backoff(base_s=2, cap_s=120)
"""A 429 without advice: the API's own text speaks of a minute."""

ADVISED_S = (1.0, 300.0)
"""What a server may ask for: 0 would hammer it, and a date in the next year would end the run."""


def advised_wait_s(advised_s: float, chance: float) -> float:
    """A server's advice, kept within ADVISED_S, plus up to 20 %, so that its clients do not all come back at once."""
    least_s, most_s = ADVISED_S
    return min(max(advised_s, least_s), most_s) * (1 + 0.2 * chance)


POLL_FOR_S = 26 * 3600.0
"""A task is asked about for 26 h: its links die after 24 h, the rest is for clocks and late ends."""

_POLL_GROWTH = 1.5
_POLL_JITTER = 0.2
_POLL_STEPS = ((2400.0, 100.0), (600.0, 20.0), (100.0, 10.0))  # from this age, at this pace; both in poll intervals
_POLL_PACE = 5.0  # until then


def aged_pace(age: float) -> float | None:
    """Between polls of a task that is long overdue, in poll intervals as ``age`` is; None for one that is not."""
    return next((pace for from_age, pace in _POLL_STEPS if age >= from_age), None)


def poll_wait_s(polls: int, age_s: float, interval_s: float, chance: float) -> float:
    """Seconds from one reading to the next of a task that has ended and does not show all that it made, ± 20 %.

    ``polls`` counts those already made, ``age_s`` is the task's age. Every wait is a multiple of ``interval_s`` before
    the jitter. At the default of 3 s: 3 s, growing by half up to 15 s; 30 s after 5 min; 60 s after 30 min; 5 min after
    2 h. The API's estimated time does not enter: a job of 45 estimated seconds was seen to take 4.
    """
    age = age_s / interval_s
    young = min(_POLL_PACE, _POLL_GROWTH ** min(max(polls, 0), _DOUBLINGS))
    aged = aged_pace(age)
    pace = young if aged is None else aged
    return pace * interval_s * (1 + _POLL_JITTER * (2 * chance - 1))
