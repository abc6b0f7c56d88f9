"""A former release and this one on one archive: at once, one after the other's death, and over yesterday's ledger.

The former release is taken from the history of the repository and run as its own program.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import pytest
from support.desk import CliRig
from support.shop import campaign_text

ROOT = Path(__file__).parents[2]
FORMER = "9af375d"
"""The last release before tasks were claimed and ledgers were held against their manifests."""

COLOURS = ["red", "blue", "green", "white", "black", "grey", "pink", "brown", "gold", "lime", "navy", "plum"]


def has_history() -> bool:
    git = shutil.which("git")
    return (
        bool(git)
        and not subprocess.run(
            [git, "-C", str(ROOT), "cat-file", "-e", FORMER], stderr=subprocess.DEVNULL, check=False
        ).returncode
    )


pytestmark = pytest.mark.skipif(not has_history(), reason="needs git and the history of the repository")


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source folder of the former release."""
    folder = tmp_path_factory.mktemp("former")
    packed = folder / "src.tar"
    subprocess.run(["git", "-C", str(ROOT), "archive", "-o", str(packed), FORMER, "src"], check=True)
    with tarfile.open(packed) as tar:
        tar.extractall(folder, filter="data")
    return folder / "src"


def campaign(colours: list[str]) -> str:
    row = f"  - {{id: mug, prompt: 'a {{{{ colour }}}} mug', matrix: {{colour: [{', '.join(colours)}]}}}}\n"
    return campaign_text(row, more="limits: {in_flight: 2}\n")


class Releases:
    """Runs of both releases on one archive."""

    def __init__(self, desk: CliRig, former: Path) -> None:
        self.desk = desk
        self._sources = {"former": former, "present": ROOT / "src"}
        self.campaign = desk.write(campaign(COLOURS))

    def start(self, release: str) -> "subprocess.Popen[str]":
        environment = {**self.desk.environment, "PYTHONPATH": str(self._sources[release])}
        command = [sys.executable, "-m", "adloom", "run", self.campaign, "--yes"]
        with (self.desk.folder / f"{release}.log").open("a") as log:
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, text=True)

    def run(self, release: str) -> int:
        return self.start(release).wait(240)

    def kill_after(self, release: str, purchases: int) -> None:
        """Let a run buy some more, then kill it."""
        enough = len(self.desk.charges()) + purchases
        process = self.start(release)
        while process.poll() is None and len(self.desk.charges()) < enough:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(60)

    def bought(self) -> Counter[str]:
        """Purchases by prompt."""
        return Counter(str(charge["prompt"]) for charge in self.desk.charges())

    def statuses(self) -> Counter[str]:
        lines = (self.desk.edition / "assets.jsonl").read_text().splitlines()
        return Counter(json.loads(line)["status"] for line in lines)


@pytest.fixture
def releases(desk: CliRig, former: Path) -> Releases:
    desk.change(task_seconds=0.3)
    return Releases(desk, former)


def once_each(releases: Releases, colours: list[str]) -> None:
    assert releases.bought() == Counter({f"a {colour} mug": 1 for colour in colours})


def test_the_former_release_is_another_program(former: Path):
    assert not (former / "adloom" / "past.py").exists()


def test_two_releases_at_once_buy_each_image_once(releases: Releases):
    both = [releases.start("former"), releases.start("present")]
    assert {process.wait(240) for process in both} <= {0, 7}
    assert releases.run("present") == 0
    once_each(releases, COLOURS)
    assert releases.statuses() == {"archived": len(COLOURS)}
    verified = releases.desk.run("verify", str(releases.desk.edition))
    assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize(("first", "second"), [("former", "present"), ("present", "former")])
def test_a_release_that_is_swapped_in_the_middle_goes_on_with_what_the_other_bought(
    releases: Releases, first: str, second: str
):
    releases.kill_after(first, 5)
    releases.kill_after(second, 3)
    releases.run(first)
    assert releases.run("present") in (0, 6)  # a purchase that a kill left without its answer is held
    found = releases.statuses()
    wanted = Counter(f"a {colour} mug" for colour in COLOURS)
    assert releases.bought() <= wanted  # and one that the kill came before was never sent
    assert (wanted - releases.bought()).total() <= found["held"]
    assert found["archived"] + found["held"] == len(COLOURS)
    assert found["held"] <= 4


@pytest.mark.parametrize("release", ["former", "present"])
def test_yesterdays_ledger_of_either_release_is_seen_and_rebuilt(releases: Releases, release: str):
    releases.campaign = releases.desk.write(campaign(COLOURS[:4]))
    assert releases.run(release) == 0
    ledger, yesterday = releases.desk.edition / "ledger", releases.desk.folder / "yesterday"
    shutil.copytree(ledger, yesterday)
    releases.campaign = releases.desk.write(campaign(COLOURS))
    assert releases.run(release) == 0
    shutil.rmtree(ledger)
    shutil.copytree(yesterday, ledger)
    assert releases.run("present") == 2
    assert "older than its manifest" in (releases.desk.folder / "present.log").read_text()
    once_each(releases, COLOURS)
    releases.desk.run("verify", str(releases.desk.edition), "--repair")
    assert releases.run("present") == 0
    once_each(releases, COLOURS)
    assert releases.statuses() == {"archived": len(COLOURS)}
    verified = releases.desk.run("verify", str(releases.desk.edition))
    assert verified.returncode == 0, verified.stdout
