"""A third of all answers to purchases are lost after acceptance, in all four cases of what the API can do about it.

An API remembers idempotency keys or does not, and lets this key read its task list or does not. A campaign of 48 images
runs once with the losses and twice without. Bought may not be more than wanted; in the end archived + held = wanted;
nothing is held where a probe has proven that keys are remembered; what is held otherwise was sold, so it is no more
than the images that were sold and are not in the archive.

    python tests/torture/lost_replies.py [--seeds 20] [--workers 2]
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from support.shop import SandboxRig, campaign_text, open_shop
from torture.oracle import Verdict
from torture.tally import Tally

from adloom.edges.evolink.client import EvoLink
from adloom.ledger.capabilities import record_capability
from adloom.targets import open_store

ROWS = [f"m{number}" for number in range(24)]
CAMPAIGN = campaign_text(f"  - {{id: many, prompt: 'mug {{{{ n }}}}', variants: 2, matrix: {{n: {ROWS}}}}}\n")
Case = tuple[bool, bool, int]
"""Whether keys are remembered, whether the list may be read, and the seed."""


async def lose_a_third(shop: SandboxRig, case: Case) -> Verdict:
    """One campaign of one case."""
    remembered, listed, seed = case
    shop = shop.with_settings(dedicated_key=listed)
    shop.write(CAMPAIGN)
    shop.sandbox.change(
        seed=seed,
        lose_reply_rate=1 / 3,
        lose_reply_kinds=("drop", "broken_json", "status"),
        idempotency="honoured" if remembered else "ignored",
        list_status=200 if listed else 404,
    )
    if remembered:
        await _prove_keys(shop)
    await shop.run()
    shop.sandbox.change(lose_reply_rate=0.0)
    await shop.run()
    totals = (await shop.run()).published.manifest["totals"]
    return _judge(shop, totals, case)


async def _prove_keys(shop: SandboxRig) -> None:
    """Record what ``doctor --probe`` would."""
    async with EvoLink(shop.settings) as api:
        store = open_store(shop.settings.archive)
        await record_capability(store, api.account, replays_keys=True, now=time.time())


def _judge(shop: SandboxRig, totals: dict[str, int], case: Case) -> Verdict:
    remembered, _, _ = case
    verdict = Verdict(totals["wanted"], shop.bought(), totals["archived"], totals["held"])
    sold = Counter(charge.prompt for charge in shop.sandbox.charges())
    verdict.double = sum(number - 1 for number in sold.values())
    verdict.lost = max(0, verdict.bought - verdict.archived - verdict.held)
    verdict.require(not verdict.double, f"{verdict.double} purchases of what was bought already")
    verdict.require(verdict.bought <= verdict.wanted, f"{verdict.bought} bought, {verdict.wanted} wanted")
    verdict.require(not verdict.lost, f"{verdict.lost} images are neither archived nor held")
    verdict.require(verdict.archived + verdict.held == verdict.wanted, f"the totals are {totals}")
    verdict.require(not (remembered and verdict.held), f"{verdict.held} held though keys are remembered")
    return verdict


def try_case(case: Case) -> Verdict:
    """The same in a process of its own."""
    logging.disable(logging.CRITICAL)

    async def work() -> Verdict:
        with tempfile.TemporaryDirectory(prefix="adloom-losses-") as folder:
            async with open_shop(Path(folder)) as shop:
                return await lose_a_third(shop, case)

    return asyncio.run(work())


def torture(*, seeds: int, workers: int, until: float = math.inf) -> Tally:
    """All four cases with each of so many seeds."""
    tally = Tally(f"a third of all answers lost, {seeds} seeds")
    cases = [
        (remembered, listed, seed) for remembered in (True, False) for listed in (True, False) for seed in range(seeds)
    ]
    with ProcessPoolExecutor(workers) as pool:
        for case, verdict in zip(cases, tally.of_each(pool, try_case, cases, until), strict=False):
            kind = f"keys {'kept' if case[0] else 'lost'}, list {'open' if case[1] else 'shut'}"
            tally.add(verdict, f"{kind}, seed {case[2]}", kind)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    wanted = parser.parse_args()
    return torture(seeds=wanted.seeds, workers=wanted.workers).show()


if __name__ == "__main__":
    sys.exit(main())
