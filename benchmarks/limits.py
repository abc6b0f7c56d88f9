"""How much of the API's limits a run uses, and how many of its purchases they refuse. Loopback only; some six minutes.

    python benchmarks/limits.py [CALLS]    300 unless told otherwise, and no fewer

The sandbox allows so many tasks at once, or so many purchases a minute, and tells nobody. As all tasks take equally
long, what is not used shows how long a place stays empty. Both runs go on at once: they wait more than they compute.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from main_job import ADLOOM, sandbox, state

TASK_S = 20
IN_FLIGHT = 100
PAUSED_S = 90
"""What is used is counted from then on: the pause of a minute after the first refusal is the API's own wish."""


@dataclass(frozen=True)
class Limit:
    """What the sandbox allows, as its switch has it. A purchase holds its place for ``holds_s``."""

    switch: str
    value: int
    holds_s: float

    def __str__(self) -> str:
        return f"{self.switch} {self.value}"


LIMITS = (Limit("running_tasks_limit", 20, TASK_S), Limit("requests_per_minute", 60, 60))


def charge_times(base_url: str) -> list[float]:
    """When the purchases were accepted, in order."""
    with urlopen(f"{base_url}/_sandbox/charges") as answer:
        return sorted(charge["time"] for charge in json.load(answer))


def used(limit: Limit, times: list[float]) -> float:
    """The part of what is allowed that was used after the pause, in as many whole ``holds_s`` as there were."""
    later = [time for time in times if time > times[0] + PAUSED_S]
    spans = int((later[-1] - later[0]) // limit.holds_s)
    return sum(time < later[0] + spans * limit.holds_s for time in later) / (limit.value * spans)


def measured(limit: Limit, calls: int) -> str:
    with tempfile.TemporaryDirectory() as root, sandbox(TASK_S, **{limit.switch: limit.value}) as base_url:
        rows = Path(root) / "rows.csv"
        with rows.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerows([("id", "prompt"), *((f"r{n}", f"cup number {n}") for n in range(calls))])
        command = [ADLOOM, "run", str(rows), "--budget-usd", "9999", "--size", "1:1", "--direct", "--yes"]
        command += ["--in-flight", str(IN_FLIGHT), "--archive", f"{root}/archive"]
        settings = {**os.environ, "EVOLINK_BASE_URL": base_url, "EVOLINK_API_KEY": "sk-bench"}
        subprocess.run(command, env=settings, check=True, stdout=subprocess.DEVNULL)
        times = charge_times(base_url)
        refused = state(base_url)["posts_received"] - len(times)
    share = refused / (refused + calls)
    return f"{limit}: {calls} calls, {refused} refused ({share:.1%}), {used(limit, times):.0%} used"


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    with ThreadPoolExecutor(len(LIMITS)) as pool:
        for line in pool.map(lambda limit: measured(limit, calls), LIMITS):
            print(line, flush=True)


if __name__ == "__main__":
    main()
