"""A sandbox of one's own, campaigns for it, and the judgement of an archive by the sandbox's charge log.

Nothing here asks adloom what it bought; it is only told to verify its own archive at the end. Each row's prompt begins
with a token of its own; charges are grouped by that token, images are fetched from the sandbox by the task ids of the
charge log, and compared with files by SHA-256.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from PIL import Image
from support.s3_server import BUCKET, S3Server, fetch_all
from torture.runner import Job, last_words, run_to_end, warm_up

from adloom.ledger.edition import Edition
from adloom.publish.checksums import verify
from adloom.targets import new_ledger, open_store

STATUSES = ("archived", "short", "refused", "failed", "held", "open")
ROOM_BYTES = 6 * 1024**3


@dataclass(frozen=True)
class RowSpec:
    """One row and how it may be bought: ``sizes`` are the images asked for by the calls that may be kept, in order."""

    token: str
    wanted: int
    sizes: tuple[int, ...]
    references: int = 0
    script: Mapping[str, Any] | None = None
    """How its first task ends, when not well."""


@dataclass
class Verdict:
    """What became of one campaign."""

    wanted: int = 0
    bought: int = 0
    archived: int = 0
    held: int = 0
    double: int = 0
    lost: int = 0
    unsynced: int = 0
    """Decisions to send that were on disk while their folder could not be synced."""
    problems: list[str] = field(default_factory=list)

    def require(self, condition: object, text: str) -> None:
        if not condition:
            self.problems.append(text)


class Market:
    """A sandbox in a process of its own, on a folder of its own. It ends with this process."""

    def __init__(self, *options: str) -> None:
        shared = Path("/dev/shm")
        roomy = shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > ROOM_BYTES
        self.folder = Path(tempfile.mkdtemp(prefix="adloom-torture-", dir=shared if roomy else None))
        command = [sys.executable, "-m", "adloom.sandbox", "--port", "0", "--fast-pictures", "--task-seconds", "0.02"]
        self._server = subprocess.Popen(
            [*command, "--exit-with-parent", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._server.stdout is not None
        self.base_url = self._server.stdout.readline().strip()
        Finalize(None, self.close, exitpriority=1)  # a pool's worker ends without atexit

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def get(self, path: str, key: str = "") -> Any:
        return json.loads(self.get_bytes(self.base_url + path, key))

    def get_bytes(self, url: str, key: str = "") -> bytes:
        headers = {"User-Agent": "torture"} | ({"Authorization": f"Bearer {key}"} if key else {})
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return bytes(answer.read())

    def post(self, path: str, content: object) -> None:
        request = urllib.request.Request(self.base_url + path, data=json.dumps(content).encode())
        urllib.request.urlopen(request, timeout=120).close()

    def warm_up(self) -> None:
        """Let this process do one run, see ``runner.warm_up``."""
        shop = self.open_shop("warm", [RowSpec("warm", 1, (1,))])
        warm_up(shop.job(real_decoder=True))
        shop.close()

    def posts(self) -> int:
        return int(self.get("/_sandbox/state")["posts_received"])

    def open_shop(
        self,
        name: str,
        rows: Sequence[RowSpec],
        *,
        dedicated: bool = False,
        in_flight: int = 16,
        s3: S3Server | None = None,
    ) -> SandboxRig:
        """Forget all former charges and prepare a campaign of these rows, archived in a folder or on a server."""
        self.post("/_sandbox/reset", {})
        faults = [{"route": "outcome", "match": row.token, **row.script} for row in rows if row.script]
        if faults:
            self.post("/_sandbox/script", {"faults": faults})
        folder = self.folder / name
        folder.mkdir()
        (folder / "campaign.yaml").write_text(campaign_text(name, rows, in_flight))
        return SandboxRig(self, name, tuple(rows), folder, dedicated, s3)


def campaign_text(name: str, rows: Sequence[RowSpec], in_flight: int = 16) -> str:
    lines = [f"campaign: {name}", "budget: {usd: 100}", f"limits: {{in_flight: {in_flight}}}"]
    lines += ["defaults: {size: '1:1', quality: 1K}", "jobs:"]
    for number, row in enumerate(rows):
        links = ", ".join(f"'https://example.com/{k}.png'" for k in range(row.references))
        prompt = f"{row.token} red mug"
        lines.append(f"  - {{id: j{number}, prompt: {prompt}, variants: {row.wanted}, references: [{links}]}}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class SandboxRig:
    """One campaign with an archive of its own, on the sandbox of a market."""

    market: Market
    name: str
    rows: tuple[RowSpec, ...]
    folder: Path
    dedicated: bool
    s3: S3Server | None = None
    """The server that holds the archive; the folder then has what ``fetch`` brought from there."""

    @property
    def archive(self) -> str:
        return str(self.folder / "archive") if self.s3 is None else f"s3://{BUCKET}/{self.name}"

    def fetch(self) -> None:
        """Bring what an archive elsewhere holds to the folder where the judge looks."""
        if self.s3 is not None:
            fetch_all(self.s3, f"{self.name}/", self.folder / "archive")

    def job(self, **more: Any) -> Job:
        return Job(
            campaign=self.folder / "campaign.yaml",
            archive=self.archive,
            base_url=self.market.base_url,
            key=f"sk-{self.name}",
            dedicated=self.dedicated,
            **more,
        )

    @property
    def edition(self) -> Path:
        return self.folder / "archive" / self.name / "main"

    def charges(self) -> list[dict[str, Any]]:
        return list(self.market.get("/_sandbox/charges"))

    def sends_decided(self) -> int:
        """Decisions to send that lie in the ledger, read as any reader of files would."""
        facts = self.edition.glob("ledger/*/*.json")
        decisions = [path for path in facts if "-intent" in path.name or "-send-" in path.name]
        return sum(json.loads(path.read_bytes())["outcome"] == "bought" for path in decisions)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def resume(shop: SandboxRig, verdict: Verdict, **more: Any) -> None:
    """Run without faults until a run sends nothing; the last one must change nothing."""
    before = -1
    shop.fetch()
    for turn in range(4):
        lines = _bytes(shop.edition / "assets.jsonl")
        code, log = run_to_end(shop.job(**more))
        shop.fetch()
        posts = shop.market.posts()
        verdict.require(code in {0, 6}, f"resume {turn + 1} ended with {code}: {last_words(log)}")
        verdict.require("Traceback" not in log, f"resume {turn + 1} shows a traceback: {last_words(log)}")
        if posts == before and turn >= 2 - 1:
            if _bytes(shop.edition / "assets.jsonl") == lines:
                return
            verdict.require(turn < 3, "assets.jsonl changes in an unchanged run")
        before = posts
    verdict.require(before == shop.market.posts(), "an unchanged run still buys")


def judge(shop: SandboxRig) -> Verdict:
    """Hold the archive against the charge log. To be asked when all runs have ended and their work was resumed."""
    verdict = Verdict(wanted=sum(row.wanted for row in shop.rows))
    charges = shop.charges()
    known = _read_ledger(shop, verdict)
    manifest = _manifest(shop, verdict)
    lines = [json.loads(line) for line in _bytes(shop.edition / "assets.jsonl").splitlines()]
    _judge_totals(verdict, manifest, lines)
    files = _judge_files(shop, verdict, lines)
    _judge_purchases(shop, verdict, charges, lines, files)
    charged = sum((Decimal(str(c["charged"])) for c in charges if c["task_id"] in known), start=Decimal(0))
    told = Decimal(str(manifest["totals"]["credits_charged"]))
    verdict.require(charged == told, f"the manifest says {told} credits charged, the sandbox {charged}")
    risk = Decimal(str(manifest["totals"]["credits_at_risk"]))
    verdict.require(bool(risk) == bool(verdict.held), f"{verdict.held} held, but {risk} credits at risk")
    require_proof(shop, verdict)
    posts, sent = manifest["totals"]["posts"], shop.market.posts()
    verdict.require(sent <= shop.sends_decided(), f"{sent} POSTs with {shop.sends_decided()} decisions to send")
    verdict.require(posts >= sent, f"the manifest tells {posts} POSTs, the sandbox saw {sent}")
    return verdict


def require_proof(shop: SandboxRig, verdict: Verdict) -> None:
    """``adloom verify`` must find nothing."""
    store, edition = open_store(shop.archive), Edition(shop.name, "main")
    found = asyncio.run(verify(store, edition, new_ledger(store, edition))).findings
    verdict.require(not found, f"verify finds {[str(finding) for finding in found[:5]]}")


def _read_ledger(shop: SandboxRig, verdict: Verdict) -> set[str]:
    """Every task that the ledger knows, each for one attempt; every record must be whole."""
    tasks: Counter[str] = Counter()
    for path in shop.edition.glob("ledger/*/*"):
        if path.name.startswith("."):
            continue
        try:
            record = json.loads(path.read_bytes())
            kind = "seal" if path.parent.name == "sealed" else "fact"
            known = {"fact": ("adloom.fact/1",), "seal": ("adloom.seal/1", "adloom.seal/2")}[kind]
            verdict.require(record["schema"] in known, f"{path.name} has the schema {record['schema']}")
            if "-accepted." in path.name:
                tasks[record["task"]] += 1
        except (ValueError, KeyError) as error:
            verdict.problems.append(f"{path} cannot be read: {error}")
    per_attempt = Counter(
        (path.parent.name, path.name.split("-")[0]) for path in shop.edition.glob("ledger/*/a*-accepted.*.json")
    )
    verdict.require(all(count == 1 for count in per_attempt.values()), "two tasks for one attempt")
    verdict.require(all(count == 1 for count in tasks.values()), "one task for two attempts")
    return set(tasks)


def _manifest(shop: SandboxRig, verdict: Verdict) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(_bytes(shop.edition / "manifest.json"))
    for name, told in manifest["files"].items():
        content = _bytes(shop.edition / name)
        verdict.require(hashlib.sha256(content).hexdigest() == told["sha256"], f"{name} is not what the manifest says")
    return manifest


def _judge_totals(verdict: Verdict, manifest: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> None:
    totals = manifest["totals"]
    found = Counter(line["status"] for line in lines)
    verdict.archived, verdict.held = found["archived"], found["held"]
    verdict.require(totals["wanted"] == verdict.wanted == len(lines), f"wanted: {totals['wanted']} of {verdict.wanted}")
    verdict.require(all(totals[s] == found[s] for s in STATUSES), f"totals {totals} are not those of the lines {found}")
    ended = verdict.archived + verdict.held
    verdict.require(ended == verdict.wanted, f"neither archived nor held: {dict(found)} of {verdict.wanted}")


def _judge_files(shop: SandboxRig, verdict: Verdict, lines: Sequence[Mapping[str, Any]]) -> set[str]:
    """SHA-256 of every image file in the archive; the file of every archived line must be whole and its own."""
    keys = Counter(line["key"] for line in lines if line["key"])
    verdict.require(all(count == 1 for count in keys.values()), "two variants share a file")
    for line in lines:
        if line["status"] != "archived":
            continue
        content = _bytes(shop.edition / line["key"])
        verdict.require(hashlib.sha256(content).hexdigest() == line["sha256"], f"{line['key']} has other bytes")
        try:
            with Image.open(io.BytesIO(content)) as image:
                image.load()
        except OSError:
            verdict.problems.append(f"{line['key']} does not decode")
    images = (path for room in ("assets", "extras") for path in (shop.edition / room).rglob("*") if path.is_file())
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in images if not path.name.startswith(".")}


def _judge_purchases(
    shop: SandboxRig,
    verdict: Verdict,
    charges: Sequence[Mapping[str, Any]],
    lines: Sequence[Mapping[str, Any]],
    files: set[str],
) -> None:
    for row in shop.rows:
        served: set[str] = set()
        mine = [charge for charge in charges if row.token in charge["prompt"]]
        kept = [charge for charge in mine if Decimal(str(charge["charged"])) or charge["state"] == "running"]
        made = sum(charge["made"] for charge in kept)
        verdict.bought += made
        surplus = Counter(charge["n"] for charge in kept) - Counter(row.sizes)
        if surplus or made > row.wanted:
            verdict.double += 1
            verdict.problems.append(f"{row.token}: {made} images of {row.wanted} in calls of {[c['n'] for c in kept]}")
        own_lines = [line for line in lines if row.token in line["prompt"]]
        is_held = any(line["status"] == "held" for line in own_lines)
        for charge in kept:
            hashes = _served(shop, charge["task_id"])
            served |= hashes
            missing = len(hashes - files)
            if missing and not is_held:
                verdict.lost += missing
                verdict.problems.append(f"{row.token}: {missing} paid images are not in the archive and not held")
        foreign = {line["sha256"] for line in own_lines if line["sha256"]} - served
        verdict.require(not foreign, f"{row.token}: {len(foreign)} archived images are not those sold for it")


def _served(shop: SandboxRig, task_id: str) -> set[str]:
    task = shop.market.get(f"/v1/tasks/{task_id}", f"sk-{shop.name}")
    return {hashlib.sha256(shop.market.get_bytes(url)).hexdigest() for url in task.get("results") or ()}


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
