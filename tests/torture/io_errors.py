"""ENOSPC and EIO at every system call that touches the disk, and refusals of the network, then runs without faults.

The campaign and the enumeration are those of ``kill_points``; ``strace -e inject=NAME:error=E:when=K`` fails the K-th
call once. The run must end with a clean exit code (7, or 2 before anything was sent; 0 or 6 where the error hurt
nothing that counts), without a traceback, and must have sent nothing whose decision to send is not on disk. A decision
that is there, but whose folder could not be synced, does not count as durable: nothing may be sent for it either.

    python tests/torture/io_errors.py [--sample 12] [--seed 1] [--workers 3]
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from torture import kill_points
from torture.kill_points import record, rows
from torture.oracle import SandboxRig, Verdict, judge, resume
from torture.runner import last_words, run_to_end
from torture.tally import Tally

ERRORS = {
    "write": ("ENOSPC", "EIO"),
    "fsync": ("ENOSPC", "EIO"),
    "link": ("ENOSPC", "EIO"),
    "linkat": ("ENOSPC", "EIO"),
    "rename": ("ENOSPC", "EIO"),
    "renameat": ("ENOSPC", "EIO"),
    "renameat2": ("ENOSPC", "EIO"),
    "mkdir": ("ENOSPC", "EIO"),
    "mkdirat": ("ENOSPC", "EIO"),
    "unlink": ("EIO",),
    "unlinkat": ("EIO",),
    "openat": ("ENOSPC", "EIO"),
    "read": ("EIO",),
    "socket": ("EMFILE",),
    "connect": ("ECONNREFUSED",),
    "sendto": ("EPIPE",),
    "recvfrom": ("ECONNRESET",),
}
"""A traced run writes and reads nothing but files with ``write`` and ``read``: its sockets use ``sendto`` and
``recvfrom``, its log lies in shared memory."""

WIRE = ("socket", "connect", "sendto", "recvfrom")
CLEAN = {0, 2, 6, 7}

_numbers = itertools.count()


@dataclass(frozen=True)
class Point:
    """Where a run is given which error."""

    name: str
    error: str
    k: int


@dataclass(frozen=True)
class Outcome:
    """What came of a point. ``code`` is the exit code of the run that met the error."""

    point: Point
    struck: bool
    code: int
    verdict: Verdict


def fail_at(point: Point) -> Outcome:
    """Give a run an error at a point, look at what it did, resume, judge."""
    market = kill_points._market
    assert market is not None
    name = f"e{os.getpid()}-{next(_numbers)}"
    shop = market.open_shop(name, rows(f"tok-{name}-"))
    trace = shop.folder / "trace"
    inject = f"inject={point.name}:error={point.error}:when={point.k}"
    names = {point.name, "link", "fsync"}
    code, log = run_to_end(shop.job(), ["-o", str(trace), "-y", "-e", f"trace={','.join(sorted(names))}", "-e", inject])
    struck = [line for line in trace.read_text().splitlines() if "(INJECTED)" in line]
    where = struck[0][:300] if struck else ""
    verdict = Verdict()
    posts, decided = market.posts(), shop.sends_decided()
    verdict.require(code in CLEAN, f"ended with {code} ({where}): {last_words(log)}")
    verdict.require("Traceback" not in log, f"shows a traceback ({where}): {last_words(log)}")
    verdict.require(code != 2 or not posts, f"ended with 2 after {posts} POSTs ({where})")
    verdict.require(posts <= decided, f"{posts} POSTs with {decided} decisions to send ({where})")
    _require_no_send_without_sync(shop, trace, verdict)
    resume(shop, verdict)
    judged = judge(shop)
    judged.problems[:0] = verdict.problems
    judged.unsynced = verdict.unsynced
    if not judged.problems:
        shop.close()
    return Outcome(point, bool(struck), code, judged)


def _require_no_send_without_sync(shop: SandboxRig, trace: Path, verdict: Verdict) -> None:
    linked = ""
    for line in trace.read_text().splitlines():
        if match := re.match(r'link\("[^"]*", "([^"]*)"\) = 0', line):
            linked = match[1]
        if line.startswith("fsync(") and "(INJECTED)" in line and linked.endswith("-intent.json"):
            folder = re.search(r"<([^>]*)>", line)
            if folder and folder[1] == str(Path(linked).parent):
                key = json.loads(Path(linked).read_bytes())["idempotency_key"]
                sold = [charge for charge in shop.charges() if charge["idempotency_key"] == key]
                verdict.require(not sold, f"{linked} could not be synced, and was sent all the same")
                verdict.unsynced += 1


def torture(*, sample: int | None, seed: int, workers: int, until: float = math.inf) -> Tally:
    """Errors at all points, or at a seeded sample of them."""
    tally = Tally("errors of disk and network" + ("" if sample is None else f" (sample, seed {seed})"))
    with ProcessPoolExecutor(workers, get_context("fork"), kill_points.open_market) as pool:
        seen = list(pool.map(record, ["ignored"] * (kill_points.RECORDINGS if sample is None else 1)))
        counts = kill_points._most(seen)
        chosen = [
            Point(name, error, k)
            for name, errors in ERRORS.items()
            for error in errors
            for k in range(1, counts[name] + 1)
        ]
        if sample is not None:
            chosen = kill_points._sample(chosen, sample, random.Random(seed))
        for outcome in tally.of_each(pool, fail_at, chosen, until):
            point = outcome.point
            kind = "wire" if point.name in WIRE else "disk"
            tally.add(outcome.verdict, f"{point.name} {point.error} {point.k}", kind)
            tally.count(f"points {kind}")
            tally.count(f"struck {kind}", outcome.struck)
            tally.count(f"exit {outcome.code} {kind}")
            tally.count("unsynced decisions, unsent", outcome.verdict.unsynced)
    return tally


if __name__ == "__main__":
    sys.exit(kill_points.command_line(__doc__, torture))
