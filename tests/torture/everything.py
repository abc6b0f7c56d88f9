"""The long forms one after another, and what they counted: ``make torture``.

Every system call of the small campaign is a kill point, every one that touches the disk gets its errors, and random
kills go on to a thousand. About 45 minutes on two cores.

    python tests/torture/everything.py [--workers 3] [--kills 1000] [--seed 1]
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from torture import io_errors, kill_points, random_kills
from torture.runner import NO_STRACE, STRACE


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    machine = f"{platform.platform()}, Python {platform.python_version()}"
    sys.stdout.write(f"torture of {_commit()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}\n")
    sys.stdout.flush()
    failed = random_kills.torture(kills=wanted.kills, seed=wanted.seed, workers=wanted.workers).show()
    if STRACE is None:
        sys.stdout.write(f"kill points, errors of disk and network: {NO_STRACE}\n")
        return failed
    failed += kill_points.torture(sample=None, seed=wanted.seed, workers=wanted.workers).show()
    failed += io_errors.torture(sample=None, seed=wanted.seed, workers=wanted.workers).show()
    return 1 if failed else 0


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"commit {done.stdout.strip() or 'unknown'}"


if __name__ == "__main__":
    sys.exit(main())
