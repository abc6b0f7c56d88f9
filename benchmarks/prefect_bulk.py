"""A CSV of 100,000 rows through Prefect: planned, started, cancelled; and whether the server stays quick meanwhile.

    python benchmarks/prefect_bulk.py [ROWS]

A server and a worker of its own, with what adloom ships; loopback only, no money. Some minutes.
"""

import csv
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from main_job import environment, sandbox, state
from prefect_calls import ROOT, prefect_server, server_memory_mb

PURCHASES = 2000
"""The run is cancelled once it has sent this many."""

WITHIN_S = 600
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}


class Reader:
    """Somebody who has the UI open: asks the server five times a second, and remembers the slowest answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.slowest_s = 0.0

    def ask(self, route: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        began = time.perf_counter()
        with urlopen(Request(f"{self.url}/{route}", data, {"Content-Type": "application/json"}), timeout=60) as answer:
            content = answer.read()
        self.slowest_s = max(self.slowest_s, time.perf_counter() - began)
        return dict(json.loads(content))

    def press_run(self, **parameters: object) -> str:
        deployment = self.ask("deployments/name/csv/bulk")["id"]
        return str(self.ask(f"deployments/{deployment}/create_flow_run", {"parameters": parameters})["id"])

    def state_of(self, flow_run: str) -> dict[str, Any]:
        return dict(self.ask(f"flow_runs/{flow_run}")["state"])

    def watch(self, flow_run: str, is_enough: Callable[[], bool] = lambda: False) -> float:
        """Look at a flow run until it has ended, or is enough; the seconds that this took."""
        began = time.monotonic()
        while self.state_of(flow_run)["type"] not in ENDED and not is_enough():
            assert time.monotonic() - began < WITHIN_S, self.state_of(flow_run)
            time.sleep(0.2)
        return time.monotonic() - began


def write_rows(path: Path, count: int) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "cup"])
        rows.writerows([f"r{row:06d}", f"ceramic cup number {row}"] for row in range(count))


@contextmanager
def worker(settings: Mapping[str, str], log: Path) -> Iterator[None]:
    for words in ("work-pool create adloom --type process --overwrite", "--no-prompt deploy --all"):
        command = [sys.executable, "-m", "prefect", *words.split()]
        subprocess.run(command, env=settings, cwd=ROOT, capture_output=True, check=True)
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "adloom"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=settings, cwd=ROOT, stdout=output, stderr=output)
        yield
        process.terminate()
        process.wait()


def shipped_settings() -> dict[str, str]:
    lines = (ROOT / "prefect.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def use(url: str, base_url: str, source: Path) -> None:
    """Plan, buy and cancel, and print what was seen."""
    form = {"csv_file": str(source), "prompt": "{{ cup }} on linen", "size": "1:1", "quality": "1K"}
    form |= {"budget_usd": 99_999, "approve_above_usd": 0}
    reader = Reader(url)
    run = reader.press_run(**form, dry_run=True)
    took_s = reader.watch(run)
    print(f"{reader.state_of(run)['name']} after {took_s:.0f} s; slowest answer {reader.slowest_s:.2f} s")
    reader = Reader(url)
    run = reader.press_run(**form, dry_run=False)
    took_s = reader.watch(run, lambda: state(base_url)["posts_received"] >= PURCHASES)
    sent = state(base_url)["posts_received"]
    print(f"{sent} purchases after {took_s:.0f} s; slowest answer {reader.slowest_s:.2f} s")
    reader.ask(f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    took_s = reader.watch(run)
    found, sent = reader.state_of(run), state(base_url)["posts_received"] - sent
    print(f"{found['name']} after {took_s:.0f} s and {sent} purchases more; slowest answer {reader.slowest_s:.2f} s")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as name, sandbox(0.5) as base_url:
        folder = Path(name)
        write_rows(folder / "cups.csv", count)
        home = folder / "prefect"
        home.mkdir()
        with prefect_server(home) as (url, pid):
            own = {"PREFECT_API_URL": url, "PREFECT_HOME": str(home / "client")}
            archive = {"ADLOOM_ARCHIVE": str(folder / "archive"), "ADLOOM_CAMPAIGN_ROOTS": str(folder)}
            with worker({**environment(base_url), **shipped_settings(), **own, **archive}, folder / "worker.log"):
                database, before_mb = home / "prefect.db", server_memory_mb(pid)
                size = database.stat().st_size
                use(url, base_url, folder / "cups.csv")
                after_mb, grown_mb = server_memory_mb(pid), (database.stat().st_size - size) / 1e6
        print(f"server {before_mb:.0f} MB before, {after_mb:.0f} MB after; database grew {grown_mb:.1f} MB")


if __name__ == "__main__":
    main()
