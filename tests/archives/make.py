"""Makes the archive of a version, once: see README.md.

python tests/archives/make.py tests/archives/v1
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import adloom.sandbox.painting.pictures
import adloom.wiring
from adloom.core.process import Process
from adloom.edges.settings import SecretText, Settings
from adloom.sandbox import SandboxSettings, running_sandbox
from adloom.targets import RunRequest, open_store
from adloom.wiring import assessment_of, execute

ENDINGS: tuple[Mapping[str, Any], ...] = (
    {"route": "outcome", "match": "one too many", "fault": "completed", "images": 3},
    {"route": "outcome", "match": "two are made", "fault": "completed", "images": 2},
    {"route": "outcome", "match": "two are made", "fault": "completed", "images": 0, "times": 2},
    {"route": "outcome", "match": "cannot be made", "fault": "failed", "code": "invalid_parameters"},
    {"route": "submit", "match": "yellow", "fault": "drop", "after": True},
)

SIDE_PX = 48
"""Wrong pixels are no fault, and an archive that lies in the repository should be small."""


async def make(folder: Path) -> None:
    """Run both campaigns of a folder into its ``store``, which must not be there yet."""
    if (folder / "store").exists():
        sys.exit(f"{folder / 'store'} is there already, and an archive of a version is made once")
    options = SandboxSettings(task_seconds=0.02, fast_pictures=True, moderated_at_submit=("forbidden",))
    async with running_sandbox(options) as sandbox:
        sandbox.script(*ENDINGS)
        settings = Settings.model_validate(
            {
                "api_key": SecretText("sk-archive"),
                "base_url": sandbox.base_url,
                "files_url": sandbox.base_url,
                "archive": str(folder / "store"),
                "poll_interval_s": 0.02,
                "dedicated_key": False,
            }
        )
        for name in ("finished.yaml", "waiting.yaml"):
            store = open_store(settings.archive)
            request = RunRequest(str(folder / name), settings.archive)
            result = await execute(settings, store, await assessment_of(request, settings, store, to_run=True))
            sys.stdout.write(f"{name}: exit {result.exit_code}, {result.published.manifest['totals']}\n")


if __name__ == "__main__":
    adloom.wiring.this_process = lambda: Process("machine.example", 1, "1")  # no name of a real machine
    adloom.sandbox.painting.pictures.dimensions = lambda *_: (SIDE_PX, SIDE_PX)
    asyncio.run(make(Path(sys.argv[1])))
