"""Every state that a power cut may leave: what was not synced is lost, torn, or there by chance.

A run is traced and killed at a system call that touches the disk or sends to the network. From the trace the disk is
built anew as a power cut at that moment could leave it, by the rules that POSIX gives and no file system's kindness:
the bytes of a file are safe when it was synced after they were written; a name that was made, moved or removed is safe
when its folder was synced afterwards. What is not safe may be gone, half there, or whole. Then runs without faults
follow on that disk, and the archive is judged by the sandbox's charge log like after a kill.

    python tests/torture/power_cut.py [--sample 12] [--seed 1] [--workers 3]
"""

from __future__ import annotations

import itertools
import math
import os
import random
import re
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from torture import kill_points
from torture.kill_points import record, rows
from torture.oracle import Verdict, judge, resume
from torture.runner import run_to_end
from torture.tally import Tally

DISK = ("openat", "write", "fsync", "link", "rename", "unlink", "mkdir")
MOMENTS = (*DISK, "sendto", "recvfrom")
"""The calls before which the power is cut: between two of them nothing changes."""
FATES = ("lost", "torn", "some")
LONGEST = 4 * 1024 * 1024

_CALL = re.compile(r"(?P<name>\w+)\((?P<told>.*)\)\s+= (?P<result>\d+)(?P<place><[^>]*>)?$")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_PLACE = re.compile(r"^\d+<((?:\\x[0-9a-f]{2})*)>")
_numbers = itertools.count()


@dataclass(eq=False)
class File:
    """An inode: its bytes, and how many of them are safe."""

    content: bytes = b""
    safe: bytes = b""


@dataclass
class Folder:
    """The names in a folder: as they are, as the disk has them for sure, and the changes in between, in order."""

    names: dict[str, File] = field(default_factory=dict)
    safe: dict[str, File] = field(default_factory=dict)
    changes: list[tuple[str, File | None]] = field(default_factory=list)

    def change(self, name: str, file: File | None) -> None:
        if file is None:
            self.names.pop(name, None)
        else:
            self.names[name] = file
        self.changes.append((name, file))

    def sync(self) -> None:
        self.safe = dict(self.names)
        self.changes.clear()


class Disk:
    """What happened under one folder, heard from a trace."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.folders: dict[Path, Folder] = {}
        self.safe_folders: set[Path] = set()

    def hear(self, line: str) -> None:
        """Take one line of the trace. Calls that failed changed nothing."""
        found = _CALL.match(line)
        if found is None or found["name"] not in DISK:
            return
        texts = [(_bytes(text), bool(cut)) for text, cut in _TEXT.findall(found["told"])]
        assert not any(cut for _, cut in texts), "strace cut a write short"
        place = _PLACE.match(found["told"])
        at = Path(os.fsdecode(_bytes(place[1]))) if place else None
        self._do(found["name"], [text for text, _ in texts], at, found["told"])

    def _do(self, name: str, texts: Sequence[bytes], at: Path | None, told: str) -> None:
        if name in ("write", "fsync"):
            if at is not None and self._root in (at, *at.parents):
                self._write(at, texts[0]) if name == "write" else self._sync(at)
            return
        paths = [Path(os.fsdecode(text)) for text in texts]
        if not paths or self._root not in (paths[0], *paths[0].parents):
            return
        match name:
            case "mkdir":
                self.folders[paths[0]] = Folder()
            case "openat" if "O_CREAT" in told:
                self._folder(paths[0]).change(paths[0].name, File())
            case "unlink":
                self._folder(paths[0]).change(paths[0].name, None)
            case "link":
                self._folder(paths[1]).change(paths[1].name, self._folder(paths[0]).names[paths[0].name])
            case "rename":
                file = self._folder(paths[0]).names[paths[0].name]
                self._folder(paths[0]).change(paths[0].name, None)
                self._folder(paths[1]).change(paths[1].name, file)

    def _folder(self, path: Path) -> Folder:
        return self.folders.setdefault(path.parent, Folder())

    def _write(self, at: Path, content: bytes) -> None:
        self._folder(at).names[at.name].content += content

    def _sync(self, at: Path) -> None:
        if at in self.folders or at == self._root or at.is_dir():
            self.folders.setdefault(at, Folder()).sync()
            self.safe_folders |= {folder for folder in self.folders if folder.parent == at}
        else:
            file = self._folder(at).names[at.name]
            file.safe = file.content

    def unsafe(self) -> int:
        """Names and files that a power cut could take now."""
        files = {file for folder in self.folders.values() for file in folder.names.values()}
        changes = sum(len(folder.changes) for folder in self.folders.values())
        return changes + sum(file.content != file.safe for file in files)

    def after_the_cut(self, fate: str, chance: random.Random) -> dict[Path, bytes]:
        """Files by path, as a power cut leaves them: see ``FATES``."""
        left = {}
        for path in sorted(self.folders):
            if not self._survives(path, fate, chance):
                continue
            names: dict[str, File | None] = dict(self.folders[path].safe)
            stays = fate == "torn"
            names |= {
                n: f for n, f in self.folders[path].changes if stays or (fate == "some" and chance.random() < 0.5)
            }
            left |= {path / name: _left_of(file, fate, chance) for name, file in names.items() if file is not None}
        return left

    def _survives(self, folder: Path, fate: str, chance: random.Random) -> bool:
        """A folder is there when it and all above it were synced, or by chance."""
        unsafe = [each for each in (folder, *folder.parents) if each in self.folders and each not in self.safe_folders]
        unsafe = [each for each in unsafe if self._root in each.parents]
        return not unsafe or fate == "torn" or (fate == "some" and chance.random() < 0.5)


def _left_of(file: File, fate: str, chance: random.Random) -> bytes:
    if file.content == file.safe:
        return file.content
    lost, torn = file.safe, file.safe + file.content[len(file.safe) : (len(file.safe) + len(file.content)) // 2]
    return {"lost": lost, "torn": torn}.get(fate) or chance.choice((lost, torn, file.content))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass(frozen=True)
class Cut:
    """When the power goes, and what becomes of what was not safe."""

    name: str
    k: int
    fate: str
    seed: int


@dataclass(frozen=True)
class Outcome:
    """What came of a cut. ``unsafe`` counts the names and files that it could take."""

    cut: Cut
    struck: bool
    unsafe: int
    verdict: Verdict


def cut_at(cut: Cut) -> Outcome:
    """Kill a run, leave of its disk what a power cut would, resume, judge."""
    market = kill_points._market
    assert market is not None
    name = f"w{os.getpid()}-{next(_numbers)}"
    shop = market.open_shop(name, rows(f"tok-{name}-"))
    trace = shop.folder / "trace"
    kill = f"inject={cut.name}:signal=KILL:when={cut.k}"
    heard = f"trace={','.join(sorted({*DISK, cut.name}))}"
    code, _ = run_to_end(shop.job(), ["-o", str(trace), "-y", "-xx", "-s", str(LONGEST), "-e", heard, "-e", kill])
    archive = Path(shop.archive)
    disk = Disk(archive)
    for line in trace.read_text().splitlines():
        disk.hear(line)
    verdict = Verdict()
    _require_the_same_files(disk, archive, verdict)
    shutil.rmtree(archive, ignore_errors=True)
    for path, content in disk.after_the_cut(cut.fate, random.Random(cut.seed)).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    judged = verdict
    try:
        sent, decided = market.posts(), shop.sends_decided()
        verdict.require(sent <= decided, f"{sent} POSTs with {decided} decisions to send that outlived the power")
        resume(shop, verdict)
        judged = judge(shop)
        judged.problems[:0] = verdict.problems
    except ValueError as error:
        judged.problems.append(f"a record is torn: {error}")
    if not judged.problems:
        shop.close()
    return Outcome(cut, code == -9, disk.unsafe(), judged)


def _require_the_same_files(disk: Disk, archive: Path, verdict: Verdict) -> None:
    """The trace was understood: without a power cut its disk is the one that is there."""
    told = {path / name: file.content for path, folder in disk.folders.items() for name, file in folder.names.items()}
    there = {path: path.read_bytes() for path in archive.rglob("*") if path.is_file()}
    verdict.require(told == there, f"the trace tells other files: {sorted(set(told) ^ set(there))[:3]}")


def torture(*, sample: int | None, seed: int, workers: int, until: float = math.inf) -> Tally:
    """Cuts at all moments, each with every fate, or a seeded sample of them."""
    tally = Tally("power cuts" + ("" if sample is None else f" (sample, seed {seed})"))
    with ProcessPoolExecutor(workers, get_context("fork"), kill_points.open_market) as pool:
        seen = list(pool.map(record, ["ignored"] * (kill_points.RECORDINGS if sample is None else 1)))
        counts = kill_points._most(seen)
        chosen = [Cut(n, k, fate, seed + k) for n in MOMENTS for k in range(1, counts[n] + 1) for fate in FATES]
        if sample is not None:
            chosen = random.Random(seed).sample(chosen, sample)
        for outcome in tally.of_each(pool, cut_at, chosen, until):
            cut = outcome.cut
            tally.add(outcome.verdict, f"{cut.name} {cut.k} {cut.fate}")
            tally.count("cuts")
            tally.count("struck", outcome.struck)
            tally.count("struck with something unsafe", outcome.struck and outcome.unsafe > 0)
    return tally


if __name__ == "__main__":
    sys.exit(kill_points.command_line(__doc__, torture))
