"""A ledger rebuilt from what lies beside it: what was bought is not bought again, what is paid for comes in."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.setbacks import (
    FEW,
    delete_a_call,
    delete_the_ledger,
    findings,
    once_sent,
    restore_the_ledger,
    restore_what_was_written_before_a_kill,
    run_twice,
    stopped_as_older,
)
from support.shop import SandboxRig, campaign_text, hurry

from adloom.edges.folder import FolderStore
from adloom.ledger.edition import Edition
from adloom.spend.held import held_calls
from adloom.targets import new_ledger, open_store
from adloom.wiring import rebuild_ledger


@pytest.fixture
async def twice(shop: SandboxRig) -> SandboxRig:
    return await run_twice(shop)


async def mend(shop: SandboxRig) -> tuple[int, str]:
    came_back, lack = await rebuild_ledger(open_store(shop.settings.archive), Edition("test", "main"))
    return came_back, str(lack)


def statuses(shop: SandboxRig) -> Counter[object]:
    return Counter(line["status"] for line in shop.lines())


@pytest.mark.parametrize("disaster", [restore_the_ledger, delete_the_ledger, delete_a_call])
async def test_calls_whose_images_are_archived_come_back_whole(
    twice: SandboxRig, disaster: Callable[[SandboxRig], None]
):
    shutil.rmtree(twice.edition() / "ledger" / "sealed", ignore_errors=True)
    lines = (twice.edition() / "assets.jsonl").read_bytes()
    disaster(twice)
    assert await findings(twice)
    came_back, lack = await mend(twice)
    assert came_back
    assert lack == ""
    assert await findings(twice) == []
    assert (twice.edition() / "assets.jsonl").read_bytes() == lines
    result = await twice.run()
    assert result.exit_code == 0
    assert result.published.manifest["totals"]["credits_charged"] == pytest.approx(15.3)
    assert len(twice.sandbox.charges()) == 5


async def test_an_accepted_call_comes_back_of_which_a_killed_run_has_left_all_but_the_intent(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    hurry(monkeypatch, 10)
    shop = shop.with_settings(poll_interval_s=0.2)
    shop.sandbox.change(task_seconds=600)
    shop.write(campaign_text(FEW))
    await shop.run(started=once_sent(shop, 2))
    for name in ("manifest.json", "assets.jsonl", "assets.csv", "checksums.txt"):
        (shop.edition() / name).unlink()
    for beat in (shop.edition() / "runs").glob("*[0-9a-f].json"):
        beat.write_bytes(b"{}")  # its last word was before the first purchase
    next(iter(sorted((shop.edition() / "ledger").glob("c-*/a1-intent.json")))).unlink()
    shop.sandbox.finish()
    assert stopped_as_older(await shop.run())
    assert (await mend(shop))[1] == ""
    assert (await shop.run()).exit_code == 0
    assert len(shop.sandbox.charges()) == 2


def told_by(path: Path) -> dict[str, object]:
    """A record but for its links: a seal has those of archived images without their signatures."""
    return {name: value for name, value in json.loads(path.read_bytes()).items() if name != "links"}


async def test_records_that_a_seal_holds_come_back_as_they_were(twice: SandboxRig):
    records = {path: told_by(path) for path in twice.edition().glob("ledger/c-*/*.json")}
    for path in records:
        path.unlink()
    await mend(twice)
    assert {path: told_by(path) for path in records} == records
    assert await findings(twice) == []
    assert (await twice.run()).exit_code == 0
    assert len(twice.sandbox.charges()) == 5


async def test_tasks_that_only_claims_tell_of_are_collected(twice: SandboxRig):
    shutil.rmtree(twice.edition() / "ledger" / "sealed", ignore_errors=True)
    restore_what_was_written_before_a_kill(twice)
    assert (await mend(twice))[1] == ""
    assert (await twice.run()).exit_code == 0
    assert statuses(twice) == {"archived": 10}
    assert len(twice.sandbox.charges()) == 5
    assert await findings(twice) == []


async def test_an_image_that_nothing_tells_of_makes_its_call_held(twice: SandboxRig):
    shutil.rmtree(twice.edition() / "ledger" / "sealed", ignore_errors=True)
    restore_what_was_written_before_a_kill(twice)
    shutil.rmtree(Path(twice.settings.archive) / "tasks")
    await mend(twice)
    assert (await twice.run()).exit_code == 6
    assert statuses(twice) == {"archived": 4, "held": 6}
    store, edition = open_store(twice.settings.archive), Edition("test", "main")
    ledger = new_ledger(store, edition)
    await ledger.load()
    assert all("its image lies in assets/" in held.reason for held in held_calls(ledger, 0))
    assert len(twice.sandbox.charges()) == 5


async def test_an_image_in_s3_tells_of_which_task_it_is(shop: SandboxRig, monkeypatch: pytest.MonkeyPatch):
    beside: dict[str, Mapping[str, str]] = {}
    create = FolderStore.create

    async def create_as_in_s3(self: FolderStore, key: str, content: bytes, **more: Any) -> bool:
        created = await create(self, key, content, **more)
        if created:
            beside[key] = more.get("metadata") or {}
        return created

    async def metadata(_self: FolderStore, key: str) -> Mapping[str, str]:
        return beside.get(key, {})

    monkeypatch.setattr(FolderStore, "create", create_as_in_s3)
    monkeypatch.setattr(FolderStore, "metadata", metadata)
    twice = await run_twice(shop)
    shutil.rmtree(twice.edition() / "ledger" / "sealed", ignore_errors=True)
    restore_what_was_written_before_a_kill(twice)
    shutil.rmtree(Path(twice.settings.archive) / "tasks")
    await mend(twice)
    assert (await twice.run()).exit_code == 0
    assert statuses(twice) == {"archived": 10}
    assert len(twice.sandbox.charges()) == 5


async def test_what_cannot_be_known_again_still_buys_nothing(twice: SandboxRig):
    delete_the_ledger(twice)
    for folder in (twice.edition() / "assets", Path(twice.settings.archive) / "tasks"):
        shutil.rmtree(folder)
    (twice.edition() / "assets.jsonl").unlink()
    came_back, lack = await mend(twice)
    assert came_back == 0
    assert lack.startswith("5 purchases, 15.3 credits charged")
    assert stopped_as_older(await twice.run())
    assert len(twice.sandbox.charges()) == 5


async def test_tasks_under_way_when_the_ledger_was_lost_are_collected(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    hurry(monkeypatch, 10)
    shop = shop.with_settings(poll_interval_s=0.2)
    shop.sandbox.change(task_seconds=600)
    shop.sandbox.script(route="submit", fault="drop", after=True, match="held")
    rows = "  - {id: mug, prompt: a mug, variants: 2}\n  - {id: cup, prompt: a cup held high, variants: 2}\n"
    shop.write(campaign_text(rows + "  - {id: bad, prompt: forbidden}\n"))
    shop.sandbox.change(moderated_at_submit=("forbidden",))
    await shop.run(started=once_sent(shop, 3))
    delete_the_ledger(shop)
    shop.sandbox.finish()
    assert (await mend(shop))[1] == ""
    assert (await shop.run()).exit_code == 6
    assert statuses(shop) == {"archived": 2, "held": 2, "refused": 1}
    assert len(shop.sandbox.charges()) == 2
    assert shop.sandbox.state()["posts_received"] == 3


async def test_a_top_up_comes_back_with_what_it_topped_up(shop: SandboxRig):
    shop.sandbox.script(route="outcome", fault="completed", images=3, match="mug")
    shop.write(campaign_text("  - {id: mug, prompt: a mug, variants: 5}\n"))
    assert (await shop.run()).exit_code == 0
    shutil.rmtree(shop.edition() / "ledger")
    assert (await mend(shop))[1] == ""
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 5
    assert len(shop.sandbox.charges()) == 2
