"""A run with nothing to do leaves a finished edition as it is; whatever has changed is published."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.shop import SandboxRig, campaign_text, one_row
from support.verified import findings

from adloom.core.exits import EXIT_OK
from adloom.targets import new_ledger, open_target


def _files(shop: SandboxRig) -> dict[str, tuple[int, bytes]]:
    """Every file of the archive, with when it was written."""
    root = Path(shop.settings.archive)
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    }


def _heartbeats(shop: SandboxRig) -> int:
    return len(list((shop.edition() / "runs").glob("*.probe.json")))


async def test_a_run_with_nothing_to_do_writes_nothing_and_says_the_same(shop: SandboxRig):
    shop.write(one_row(2))
    first, before = await shop.run(), _files(shop)
    again = await shop.run()
    assert _files(shop) == before
    assert (again.exit_code, again.published, again.gallery, again.review, again.origin) == (
        EXIT_OK,
        first.published,
        first.gallery,
        first.review,
        first.origin,
    )
    assert (again.sent.left, again.stops) == (0, ())


def _edit_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a page": lambda folder: (folder / "gallery.html").unlink(),
    "the page to choose on": lambda folder: (folder / "review.html").unlink(),
    "the table": lambda folder: (folder / "assets.csv").write_text("cells"),
    "the lines": lambda folder: (folder / "assets.jsonl").write_text("{}"),
    "the manifest": lambda folder: (folder / "manifest.json").unlink(),
    "a manifest of nothing": lambda folder: (folder / "manifest.json").write_text("[]"),
    "the checksums": lambda folder: (folder / "checksums.txt").unlink(),
    "checksums of another manifest": lambda folder: _edit_manifest(folder, note="of a run that was killed"),
    "a manifest that counts less": lambda folder: _edit_manifest(folder, facts=4),
    "a stopped manifest": lambda folder: _edit_manifest(folder, status="stopped"),
    "an edition that is open": lambda folder: next((folder.parents[1] / "index" / "closed").iterdir()).unlink(),
    "a seal": lambda folder: next((folder / "ledger" / "sealed").iterdir()).unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
async def test_what_is_not_as_it_was_written_is_made_again(shop: SandboxRig, damage: Callable[[Path], object]):
    shop.write(one_row(1))
    await shop.run()
    lines, posts = shop.lines(), shop.bought()
    damage(shop.edition())
    assert (await shop.run()).exit_code == EXIT_OK
    assert _heartbeats(shop) == 2
    assert (shop.lines(), shop.bought()) == (lines, posts)
    assert await findings(shop) == []


async def test_what_came_since_is_published(shop: SandboxRig):
    shop.write(one_row(1))
    await shop.run()
    store, edition = open_target(str(shop.edition()), shop.settings)
    ledger = new_ledger(store, edition)
    await ledger.load()
    (call,) = ledger.calls()
    task = ledger.facts(call).latest.task
    await ledger.note(call, "a1-disowned.task-0", {"task": "task-0", "edition": "", "call": "", "attempt": 1})
    facts = json.loads((shop.edition() / "manifest.json").read_text())["facts"]
    await shop.run()
    assert json.loads((shop.edition() / "manifest.json").read_text())["facts"] == facts + 1
    assert shop.lines()[0]["task"] == task
    assert _heartbeats(shop) == 2


async def test_another_budget_makes_another_plan_also_where_nothing_is_left_to_buy(shop: SandboxRig):
    shop.write(one_row(1))
    await shop.run()
    shop.write(campaign_text("  - {id: mug, prompt: 'red mug on oak table'}\n", budget="{usd: 60}"))
    await shop.run()
    assert sorted(path.name for path in shop.edition().glob("plan-r*")) == ["plan-r1.json", "plan-r2.json"]
