"""What many tests share: a sandbox in this process, and a shop that runs campaigns against it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from desk import Desk, open_desk
from shop import Shop

from adloom.edges.settings import SecretText, Settings
from adloom.sandbox import SandboxSettings, running_sandbox


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with running_sandbox(SandboxSettings(task_seconds=0.03, fast_pictures=True)) as sandbox:
        settings = Settings(
            api_key=SecretText("sk-test-canary"),
            base_url=sandbox.base_url,
            files_url=sandbox.base_url,
            archive=str(tmp_path / "archive"),
            poll_interval_s=0.02,
            dedicated_key=False,
            loopback=True,
        )
        yield Shop(sandbox, tmp_path, settings)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path) as desk:
        yield desk
