"""What many tests share.

An empty archive in memory with its clock, which stands still while anybody works; a sandbox in this process, and a shop
that runs campaigns against it; a real S3 server.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.desk import CliRig, open_desk
from support.fakes import ManualClock, MemoryStore
from support.s3_server import S3Server, running_s3_server
from support.shop import DecoderInPlace, SandboxRig, open_shop
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

SLOWEST_FIRST = ("flows", "torture", "cli", "archives", "run", "edges")
"""Folders whose tests start servers and processes; what comes last should be short, so that no process waits long."""


class ByFile(LoadScopeScheduling):
    """Keeps the tests of a file in one process, and all that need Prefect's server in another, for they share it."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "flows" if "/flows/" in file else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    folder = item.path.parent.name
    return SLOWEST_FIRST.index(folder) if folder in SLOWEST_FIRST else len(SLOWEST_FIRST)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SandboxRig]:
    monkeypatch.setattr("adloom.wiring.PictureDecoder", DecoderInPlace)
    async with open_shop(tmp_path) as shop:
        yield shop


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[CliRig]:
    with open_desk(tmp_path) as desk:
        yield desk


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def s3_over_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3_server(tmp_path_factory.mktemp("s3"), tls=True) as server:
        yield server
