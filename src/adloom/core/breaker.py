"""The models that this run no longer buys from, because most of their recent tasks failed.

What a task was asked for may be at fault as well as the model, so failures that speak of the request do not count.
"""

from __future__ import annotations

from collections import deque

from adloom.core.facts import Attempt
from adloom.core.limits import FAILED_TASKS_TO_STOP, LAST_TASKS
from adloom.core.triage import REQUEST_CODES


class Breaker:
    """The models of one run by how their tasks end. ``broken`` says of each what happened, and only grows."""

    def __init__(self) -> None:
        self.broken: dict[str, str] = {}
        self._ends: dict[str, deque[bool]] = {}
        self._counted: set[str] = set()

    def note(self, attempt: Attempt) -> None:
        """Count the task of an attempt once it has ended; one that failed has when that is settled."""
        failed = attempt.failed if attempt.completed is None and attempt.settled is not None else None
        if attempt.intent is None or attempt.task in self._counted or (attempt.completed is None and failed is None):
            return
        self._counted.add(attempt.task)
        if failed is not None and failed.code in REQUEST_CODES:
            return
        model = attempt.intent.model
        ends = self._ends.setdefault(model, deque(maxlen=LAST_TASKS))
        ends.append(failed is not None)
        if failed is not None and sum(ends) >= FAILED_TASKS_TO_STOP and model not in self.broken:
            self.broken[model] = f"{sum(ends)} of the last {len(ends)} tasks of {model} failed; {failed.reason}"
