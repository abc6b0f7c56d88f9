"""The same purchases by adloom and by the yardsticks, in turn, on one machine: each figure is a ratio of one run.

    python benchmarks/compare.py [--rounds 3] [--calls 200] [--images 5] [--pixels 1024] [--bytes 670000]
                                 [--only adloom,script,checked,floor,flow,mapped]

Loopback only, no money. Seconds depend on the machine; the ratios to ``checked`` are what to look at.
"""

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

HERE = Path(__file__).parent
ADLOOM = str(Path(sys.executable).with_name("adloom"))
ALL = ("adloom", "script", "checked", "floor")


@dataclass(frozen=True, slots=True)
class Took:
    """What one command took, its children's part included, and what the API counted meanwhile."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    counts: dict[str, float]


@contextmanager
def image_api(options: argparse.Namespace) -> Iterator[str]:
    command = [sys.executable, str(HERE / "image_api.py"), "--pixels", str(options.pixels)]
    command += ["--bytes", str(options.bytes), "--task-seconds", options.task_seconds]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        yield server.stdout.readline().strip()
        server.stdin.close()


def counts_of(base_url: str) -> dict[str, float]:
    with urlopen(f"{base_url}/counts") as answer:
        return dict(json.load(answer))


def command_of(name: str, base_url: str, folder: Path, options: argparse.Namespace) -> list[str]:
    calls, images, in_flight = str(options.calls), str(options.images), str(options.in_flight)
    if name in ("adloom", "flow"):
        rows = folder / "rows.csv"
        folder.mkdir(parents=True)
        with rows.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "prompt"])
            writer.writerows([f"r{row:06d}", f"ceramic cup number {row} on linen"] for row in range(options.calls))
        archive = f"{options.to}/{folder.name}" if options.to else str(folder / "archive")  # one of its own each round
        command = [ADLOOM, "run", str(rows), "--budget-usd", "9999", "--size", "1:1", "--quality", "1K", "--yes"]
        command += ["--variants", images, "--in-flight", in_flight, "--archive", archive]
        return [*command, "--prefect" if name == "flow" else "--direct"]
    if name == "floor":
        return [
            sys.executable,
            str(HERE / "socket_copy.py"),
            base_url,
            str(folder),
            "--images",
            str(options.calls * options.images),
        ]
    file = "mapped.py" if name == "mapped" else "script.py"
    command = [sys.executable, str(HERE / file), base_url, str(folder), "--calls", calls, "--images", images]
    command += ["--in-flight", in_flight, *(["--to", f"{options.to}/{folder.name}"] if options.to else [])]
    return [*command, "--check"] if name in ("checked", "mapped") else command


def measured(name: str, base_url: str, folder: Path, options: argparse.Namespace) -> Took:
    settings = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    settings |= {"EVOLINK_BASE_URL": base_url, "EVOLINK_API_KEY": "sk-bench", "ADLOOM_POLL_INTERVAL_S": "1"}
    settings |= {"PREFECT_HOME": f"{folder}-prefect", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"}
    Path(settings["PREFECT_HOME"]).mkdir()
    command = command_of(name, base_url, folder, options)
    counts_of(base_url)
    before, began = os.times(), time.perf_counter()
    with (folder.parent / f"{folder.name}.log").open("wb") as output:
        process = subprocess.Popen(command, env=settings, stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began
    if status:
        sys.exit(f"{name} ended with {status}:\n" + (folder.parent / f"{folder.name}.log").read_text()[-3000:])
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Took(wall_s, cpu_s, used.ru_maxrss / 1024, counts_of(base_url))


def show(name: str, took: list[Took], yardstick: list[Took]) -> None:
    wall, cpu = (statistics.median(getattr(one, what) for one in took) for what in ("wall_s", "cpu_s"))
    ratios = (
        [
            statistics.median(
                getattr(mine, what) / getattr(its, what) for mine, its in zip(took, yardstick, strict=True)
            )
            for what in ("wall_s", "cpu_s")
        ]
        if yardstick
        else [0, 0]
    )
    counts = took[-1].counts
    tasks = counts["tasks"] or 1
    polls, reads = counts.get("polls", 0) / tasks, counts.get("reads", 0) / tasks
    peak = max(one.peak_mb for one in took)
    print(
        f"{name:8} {wall:8.1f} {cpu:8.1f} {ratios[0]:8.2f} {ratios[1]:8.2f} {peak:8.0f} "
        f"{polls:8.2f} {reads:8.2f} {counts['wait_s']:8.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="adloom beside its yardsticks.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--pixels", type=int, default=1024)
    parser.add_argument("--bytes", type=int, default=670_000)
    parser.add_argument("--in-flight", type=int, default=50)
    parser.add_argument("--task-seconds", default="2,4")
    parser.add_argument("--only", default=",".join(ALL))
    parser.add_argument("--beside", default="checked", help="what the ratios are to")
    parser.add_argument("--to", default="", help="an s3:// address; else a folder")
    options = parser.parse_args()
    names = options.only.split(",")
    with image_api(options) as base_url, tempfile.TemporaryDirectory() as root:
        took: dict[str, list[Took]] = {name: [] for name in names}
        for number in range(options.rounds):
            for name in names:
                took[name].append(measured(name, base_url, Path(root) / f"{name}-{number}", options))
    print("             wall s    cpu s     wall      cpu  peak MB    polls    reads    lag s")
    for name in names:
        show(name, took[name], took.get(options.beside, []))


if __name__ == "__main__":
    main()
