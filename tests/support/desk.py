"""A desk: a sandbox in a thread of its own, and the command line pointed at it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from support.shop import DecoderInPlace
from typer.testing import CliRunner

from adloom.cli.app import app
from adloom.sandbox import SandboxSettings, running_sandbox

ADLOOM = Path(sys.executable).with_name("adloom")


_FOREIGN = ("PREFECT", "EVOLINK", "ADLOOM")


class CliRig:
    """A sandbox in a thread of its own, and the command line pointed at it."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self.folder = folder
        self.base_url = base_url
        self.client = httpx.Client()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)},
            "EVOLINK_BASE_URL": base_url,
            "EVOLINK_API_KEY": "sk-test-canary",
            "ADLOOM_POLL_INTERVAL_S": "0.05",
            "ADLOOM_ARCHIVE": str(folder / "archive"),
        }

    def write(self, text: str, name: str = "campaign.yaml") -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def start(self, *arguments: str, **environment: str | None) -> "subprocess.Popen[str]":
        """The command line in a process of its own."""
        return self._start(_agreed(arguments), environment)

    def start_unasked(self, *arguments: str) -> "subprocess.Popen[str]":
        """The same where nobody has agreed to a price: a desk is no terminal."""
        return self._start(arguments, {})

    def _start(self, arguments: Sequence[str], environment: Mapping[str, str | None]) -> "subprocess.Popen[str]":
        merged = {name: value for name, value in {**self.environment, **environment}.items() if value is not None}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [str(ADLOOM), *arguments],
            env=merged,
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            text=True,
            cwd=self.folder,
        )

    def run(self, *arguments: str, **environment: str | None) -> "subprocess.CompletedProcess[str]":
        """The command line from beginning to end: in this process, a second faster, unless Prefect takes part."""
        if "PREFECT_API_URL" in self.environment | environment:
            return ended(self.start(*arguments, **environment))
        foreign = {name: None for name in os.environ if name.startswith(_FOREIGN)}
        with chdir(self.folder):
            done = CliRunner().invoke(
                app, _agreed(arguments), env=foreign | self.environment | environment, catch_exceptions=False
            )
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    def state(self) -> dict[str, object]:
        return dict(self.client.get(f"{self.base_url}/_sandbox/state").json())

    def charges(self) -> list[dict[str, object]]:
        return list(self.client.get(f"{self.base_url}/_sandbox/charges").json())

    def sent(self, word: str) -> int:
        """Purchases whose prompt ends with a word, made or not."""
        return len(self._charges_for(word))

    def bought(self, word: str) -> int:
        """Images that were made, and paid, for prompts that end with a word."""
        return sum(int(str(charge["made"])) for charge in self._charges_for(word))

    def _charges_for(self, word: str) -> list[dict[str, object]]:
        return [charge for charge in self.charges() if str(charge["prompt"]).endswith(word)]

    @property
    def edition(self) -> Path:
        return self.folder / "archive" / "test" / "main"

    def post(self, route: str, body: object) -> None:
        self.client.post(f"{self.base_url}/_sandbox/{route}", json=body).raise_for_status()

    def change(self, **switches: object) -> None:
        self.post("settings", switches)

    def manifest(self) -> dict[str, dict[str, int]]:
        return dict(json.loads((self.edition / "manifest.json").read_text()))


def _agreed(arguments: Sequence[str]) -> list[str]:
    """A command, with a yes to its price where it is a run: whoever tests buying has agreed to it."""
    return [*arguments, *(["--yes"] if arguments[0] == "run" and "--yes" not in arguments else [])]


def ended(process: "subprocess.Popen[str]") -> "subprocess.CompletedProcess[str]":
    """A process of the command line, once it has ended."""
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@contextmanager
def open_desk(folder: Path) -> Iterator[CliRig]:
    settings = SandboxSettings(task_seconds=0.05, fast_pictures=True)
    with (
        pytest.MonkeyPatch.context() as patch,
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(running_sandbox(settings)) as sandbox,
    ):
        patch.setattr("adloom.wiring.PictureDecoder", DecoderInPlace)
        desk = CliRig(folder, sandbox.base_url)
        yield desk
        desk.client.close()
