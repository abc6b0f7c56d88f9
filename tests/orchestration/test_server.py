"""The secret, the names and the origins of the server of `make up`, and that it does not start without a secret."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adloom.orchestration.in_process import set_up_prefect
from adloom.orchestration.server import (
    SECRET,
    authorization,
    kept_secret,
    new_secret,
    own_hosts,
    own_origins,
    without_proxy,
)


def test_the_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path):
    file = tmp_path / "api-secret"
    before = os.umask(0)
    try:
        secret = kept_secret(file)
    finally:
        os.umask(before)
    assert file.stat().st_mode & 0o777 == 0o600
    assert secret.startswith("adloom:")
    assert len(secret) > 40
    assert kept_secret(file) == secret != new_secret()
    assert authorization("adloom:x") == {"Authorization": "Basic YWRsb29tOng="}


def test_the_servers_names_are_those_of_loopback_and_of_the_addresses_that_are_set_for_it():
    assert own_hosts({}) == ["127.0.0.1", "localhost"]
    set_up = {"PREFECT_API_URL": "http://10.0.0.7:4200/api", "PREFECT_UI_API_URL": "https://Prefect.example/api"}
    assert own_hosts(set_up) == ["10.0.0.7", "127.0.0.1", "localhost", "prefect.example"]
    assert own_origins({"PREFECT_SERVER_API_PORT": "4201"}) == "http://127.0.0.1:4201,http://localhost:4201"
    assert own_origins(set_up).split(",")[2:] == ["https://prefect.example"]


def test_no_proxy_hears_what_is_sent_to_loopback():
    environ = {"HTTP_PROXY": "http://proxy:3128", "NO_PROXY": "intern.example,localhost"}
    without_proxy(environ)
    assert environ["NO_PROXY"] == "intern.example,localhost,127.0.0.1"
    assert environ["no_proxy"] == "127.0.0.1,localhost"


def test_a_run_keeps_its_servers_secret_off_a_proxy_as_well():
    environ = {"HTTP_PROXY": "http://proxy:3128", "PREFECT_API_URL": "http://127.0.0.1:4200/api"}
    set_up_prefect(environ)
    assert environ["NO_PROXY"] == environ["no_proxy"] == "127.0.0.1,localhost"


def test_without_a_secret_it_does_not_start():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    command = [sys.executable, "-m", "adloom.orchestration.server"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{SECRET} is not set: without it, anyone who reaches the server can start runs")


ASKS_THE_EMBEDDED_SERVER = """
import asyncio, httpx, os, sys
from adloom.orchestration.in_process import _reach_server, set_up_prefect
set_up_prefect(os.environ)
print("shows pages", asyncio.run(_reach_server()))
from prefect.client.orchestration import get_client
with httpx.Client(base_url=os.environ["PREFECT_API_URL"], trust_env=False) as stranger:
    answer = stranger.post("/flow_runs/filter", json={}, headers={"Origin": "https://evil.example"})
    print(answer.status_code, answer.headers.get("access-control-allow-origin"))
with get_client(sync_client=True) as client:
    print(client.read_flow_runs())
print("server's code is here", "prefect.server.api.server" in sys.modules)
"""


@pytest.mark.timeout(900)  # a server starts up
def test_the_embedded_server_answers_its_own_run_alone(tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {"PREFECT_HOME": str(tmp_path), "HTTP_PROXY": "http://127.0.0.1:9"}  # nobody is there
    environment["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "280"  # a busy machine takes minutes
    command = [sys.executable, "-c", ASKS_THE_EMBEDDED_SERVER]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    told = ["shows pages False", "401 None", "[]", "server's code is here False"]
    assert done.stdout.splitlines() == told, done.stderr
