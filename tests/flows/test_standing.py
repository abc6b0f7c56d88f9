"""What `make up` says when it cannot do what was asked. That it can is looked at by hand: it takes half a minute."""

import json
import os
import socket
from dataclasses import asdict
from pathlib import Path

import pytest

from adloom.edges.processes import process_of
from adloom.flows.standing import CannotStand, down, up


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "prefect.env").write_text("")
    (tmp_path / ".prefect-home").mkdir()
    return tmp_path


def test_a_port_that_something_else_has_is_told_and_nothing_is_started(folder: Path, monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("PREFECT_SERVER_API_PORT", str(taken.getsockname()[1]))
        with pytest.raises(CannotStand, match="is taken by something else; choose another: make up PREFECT_SERVER"):
            up(folder)
    assert down(folder) == "Nothing was running."


def test_another_port_than_that_of_the_server_that_runs_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch):
    home = folder / ".prefect-home"
    (home / "server.pid").write_text(json.dumps(asdict(process_of(os.getpid()))))  # any process that lives
    (home / "port").write_text("4201")
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", "4202")
    with pytest.raises(CannotStand, match="the server that runs is on port 4201; first: make down"):
        up(folder)
