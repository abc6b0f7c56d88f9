"""``make up`` and ``make down``: a Prefect server, a worker and the deployments on this machine, without Docker.

Everything that they keep is in ``.prefect-home`` of this folder: the server's database, a log and a pid file for each
process. Without EVOLINK_API_KEY the worker buys from a sandbox, adloom's stand-in for the paid API, and archives in
``.prefect-home/sandbox-archive``: no key, no money, nothing mixed with real images.

Anyone who reaches the server can run code here and spend, so it requires the secret in ``.prefect-home/api-secret``,
and only the owner can read the folder.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from adloom.core.process import Process
from adloom.edges.processes import is_gone, process_of
from adloom.orchestration.automations import watch_runs
from adloom.orchestration.server import (
    CLIENTS_SECRET,
    ORIGINS,
    PORT,
    SECRET,
    authorization,
    kept_secret,
    own_origins,
    without_proxy,
)

POOL = "adloom"
SECRET_FILE = "api-secret"  # noqa: S105 - the name of the file
NOT_THE_SERVERS = ("EVOLINK_API_KEY", "ADLOOM_CALLBACK_SECRET", "AWS_")
"""Prefixes of variables that only the worker gets: the server and the deployments need no key."""

NOTES = ("port", "buys-from")
SERVER_STARTS_IN_S = 120
"""6 s as measured; 24 s, or 43 s on a busy machine, where Prefect migrates a new database itself."""

SANDBOX_STARTS_IN_S = 30
ENDS_IN_S = 45
"""A worker that is stopped gives its flow runs 30 s, in which they collect what is paid for."""


class StartFailed(Exception):
    """Something did not start; the message says what, and where to find out why."""


@dataclass(frozen=True, slots=True)
class Home:
    """The folder with the state of the local Prefect stack."""

    folder: Path

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def running(self, name: str) -> Process | None:
        """The process of that name that was started here and is alive."""
        try:
            process = Process(**json.loads(self._pid_file(name).read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return None if is_gone(process) else process

    def start(self, name: str, command: list[str], environment: Mapping[str, str], *, umask: int = -1) -> Process:
        """Start a process that outlives this one, with its output in a log file that only its owner reads."""
        with _private_file(self.log(name), os.O_TRUNC) as log:
            started = subprocess.Popen(  # noqa: S603 - our own modules
                [sys.executable, "-m", *command],
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=umask,
            )
        process = process_of(started.pid)
        self._write(self._pid_file(name), json.dumps(asdict(process)))
        return process

    def stop(self, name: str) -> bool:
        """End a process, if need be by force; False when none was running."""
        process = self.running(name)
        if process is not None:
            os.kill(process.pid, signal.SIGTERM)
            if not _comes_true(lambda: is_gone(process), ENDS_IN_S):
                os.kill(process.pid, signal.SIGKILL)
        self._pid_file(name).unlink(missing_ok=True)
        return process is not None

    def note(self, name: str, text: str) -> None:
        """Note something about a running process, until it is stopped."""
        self._write(self.folder / name, text)

    def noted(self, name: str) -> str:
        note = self.folder / name
        return note.read_text() if note.is_file() else ""

    def forget(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)

    @staticmethod
    def _write(path: Path, text: str) -> None:
        with _private_file(path, os.O_TRUNC) as file:
            file.write(text.encode())

    def _pid_file(self, name: str) -> Path:
        return self.folder / f"{name}.pid"


def up(folder: Path) -> str:
    """Start what is not running yet, and deploy everything; returns a few lines for a person. Raises StartFailed."""
    home = Home(folder / ".prefect-home")
    home.folder.mkdir(mode=0o700, exist_ok=True)
    home.folder.chmod(0o700)
    worker_environment = _environment(folder, home)
    environment = {name: value for name, value in worker_environment.items() if not name.startswith(NOT_THE_SERVERS)}
    _start_server(home, environment)
    worker_environment, buys_from = _worker_environment(home, worker_environment)
    template = ("--base-job-template", str(folder / "work-pool.json"))
    _prefect(home, environment, "work-pool", "create", POOL, "--type", "process", "--overwrite", *template)
    _prefect(home, environment, "--no-prompt", "deploy", "--all")
    _watch_runs(folder, environment)
    _start_worker(home, worker_environment, buys_from)
    address = environment.get("PREFECT_UI_API_URL", environment["PREFECT_API_URL"]).removesuffix("/api")
    return (
        f"Prefect is up: {address}/deployments\n"
        f"It asks once for this secret: {environment[SECRET]}\n"
        f"Runs buy from {buys_from}.\n"
        "First click: by-hand, Run, Quick run. It shows the price and sends nothing. To buy: Custom run, dry_run off.\n"
        "make down stops it all. Nothing is lost: state lives in the archive."
    )


def down(folder: Path) -> str:
    """Stop the worker first, so that its runs can report their end; then the server."""
    home = Home(folder / ".prefect-home")
    stopped = [name for name in ("worker", "sandbox", "server") if home.stop(name)]
    for name in NOTES:
        home.forget(name)
    return f"Stopped: {', '.join(stopped)}." if stopped else "Nothing was running."


def _environment(folder: Path, home: Home) -> dict[str, str]:
    environment = {**_env_file(folder / "prefect.env"), **os.environ, "PREFECT_HOME": str(home.folder.resolve())}
    running = home.noted("port") if home.running("server") else ""
    port = environment.setdefault("PREFECT_SERVER_API_PORT", running or PORT)  # --port leaves the UI looking at 4200
    environment["PREFECT_API_URL"] = f"http://127.0.0.1:{port}/api"
    environment.setdefault(ORIGINS, own_origins(environment))
    environment.setdefault(SECRET, kept_secret(home.folder / SECRET_FILE))
    environment[CLIENTS_SECRET] = environment[SECRET]
    without_proxy(environment)
    return environment


def _env_file(path: Path) -> dict[str, str]:
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def _start_server(home: Home, environment: Mapping[str, str]) -> None:
    port = environment["PREFECT_SERVER_API_PORT"]
    server = home.running("server")
    if server is None:
        if _is_taken(int(port)):
            raise StartFailed(f"port {port} is in use; choose another: make up PREFECT_SERVER_API_PORT=4201")
        home.note("port", port)
        server = home.start("server", ["adloom.orchestration.server"], environment, umask=0o077)
    elif home.noted("port") != port:
        raise StartFailed(f"the running server is on port {home.noted('port')}; run make down first")
    started = server
    api = environment["PREFECT_API_URL"]
    healthy = _comes_true(lambda: _status(f"{api}/health") == OK or is_gone(started), SERVER_STARTS_IN_S)
    if not healthy or is_gone(server):
        raise StartFailed(f"the Prefect server did not start; see {home.log('server')}")
    if _status(f"{api}/admin/version") == OK:
        raise StartFailed("the running server asks for no secret; run make down first")
    status = _status(f"{api}/admin/version", environment[SECRET])
    if status in REFUSED:
        raise StartFailed("the running server has another secret; run make down first")
    if status != OK:
        answer = f"answers with {status}" if status else f"did not answer within {ANSWERS_WITHIN_S} s"
        raise StartFailed(f"the running server {answer}; see {home.log('server')}, or try again")


def _worker_environment(home: Home, environment: Mapping[str, str]) -> tuple[dict[str, str], str]:
    """The environment of the worker, and where its runs buy, in words."""
    if environment.get("EVOLINK_API_KEY", "").strip():
        return dict(environment), "EvoLink with your key: real images for real money"
    sandbox = home.running("sandbox") or home.start("sandbox", ["adloom.sandbox", "--port", "0"], environment)
    log = home.log("sandbox")
    if not _comes_true(lambda: "\n" in log.read_text() or is_gone(sandbox), SANDBOX_STARTS_IN_S):
        raise StartFailed(f"the sandbox did not start; see {log}")
    base_url = log.read_text().partition("\n")[0].strip()
    stand_in = {
        "EVOLINK_API_KEY": "sk-sandbox",
        "EVOLINK_BASE_URL": base_url,
        "EVOLINK_FILES_URL": base_url,
        "ADLOOM_ARCHIVE": str((home.folder / "sandbox-archive").resolve()),
        "ADLOOM_POLL_INTERVAL_S": "0.2",
        "ADLOOM_EMBEDDED_SANDBOX": "1",  # its port differs each time, its archive is the same
    }
    where = "the sandbox, a stand-in for the paid API: no money (EVOLINK_API_KEY is not set)"
    return {**environment, **stand_in}, where


def _start_worker(home: Home, environment: Mapping[str, str], buys_from: str) -> None:
    if home.running("worker") is not None:
        if home.noted("buys-from") != buys_from:
            raise StartFailed(f"the running worker buys from {home.noted('buys-from')}; run make down first")
        return
    home.note("buys-from", buys_from)
    home.start("worker", ["prefect", "worker", "start", "--pool", POOL, "--name", socket.gethostname()], environment)


def _watch_runs(folder: Path, environment: Mapping[str, str]) -> None:
    try:
        watch_runs(folder / "automations.yaml", environment["PREFECT_API_URL"], environment[SECRET])
    except OSError as error:
        raise StartFailed(f"the Prefect server rejected automations.yaml: {error}") from error


def _prefect(home: Home, environment: Mapping[str, str], *words: str) -> None:
    with _private_file(home.log("deploy"), os.O_APPEND) as log:
        done = subprocess.run(  # noqa: S603 - Prefect's own command line
            [sys.executable, "-m", "prefect", *words],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise StartFailed(f"`prefect {' '.join(words)}` failed; see {home.log('deploy')}")


def _comes_true(condition: Callable[[], bool], within_s: float) -> bool:
    until = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True


def _status(address: str, secret: str = "") -> int:
    """What our own server answers; 0 when it does not."""
    request = urllib.request.Request(address, headers=authorization(secret) if secret else {})  # noqa: S310
    try:
        with DIRECT.open(request, timeout=ANSWERS_WITHIN_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


OK = 200
REFUSED = (401, 403)
ANSWERS_WITHIN_S = 5
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _private_file(path: Path, flag: int) -> BinaryIO:
    """A file to write that only its owner reads, also when an older version left it open to all."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "wb")


def _is_taken(port: int) -> bool:
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    """``python -m adloom.orchestration.local_stack up`` or ``down``, in the folder of prefect.yaml."""
    work = {"up": up, "down": down}[sys.argv[1]]
    try:
        sys.stdout.write(work(Path.cwd()) + "\n")
    except StartFailed as error:
        sys.exit(f"make {sys.argv[1]}: {error}")


if __name__ == "__main__":
    main()
