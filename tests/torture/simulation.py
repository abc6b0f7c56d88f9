"""Seeded simulation: several runs of one campaign, killed, paused and lied to, then checked against the oracle.

    python tests/torture/simulation.py --seeds 0:10000 [--workers 2]
    python tests/torture/simulation.py --seed 17

A seed draws a campaign, an API, a store, a mix of faults and a crowd of processes. After the faulty phase all faults
are off, runs go on until one sends nothing, and the invariants are checked. Exit code 1 names the seeds to replay.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import math
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from torture.simulated import world as world_module
from torture.simulated.checks import Checks
from torture.simulated.scenario import Scenario
from torture.simulated.virtual_time import Deadlock, VirtualLoop
from torture.simulated.world import World
from torture.tally import Tally

SHORT = range(100)
"""The seeds that all runs of the tests play."""


@dataclass
class Report:
    """What one seed came to."""

    seed: int
    problems: list[str]
    seen: Counter[str]
    posts: int
    calls: int
    trace: str
    log: list[str]


def simulate(seed: int, *, verbose: bool = False) -> Report:
    """Play one seed from start to end."""
    world = play(seed, verbose=verbose)
    return Report(
        seed,
        world.problems,
        world.seen,
        world.posts,
        len(world.decisions),
        world.trace.hexdigest(),
        world.log or [],
    )


def play(seed: int, *, verbose: bool = False) -> World:
    """The world after one seed's story."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    world = World(seed, loop)
    if verbose:
        world.log = []
    scenario = Scenario(world)
    try:
        loop.run_until_complete(scenario.play())
        Checks(scenario).all()
    except Deadlock:
        world.problem("I11 everybody waits for somebody else")
    finally:
        _close(loop)
    return world


def _close(loop: VirtualLoop) -> None:
    """End what dead processes left behind: some of it has to be told more than once."""
    for _ in range(20):
        leftover = asyncio.all_tasks(loop)
        if not leftover:
            break
        for task in leftover:
            task.cancel()
        with contextlib.suppress(Deadlock):
            loop.run_until_complete(asyncio.wait(leftover, timeout=1))
    with contextlib.suppress(Deadlock):
        loop.run_until_complete(loop.shutdown_asyncgens())
    asyncio.set_event_loop(None)
    loop.close()


def torture(*, seeds: range, workers: int, until: float = math.inf, wavering: bool = False) -> Tally:
    """Many seeds; what they reached, and which of them broke an invariant."""
    tally = Tally(f"simulation, seeds {seeds.start} to {seeds.stop - 1}" + (", all wavering" if wavering else ""))
    with ProcessPoolExecutor(workers, initializer=_make_all_waver if wavering else _be_quiet) as pool:
        for report in tally.of_each(pool, simulate, seeds, until):
            tally.count("seeds")
            tally.count("POSTs", report.posts)
            for name, number in report.seen.items():
                tally.count(name, number)
            if report.problems:
                tally.failures.append(f"seed {report.seed}: {'; '.join(report.problems[:4])}")
    return tally


def _make_all_waver() -> None:
    world_module.wavering_share = 1.0
    _be_quiet()


def _be_quiet() -> None:
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda _: None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No logs, and nothing of what Python says when it throws away the coroutines of the killed."""
    hook = sys.unraisablehook
    _be_quiet()
    try:
        yield
    finally:
        gc.collect()
        sys.unraisablehook = hook
        logging.disable(logging.NOTSET)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0:1000", help="from:to, the end not included")
    parser.add_argument("--seed", type=int, help="tell one seed's story")
    parser.add_argument("--wavering", action="store_true", help="the ends of tasks waver in every seed")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.seed is not None:
        world_module.wavering_share = 1.0 if options.wavering else world_module.wavering_share
        logging.disable(logging.CRITICAL)
        report = simulate(options.seed, verbose=True)
        sys.stdout.write("\n".join((*report.log, *report.problems)) + "\n")
        return 1 if report.problems else 0
    start, end = map(int, options.seeds.split(":"))
    return torture(seeds=range(start, end), workers=options.workers, wavering=options.wavering).show()


if __name__ == "__main__":
    sys.exit(main())
