"""What many tests share: a sandbox in this process, and a shop that runs campaigns against it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from desk import Desk, open_desk
from s3_server import S3Server, running_s3_server
from shop import Shop, open_shop


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, and all that need Prefect's server, which take longest and go first."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group("prefect" if _needs_prefect(item) else str(item.path)))
    items.sort(key=lambda item: not _needs_prefect(item))


def _needs_prefect(item: pytest.Item) -> bool:
    return "flows" in item.path.parts


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as shop:
        yield shop


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
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
