"""What happens to ledgers: archives that were run twice, and ways in which their records go back or away."""

import asyncio
import json
import shutil
from collections.abc import Callable

from support.shop import SandboxRig, campaign_text

from adloom.core.exits import StopReason
from adloom.ledger.edition import Edition
from adloom.publish.checksums import verify
from adloom.run.run import Result, Run
from adloom.targets import new_ledger, open_store

FEW = "  - {id: mug, prompt: 'a {{ colour }} mug', variants: 2, matrix: {colour: [red, blue]}}\n"
MANY = FEW.replace("blue", "blue, green, white, black")


def stopped_as_older(result: Result) -> bool:
    return result.exit_code == 2 and StopReason.OLDER_LEDGER in {stop.reason for stop in result.stops}


async def run_twice(shop: SandboxRig) -> SandboxRig:
    """Two runs: 4 images, and 10 after an edit. The state after the first lies in ``backup``."""
    shop.write(campaign_text(FEW))
    assert (await shop.run()).exit_code == 0
    shutil.copytree(shop.edition(), shop.folder / "backup")
    shop.write(campaign_text(MANY))
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 10
    return shop


def once_sent(shop: SandboxRig, posts: int) -> Callable[[Run], None]:
    """What interrupts a run as soon as it has sent so many purchases."""
    waiting = set[asyncio.Task[None]]()

    async def interrupt(run: Run) -> None:
        while shop.sandbox.state()["posts_received"] < posts:  # noqa: ASYNC110 - the sandbox counts, it tells nobody
            await asyncio.sleep(0.01)
        run.interrupt()

    return lambda run: waiting.add(asyncio.create_task(interrupt(run)))


def restore_the_ledger(shop: SandboxRig) -> None:
    shutil.rmtree(shop.edition() / "ledger")
    shutil.copytree(shop.folder / "backup" / "ledger", shop.edition() / "ledger")


def delete_the_ledger(shop: SandboxRig) -> None:
    """All of it at once, since a run may be writing there."""
    (shop.edition() / "ledger").rename(shop.folder / "deleted-ledger")


def restore_ledger_and_plan(shop: SandboxRig) -> None:
    restore_the_ledger(shop)
    (shop.edition() / "plan-r2.json").unlink()


def restore_what_was_written_before_a_kill(shop: SandboxRig) -> None:
    """Nothing but heartbeats and images is newer: the second run died before it wrote its manifest."""
    restore_the_ledger(shop)
    for name in ("manifest.json", "assets.jsonl", "assets.csv", "checksums.txt"):
        shutil.copy(shop.folder / "backup" / name, shop.edition() / name)


def restore_all_but_the_images(shop: SandboxRig) -> None:
    restore_what_was_written_before_a_kill(shop)
    (shop.edition() / "plan-r2.json").unlink()
    shutil.rmtree(shop.edition() / "runs")


def restore_the_whole_edition(shop: SandboxRig) -> None:
    """Its folder knows nothing of the second run, only the archive's index does."""
    shutil.rmtree(shop.edition())
    shutil.copytree(shop.folder / "backup", shop.edition())


def delete_the_whole_edition(shop: SandboxRig) -> None:
    shutil.rmtree(shop.edition())


def leave_heartbeats_alone(shop: SandboxRig) -> None:
    """The second run died before it had an image, so only what it said while it lived tells of its purchases."""
    restore_what_was_written_before_a_kill(shop)
    for image in set((shop.edition() / "assets").rglob("*.jpg")):
        if not (shop.folder / "backup" / image.relative_to(shop.edition())).exists():
            image.unlink()
    (shop.edition() / "plan-r2.json").unlink()


def forget_a_task_beside_an_old_manifest(shop: SandboxRig) -> None:
    """A version that did not count records wrote the manifest: only the lines of the images name the task."""
    path = shop.edition() / "manifest.json"
    manifest = json.loads(path.read_bytes())
    del manifest["facts"]
    path.write_text(json.dumps(manifest))
    shutil.rmtree(shop.edition() / "runs")
    call = next(iter(sorted((shop.edition() / "ledger").glob("c-*"))))
    for path in (*call.glob("a1-accepted.*.json"), *call.glob("a1-completed*.json")):
        path.unlink()


def delete_the_newest_plan(shop: SandboxRig) -> None:
    (shop.edition() / "plan-r2.json").unlink()


def delete_a_call(shop: SandboxRig) -> None:
    shutil.rmtree(next(iter(sorted((shop.edition() / "ledger").glob("c-*")))))


async def findings(shop: SandboxRig) -> list[str]:
    store, edition = open_store(shop.settings.archive), Edition("test", "main")
    return [str(finding) for finding in (await verify(store, edition, new_ledger(store, edition))).findings]
