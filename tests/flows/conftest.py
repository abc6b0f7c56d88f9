"""What the tests of the flows share: one Prefect server for all of them, and a desk whose runs go through it."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from desk import Desk, open_desk

SERVER_STARTS_IN_S = 90


@dataclass(frozen=True)
class PrefectServer:
    """A Prefect server of the tests' own."""

    url: str
    home: Path

    def ask(self, route: str, **body: object) -> Any:
        answer = httpx.post(f"{self.url}/{route}", json=body)
        answer.raise_for_status()
        return answer.json()

    def flow_run(self, name: str) -> dict[str, Any]:
        [found] = self.ask("flow_runs/filter", flow_runs={"name": {"any_": [name]}})
        return dict(found)

    def artifacts(self, flow_run: dict[str, Any]) -> dict[str, dict[str, Any]]:
        found = self.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [flow_run["id"]]}})
        return {artifact["key"]: artifact for artifact in found}

    def task_runs(self, flow_run: dict[str, Any], *, expected: int) -> list[dict[str, Any]]:
        """Task runs reach the server as events, which it works off after the flow has ended."""
        found: list[dict[str, Any]] = []
        for _ in range(400):
            found = self.ask("task_runs/filter", flow_runs={"id": {"any_": [flow_run["id"]]}})
            if len([run for run in found if run["state"]["type"] == "COMPLETED"]) >= expected:
                break
            time.sleep(0.1)
        return found


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    home = tmp_path_factory.mktemp("prefect")
    port = _free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PREFECT")},
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    with (home / "server.log").open("wb") as log:
        command = [sys.executable, "-m", "prefect", "server", "start"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        url = f"http://127.0.0.1:{port}/api"
        _wait_for(url, process, home / "server.log")
        yield PrefectServer(url, home)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def desk(prefect_server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(tmp_path_factory.mktemp("desk")) as opened:
        opened.environment |= {
            "PREFECT_API_URL": prefect_server.url,
            "PREFECT_HOME": str(prefect_server.home / "client"),
            "DO_NOT_TRACK": "1",
        }
        yield opened


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + SERVER_STARTS_IN_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/health").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"the Prefect server did not start: {log.read_text()[-2000:]}")
