"""Prefect's embedded server, started by adloom itself.

Prefect's client would start the same server, but imports all of the server's code into this process first: 3 s of
processor time and 90 MB (measured with Prefect 3.8.8) before the server's own start even begins.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping

import httpx

TRIES = 3
"""Another process may take the port between the moment that it was found free and the server's start."""

ASKED_EVERY_S = 0.1
ANSWERS_WITHIN_S = 5.0
ENDS_WITHIN_S = 5.0
_SERVER_ENVIRONMENT = {  # as Prefect 3.8.8 starts its own
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}


class EmbeddedServerFailed(Exception):
    """The server did not start, or did not answer in time."""


def start_embedded_server(settings: Mapping[str, str], within_s: float) -> str:
    """Start a server on this machine that ends with this process, and wait until it answers; the URL of its API.

    ``settings`` are Prefect's, as environment variables. The server inherits the signal mask of the calling thread.
    Raises EmbeddedServerFailed.
    """
    deadline = time.monotonic() + within_s
    for _ in range(TRIES):
        port = _free_port()
        environment = {**os.environ, **_SERVER_ENVIRONMENT, **settings}
        process = subprocess.Popen(_command(port), env=environment)  # noqa: S603 - this Python, and no word of anyone's
        atexit.register(_end, process)
        if _answers(process, port, deadline):
            return f"http://127.0.0.1:{port}/api"
        _end(process)
        if time.monotonic() > deadline:
            break
    raise EmbeddedServerFailed(f"no answer within {within_s:.0f} s")


def _command(port: int) -> list[str]:
    app = ["--factory", "prefect.server.api.server:create_app", "--lifespan", "on"]
    return [sys.executable, "-m", "uvicorn", *app, "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def _answers(process: subprocess.Popen[bytes], port: int, deadline: float) -> bool:
    """Whether the server answers before it ends or the time is over; nobody asks through a proxy."""
    with httpx.Client(trust_env=False, timeout=ANSWERS_WITHIN_S) as client:
        while process.poll() is None and time.monotonic() < deadline:
            try:
                if client.get(f"http://127.0.0.1:{port}/api/health").is_success:
                    return True
            except httpx.TransportError:
                time.sleep(ASKED_EVERY_S)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
