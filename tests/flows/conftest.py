"""What the tests of the flows share: one Prefect server for all of them, a desk whose runs go through it, a worker."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from desk import Desk, open_desk
from prefect_server import ROOT, PrefectServer, Worker, free_port


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    server = PrefectServer(tmp_path_factory.mktemp("prefect"), free_port())
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def desk(prefect_server: PrefectServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with open_desk(tmp_path_factory.mktemp("desk")) as opened:
        opened.environment |= {
            "PREFECT_API_URL": prefect_server.url,
            "PREFECT_HOME": str(prefect_server.home / "client"),
            "DO_NOT_TRACK": "1",
        }
        yield opened


@pytest.fixture(scope="session")
def worker(prefect_server: PrefectServer, desk: Desk) -> Iterator[Worker]:
    """The shipped prefect.yaml, deployed as `make up` does it, and a worker."""
    environment = {
        **prefect_server.environment,
        **{name: desk.environment[name] for name in desk.environment if name.startswith(("EVOLINK", "ADLOOM"))},
        "PREFECT_API_URL": prefect_server.url,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    for words in ("work-pool create adloom --type process --overwrite", "--no-prompt deploy --all"):
        command = [sys.executable, "-m", "prefect", *words.split()]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    worker = Worker(environment, prefect_server.home / "worker.log")
    worker.start()
    yield worker
    worker.stop()
