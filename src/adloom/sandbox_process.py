"""The stand-in API in its own process, for a single run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from adloom.core.errors import SettingInvalid
from adloom.edges.settings import SecretText, Settings

ENDS_IN_S = 5


@contextmanager
def embedded_sandbox(settings: Settings) -> Iterator[Settings]:
    """A sandbox in a process of its own, and the settings that lead to it; it ends when this process does."""
    command = [sys.executable, "-m", "adloom.sandbox", "--port", "0", "--exit-with-parent"]
    with subprocess.Popen(  # noqa: S603 - our own module
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101 - asked for above
        assert process.stdin is not None  # noqa: S101
        base_url = process.stdout.readline().strip()
        if not base_url:
            raise SettingInvalid("the sandbox did not start", remedy="Run `adloom sandbox` to see why.")
        try:
            yield settings.model_copy(
                update={
                    "api_key": SecretText("sk-sandbox"),
                    "base_url": base_url,
                    "files_url": base_url,
                    "poll_interval_s": min(settings.poll_interval_s, POLL_INTERVAL_S),
                    "embedded": True,
                }
            )
        finally:
            process.stdin.close()
            process.wait(ENDS_IN_S)


POLL_INTERVAL_S = 0.2
"""The sandbox finishes a task in half a second, and reading it is free."""
