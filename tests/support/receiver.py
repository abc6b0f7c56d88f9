"""A receiver of callbacks, as `adloom receive` starts it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from support.desk import ADLOOM, CliRig

SECRET = "0123456789abcdef" * 2


@contextmanager
def receiver(desk: CliRig) -> Iterator[str]:
    """A receiver for the desk's archive; its base address."""
    command = [str(ADLOOM), "receive", "--port", "0"]
    environment = desk.environment | {"ADLOOM_CALLBACK_SECRET": SECRET}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
        assert process.wait(60) == 0
