"""The long forms one after another, and what they counted: ``make torture``.

Every system call of the small campaign is a kill point, and of the loop from a rejected image to a delivery; every one
that touches the disk or the network gets its errors; random kills go on to a thousand; twenty thousand seeds, a
thousand damages, the model to its end, a hundred thousand histories of the generated provider. Under an hour on two
quiet cores: what that hour does not hold is left out, and the counts say how much.

    python tests/torture/everything.py [--only kills] [--workers 2] [--seed 1] [--minutes 60]
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from torture import (
    damages,
    generated,
    hostile,
    io_errors,
    kill_points,
    loop_kills,
    lost_replies,
    model,
    odd_pictures,
    power_cut,
    random_kills,
    readers,
    simulation,
    starvation,
)
from torture.runner import NO_STRACE, STRACE
from torture.tally import Tally

SEEDS = 20_000
HISTORIES = 100_000
NEED_STRACE = ("power", "loop", "points", "errors")


def parts(seed: int, workers: int, until: float) -> dict[str, Callable[[], Tally]]:
    """The parts by name, the quick ones first."""
    return {
        "hostile": partial(hostile.torture, until=until),
        "readers": partial(readers.torture, inputs=readers.EACH, seed=seed, workers=workers, until=until),
        "losses": partial(lost_replies.torture, seeds=20, workers=workers, until=until),
        "twenty": partial(random_kills.twenty_at_once, rounds=5, workers=1, until=until),
        "damages": partial(damages.torture, archives=1000, real=100, seed=seed, workers=workers, until=until),
        "kills": partial(random_kills.torture, kills=1000, seed=seed, workers=workers, until=until),
        "s3": partial(random_kills.torture_on_s3, kills=100, seed=seed, workers=workers, until=until),
        "simulation": partial(simulation.torture, seeds=range(SEEDS), workers=workers, until=until),
        "pictures": partial(odd_pictures.torture, seed=seed, workers=workers, until=until),
        "model": partial(model.torture, until=until),
        "generated": partial(generated.torture, histories=HISTORIES, workers=workers, until=until),
        "starvation": partial(starvation.torture, runs=300, seed=seed, workers=workers, until=until),
        "power": partial(power_cut.torture, sample=None, seed=seed, workers=workers, until=until),
        "loop": partial(loop_kills.torture, sample=None, seed=seed, workers=workers, until=until),
        "points": partial(kill_points.torture, sample=None, seed=seed, workers=workers, until=until),
        "errors": partial(io_errors.torture, sample=None, seed=seed, workers=workers, until=until),
    }


def main() -> int:
    names = list(parts(0, 1, 0))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=names, help="one part")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60, help="after this long nothing more is begun")
    wanted = parser.parse_args()
    machine = f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    _say(f"torture of {_commit()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}")
    until = time.monotonic() + wanted.minutes * 60
    failed = 0
    for name, torture in parts(wanted.seed, wanted.workers, until).items():
        if wanted.only not in {None, name}:
            continue
        if name in NEED_STRACE and STRACE is None:
            _say(f"{name}: {NO_STRACE}")
            continue
        failed += torture().show()
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"commit {done.stdout.strip() or 'unknown'}"


if __name__ == "__main__":
    sys.exit(main())
