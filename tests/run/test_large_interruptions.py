"""Whoever stops a run of very many images waits for little more than the manifest."""

import asyncio

import pytest
from support.pages import many_rows, review_data
from support.shop import SandboxRig, one_row

from adloom import wiring
from adloom.publish.checksums import verify
from adloom.run.run import Run
from adloom.targets import new_ledger, open_target


@pytest.mark.parametrize(("most", "pages"), [(4, 0), (5, 1)])
async def test_an_interrupted_run_of_very_many_images_leaves_its_pages_to_the_next(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch, most: int, pages: int
):
    monkeypatch.setattr(wiring, "MOST_IMAGES", most)
    shop.write(one_row(5))
    result = await shop.run(started=lambda run: run.interrupt())
    assert result.exit_code == 130
    assert len(list(shop.edition().glob("gallery.html"))) == pages
    assert bool(result.gallery) == bool(pages)
    store, edition = open_target(str(shop.edition()), shop.settings)
    assert (await verify(store, edition, new_ledger(store, edition))).findings == ()
    assert (await shop.run()).exit_code == 0
    assert (shop.edition() / "gallery.html").exists()


async def test_it_leaves_a_page_with_the_latest_images_and_proof_of_it(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(wiring, "MOST_IMAGES", 5)
    shop.write(many_rows(6))
    tasks = []

    async def interrupt(run: Run) -> None:
        while not run.latest:  # noqa: ASYNC110 - nobody tells when an image has come
            await asyncio.sleep(0.005)
        run.interrupt()

    result = await shop.run(in_flight=1, started=lambda run: tasks.append(asyncio.create_task(interrupt(run))))
    assert result.exit_code == 130
    page = shop.edition() / "review.html"
    assert (result.gallery, result.review) == ("", page.as_uri())
    data = review_data(page.read_bytes())
    archived = [line["key"] for line in shop.lines() if line["status"] == "archived"]
    assert (data["running"], data["run"]["excerpt"]) == ("", True)
    assert 0 < len(archived) < 6
    assert sorted(image[5] for image in data["images"]) == sorted(archived)
    store, edition = open_target(str(shop.edition()), shop.settings)
    assert (await verify(store, edition, new_ledger(store, edition))).findings == ()


async def test_an_interrupted_run_does_not_go_through_the_rest_of_its_plan(shop: SandboxRig):
    shop.write(many_rows(40))
    seen: list[int] = []

    async def count(run: Run) -> None:
        seen.extend([len(batch) async for batch in run.batches()])

    counting = []

    def started(run: Run) -> None:
        run.interrupt()
        counting.append(asyncio.create_task(count(run)))

    assert (await shop.run(started=started)).exit_code == 130
    await asyncio.gather(*counting)
    assert seen == []
    assert [line["status"] for line in shop.lines()] == ["open"] * 40
