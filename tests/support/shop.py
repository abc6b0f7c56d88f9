"""A shop: a sandbox, an archive and campaign files, and the campaigns that tests write."""

import asyncio
import json
import warnings
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from adloom.edges.picture_child import answer, answer_with_sheet
from adloom.edges.pictures import PictureDecoder
from adloom.edges.settings import SecretText, Settings
from adloom.plan.assessment import Wish
from adloom.run.run import Result, Run
from adloom.sandbox import Sandbox, SandboxSettings, running_sandbox
from adloom.targets import RunRequest, WallClock, open_store
from adloom.wiring import assessment_of, execute


@dataclass
class SandboxRig:
    """A sandbox, an archive and campaign files: what one campaign needs to be run again and again."""

    sandbox: Sandbox
    folder: Path
    settings: Settings
    campaign: Path = field(init=False)

    def __post_init__(self) -> None:
        self.campaign = self.folder / "campaign.yaml"

    def write(self, text: str, name: str = "campaign.yaml") -> Path:
        self.campaign = self.folder / name
        self.campaign.write_text(text, encoding="utf-8")
        return self.campaign

    def request(self, **wish: object) -> RunRequest:
        return RunRequest(str(self.campaign), self.settings.archive, "main", Wish(**wish))

    async def run(self, *, started: Callable[[Run], None] = lambda _: None, **wish: object) -> Result:
        store = open_store(self.settings.archive)
        assessment = await assessment_of(self.request(**wish), self.settings, store, to_run=True)
        return await execute(self.settings, store, assessment, started=started)

    async def run_killed(self, once: Callable[[], bool]) -> None:
        """A run that stops dead once something is so."""
        running = asyncio.create_task(self.run())
        while not once() and not running.done():  # noqa: ASYNC110 - the sandbox and the ledger tell nobody
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def accepted(self) -> int:
        """How many first attempts have an answer in the ledger."""
        return len(list(self.edition().glob("ledger/*/a1-accepted*")))

    def edition(self, campaign: str = "test", edition: str = "main") -> Path:
        return Path(self.settings.archive) / campaign / edition

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.edition() / "assets.jsonl").read_text().splitlines()]

    def bought(self) -> int:
        """Images that the sandbox made and kept the money for."""
        return sum(charge.made for charge in self.sandbox.charges() if charge.charged)

    def with_settings(self, **changes: object) -> "SandboxRig":
        return replace(self, settings=self.settings.model_copy(update=changes))


class DecoderInPlace(PictureDecoder):
    """What the decoder's child process does, without the process: starting one takes longer than a small run."""

    async def _ask(self, wanted: bytes, content: bytes) -> tuple[object, bytes]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return answer(bytes(content)) if wanted == b"p" else answer_with_sheet(bytes(content))


class Hurried(WallClock):
    """A clock that runs fast, so that the waits of the default interval fit into a test; ``ahead_s`` moves it on."""

    speed = 60.0
    ahead_s = 0.0
    _began = WallClock().now(), WallClock().monotonic()

    def now(self) -> float:
        return self._began[0] + self.monotonic() - self._began[1] + self.ahead_s

    def monotonic(self) -> float:
        return self._began[1] + (super().monotonic() - self._began[1]) * self.speed

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds / self.speed)


def hurry(monkeypatch: pytest.MonkeyPatch, speed: float) -> None:
    """Let the runs of a test have a clock that runs fast, from now on."""
    monkeypatch.setattr("adloom.targets.WallClock", Hurried)
    monkeypatch.setattr("adloom.wiring.WallClock", Hurried)
    monkeypatch.setattr(Hurried, "speed", speed)
    monkeypatch.setattr(Hurried, "_began", (WallClock().now(), WallClock().monotonic()))


@asynccontextmanager
async def open_shop(folder: Path) -> AsyncIterator[SandboxRig]:
    """A shop in a folder, with a sandbox in this process."""
    async with running_sandbox(SandboxSettings(task_seconds=0.03, fast_pictures=True)) as sandbox:
        settings = Settings.model_validate(
            {
                "api_key": SecretText("sk-test-canary"),
                "base_url": sandbox.base_url,
                "files_url": sandbox.base_url,
                "archive": str(folder / "archive"),
                "poll_interval_s": 0.02,
                "dedicated_key": False,
            }
        )
        yield SandboxRig(sandbox, folder, settings)


def campaign_text(jobs: str, *, budget: str = "{usd: 50}", more: str = "") -> str:
    return f"campaign: test\nbudget: {budget}\n{more}defaults: {{size: '1:1', quality: 1K}}\njobs:\n{jobs}"


def one_row(variants: int, *, references: int = 0, prompt: str = "red mug on oak table", more: str = "") -> str:
    links = ", ".join(f"'https://example.com/{number}.png'" for number in range(references))
    return campaign_text(f"  - {{id: mug, prompt: {prompt!r}, variants: {variants}, references: [{links}]{more}}}\n")
