"""A run seen from outside while it goes on: the page that is there early, and what --watch says."""

import asyncio
import json

from support.desk import CliRig
from support.shop import SandboxRig, campaign_text, one_row

from adloom.gallery.chooser.write import tells_of_a_run
from adloom.ledger.edition import Edition
from adloom.ports import Store
from adloom.publish.checksums import verify
from adloom.run.watching import Sample, take_sample
from adloom.targets import WallClock, new_ledger, open_store

EDITION = Edition("test", "main")
SLOW = campaign_text("  - {id: mug, prompt: 'mug {{ n }}', matrix: {n: [a, b, c, slow]}}\n")


async def test_the_page_is_there_before_the_run_ends_and_says_that_it_goes_on(shop: SandboxRig):
    shop.write(SLOW)
    shop.sandbox.script(route="outcome", fault="never", match="slow")
    run = asyncio.create_task(shop.run())
    page = shop.edition() / "review.html"
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(_shows, page, 3):  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.02)
    assert not run.done()
    store = open_store(shop.settings.archive)
    async with asyncio.timeout(60):  # the page may be ahead of what the store lists
        while (sample := await _sample(store)).manifest["totals"]["archived"] < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (sample.is_over, sample.runs) == (False, 1)
    assert sample.images_per_s is not None
    assert sample.left_s is not None
    run.cancel()  # as good as a kill: nobody writes the last page
    await asyncio.gather(run, return_exceptions=True)
    verdict = await verify(store, EDITION, new_ledger(store, EDITION))
    assert "review.html" not in {finding.key for finding in verdict.findings}


async def _sample(store: Store) -> Sample:
    ledger = new_ledger(store, EDITION)
    await ledger.load()
    return await take_sample(ledger, WallClock())


def _shows(page: object, images: int) -> bool:
    content = page.read_bytes() if page.exists() else b""
    return tells_of_a_run(content) and content.count(b'"archived"') >= images


def test_following_an_edition_ends_when_nothing_is_open(desk: CliRig):
    source = desk.write(one_row(2))
    assert desk.run("run", source).returncode == 0
    assert not tells_of_a_run((desk.edition / "review.html").read_bytes())
    shown = desk.run("status", source, "--watch")
    assert shown.returncode == 0
    assert "2/2 images archived, sandbox $0.04 charged" in shown.stdout
    assert " left" not in shown.stdout
    told = json.loads(desk.run("status", source, "--watch", "--json").stdout)
    assert (told["totals"]["archived"], told["left_s"]) == (2, None)
    assert desk.run("status", "--watch").returncode == 2
