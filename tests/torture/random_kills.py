"""One to five processes on one campaign, killed and paused at random times and started again until the work is done.

Each round has a campaign of thirteen calls of its own (with a top-up, a failed first task and a row of two calls) and a
seed, which decides on the number of processes, on the kind of API (see ``kill_points``), on when whom SIGKILL hits,
and on who is stopped by SIGSTOP and for how long. In every third round a run counts as dead after 0.6 s of silence
instead of 60 s, so that a stopped owner is taken over from and then wakes up: a wrong take-over must cost nothing.
Times are real, so a seed fixes what is tried, not how it interleaves.

In half of the rounds the API wavers while runs are killed: completed tasks show half of their links, none, or no charge
for a while, read failed first, links and bytes are refused at first, links are signed anew and stand in another order.
Each lie is shorter than the second reading that would make it true. Not among them: one id for two purchases, since
after a kill nobody can tell whose it is.

``twenty`` is the round without kills: twenty processes at once must buy and archive exactly what is wanted.

With ``--s3`` the archives lie on a real S3 server and two processes share each campaign. There a third kind of API
remembers idempotency keys, and is known to: then nothing may be held in the end.

    python tests/torture/random_kills.py [--kills 1000] [--seed 1] [--workers 3] [--twenties 3] [--s3]
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from support.s3_server import S3Server, running_s3_server
from torture.oracle import Market, RowSpec, SandboxRig, Verdict, judge, require_proof, resume
from torture.runner import Child, Job, settings_of
from torture.tally import Tally

from adloom.edges.evolink.client import EvoLink
from adloom.ledger.capabilities import record_capability
from adloom.targets import open_store

KILLS_A_ROUND = 10
ROUND_S = 40
SHORT_LIFE_S = (0.02, 0.5)
LIFE_ON_S3_S = (0.3, 3.0)
"""A run with S3 takes longer to begin and to end."""
PAUSES_S = (0.05, 0.4)
LONG_PAUSES_S = (0.8, 2.0)
DEAD_AFTER_S = 0.6
PAUSE_SHARE = 0.25
TWENTY = 20
_wavering_share = 0.5
STEADY = {
    "late_results_rate": 0, "late_results_s": 0, "late_results": "empty", "late_usage_s": 0, "failed_first_rate": 0,
    "failed_first_s": 0, "renewed_link_life_s": 0, "reverse_later_results": False,
    "young_link_tries": 0, "young_link_s": 0, "young_picture_tries": 0, "young_picture_s": 0,
    "late_results_in": "all", "late_results_billed": False,
}  # fmt: skip
"""The sandbox's switches for all that wavers, off. What tells a task's links apart stays as it is for its life."""

_market: Market | None = None
_s3: S3Server | None = None
_numbers = count()


@dataclass(frozen=True)
class Round:
    """What came of one campaign."""

    seed: int
    kind: str
    kills: int
    pauses: int
    starts: int
    verdict: Verdict


def rows(token: str) -> tuple[RowSpec, ...]:
    return (
        *(RowSpec(f"{token}{letter}", 2, (2,)) for letter in "abcdefgh"),
        RowSpec(f"{token}i", 4, (4, 2), script={"fault": "completed", "images": 2}),
        RowSpec(f"{token}j", 1, (1,), script={"fault": "failed", "code": "service_error"}),
        RowSpec(f"{token}k", 8, (6, 2), references=9),
        RowSpec(f"{token}l", 1, (1,), references=1),
    )


def wavering(chance: random.Random) -> dict[str, object]:
    """Switches of the sandbox for an API that wavers."""
    return {
        "late_results_rate": chance.choice((0, 0.5, 1)),
        "late_results": chance.choice(("empty", "null", "missing", "partial")),
        "late_results_s": chance.uniform(0, 3),
        "late_usage_s": chance.choice((0, chance.uniform(0, 3))),
        "failed_first_rate": chance.choice((0, 0, 0.3)),
        "failed_first_s": chance.uniform(0, 3),
        "link_form": chance.choice(("path", "query", "signature")),
        "renewed_link_life_s": chance.choice((0, 0.05, 0.5)),
        "reverse_later_results": chance.random() < 0.5,
        "young_link_tries": chance.choice((0, 1, 3)),
        "young_link_s": chance.choice((0, 0, 1)),
        "young_link_status": chance.choice((403, 404, 410)),
        "young_picture_tries": chance.choice((0, 0, 2)),
        "young_picture_s": chance.choice((0, 0, 1)),
        "young_picture_damage": chance.choice(("html", "empty", "corrupt", "truncated")),
        "late_results_in": (where := chance.choice(("all", "all", "batch"))),
        "late_results_billed": where == "batch",  # a line of a batch is a summary then
    }


def open_market() -> None:
    """Give this worker a sandbox of its own."""
    global _market  # noqa: PLW0603 - one for each worker process
    _market = Market("--task-seconds", "0.02,0.3")
    _market.warm_up()


class Siege:
    """The processes of one round."""

    def __init__(self, job: Job, processes: int, chance: random.Random, pauses_s: tuple[float, float]) -> None:
        self._job = job
        self._life_s = LIFE_ON_S3_S if job.archive.startswith("s3://") else SHORT_LIFE_S
        self._chance = chance
        self._pauses_s = pauses_s
        self._children: list[Child | None] = [None] * processes
        self._wakes: dict[int, float] = {}
        self.verdict = Verdict()
        self.kills = self.pauses = self.starts = 0
        self._idle = 0

    def lay(self, kills: int) -> None:
        """Kill and restart until there were so many kills, or everything is done."""
        ends = time.monotonic() + ROUND_S
        while self.kills < kills and self._idle < 2 * len(self._children) and time.monotonic() < ends:
            self._start_absent()
            self._watch(self._chance.uniform(*self._life_s) / len(self._children) ** 0.5)
            self._strike()
        for slot in range(len(self._children)):
            self._wake(slot)
        for slot, child in enumerate(self._children):
            if child is not None:
                self._reap(slot, child)

    def _start_absent(self) -> None:
        for slot, child in enumerate(self._children):
            if child is None:
                self._children[slot] = Child(self._job)
                self.starts += 1

    def _watch(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            for slot in [slot for slot, wakes in self._wakes.items() if wakes <= now]:
                self._wake(slot)
            time.sleep(min(0.005, until - now))
        for slot, child in enumerate(self._children):
            if child is not None and slot not in self._wakes and child.ends_within(0):
                self._reap(slot, child)

    def _strike(self) -> None:
        slot = self._chance.randrange(len(self._children))
        child = self._children[slot]
        if child is None:
            return
        if slot not in self._wakes and self._chance.random() < PAUSE_SHARE:
            child.send(signal.SIGSTOP)
            self._wakes[slot] = time.monotonic() + self._chance.uniform(*self._pauses_s)
            self.pauses += 1
            return
        child.send(signal.SIGKILL)
        self._wakes.pop(slot, None)
        self._reap(slot, child, was_struck=True)

    def _wake(self, slot: int) -> None:
        child = self._children[slot]
        if self._wakes.pop(slot, None) is not None and child is not None:
            child.send(signal.SIGCONT)

    def _reap(self, slot: int, child: Child, *, was_struck: bool = False) -> None:
        code = child.wait()
        self._children[slot] = None
        if was_struck and code == -signal.SIGKILL and not child.hung:
            self.kills += 1
            self._idle = 0
            return
        self._idle += 1
        self.verdict.require(not child.hung, f"a run hung: {child.last_words}")
        self.verdict.require(code in {0, 6, 7}, f"a run ended with {code}: {child.last_words}")
        self.verdict.require("Traceback" not in child.log, f"a run shows a traceback: {child.last_words}")


def besiege(seed: int, kills: int = KILLS_A_ROUND) -> Round:
    """One round."""
    assert _market is not None
    chance = random.Random(seed)
    kind = chance.choice(("ignored", "dedicated") if _s3 is None else ("ignored", "dedicated", "proven"))
    name = f"s{seed}-{os.getpid()}-{next(_numbers)}"
    shop = _market.open_shop(name, rows(f"tok-{name}-"), dedicated=kind == "dedicated", in_flight=3, s3=_s3)
    impatient = seed % 3 == 0
    job = shop.job(
        single_threaded=False,
        real_decoder=chance.random() < 0.2,
        dead_after_s=DEAD_AFTER_S if impatient else None,
    )
    processes = chance.randint(1, 5) if _s3 is None else 2
    siege = Siege(job, processes, chance, LONG_PAUSES_S if impatient else PAUSES_S)
    if kind == "proven":
        _market.post("/_sandbox/settings", {"idempotency": "honoured"})
        asyncio.run(_prove_keys(job))
    wavers = chance.random() < _wavering_share
    _market.post("/_sandbox/settings", wavering(chance) if wavers else STEADY | {"link_form": "path"})
    siege.lay(kills)
    _market.post("/_sandbox/settings", STEADY)
    judged = _judged(shop, siege.verdict)
    if kind == "proven":
        _market.post("/_sandbox/settings", {"idempotency": "ignored"})
        judged.require(judged.bought == judged.archived == judged.wanted, "not exactly what is wanted")
    return Round(seed, f"{kind}, wavering" if wavers else kind, siege.kills, siege.pauses, siege.starts, judged)


async def _prove_keys(job: Job) -> None:
    """Record what ``doctor --probe`` would."""
    async with EvoLink(settings_of(job)) as api:
        await record_capability(open_store(job.archive), api.account, replays_keys=True, now=time.time())


def twenty(seed: int) -> Round:
    """Twenty processes at once, nobody is killed.

    At this poll interval patience lasts two seconds, so that a run may hold what another one is about to see, or leave
    it open, on a slow machine. What all of them together have bought and archived is judged.
    """
    assert _market is not None
    name = f"t{seed}-{os.getpid()}-{next(_numbers)}"
    shop = _market.open_shop(name, rows(f"tok-{name}-"))
    verdict = Verdict()
    children = [Child(shop.job(single_threaded=False)) for _ in range(TWENTY)]
    for child in children:
        code = child.wait()
        verdict.require(code in {0, 6, 7} and not child.hung, f"one of twenty ended with {code}: {child.last_words}")
    require_proof(shop, verdict)
    judged = _judged(shop, verdict)
    judged.require(judged.bought == judged.archived == judged.wanted, "twenty runs did not bring what is wanted")
    return Round(seed, "twenty", 0, 0, TWENTY, judged)


def _judged(shop: SandboxRig, verdict: Verdict) -> Verdict:
    resume(shop, verdict)
    judged = judge(shop)
    judged.problems[:0] = verdict.problems
    if not judged.problems:
        shop.close()
    return judged


def torture(*, kills: int, seed: int, workers: int, until: float = math.inf) -> Tally:
    """Rounds until there were so many kills."""
    tally = Tally(f"random kills, seeds from {seed}")
    with ProcessPoolExecutor(workers, get_context("fork"), open_market) as pool:
        seeds = count(seed)
        while tally.counts["kills"] < kills and time.monotonic() < until:
            rounds = max(workers, -(-(kills - tally.counts["kills"]) // KILLS_A_ROUND))
            for done in tally.of_each(
                pool, partial(besiege, kills=min(kills, KILLS_A_ROUND)), [next(seeds) for _ in range(rounds)], until
            ):
                _add(tally, done)
    return tally


def torture_on_s3(*, kills: int, seed: int, workers: int, until: float = math.inf) -> Tally:
    """The same with the archives on a real S3 server, two processes each."""
    global _s3  # noqa: PLW0603 - the workers inherit it
    with tempfile.TemporaryDirectory(prefix="adloom-torture-s3-") as folder, running_s3_server(Path(folder)) as _s3:
        os.environ |= _s3.environment()
        try:
            tally = torture(kills=kills, seed=seed, workers=workers, until=until)
            tally.title = f"random kills on S3, two processes, seeds from {seed}"
            return tally
        finally:
            _s3 = None


def twenty_at_once(*, rounds: int, workers: int, until: float = math.inf) -> Tally:
    """Rounds of twenty processes that nobody kills."""
    tally = Tally("twenty processes on one campaign")
    with ProcessPoolExecutor(workers, get_context("fork"), open_market) as pool:
        for done in tally.of_each(pool, twenty, range(rounds), until):
            _add(tally, done)
    return tally


def _add(tally: Tally, done: Round) -> None:
    tally.add(done.verdict, f"{done.kind} seed {done.seed}", done.kind)
    tally.count("kills", done.kills)
    tally.count("kills while the API wavers", done.kills if "wavering" in done.kind else 0)
    tally.count("pauses", done.pauses)
    tally.count("starts", done.starts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--twenties", type=int, help="instead: so many rounds of twenty processes that nobody kills")
    parser.add_argument("--s3", action="store_true", help="with the archives on a real S3 server")
    parser.add_argument("--wavering", action="store_true", help="the API wavers in every round")
    wanted = parser.parse_args()
    if wanted.wavering:
        global _wavering_share  # noqa: PLW0603 - the workers inherit it
        _wavering_share = 1.0
    if wanted.s3:
        return torture_on_s3(kills=wanted.kills, seed=wanted.seed, workers=wanted.workers).show()
    if wanted.twenties:
        return twenty_at_once(rounds=wanted.twenties, workers=wanted.workers).show()
    return torture(kills=wanted.kills, seed=wanted.seed, workers=wanted.workers).show()


if __name__ == "__main__":
    sys.exit(main())
