"""A Prefect server and a worker of the tests' own, in processes of their own, and what the UI does with them."""

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from adloom.orchestration.server import CLIENTS_SECRET, SECRET, authorization, new_secret

ROOT = Path(__file__).parents[2]
SERVER_STARTS_IN_S = 180
RUN_ENDS_IN_S = 600
ANSWERS_IN_S = 120
ASKED_AGAIN = 5
WORKER_ENDS_IN_S = 5
LOOKS_EVERY_S = 0.5
SCHEDULES_EVERY_S = 5
"""How often the tests' server looks for new schedules, every 60 s by default."""
KEEP_SHORTLY = httpx.Limits(keepalive_expiry=2)
"""The server closes a connection that was not used for 5 s."""
NOT_STARTED = "Failed to submit flow run to infrastructure: PrefectHTTPStatusError: Server error '503"
"""What a worker says whose server answered five times that its database is locked."""

ENDED = {"COMPLETED", "FAILED", "CANCELLED", "CRASHED"}


def until(condition: Callable[[], bool], within_s: float = RUN_ENDS_IN_S, *, what: str = "") -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(LOOKS_EVERY_S)


@dataclass
class PrefectServer:
    """A Prefect server of the tests' own, in a process of its own."""

    home: Path
    port: int
    secret: str = field(default_factory=new_secret)
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(timeout=ANSWERS_IN_S, limits=KEEP_SHORTLY, headers=authorization(self.secret))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def environment(self) -> dict[str, str]:
        """The settings that adloom ships, and nothing of those of whoever runs the tests."""
        lines = (ROOT / "prefect.env").read_text().splitlines()
        shipped = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
        own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
        return {
            **own,
            **shipped,
            "PREFECT_HOME": str(self.home),
            "PREFECT_SERVER_API_PORT": str(self.port),
            SECRET: self.secret,
            CLIENTS_SECRET: self.secret,
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": str(SCHEDULES_EVERY_S),
        }

    def start(self) -> None:
        with (self.home / "server.log").open("ab") as log:
            command = [sys.executable, "-m", "adloom.orchestration.server"]
            self.process = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        until(self._answers, SERVER_STARTS_IN_S, what=(self.home / "server.log").read_text()[-2000:])

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def deploy(self) -> "subprocess.Popen[bytes]":
        """Begin to deploy the shipped prefect.yaml, on the shipped work pool."""
        template = json.loads((ROOT / "work-pool.json").read_text())
        self.ask("work_pools/", name="adloom", type="process", base_job_template=template)
        with (self.home / "deploy.log").open("ab") as log:
            command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
            environment = {**self.environment, "PREFECT_API_URL": self.url}
            return subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)

    def _answers(self) -> bool:
        try:
            return self.client.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False

    def ask(self, route: str, listed: list[object] | None = None, **body: object) -> Any:
        return self._send("POST", route, listed or body, is_repeatable=route.endswith(("/filter", "/count")))

    def get(self, route: str) -> Any:
        return self._send("GET", route, is_repeatable=True)

    def delete(self, route: str) -> None:
        self._send("DELETE", route)

    def _send(self, method: str, route: str, body: object = None, *, is_repeatable: bool = False) -> Any:
        """What the server answers. SQLite under a busy server is locked now and then, which it answers with 503.

        Only what changes nothing when it comes twice is asked again without an answer.
        """
        tries = ASKED_AGAIN if is_repeatable else 1
        for _ in range(100):
            answer = self._answered(method, route, body, tries)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(LOOKS_EVERY_S)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def _answered(self, method: str, route: str, body: object, tries: int) -> httpx.Response:
        for _ in range(tries - 1):
            try:
                return self.client.request(method, f"{self.url}/{route}", json=body)
            except httpx.TransportError:
                time.sleep(LOOKS_EVERY_S)
        return self.client.request(method, f"{self.url}/{route}", json=body)

    def press_run(self, deployment: str, **parameters: object) -> str:
        """What the UI does on Run: the id of the new flow run."""
        found = self.get(f"deployments/name/{deployment}")
        body = {"parameters": parameters, "idempotency_key": uuid.uuid4().hex}
        return str(self._send("POST", f"deployments/{found['id']}/create_flow_run", body, is_repeatable=True)["id"])

    def set_state(self, flow_run: str, type_: str, name: str) -> None:
        """What the UI does on Retry (SCHEDULED, AwaitingRetry) and Cancel (CANCELLING)."""
        self.ask(f"flow_runs/{flow_run}/set_state", state={"type": type_, "name": name}, force=False)

    def ended(self, flow_run: str, *, but: Container[str] = ()) -> dict[str, Any]:
        """A flow run as it is read once it has ended, in another type of state than those in ``but``.

        Where the server was too busy for its worker to start it, or it is in one of those states, it is started again,
        as people do, until that takes.
        """
        found: dict[str, Any] = {}

        def has_ended() -> bool:
            found.update(self.get(f"flow_runs/{flow_run}"))
            state = found["state"]
            is_not_started = state["name"] == "Crashed" and state["message"].startswith(NOT_STARTED)
            if is_not_started or state["type"] in but:
                self.set_state(flow_run, "SCHEDULED", "AwaitingRetry")
                return False
            return state["type"] in ENDED

        until(has_ended)
        return found

    def flow_run(self, name: str) -> dict[str, Any]:
        [found] = self.ask("flow_runs/filter", flow_runs={"name": {"any_": [name]}})
        return dict(found)

    def artifacts(self, flow_run: dict[str, Any]) -> dict[str, dict[str, Any]]:
        found = self.ask("artifacts/filter", artifacts={"flow_run_id": {"any_": [flow_run["id"]]}})
        return {artifact["key"]: artifact for artifact in found}

    def task_runs(self, flow_run: dict[str, Any], *, expected: int) -> list[dict[str, Any]]:
        """Task runs reach the server as events, which it works off after the flow has ended."""
        found: list[dict[str, Any]] = []
        for _ in range(200):
            found = self.ask("task_runs/filter", flow_runs={"id": {"any_": [flow_run["id"]]}})
            if len([run for run in found if run["state"] and run["state"]["type"] == "COMPLETED"]) >= expected:
                break
            time.sleep(LOOKS_EVERY_S)
        return found


@dataclass
class Worker:
    """A process worker on the shipped work pool, whose runs buy from the desk's sandbox."""

    environment: dict[str, str]
    log: Path
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "adloom"]
            self.process = subprocess.Popen(
                command, env=self.environment, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> None:
        """End the worker. It can hear the signal and yet go on once its server was restarted: then it is killed."""
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(WORKER_ENDS_IN_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def process_of(self, flow_run: str) -> int:
        """The process that a flow run runs in."""
        mark = f"PREFECT__FLOW_RUN_ID={flow_run}".encode()
        found: list[int] = []

        def is_there() -> bool:
            found[:] = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if mark in _bytes(path)]
            return bool(found)

        until(is_there)
        return found[0]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
