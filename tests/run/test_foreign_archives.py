"""Archives in a folder, and other people: what they may read there, and what they put there for us to trip over."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.desk import CliRig, open_desk
from support.shop import one_row

DEEP = b"[" * 200_000
PRIVATE = ("ledger/", "plan/", "runs/", "plan-r")


@pytest.fixture
def umask() -> Iterator[None]:
    """The usual umask: others may read what is made."""
    former = os.umask(0o022)
    yield
    os.umask(former)


def modes(archive: Path) -> dict[str, int]:
    return {str(path.relative_to(archive)): path.stat().st_mode & 0o777 for path in archive.rglob("*")}


def is_private(name: str) -> bool:
    inside = name.removeprefix("test/main/")
    return name.startswith(("tasks", "_callbacks")) or f"{inside}/".startswith(PRIVATE)


def test_what_tells_of_purchases_is_for_its_owner_alone(desk: CliRig, umask: None):
    assert desk.run("run", desk.write(one_row(2)), "--budget-usd", "5").returncode == 0
    found = modes(desk.folder / "archive")
    assert {name: oct(mode) for name, mode in found.items() if is_private(name) and mode & 0o077} == {}
    kinds = {name.split("/")[2] for name in found if is_private(name) and name.count("/") > 1}
    assert {"ledger", "plan", "runs", "plan-r1.json"} <= kinds
    shown = {name for name, mode in found.items() if mode & 0o004}
    assert {"test/main/gallery.html", "test/main/manifest.json", "test/main/assets.csv"} <= shown
    assert [name for name in shown if name.startswith("test/main/assets/")]


def test_a_folder_that_a_group_shares_stays_the_groups(desk: CliRig, umask: None):
    archive = desk.folder / "archive"
    archive.mkdir()
    archive.chmod(0o2775)
    os.umask(0o002)
    assert desk.run("run", desk.write(one_row(2)), "--budget-usd", "5").returncode == 0
    found = {name: mode for name, mode in modes(archive).items() if is_private(name)}
    assert found
    assert {oct(mode) for mode in found.values()} == {"0o770", "0o660"}


@pytest.fixture(scope="module")
def bought(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CliRig]:
    with open_desk(tmp_path_factory.mktemp("bought")) as desk:
        assert desk.run("run", desk.write(one_row(2)), "--budget-usd", "5").returncode == 0
        yield desk


@pytest.fixture
def foreign(bought: CliRig, tmp_path: Path) -> Iterator[CliRig]:
    """A copy of a good archive, for a stranger to change."""
    desk = CliRig(tmp_path, bought.base_url)
    subprocess.run(["cp", "-a", f"{bought.folder}/.", str(tmp_path)], check=True)
    yield desk
    desk.client.close()


def first(edition: Path, pattern: str) -> Path:
    return min(edition.glob(pattern))


def in_place_of(pattern: str, put: Callable[[Path], None]) -> Callable[[Path], Path]:
    def change(edition: Path) -> Path:
        path = first(edition, pattern)
        path.unlink()
        put(path)
        return path

    return change


def beside(name: str, put: Callable[[Path], None]) -> Callable[[Path], Path]:
    def change(edition: Path) -> Path:
        put(edition / name)
        return edition / name

    return change


def link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


TRAPS = {
    "pipe for an image": in_place_of("assets/*/*", os.mkfifo),
    "pipe for the manifest": in_place_of("manifest.json", os.mkfifo),
    "pipe for the checksums": in_place_of("checksums.txt", os.mkfifo),
    "pipe for a fact": in_place_of("ledger/*/a1-completed*", os.mkfifo),
    "pipe for a heartbeat": in_place_of("runs/*.json", os.mkfifo),
    "pipe more": beside("assets/more.png", os.mkfifo),
    "broken link": in_place_of("assets/*/*", link_to("/nowhere/at/all")),
    "loop": in_place_of("assets/*/*", lambda path: path.symlink_to(path.name)),
    "link to a file of this machine": in_place_of("assets/*/*", link_to("/etc/passwd")),
    "link beside": beside("assets/more.png", link_to("/etc/passwd")),
    "link in the ledger": beside("ledger/c-1", link_to("/etc")),
    "link for a fact": in_place_of("ledger/*/a1-completed*", link_to("/etc/passwd")),
    "folder for an image": in_place_of("assets/*/*", Path.mkdir),
    "deep fact": in_place_of("ledger/*/a1-completed*", lambda path: path.write_bytes(DEEP)),
    "deep manifest": in_place_of("manifest.json", lambda path: path.write_bytes(DEEP)),
    "deep heartbeat": in_place_of("runs/*.json", lambda path: path.write_bytes(DEEP)),
    "deep plan": in_place_of("plan-r1.json", lambda path: path.write_bytes(DEEP)),
    "deep shard": in_place_of("plan/*", lambda path: path.write_bytes(DEEP)),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("trap", TRAPS)
def test_verify_finds_what_is_no_object_and_waits_for_nothing(foreign: CliRig, trap: str):
    changed = TRAPS[trap](foreign.edition)
    done = foreign.run("verify", str(foreign.edition))
    assert done.returncode == 3, done.stdout + done.stderr
    assert changed.relative_to(foreign.edition).as_posix() in done.stdout
    foreign.run("gallery", str(foreign.edition))  # raises what is no error of ours
    assert foreign.run("status", str(foreign.edition)).returncode in (0, 1, 2)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("trap", [trap for trap in TRAPS if "fact" in trap or "ledger" in trap])
def test_a_run_that_cannot_read_its_ledger_buys_nothing(foreign: CliRig, trap: str):
    before = len(foreign.charges())
    TRAPS[trap](foreign.edition)
    for seal in foreign.edition.glob("ledger/sealed/*"):
        seal.unlink()
    done = foreign.run("run", foreign.write(one_row(2)), "--budget-usd", "5")
    assert done.returncode not in (0, 3)
    assert len(foreign.charges()) == before


@pytest.mark.timeout(60)
@pytest.mark.parametrize("trap", ["pipe for an image", "loop", "link to a file of this machine"])
def test_repair_puts_the_image_where_the_trap_was_and_touches_nothing_else(foreign: CliRig, trap: str):
    changed = TRAPS[trap](foreign.edition)
    passwords = Path("/etc/passwd").read_bytes()
    assert changed.name in foreign.run("verify", str(foreign.edition), "--repair").stdout
    assert changed.is_file()
    assert not changed.is_symlink()
    assert Path("/etc/passwd").read_bytes() == passwords
    assert foreign.run("verify", str(foreign.edition)).returncode == 0


@pytest.mark.parametrize("part", [".", "..", "assets", "thumbs"])
@pytest.mark.parametrize("command", ["verify", "gallery", "run"])
def test_nothing_is_written_through_a_link_below_the_root(foreign: CliRig, tmp_path: Path, part: str, command: str):
    elsewhere = tmp_path / "elsewhere"
    place = (foreign.edition / part).resolve()
    place.rename(elsewhere)
    place.symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    target = foreign.write(one_row(3)) if command == "run" else str(foreign.edition)
    done = foreign.run(
        command,
        target,
        *(["--repair"] if command == "verify" else []),
        *(["--budget-usd", "5"] if command == "run" else []),
    )
    assert {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()} == before
    assert done.returncode


def test_the_root_itself_may_be_a_link(foreign: CliRig):
    archive = foreign.folder / "archive"
    archive.rename(foreign.folder / "on-another-disk")
    archive.symlink_to(foreign.folder / "on-another-disk")
    assert foreign.run("verify", str(foreign.edition)).returncode == 0
    assert foreign.run("gallery", str(foreign.edition)).returncode == 0
