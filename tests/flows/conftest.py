"""What the tests of the flows share: one Prefect server for all of them, a desk whose runs go through it, a worker.

What takes long is begun early and waited for late: the deployments, and runs of the command line.
"""

import subprocess
from collections.abc import Iterator

import pytest
from support.desk import CliRig, open_desk
from support.prefect_server import PrefectServer, Worker, free_port
from support.s3_server import BUCKET, S3Server

from adloom.orchestration.server import CLIENTS_SECRET


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    server = PrefectServer(tmp_path_factory.mktemp("prefect"), free_port())
    try:
        server.start()
        yield server
    finally:
        server.stop()
        server.client.close()


@pytest.fixture(scope="session")
def deploying(prefect_server: PrefectServer) -> Iterator["subprocess.Popen[bytes]"]:
    with prefect_server.deploy() as process:
        yield process


@pytest.fixture(scope="session")
def desk(
    prefect_server: PrefectServer,
    deploying: "subprocess.Popen[bytes]",
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[CliRig]:
    with open_desk(tmp_path_factory.mktemp("desk")) as opened:
        opened.environment |= {
            "PREFECT_API_URL": prefect_server.url,
            CLIENTS_SECRET: prefect_server.secret,
            "PREFECT_HOME": str(prefect_server.home / "client"),
            "DO_NOT_TRACK": "1",
        }
        yield opened


@pytest.fixture(scope="session")
def worker(
    prefect_server: PrefectServer, deploying: "subprocess.Popen[bytes]", desk: CliRig, s3: S3Server
) -> Iterator[Worker]:
    """The shipped prefect.yaml, deployed as `make up` does it, and a worker whose archive is in S3."""
    assert deploying.wait() == 0, (prefect_server.home / "deploy.log").read_text()
    environment = {
        **prefect_server.environment,
        **{name: desk.environment[name] for name in desk.environment if name.startswith(("EVOLINK", "ADLOOM"))},
        **s3.environment(),
        "ADLOOM_ARCHIVE": f"s3://{BUCKET}/archive",
        "ADLOOM_CAMPAIGN_ROOTS": f"{desk.folder}, s3://{BUCKET}/campaigns",
        "ADLOOM_APPROVE_ABOVE_USD": "3",
        "ADLOOM_MAX_USD": "6",
        "ADLOOM_MAX_RUNS": "2",
        "PREFECT_API_URL": prefect_server.url,
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    worker = Worker(environment, prefect_server.home / "worker.log")
    worker.start()
    yield worker
    worker.stop()
