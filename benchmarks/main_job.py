"""How long until the first purchase leaves, and what 2,000 CSV rows cost. Loopback only; about a minute.

    python benchmarks/main_job.py

Seconds depend on the machine; the ratios are measured in one run and are what to compare.
"""

import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

ADLOOM = str(Path(sys.executable).with_name("adloom"))
IMPORTS = "import httpx, httpx_aiohttp, aiohttp, pydantic, jinja2, yaml"
STARTS = 5
ROWS = 2000


@contextmanager
def sandbox(task_seconds: float, **switches: object) -> Iterator[str]:
    command = [sys.executable, "-m", "adloom.sandbox", "--port", "0", "--fast-pictures", "--exit-with-parent"]
    command += ["--task-seconds", str(task_seconds)]
    command += [word for name, value in switches.items() for word in ("--set", f"{name}={value}")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        yield server.stdout.readline().strip()
        server.stdin.close()


def state(base_url: str) -> dict[str, int]:
    with urlopen(f"{base_url}/_sandbox/state") as answer:
        return dict(json.load(answer))


def environment(base_url: str) -> dict[str, str]:
    return {**os.environ, "EVOLINK_BASE_URL": base_url, "EVOLINK_API_KEY": "sk-bench", "ADLOOM_POLL_INTERVAL_S": "0.25"}


def start_up(base_url: str, folder: Path) -> float:
    """Seconds from starting the process to the first purchase at the API."""
    campaign = folder / "one.yaml"
    campaign.write_text("campaign: one\nbudget: {usd: 1}\njobs: [{id: mug, prompt: a red mug, size: '1:1'}]\n")
    before = state(base_url)["posts_received"]
    archive = folder / f"archive-{before}"
    began = time.perf_counter()
    command = [ADLOOM, "run", str(campaign), "--direct", "--yes", "--archive", str(archive)]
    pipe = subprocess.DEVNULL
    with subprocess.Popen(command, env=environment(base_url), stdout=pipe, stderr=pipe) as process:
        while state(base_url)["posts_received"] == before:
            time.sleep(0.005)
        took = time.perf_counter() - began
        process.wait()
    return took


def bare_imports() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)
    return time.perf_counter() - began


def bulk(base_url: str, folder: Path) -> tuple[float, float, float, int]:
    """Wall seconds, CPU seconds, peak MB and images of a bulk run."""
    source = folder / "rows.csv"
    with source.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "prompt", "variants"])
        rows.writerows([f"r{row:05d}", f"ceramic cup number {row} on linen", 1 + row % 3] for row in range(ROWS))
    command = [ADLOOM, "run", str(source), "--budget-usd", "500", "--size", "1:1", "--quality", "1K", "--direct"]
    command += ["--in-flight", "64", "--json", "--yes", "--archive", str(folder / "bulk")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(command, env=environment(base_url), capture_output=True, text=True, check=True)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    archived = json.loads(done.stdout.splitlines()[-1])["totals"]["archived"]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, after.ru_maxrss / 1024, archived


def main() -> None:
    with tempfile.TemporaryDirectory() as name, sandbox(0.2) as base_url:
        folder = Path(name)
        imports = statistics.median(bare_imports() for _ in range(STARTS))
        first_post = statistics.median(start_up(base_url, folder) for _ in range(STARTS))
        print(f"to the first POST   {first_post:.2f} s, {first_post / imports:.1f} × importing its libraries alone")
        wall, cpu, peak_mb, images = bulk(base_url, folder)
        print(f"{ROWS} rows          {images} images in {wall:.0f} s, {cpu / images * 1000:.1f} ms CPU an image")
        print(f"peak memory         {peak_mb:.0f} MB in the largest process")


if __name__ == "__main__":
    main()
