"""Clean archives of many shapes, as objects by key, for ``damages``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from support.fakes import MemoryStore
from support.shop import SandboxRig, campaign_text
from torture.simulated.scenario import EDITION as SIMULATED
from torture.simulated.world import World

from adloom.cli.archive import _fetcher
from adloom.gallery import write_gallery
from adloom.ledger.edition import Edition
from adloom.publish.checksums import write_checksums
from adloom.publish.repair import Fetch
from adloom.targets import new_ledger

REAL = Edition("test", "main")

Objects = dict[str, bytes]


@dataclass(frozen=True)
class Sample:
    """One clean archive: its objects by key, and where its result links lead while they live."""

    name: str
    edition: Edition
    objects: Objects
    fetch: Fetch


async def simulated(seed: int, world: World) -> Sample:
    """What a story left, with the page and the checksums that a run writes at its end."""
    store = MemoryStore()
    store.objects = dict(world.objects)
    ledger = new_ledger(store, SIMULATED)
    await ledger.load()
    await write_gallery(store, SIMULATED, ledger, None)
    await write_checksums(store, SIMULATED, ledger)
    links_live = seed % 2 == 0

    async def fetch(link: str) -> bytes | None:
        task, index = link.removeprefix("https://results.example/").split("?")[0].split("/")
        return world.tasks[task].images[int(index)] if links_live else None

    return Sample(f"seed {seed}", SIMULATED, store.objects, fetch)


ENDINGS: tuple[Mapping[str, Any], ...] = (
    {"fault": "completed", "images": 1},
    {"fault": "completed", "images": 0},
    {"fault": "completed", "images": 9},
    {"fault": "failed", "code": "service_error"},
    {"fault": "failed", "code": "content_policy_violation"},
    {"fault": "failed", "code": "invalid_parameters"},
    {"fault": "completed"},
)
"""Ends of tasks: short, none, more than asked for, given back, refused, failed, well."""


async def bought(shop: SandboxRig, seed: int) -> Sample:
    """What one to three real runs left of a campaign that changes between them."""
    random = Random(seed)
    shop.sandbox.change(
        seed=seed,
        moderated_at_submit=("forbidden",),
        picture_damage_rate=random.choice((0, 0, 0.3)),
        picture_damage_kinds=("html", "truncated"),
        picture_format=random.choice(("jpeg", "png")),
        lose_reply_rate=random.choice((0, 0, 0.3)),
    )
    numbers = count()
    rows = [a_row(random, next(numbers)) for _ in range(random.randint(1, 4))]
    for _ in range(random.randint(1, 3)):
        for ending in random.sample(ENDINGS, random.randint(0, 4)):
            shop.sandbox.script(route="outcome", **ending)
        shop.write(campaign_text("".join(rows)))
        await shop.run(replace=True)
        rows[random.randrange(len(rows))] = a_row(random, next(numbers))
        random.shuffle(rows)
    return Sample(f"campaign {seed}", REAL, _objects(Path(shop.settings.archive)), _fetcher(shop.settings))


def _objects(root: Path) -> Objects:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def a_row(random: Random, number: int) -> str:
    what = random.choice(("a cup", "a jug", "花瓶", "forbidden fruit"))
    grouping = random.choice(("set", "independent"))
    prompt = f"{what} {number}-{random.randrange(10**6)}"
    return f"  - {{id: r{number}, prompt: {prompt}, variants: {random.randint(1, 4)}, grouping: {grouping}}}\n"
