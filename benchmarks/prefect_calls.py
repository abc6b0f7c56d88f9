"""What Prefect costs: the same calls directly and as a flow run, on a server of its own. Loopback only, no money.

    python benchmarks/prefect_calls.py [CALLS]

10,000 calls by default. Seconds depend on the machine; the ratios are measured in one run and are what to compare.
"""

import csv
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from main_job import ADLOOM, environment, sandbox, state

ROOT = Path(__file__).parents[1]
SERVER_STARTS_IN_S = 120
SETTLES_IN_S = 120


def ask(url: str, **body: int) -> list[dict[str, Any]]:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request) as answer:
        return list(json.load(answer))


def is_healthy(url: str) -> bool:
    try:
        with urlopen(f"{url}/health") as answer:
            return bool(answer.read())
    except URLError:
        return False


@contextmanager
def prefect_server(home: Path) -> Iterator[tuple[str, int]]:
    """The API's address and the process id of a server with the settings that adloom ships."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lines = (ROOT / "prefect.env").read_text().splitlines()
    shipped = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    settings = {**os.environ, **shipped, "PREFECT_HOME": str(home), "PREFECT_SERVER_API_PORT": str(port)}
    url = f"http://127.0.0.1:{port}/api"
    with (home / "server.log").open("wb") as log:
        command = [sys.executable, "-m", "prefect", "server", "start"]
        with subprocess.Popen(command, env=settings, stdout=log, stderr=log) as process:
            deadline = time.monotonic() + SERVER_STARTS_IN_S
            while not is_healthy(url) and time.monotonic() < deadline:
                time.sleep(0.2)
            yield url, process.pid
            process.terminate()


def measured(command: list[str], settings: Mapping[str, str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak MB of a command that must end well."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=dict(settings), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    assert status == 0, command
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def server_memory_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def task_run_states(url: str) -> Counter[str]:
    """The states of all task runs once the server has worked off its events."""
    deadline = time.monotonic() + SETTLES_IN_S
    while True:
        found: Counter[str] = Counter()
        offset = 0
        while page := ask(f"{url}/task_runs/filter", limit=200, offset=offset):
            found.update(run["state"]["type"] for run in page)
            offset += len(page)
        if set(found) == {"COMPLETED"} or time.monotonic() > deadline:
            return found
        time.sleep(1)


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name, sandbox(0.5) as base_url:
        folder = Path(name)
        source = folder / "rows.csv"
        with source.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["id", "prompt"])
            rows.writerows([f"r{row:06d}", f"ceramic cup number {row} on linen"] for row in range(calls))
        command = [ADLOOM, "run", str(source), "--budget-usd", "9999", "--size", "1:1", "--quality", "1K", "--yes"]
        command += ["--in-flight", "64"]
        plain = {name: value for name, value in environment(base_url).items() if name != "PREFECT_API_URL"}
        direct = measured([*command, "--direct", "--archive", str(folder / "direct")], plain)
        home = folder / "prefect"
        home.mkdir()
        with prefect_server(home) as (url, pid):
            database = home / "prefect.db"
            before_mb, size_before = server_memory_mb(pid), database.stat().st_size
            settings = {**plain, "PREFECT_API_URL": url, "PREFECT_HOME": str(home / "client")}
            flow = measured([*command, "--prefect", "--archive", str(folder / "flow")], settings)
            states = task_run_states(url)
            after_mb, grown_mb = server_memory_mb(pid), (database.stat().st_size - size_before) / 1e6
        print(f"{calls} calls           wall s   CPU s   peak MB")
        for label, (wall_s, cpu_s, peak_mb) in (("direct", direct), ("as a flow", flow)):
            print(f"{label:16} {wall_s:13.1f} {cpu_s:7.1f} {peak_mb:9.0f}")
        print(f"ratio            {flow[0] / direct[0]:13.2f} {flow[1] / direct[1]:7.2f}")
        print(f"task runs        {dict(states)}; purchases {state(base_url)['posts_received']}")
        print(f"server           {before_mb:.0f} MB before, {after_mb:.0f} MB after; database grew {grown_mb:.1f} MB")


if __name__ == "__main__":
    main()
