"""The sweep: it fetches what is paid for and out there, counts what needs a person, and never buys."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.shop import SandboxRig, campaign_text, one_row

from adloom import wiring as session
from adloom.core.errors import StoreUnavailable
from adloom.ledger.edition import Edition
from adloom.ledger.index import indexed_editions, open_editions
from adloom.run.sweep import OUTAGES, Swept, is_at_rest, sweep, sweep_all
from adloom.targets import WallClock, open_store
from adloom.wiring import open_world, publish_again
from adloom.world import World

EDITION = Edition("test", "main")
THREE_ROWS = campaign_text("  - {id: cup, prompt: 'a {{ x }} cup', variants: 2, matrix: {x: [red, blue, green]}}\n")


class Tomorrow(WallClock):
    """A clock that is 20 hours on: links have four hours left."""

    def now(self) -> float:
        return super().now() + 20 * 3600


@asynccontextmanager
async def the_world(shop: SandboxRig) -> AsyncIterator[World]:
    async with open_world(shop.settings, open_store(shop.settings.archive)) as world:
        yield world


def posts(shop: SandboxRig) -> int:
    return int(str(shop.sandbox.state()["posts_received"]))


async def test_images_of_a_run_that_died_are_fetched_and_nothing_is_bought(shop: SandboxRig):
    shop.write(THREE_ROWS)
    shop.sandbox.change(task_seconds=0.5)
    await shop.run_killed(lambda: shop.accepted() == 3)
    async with the_world(shop) as world:
        swept = await sweep(world, EDITION)
        assert (swept.fetched, swept.in_flight, swept.unknown) == (3, 0, 0)
        await publish_again(world.store, EDITION)
        assert await is_at_rest(world.store, EDITION, time.time())
        assert (await sweep(world, EDITION)).is_clean
    assert posts(shop) == 3
    assert [line["status"] for line in shop.lines()] == ["archived"] * 6


async def test_images_that_a_run_held_because_they_were_not_shown_are_fetched(shop: SandboxRig):
    shop.write(one_row(4))
    shop.sandbox.change(late_results_rate=1, late_results="partial", late_results_s=10**9)
    assert (await shop.run()).exit_code == 6
    async with the_world(shop) as world:
        assert not await is_at_rest(world.store, EDITION, time.time())
        held = await sweep(world, EDITION)
        assert (held.fetched, held.unknown, held.needs_a_person) == (0, 1, True)
        shop.sandbox.change(late_results_rate=0)
        assert (await sweep(world, EDITION)).fetched == 1
        await publish_again(world.store, EDITION)
        assert await is_at_rest(world.store, EDITION, time.time())
    assert (posts(shop), shop.bought()) == (1, 4)
    assert [line["status"] for line in shop.lines()] == ["archived"] * 4


async def test_links_near_their_end_that_cannot_be_fetched_need_a_person(shop: SandboxRig):
    shop.write(one_row(2))
    shop.sandbox.change(download_error_rate=1.0)
    assert (await shop.run()).exit_code == 7
    async with the_world(shop) as world:
        today = await sweep(world, EDITION)
        assert (today.to_download, today.near_expiry, today.needs_a_person) == (1, 0, False)
        late = await sweep(replace(world, clock=Tomorrow()), EDITION)
        assert (late.to_download, late.near_expiry, late.needs_a_person) == (1, 1, True)
        shop.sandbox.change(download_error_rate=0.0)
        assert (await sweep(world, EDITION)).fetched == 1
    assert posts(shop) == 1


async def test_a_purchase_of_unknown_outcome_is_reported_and_left_alone(shop: SandboxRig):
    shop.write(one_row(2))
    shop.sandbox.change(lose_reply_rate=1.0)
    assert (await shop.run()).exit_code == 6
    async with the_world(shop) as world:
        assert await sweep(world, EDITION) == Swept(EDITION, unknown=1)
    assert posts(shop) == 1


async def test_an_edition_at_rest_is_known_by_its_manifest(shop: SandboxRig):
    shop.write(one_row(2))
    await shop.run()
    async with the_world(shop) as world:
        assert await is_at_rest(world.store, EDITION, time.time())
        assert await sweep(world, EDITION) == Swept(EDITION)
        shop.write(one_row(4))
        shop.sandbox.change(download_error_rate=1.0)
        await shop.run()
        assert not await is_at_rest(world.store, EDITION, time.time())


async def three_editions_to_fetch(shop: SandboxRig) -> list[Path]:
    """Three campaigns whose images are paid for and could not be downloaded."""
    shop.sandbox.change(download_error_rate=1.0)
    for name in ("first", "second", "third"):
        shop.write(one_row(2).replace("campaign: test", f"campaign: {name}"))
        assert (await shop.run()).exit_code == 7
    shop.sandbox.change(download_error_rate=0.0)
    return [shop.edition(name) for name in ("first", "second", "third")]


async def swept_all(shop: SandboxRig) -> list[Swept]:
    async with the_world(shop) as world:
        return await sweep_all(world, await open_editions(world.store, world.clock.now()), publish_again)


def images(folder: Path) -> int:
    return len(list(folder.glob("assets/**/*.jpg")))


async def test_an_edition_that_cannot_be_read_is_named_and_the_others_are_fetched(shop: SandboxRig):
    folders = await three_editions_to_fetch(shop)
    next(folders[0].glob("ledger/*/a1-intent.json")).write_text("[" * 100_000)
    found = await swept_all(shop)
    assert [bool(swept.broken) for swept in found] == [True, False, False]
    assert found[0].needs_a_person
    assert [swept.fetched for swept in found] == [0, 1, 1]
    assert list(map(images, folders)) == [0, 2, 2]
    assert posts(shop) == 3


@pytest.mark.parametrize("damage", ["", "[" * 100_000, "[]", '{"totals": 5}', '{"totals": {"open": 0}}'])
async def test_a_manifest_that_cannot_be_read_keeps_nothing_from_being_fetched(shop: SandboxRig, damage: str):
    folders = await three_editions_to_fetch(shop)
    (folders[0] / "manifest.json").write_text(damage)
    assert [(swept.fetched, swept.broken) for swept in await swept_all(shop)] == [(1, "")] * 3
    assert list(map(images, folders)) == [2, 2, 2]
    assert (folders[0] / "manifest.json").read_text() != damage


async def test_a_plan_that_cannot_be_read_is_named_and_its_images_are_fetched(shop: SandboxRig):
    folders = await three_editions_to_fetch(shop)
    (folders[0] / "plan-r1.json").write_text("{")
    found = await swept_all(shop)
    assert [bool(swept.broken) for swept in found] == [True, False, False]
    assert list(map(images, folders)) == [2, 2, 2]


async def test_a_page_that_cannot_be_made_ends_no_sweep(shop: SandboxRig, monkeypatch: pytest.MonkeyPatch):
    folders = await three_editions_to_fetch(shop)

    async def fail(*_: object, **__: object) -> str:
        raise TypeError("an odd image")

    monkeypatch.setattr(session, "write_gallery", fail)
    assert [(swept.fetched, swept.broken) for swept in await swept_all(shop)] == [(1, "")] * 3
    assert list(map(images, folders)) == [2, 2, 2]
    async with the_world(shop) as world:
        assert await open_editions(world.store, time.time()) == []
        assert len((await indexed_editions(world.store, time.time()))[0]) == 3


async def test_a_store_that_is_away_ends_the_sweep_after_a_few_editions(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    asked: list[Edition] = []

    async def away(_world: World, edition: Edition) -> Swept:
        asked.append(edition)
        raise StoreUnavailable("the bucket is away")

    monkeypatch.setattr("adloom.run.sweep.sweep", away)
    editions = [Edition("test", str(number)) for number in range(100)]
    async with the_world(shop) as world:
        with pytest.raises(StoreUnavailable):
            await sweep_all(world, editions, publish_again)
    assert len(asked) == OUTAGES
