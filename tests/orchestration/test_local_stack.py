"""What `make up` says when it cannot do what was asked. That it can is looked at by hand: it takes half a minute."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from adloom.edges.processes import process_of
from adloom.orchestration.local_stack import Home, StartFailed, down, up


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "prefect.env").write_text("")
    (tmp_path / ".prefect-home").mkdir()
    return tmp_path


def test_a_port_that_something_else_has_is_told_and_nothing_is_started(folder: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("PREFECT_SERVER_API_PORT", str(taken.getsockname()[1]))
        with pytest.raises(StartFailed, match="is in use; choose another: make up PREFECT_SERVER"):
            up(folder)
    assert down(folder) == "Nothing was running."


def test_another_port_than_that_of_the_server_that_runs_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch):
    home = folder / ".prefect-home"
    (home / "server.pid").write_text(json.dumps(asdict(process_of(os.getpid()))))  # any process that lives
    (home / "port").write_text("4201")
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", "4202")
    with pytest.raises(StartFailed, match="the running server is on port 4201; run make down first"):
        up(folder)


@pytest.fixture
def answering(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """What a server that runs answers without a secret, and with that of `make up`."""
    statuses: list[int] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            has_secret = "Authorization" in self.headers
            self.send_response(200 if self.path == "/api/health" else statuses[has_secret])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        port = str(server.server_address[1])
        monkeypatch.setenv("PREFECT_SERVER_API_PORT", port)
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nobody is there
        (folder / ".prefect-home" / "server.pid").write_text(json.dumps(asdict(process_of(os.getpid()))))
        (folder / ".prefect-home" / "port").write_text(port)
        yield statuses
        server.shutdown()


def test_a_server_that_an_older_version_started_without_a_secret_is_not_left_running(
    folder: Path, answering: list[int]
):
    answering[:] = [200, 200]
    with pytest.raises(StartFailed, match="asks for no secret; run make down first"):
        up(folder)


def test_a_server_with_another_secret_is_told(folder: Path, answering: list[int]):
    answering[:] = [401, 401]
    with pytest.raises(StartFailed, match="has another secret; run make down first"):
        up(folder)


def test_a_server_in_trouble_is_not_taken_for_one_with_another_secret(folder: Path, answering: list[int]):
    answering[:] = [401, 503]
    with pytest.raises(StartFailed, match=r"the running server answers with 503; see .*server\.log, or try again"):
        up(folder)


def test_what_is_kept_is_its_owners_alone_and_only_the_worker_has_the_keys(
    folder: Path, answering: list[int], monkeypatch: pytest.MonkeyPatch
):
    answering[:] = [401, 200]
    home = folder / ".prefect-home"
    home.chmod(0o755)
    (home / "deploy.log").touch(0o644)
    (folder / "prefect.yaml").write_text("")
    monkeypatch.setenv("EVOLINK_API_KEY", "sk-canary")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    seen: list[dict[str, str]] = []

    def run(_: object, *, env: dict[str, str], **__: object) -> "subprocess.CompletedProcess[bytes]":
        seen.append(env)
        return subprocess.CompletedProcess([], 1)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(StartFailed, match=r"work-pool create adloom .*failed"):
        up(folder)
    assert home.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o077 for path in home.iterdir()}
    assert {name: modes[name] for name in ("api-secret", "deploy.log")} == {"api-secret": 0, "deploy.log": 0}
    assert not [value for value in seen[0].values() if "canary" in value]
    assert seen[0]["PREFECT_API_AUTH_STRING"] == (home / "api-secret").read_text().strip()


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # it outlives its starter
def test_what_is_started_and_noted_is_its_owners_alone(folder: Path):
    home = Home(folder / ".prefect-home")
    before = os.umask(0)
    try:
        home.note("port", "4201")
        command = ["timeit", "-n1", "-r1", "open('made-by-it', 'w').close()"]
        with chdir(home.folder):
            started = home.start("server", command, os.environ, umask=0o077)
        os.waitpid(started.pid, 0)
    finally:
        os.umask(before)
    assert home.noted("port") == "4201"
    modes = {path.name: path.stat().st_mode & 0o777 for path in home.folder.iterdir()}
    assert modes == dict.fromkeys(("port", "server.log", "server.pid", "made-by-it"), 0o600)
