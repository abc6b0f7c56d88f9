"""SIGKILL at every system call of a small campaign that touches disk or network, then two runs without faults.

The campaign has three first calls and every kind of next one: three images of a row with a reference; four of a row of
which the sandbox makes two, so that a top-up follows; one of a row whose first task fails and gives its money back.

``strace -e inject=NAME:signal=KILL:when=K`` counts for each system call name by itself, so the points are pairs
(name, K), K up to the most that recording runs showed. The kill comes at the entry of the call, before its effect; the
next point is after it. A run that ends before its K-th call of that name was not killed and is counted apart.

Two kinds of API: one that ignores idempotency keys and gives no task list that could be trusted (an unknown purchase
is held for a person), and a key that nobody else uses (``ADLOOM_DEDICATED_KEY=1``: unknown purchases are found in the
list).

    python tests/torture/kill_points.py [--sample 12] [--seed 1] [--workers 3] [--only dedicated]
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from torture.oracle import Market, RowSpec, Verdict, judge, resume
from torture.runner import NO_STRACE, STRACE, last_words, run_to_end
from torture.tally import Tally

EFFECTS = (
    *("write", "pwrite64", "writev", "fsync", "fdatasync", "ftruncate", "link", "linkat", "unlink", "unlinkat"),
    *("rename", "renameat", "renameat2", "mkdir", "mkdirat", "rmdir", "openat", "open", "creat", "close"),
    *("socket", "connect", "sendto", "sendmsg", "recvfrom", "recvmsg", "shutdown", "setsockopt", "read"),
)
"""What changes disk or network, and what hears from the network. Left out: ``stat``, ``lseek``, ``getdents64`` and the
like, which change nothing, so that a kill before them is the kill before the next call of this list."""

RECORDINGS = 3
KINDS = ("ignored", "dedicated")

_market: Market | None = None
_numbers = itertools.count()


@dataclass(frozen=True)
class Point:
    """Where a run is killed."""

    kind: str
    name: str
    k: int


@dataclass(frozen=True)
class Outcome:
    """What came of a point."""

    point: Point
    killed: bool
    verdict: Verdict


def rows(token: str) -> tuple[RowSpec, ...]:
    return (
        RowSpec(f"{token}a", 3, (3,), references=1),
        RowSpec(f"{token}b", 4, (4, 2), script={"fault": "completed", "images": 2}),
        RowSpec(f"{token}c", 1, (1,), script={"fault": "failed", "code": "service_error"}),
    )


def open_market() -> None:
    """Give this worker a sandbox of its own."""
    global _market  # noqa: PLW0603 - one for each worker process
    _market = Market()
    _market.warm_up()


def record(kind: str) -> dict[str, int]:
    """How often a run without faults makes each call."""
    assert _market is not None
    name = f"r{os.getpid()}-{next(_numbers)}"
    shop = _market.open_shop(name, rows(f"tok-{name}-"), dedicated=kind == "dedicated")
    trace = shop.folder / "trace"
    code, log = run_to_end(shop.job(), ["-o", str(trace), "-e", "trace=" + ",".join(f"?{n}" for n in EFFECTS)])
    assert code == 0, f"the run without faults ended with {code}: {log}"
    verdict = judge(shop)
    assert not verdict.problems, verdict.problems
    names = Counter(match[1] for line in trace.read_text().splitlines() if (match := re.match(r"(\w+)\(", line)))
    shop.close()
    return dict(names)


def kill_at(point: Point) -> Outcome:
    """Kill a run at a point, resume, judge."""
    assert _market is not None
    name = f"p{os.getpid()}-{next(_numbers)}"
    shop = _market.open_shop(name, rows(f"tok-{name}-"), dedicated=point.kind == "dedicated")
    inject = f"inject={point.name}:signal=KILL:when={point.k}"
    code, log = run_to_end(shop.job(), ["-o", "/dev/null", "-e", f"trace={point.name}", "-e", inject])
    verdict = Verdict()
    verdict.require(code in {0, -9}, f"the killed run ended with {code}: {last_words(log)}")
    sent, decided = _market.posts(), shop.sends_decided()
    verdict.require(sent <= decided, f"{sent} POSTs with {decided} durable decisions to send")
    before = list(verdict.problems)
    resume(shop, verdict)
    judged = judge(shop)
    judged.problems[:0] = [*before, *verdict.problems[len(before) :]]
    if not judged.problems:
        shop.close()
    return Outcome(point, code == -9, judged)


def points(counts: dict[str, dict[str, int]]) -> Iterator[Point]:
    for kind, names in counts.items():
        for name in sorted(names):
            for k in range(1, names[name] + 1):
                yield Point(kind, name, k)


def torture(
    *, sample: int | None, seed: int, workers: int, kinds: tuple[str, ...] = KINDS, until: float = math.inf
) -> Tally:
    """Kill at all points, or at a seeded sample of them."""
    tally = Tally("kill points" + ("" if sample is None else f" (sample, seed {seed})"))
    with ProcessPoolExecutor(workers, get_context("fork"), open_market) as pool:
        recorded = {kind: list(pool.map(record, [kind] * (RECORDINGS if sample is None else 1))) for kind in kinds}
        counts = {kind: dict(_most(seen)) for kind, seen in recorded.items()}
        chosen = list(points(counts))
        if sample is not None:
            chosen = _sample(chosen, sample, random.Random(seed))
        for outcome in tally.of_each(pool, kill_at, chosen, until):
            point = outcome.point
            tally.add(outcome.verdict, f"{point.kind} {point.name} {point.k}", point.kind)
            tally.count(f"points {point.kind}")
            tally.count(f"killed {point.kind}", outcome.killed)
    return tally


def _most(seen: list[dict[str, int]]) -> Counter[str]:
    most: Counter[str] = Counter()
    for names in seen:
        most |= Counter(names)
    return most


def _sample(every: list[Point], size: int, chance: random.Random) -> list[Point]:
    """Points spread over the names of calls: each name as likely as another, however often it occurs."""
    by_name: dict[str, list[Point]] = {}
    for point in every:
        by_name.setdefault(point.name, []).append(point)
    return [chance.choice(by_name[chance.choice(sorted(by_name))]) for _ in range(size)]


def command_line(about: str, torture: Callable[..., Tally], kinds: Sequence[str] = ()) -> int:
    """The command line of a program whose runs are traced: a seeded sample of its points, or all; one of the kinds."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=3)
    if kinds:
        parser.add_argument("--only", choices=kinds)
    wanted = vars(parser.parse_args())
    if STRACE is None:
        sys.stdout.write(NO_STRACE + "\n")
        return 0
    only = wanted.pop("only", None)
    return torture(**wanted, **({"kinds": (only,)} if only else {})).show()


if __name__ == "__main__":
    sys.exit(command_line(__doc__, torture, KINDS))
