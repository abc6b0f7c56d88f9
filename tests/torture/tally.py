"""What a form of the torture counted, and how it is shown."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

from torture.oracle import Verdict

PROBLEMS_SHOWN = 20
PROGRESS_EVERY = 100

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass
class Tally:
    """Sums over the campaigns of one form."""

    title: str
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def of_each(
        self, pool: Executor, function: Callable[[_Item], _Result], items: Sequence[_Item], until: float
    ) -> Iterator[_Result]:
        """The results in order, while the monotonic clock is before ``until``; what is left out then is counted."""
        waiting = [pool.submit(function, item) for item in items]
        for number, future in enumerate(waiting):
            if time.monotonic() > until:
                for late in waiting[number:]:
                    late.cancel()
                self.count("left out for lack of time", len(waiting) - number)
                return
            yield future.result()

    def add(self, verdict: Verdict, label: str, kind: str = "") -> None:
        self.count("campaigns")
        if self.counts["campaigns"] % PROGRESS_EVERY == 0:
            sys.stderr.write(f"{self.title}: {self.counts['campaigns']} campaigns, {len(self.failures)} violations\n")
        self.count("images wanted", verdict.wanted)
        self.count("images bought", verdict.bought)
        self.count("images archived", verdict.archived)
        self.count(f"images held {kind}".rstrip(), verdict.held)
        self.count("double purchases", verdict.double)
        self.count("lost images", verdict.lost)
        if verdict.problems:
            self.failures.append(f"{label}: {'; '.join(verdict.problems)}")

    def count(self, name: str, number: int = 1) -> None:
        self.counts[name] += number

    def show(self) -> int:
        """Print the table; 0 when nothing was wrong, else 1."""
        seconds = time.monotonic() - self.started
        lines = [f"{self.title}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {seconds:.0f} s"]
        lines += [f"  {name:<28} {number:>8}" for name, number in self.counts.items()]
        lines += [f"  {'campaigns with a violation':<28} {len(self.failures):>8}"]
        lines += [f"  ! {failure}" for failure in self.failures[:PROBLEMS_SHOWN]]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        return 1 if self.failures else 0
