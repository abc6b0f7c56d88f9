"""SIGKILL at system calls of the loop that a user goes through: buy, reject, see the price, buy better ones, deliver.

The steps are commands: a run, which writes the page; ``review --serve``, whose page saves the decisions about one job;
``review --apply`` of a file with all decisions, which rejects three images, one with a change, and approves two;
``plan --only rejected``; ``run --only rejected``; the same file and the same run once more; ``deliver``. One of them is
killed at a system call, then repeated as it is until it ends, and the steps go on. In the end nothing may have been
bought twice, every decision stands once, the same decisions have bought nothing, and what was approved is delivered. A
kill within a POST can leave a purchase held, which nobody decides on.

A kill before a call that changes nothing is the kill before the next one that does, so only those are points.

    python tests/torture/loop_kills.py [--sample 12] [--seed 1] [--workers 3]
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from aiohttp import ClientSession
from torture.kill_points import EFFECTS, command_line
from torture.oracle import Market, RowSpec, SandboxRig, Verdict, require_proof
from torture.runner import Job, buy, last_words, run_to_end, settings_of, warm_up
from torture.tally import Tally

from adloom import wiring
from adloom.core.decision import Verdict as Said
from adloom.deliver.edition import DeliverRequest
from adloom.gallery.chooser.render import ID_DIGITS
from adloom.gallery.choosing import read_choosing
from adloom.ledger.edition import Edition
from adloom.plan.assessment import Wish
from adloom.review.server import ReviewServer
from adloom.review.table import read_review
from adloom.targets import RunRequest, new_ledger, open_store
from adloom.wiring import assessment_of, deliver_target, publish_again

CHANGES = frozenset(
    (
        "write",
        "pwrite64",
        "writev",
        "ftruncate",
        "link",
        "linkat",
        "unlink",
        "unlinkat",
        "rename",
        "renameat",
        "renameat2",
    )
) | {"mkdir", "mkdirat", "rmdir", "connect", "sendto", "sendmsg", "recvfrom", "recvmsg"}
"""What changes disk or network, or hears from the network; a file is created by ``openat`` with O_CREAT."""
ROWS = {"a": 3, "b": 2}
CHANGE = "on snow"
DECISIONS = {
    ("a", 1): ("rejected", CHANGE), ("a", 2): ("rejected", ""), ("a", 3): ("approved", ""),
    ("b", 1): ("rejected", ""), ("b", 2): ("approved", ""),
}  # fmt: skip
SERVED = "b"
"""The job that is decided about on the page."""
REVIEWER = "ann"
REJECTED = frozenset({Said.REJECTED})
HELD = 6
REPEATS = 4

_market: Market | None = None
_numbers = itertools.count()


async def serve(job: Job) -> int:
    """Decide about one job on the page as it is served; whoever serves it again has to decide again what is not kept.

    The reviewer is this process too, which changes the order of nothing.
    """
    store, edition = open_store(job.archive), Edition(job.campaign.parent.name, "main")
    ledger = new_ledger(store, edition)
    await ledger.load()
    server = ReviewServer(store, edition, ledger, REVIEWER)
    keys = {each.place: each.variant.key for each in (await read_choosing(store, edition, ledger)).candidates}
    async with server.running(0) as url, ClientSession(headers={"Origin": server.origin}) as reviewer:
        for row in csv.DictReader(job.campaign.with_name("review.csv").read_text().splitlines()):
            if row["job"] == SERVED:
                key = keys[row["job"], row["row"], int(row["variant"]), int(row["take"])]
                wish = {"id": key[:ID_DIGITS], "decision": row["decision"], "change": row["change"]}
                (await reviewer.post(f"{url}decide", json=wish)).raise_for_status()
    if server.saved:
        await publish_again(store, edition)
    return 0


async def decide(job: Job) -> int:
    """Apply the file of decisions, as ``review --apply`` does."""
    store, edition = open_store(job.archive), Edition(job.campaign.parent.name, "main")
    ledger, now = new_ledger(store, edition), datetime.now(UTC)
    await ledger.load()
    choosing = await read_choosing(store, edition, ledger)
    await wiring.decide(store, choosing, read_review(job.campaign.with_name("review.csv"), now), REVIEWER, now)
    return 0


async def price(job: Job) -> int:
    """The price of the next takes; 99 where it is not that of all images that the file rejects."""
    request = RunRequest(str(job.campaign), job.archive, wish=Wish(only=REJECTED))
    assessment = await assessment_of(request, settings_of(job), open_store(job.archive), to_run=False)
    rejected = job.campaign.with_name("review.csv").read_text().count(",rejected,")
    return 0 if assessment.surveyed.asked.images == rejected else 99


async def buy_rejected(job: Job) -> int:
    return await buy(job, Wish(only=REJECTED))


async def decide_and_buy_again(job: Job) -> int:
    return await decide(job) or await buy_rejected(job)


async def deliver(job: Job) -> int:
    await deliver_target(str(job.campaign), settings_of(job), "main", DeliverRequest(workers=1))
    return 0


STEPS: dict[str, Callable[[Job], Awaitable[int]]] = {
    "run": buy,
    "serve": serve,
    "decide": decide,
    "price": price,
    "buy": buy_rejected,
    "again": decide_and_buy_again,
    "deliver": deliver,
}


@dataclass(frozen=True)
class Point:
    """Where which step is killed: at its k-th system call of a name."""

    step: str
    name: str
    k: int


@dataclass(frozen=True)
class Outcome:
    """What came of a point."""

    point: Point
    killed: bool
    verdict: Verdict


def open_market() -> None:
    """Give this worker a sandbox of its own, and let this process go through the loop once."""
    global _market  # noqa: PLW0603 - one for each worker process
    _market = Market()
    shop = _open_shop()
    for step, act in STEPS.items():
        warm_up(shop.job(act=act))
        if step == "run":
            _write_decisions(shop)
    shop.close()


def _open_shop() -> SandboxRig:
    """A campaign with a key that nobody else uses, so that few purchases have to be held."""
    assert _market is not None
    name = f"l{os.getpid()}-{next(_numbers)}"
    shop = _market.open_shop(name, [RowSpec(f"{name}-{row}", count, ()) for row, count in ROWS.items()], dedicated=True)
    jobs = "".join(
        f"  - {{id: {row}, prompt: {name}-{row} mug, variants: {count}, deliver: [tile]}}\n"
        for row, count in ROWS.items()
    )
    head = f"campaign: {name}\nbudget: {{usd: 100}}\nchannels: {{tile: {{pixels: 100x100}}}}\n"
    (shop.folder / "campaign.yaml").write_text(f"{head}defaults: {{size: '1:1', quality: 1K}}\njobs:\n{jobs}")
    return shop


def _write_decisions(shop: SandboxRig) -> None:
    lines = []
    for line in _lines(shop):
        if line["status"] == "archived":
            said, change = _decision(line)
            lines.append(f"{line['job']},{line['row']},{line['variant']},1,{said},{change}")
    (shop.folder / "review.csv").write_text("\n".join(["job,row,variant,take,decision,change", *lines]) + "\n")


def _decision(line: Mapping[str, object]) -> tuple[str, str]:
    return DECISIONS[str(line["job"]), int(str(line["variant"]))]


def _lines(shop: SandboxRig) -> list[dict[str, object]]:
    return [json.loads(line) for line in (shop.edition / "assets.jsonl").read_text().splitlines()]


def record() -> list[Point]:
    """The points of a loop without faults: its calls that change something, and whatever a step does that changes
    nothing."""
    shop, found = _open_shop(), list[Point]()
    for step, act in STEPS.items():
        trace = shop.folder / "trace"
        code, log = run_to_end(
            shop.job(act=act), ["-o", str(trace), "-e", "trace=" + ",".join(f"?{n}" for n in EFFECTS)]
        )
        assert code == 0, f"{step} without faults ended with {code}: {log}"
        every = list(_calls(step, trace.read_text()))
        found += [point for point, changes in every if changes] or [point for point, _ in every]
        if step == "run":
            _write_decisions(shop)
    shop.close()
    return found


def _calls(step: str, trace: str) -> Iterator[tuple[Point, bool]]:
    """The calls of a step, and whether each changes something."""
    counts: Counter[str] = Counter()
    for line in trace.splitlines():
        if match := re.match(r"(\w+)\(", line):
            counts[match[1]] += 1
            yield Point(step, match[1], counts[match[1]]), match[1] in CHANGES or "O_CREAT" in line


def kill_at(point: Point) -> Outcome:
    """Go through the loop, killed in one step."""
    assert _market is not None
    shop, verdict, killed = _open_shop(), Verdict(), False
    posts = 0
    for step, act in STEPS.items():
        if step == "again":
            posts = _market.posts()
        if step == point.step:
            inject = f"inject={point.name}:signal=KILL:when={point.k}"
            code, log = run_to_end(shop.job(act=act), ["-o", "/dev/null", "-e", f"trace={point.name}", "-e", inject])
            killed = code == -9
            verdict.require(code in {0, -9}, f"the killed {step} ended with {code}: {last_words(log)}")
            verdict.require(_market.posts() <= shop.sends_decided(), "a POST without a durable decision to send")
        _repeat(shop, step, act, verdict)
        if step == "run":
            _write_decisions(shop)
        if step == "decide":
            _judge_decisions(_lines(shop), verdict)
        if step == "again":
            verdict.require(_market.posts() == posts, "the same decisions bought again")
    _judge(shop, verdict)
    if not verdict.problems:
        shop.close()
    return Outcome(point, killed, verdict)


def _repeat(shop: SandboxRig, step: str, act: Callable[[Job], Awaitable[int]], verdict: Verdict) -> None:
    """The same command until it ends well: what a user does."""
    for _ in range(REPEATS):
        code, log = run_to_end(shop.job(act=act))
        if code in {0, HELD}:
            return
    verdict.problems.append(f"{step} ends with {code} again and again: {last_words(log)}")


def _judge(shop: SandboxRig, verdict: Verdict) -> None:
    lines = _lines(shop)
    found = Counter(line["status"] for line in lines)
    decided = {_place(line): _decision(line)[0] for line in lines if _is_first(line)}
    verdict.wanted = sum(ROWS.values()) + Counter(decided.values())["rejected"]
    verdict.archived, verdict.held = found["archived"], found["held"]
    verdict.bought = sum(int(charge["made"]) for charge in shop.charges())
    verdict.double = max(0, verdict.bought - verdict.wanted)
    verdict.lost = max(0, verdict.bought - verdict.archived - verdict.held)
    verdict.require(verdict.bought <= verdict.wanted, f"{verdict.bought} images bought of {verdict.wanted}")
    ended = verdict.archived + verdict.held
    verdict.require(ended == verdict.wanted == len(lines), f"ends: {dict(found)} of {verdict.wanted}")
    changed = sum(int(charge["made"]) for charge in shop.charges() if str(charge["prompt"]).endswith(CHANGE))
    verdict.require(changed <= 1, f"{changed} images bought with the change")
    _judge_decisions(lines, verdict)
    facts = list(shop.edition.glob("decisions/*/[0-9]*.json"))
    verdict.require(len(facts) == len(decided), f"{len(facts)} decisions of {len(decided)}")
    table = (shop.edition / "delivery" / "delivery.jsonl").read_text().splitlines()
    delivered = {((line["job"], line["variant"]), line["status"]) for line in map(json.loads, table)}
    approved = {(place, "delivered") for place, said in decided.items() if said == "approved"}
    verdict.require(delivered == approved, f"delivered: {sorted(delivered)}")
    verdict.require((shop.edition / "review.html").exists(), "there is no page")
    require_proof(shop, verdict)


def _judge_decisions(lines: Iterable[Mapping[str, object]], verdict: Verdict) -> None:
    for line in lines:
        expected = _decision(line)[0] if _is_first(line) else None
        verdict.require(line.get("decision") == expected, f"{line['key']} is {line.get('decision')}, not {expected}")


def _place(line: Mapping[str, object]) -> tuple[object, object]:
    return line["job"], line["variant"]


def _is_first(line: Mapping[str, object]) -> bool:
    """Whether somebody has decided on it: the first take of an image, where that is there."""
    return line["take"] == 1 and line["status"] == "archived"


def torture(*, sample: int | None, seed: int, workers: int, until: float = math.inf) -> Tally:
    """Kill at all points, or at a seeded sample of them, each step as often as the others."""
    tally = Tally("the loop killed" + ("" if sample is None else f" (sample, seed {seed})"))
    with ProcessPoolExecutor(workers, get_context("fork"), open_market) as pool:
        chosen, dice = pool.submit(record).result(), random.Random(seed)
        tally.count("points", len(chosen))
        if sample is None:
            dice.shuffle(chosen)  # what time does not allow is missing everywhere
        else:
            chosen = _sample(chosen, sample, dice)
        for outcome in tally.of_each(pool, kill_at, chosen, until):
            point = outcome.point
            tally.add(outcome.verdict, f"{point.step} {point.name} {point.k}")
            tally.count(f"killed {point.step}", outcome.killed)
            tally.count("kills", outcome.killed)
    return tally


def _sample(every: list[Point], size: int, chance: random.Random) -> list[Point]:
    """Points spread over the steps, and over the names of their calls."""
    steps = itertools.islice(itertools.cycle(STEPS), size)
    found = []
    for step in steps:
        names = sorted({point.name for point in every if point.step == step})
        name = chance.choice(names)
        found.append(chance.choice([point for point in every if (point.step, point.name) == (step, name)]))
    return found


if __name__ == "__main__":
    sys.exit(command_line(__doc__, torture))
