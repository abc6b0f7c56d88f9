"""A process killed while it buys next takes or keeps decisions: nothing is bought twice, no decision is lost."""

import csv
import json
import subprocess
import time
from collections import Counter
from contextlib import suppress
from random import Random

from support.desk import CliRig, ended
from support.shop import campaign_text

MUGS = campaign_text("  - {id: mug, prompt: 'mug {{ n }}', variants: 3, rows: mugs.csv}\n")
REVIEW = "job,row,variant,take,decision,change\n" + "".join(
    f"mug,{row},{variant},1,rejected,change {row}{variant}\n" for row in "ab" for variant in (1, 2, 3)
)


def test_kills_of_review_and_run_buy_each_next_take_once_and_keep_every_decision(desk: CliRig):
    dice = Random(16)
    source, review = desk.write(MUGS), desk.write(REVIEW, "review.csv")
    assert desk.run("run", source).returncode == 0
    starts_s = _kill(desk, None, "review", source, "--apply", review)
    for _ in range(2):
        _kill(desk, dice.uniform(0.5, 1) * starts_s, "review", source, "--apply", review)
    assert desk.run("review", source, "--apply", review).returncode == 0
    facts = list(desk.edition.glob("decisions/*/*.json"))
    assert sorted(json.loads(path.read_text())["change"] for path in facts) == sorted(
        line["change"] for line in csv.DictReader(REVIEW.splitlines())
    )
    for _ in range(3):
        _kill(desk, dice.uniform(0.5, 1.5) * starts_s, "run", source, "--only", "rejected")
    desk.run("run", source, "--only", "rejected")
    lines = [json.loads(line) for line in (desk.edition / "assets.jsonl").read_text().splitlines()]
    seconds = Counter(line["status"] for line in lines if line["take"] == 2)
    assert seconds.total() == 6
    assert set(seconds) <= {"archived", "held"}  # a kill within a POST leaves what nobody can tell
    for row in "ab":
        for variant in (1, 2, 3):
            assert desk.bought(f"change {row}{variant}") <= 1
    sent = len(desk.charges())
    desk.run("run", source, "--only", "rejected")
    assert len(desk.charges()) == sent


def _kill(desk: CliRig, after_s: float | None, *command: str) -> float:
    """Start a command and kill it after a while, or let it end; how long it was left alone."""
    began = time.monotonic()
    process = desk.start(*command)
    if after_s is None:
        ended(process)
        for path in desk.edition.glob("decisions/*/*.json"):
            path.unlink()
    else:
        with suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
        process.kill()
        process.communicate()
    return time.monotonic() - began
