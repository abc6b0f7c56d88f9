"""What the API accepts, as far as its own answers tell: how many tasks at once, and how many submits a minute.

Its limits are published nowhere. A 429 says that one was met, not which. What it accepted before tells them apart: with
as many tasks running as there ever were, it is the tasks; with as many submits within a minute as there ever were, the
submits. What it took then it takes again, so the run goes on with exactly that. If neither explains the 429, the limits
themselves have fallen, or the API is busy with others: see ``pace``.

From time to time a ceiling is raised to see whether it still holds. Each refusal costs a pause of everybody, so the
next try comes not before 40 such pauses, then after twice as long, and so on; a raise that holds doubles the next one.
"""

from __future__ import annotations

from collections import deque
from math import inf

from adloom.ports import Clock

MINUTE_S = 60.0
PATIENCE_S = 60.0
PAUSES_BETWEEN_TRIES = 40
"""Of the time between two tries the pause after a refusal is then a fortieth."""
ANSWER_S = 1.0
"""The answers that fill a minute are waited for in such steps."""
AT_ONCE = 4
PART_AT_ONCE = 16
"""So many submits go out beyond what was ever accepted before an answer is waited for, or a sixteenth of what runs."""


class Ceiling:
    """One limit of the API: unknown until a refusal meets it."""

    def __init__(self) -> None:
        self._value = inf
        self._step = 1
        self._patience_s = PATIENCE_S
        self._due = inf
        self._is_tried = False

    def meet(self, at: int, pause_s: float, now: float) -> None:
        """A refusal with so much going on; the API takes that much and no more."""
        if self._is_tried:
            self._patience_s *= 2
        self._patience_s = max(self._patience_s, PAUSES_BETWEEN_TRIES * pause_s)
        self._value, self._step, self._is_tried, self._due = float(at), 1, False, now + self._patience_s

    def value(self, now: float) -> float:
        """How much may go on, infinity where nothing was ever refused for it."""
        if now >= self._due:
            self._step *= 2 if self._is_tried else 1
            self._value += self._step
            self._is_tried, self._due = True, now + self._patience_s
        return self._value


class Ceilings:
    """The tasks that run and the submits of the last minute of one run, and the most of both."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks = Ceiling()
        self._submits = Ceiling()
        self._running = 0
        self._asked = 0
        self._accepted: deque[float] = deque()
        self._most_running = 0
        self._most_in_a_minute = 0
        self._doubtful = inf
        """So many submits a minute may have been the limit where the tasks explained a 429 as well."""

    @property
    def tasks(self) -> float:
        """How many tasks may run at once."""
        return self._tasks.value(self._clock.monotonic())

    def ask(self) -> None:
        """A submit is about to be sent."""
        self._asked += 1

    def forget(self) -> None:
        """A submit was not sent, or nobody knows what came of it."""
        self._asked -= 1

    def accept(self) -> None:
        """A submit was accepted: its task runs until ``end``."""
        self._running += 1
        self._accepted.append(self._clock.monotonic())
        self._most_running = max(self._most_running, self._running)
        minute = self._in_the_last_minute()
        self._most_in_a_minute = max(self._most_in_a_minute, minute)
        if minute > self._doubtful:
            self._doubtful = inf

    def end(self) -> None:
        """A task has ended."""
        self._running -= 1

    def refuse(self, pause_s: float) -> bool:
        """A submit met a 429, which pauses everybody for so long; whether what was accepted before explains it."""
        now, minute = self._clock.monotonic(), self._in_the_last_minute()
        if self._running and self._running >= self._most_running:
            self._tasks.meet(self._running, pause_s, now)
            self._doubtful = minute if minute >= self._most_in_a_minute else inf
            return True
        if minute and minute >= self._most_in_a_minute:
            self._submits.meet(minute, pause_s, now)
            return True
        self._most_running, self._most_in_a_minute = self._running, minute
        return False

    def is_full(self) -> bool:
        """Whether the next submit has to wait for an answer, or for the end of a task.

        Beyond what was ever accepted few submits are sent before their answers are known, so that few are refused.
        """
        out, minute = self._running + self._asked, self._in_the_last_minute() + self._asked
        is_new = out >= self._most_running or minute >= self._most_in_a_minute
        few = 1 if minute > self._doubtful else max(AT_ONCE, self._most_running // PART_AT_ONCE)
        return (is_new and self._asked >= few) or out >= self.tasks

    def wait_s(self) -> float:
        """Until one more submit may fit into the minute, 0 for at once."""
        now, minute = self._clock.monotonic(), self._in_the_last_minute()
        if minute + self._asked < self._submits.value(now):
            return 0.0
        return self._accepted[0] + MINUTE_S - now if minute else ANSWER_S

    def _in_the_last_minute(self) -> int:
        since = self._clock.monotonic() - MINUTE_S
        while self._accepted and self._accepted[0] <= since:
            self._accepted.popleft()
        return len(self._accepted)
