"""One record is damaged: nothing is bought, its call is left alone, and what the others are owed is still collected."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.shop import SandboxRig, campaign_text

from adloom.core.errors import RecordUnreadable
from adloom.ledger.edition import Edition
from adloom.ledger.index import open_editions
from adloom.run.sweep import sweep
from adloom.targets import open_store
from adloom.wiring import open_world

EDITION = Edition("test", "main")
THREE_ROWS = campaign_text("  - {id: cup, prompt: 'a {{ x }} cup', variants: 2, matrix: {x: [red, blue, green]}}\n")


def without(name: str) -> Callable[[bytes], bytes]:
    """Take a field out of a record."""

    def change(content: bytes) -> bytes:
        record = json.loads(content)
        del record[name]
        return json.dumps(record).encode()

    return change


DAMAGES: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "cut": ("a1-accepted.*", lambda content: content[:20]),
    "empty": ("a1-accepted.*", lambda _: b""),
    "zeroes": ("a1-intent", lambda content: bytes(len(content))),
    "a list": ("a1-intent", lambda _: b"[]"),
    "without a task": ("a1-accepted.*", without("task")),
    "without variants": ("a1-intent", without("variants")),
}


@pytest.fixture
async def killed(shop: SandboxRig) -> SandboxRig:
    """A run that was killed when its three purchases had been accepted."""
    shop.write(THREE_ROWS)
    shop.sandbox.change(task_seconds=600)
    await shop.run_killed(lambda: shop.accepted() == 3)
    shop.sandbox.finish()
    shop.sandbox.change(task_seconds=0.03)
    return shop


def damage(shop: SandboxRig, fact: str, change: Callable[[bytes], bytes]) -> tuple[Path, bytes]:
    """Damage a record of one call; the record and what it was."""
    path = next(iter(sorted((shop.edition() / "ledger").glob(f"c-*/{fact}.json"))))
    content = path.read_bytes()
    path.write_bytes(change(content))
    return path, content


def archived(shop: SandboxRig) -> int:
    return len(list((shop.edition() / "assets").rglob("*.png")) + list((shop.edition() / "assets").rglob("*.jpg")))


@pytest.mark.parametrize(("fact", "change"), DAMAGES.values(), ids=DAMAGES)
async def test_a_run_collects_what_the_other_calls_are_owed_and_buys_nothing(
    killed: SandboxRig, fact: str, change: Callable[[bytes], bytes]
):
    path, content = damage(killed, fact, change)
    known = sorted(path.parent.iterdir())
    for _ in range(2):
        result = await killed.run()
        assert result.exit_code == 2
        assert f"{path.parent.name}/{path.stem}" in result.stops[0].message
        assert "Restore these records from a backup" in result.stops[0].remedy
        assert sorted(path.parent.iterdir()) == known
    assert (killed.bought(), archived(killed)) == (6, 4)
    assert not (killed.edition() / "manifest.json").exists()
    path.write_bytes(content)
    assert (await killed.run()).exit_code == 0
    assert (killed.bought(), archived(killed)) == (6, 6)


@pytest.mark.parametrize(("fact", "change"), DAMAGES.values(), ids=DAMAGES)
async def test_a_sweep_collects_what_the_other_calls_are_owed_and_leaves_the_edition_open(
    killed: SandboxRig, fact: str, change: Callable[[bytes], bytes]
):
    path, content = damage(killed, fact, change)
    async with open_world(killed.settings, open_store(killed.settings.archive)) as world:
        swept = await sweep(world, EDITION)
        assert (swept.fetched, f"{path.parent.name}/{path.stem}" in swept.broken) == (2, True)
        assert EDITION in await open_editions(world.store, world.clock.now() + 48 * 3600)
        path.write_bytes(content)
        swept = await sweep(world, EDITION)
        assert (swept.fetched, swept.broken) == (1, "")
    assert (killed.bought(), archived(killed)) == (6, 6)


async def test_files_that_others_left_in_the_ledger_are_no_records(killed: SandboxRig):
    ledger = killed.edition() / "ledger"
    call = next(ledger.glob("c-*"))
    (ledger / "Thumbs.db").write_bytes(b"\x00")
    (ledger / "README.txt").write_text("Do not touch!")
    (call / "a1-intent (conflicted copy).json").write_text("{")
    (call / "notes.json").write_text("{}")
    assert (await killed.run()).exit_code == 0
    assert (killed.bought(), archived(killed)) == (6, 6)
    assert (await killed.run()).exit_code == 0


async def test_a_record_of_a_newer_version_stops_a_run_at_once(killed: SandboxRig):
    damage(killed, "a1-accepted.*", lambda content: content.replace(b"adloom.fact/1", b"adloom.fact/2"))
    with pytest.raises(RecordUnreadable, match="this version knows"):
        await killed.run()
    assert archived(killed) == 0
