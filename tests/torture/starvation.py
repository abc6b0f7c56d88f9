"""Runs that get no file descriptors, or no memory from the k-th allocation on, then runs without faults.

A run that may open no more files must end with a clean exit code and no traceback. One whose memory is refused may end
in any way, as if it were killed, or hang: asyncio loses the wake-up of a task when it gets no memory just then. A run
that hangs is killed. Afterwards the archive is judged by the sandbox's charge log like after a kill.

    python tests/torture/starvation.py [--runs 40] [--seed 1] [--workers 2]
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import random
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from torture import kill_points
from torture.io_errors import CLEAN
from torture.kill_points import rows
from torture.oracle import Verdict, judge, resume
from torture.runner import HUNG, last_words, run_to_end
from torture.tally import Tally

FILES = range(4, 16)
"""Descriptors that a run may still open: with fewer Python has no event loop."""
MOST_ALLOCATIONS = 2_000_000
"""A run of the small campaign makes some two million."""

HANGS_AFTER_S = 60

_numbers = itertools.count()


@dataclass(frozen=True)
class Hunger:
    """What a run is refused: ``left`` more descriptors, or ``length`` allocations after ``left`` others."""

    what: str
    left: int
    length: int = 1

    def begins(self) -> Callable[[], None]:
        return partial(_no_files, self.left) if self.what == "files" else partial(_no_memory, self.left, self.length)


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    hunger: Hunger
    code: int
    hung: bool
    verdict: Verdict


def _no_files(left: int) -> None:
    """Let this process open so many files more."""
    opened = {int(path.name) for path in Path("/proc/self/fd").iterdir()}
    free = (number for number in itertools.count() if number not in opened)
    limit = next(itertools.islice(free, left, None))  # the limit is on the number of a descriptor
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, limit), hard))


def _no_memory(left: int, length: int) -> None:
    """Refuse ``length`` allocations of Python's after ``left`` more."""
    import _testcapi  # noqa: PLC0415 - CPython's own, which not every build has

    _testcapi.set_nomemory(left, left + length)


def starve(hunger: Hunger) -> Outcome:
    """One hungry run, then resume and judge."""
    market = kill_points._market
    assert market is not None
    name = f"h{os.getpid()}-{next(_numbers)}"
    shop = market.open_shop(name, rows(f"tok-{name}-"))
    code, log = run_to_end(shop.job(begin=hunger.begins()), hangs_after_s=HANGS_AFTER_S)
    hung = HUNG in log
    verdict = Verdict()
    if hunger.what == "files":
        verdict.require(code in CLEAN, f"ended with {code}: {last_words(log)}")
        verdict.require("Traceback" not in log, f"shows a traceback: {last_words(log)}")
    sent, decided = market.posts(), shop.sends_decided()
    verdict.require(sent <= decided, f"{sent} POSTs with {decided} decisions to send")
    resume(shop, verdict)
    judged = judge(shop)
    judged.problems[:0] = verdict.problems
    if not judged.problems:
        shop.close()
    return Outcome(hunger, code, hung, judged)


def torture(*, runs: int, seed: int, workers: int, until: float = math.inf) -> Tally:
    """A third of the runs without descriptors, the others without memory."""
    tally = Tally(f"starvation, seed {seed}")
    chance = random.Random(seed)
    chosen = [
        Hunger("files", chance.choice(FILES))
        if number % 3 == 0
        else Hunger("memory", int(MOST_ALLOCATIONS ** chance.uniform(0.5, 1)), chance.choice((1, 1, 20, 1000)))
        for number in range(runs)
    ]
    with ProcessPoolExecutor(workers, get_context("fork"), kill_points.open_market) as pool:
        for outcome in tally.of_each(pool, starve, chosen, until):
            hunger = outcome.hunger
            tally.add(outcome.verdict, f"{hunger.what} {hunger.left} {hunger.length}")
            tally.count(f"runs without {hunger.what}")
            tally.count(f"hung without {hunger.what}" if outcome.hung else f"exit {outcome.code} without {hunger.what}")
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    wanted = parser.parse_args()
    return torture(runs=wanted.runs, seed=wanted.seed, workers=wanted.workers).show()


if __name__ == "__main__":
    sys.exit(main())
