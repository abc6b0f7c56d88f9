"""The page of a run in progress: how far it is, and of very many images the latest."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.pages import many_rows, review_data
from support.shop import SandboxRig

from adloom.plan.assessment import Share
from adloom.run import fulfilment, live_page
from adloom.run.latest import Latest

WANTED = 8


@asynccontextmanager
async def watched(page: Path) -> AsyncIterator[list[dict[str, Any]]]:
    """What a page says of the run, each time that it was written."""
    seen: list[dict[str, Any]] = []

    async def watch() -> None:
        last = b""
        while True:
            content = page.read_bytes() if page.exists() else b""  # noqa: ASYNC240 - a small file
            if content != last:
                last = content
                seen.append(review_data(content))
            await asyncio.sleep(0.002)

    watching = asyncio.create_task(watch())
    yield seen
    watching.cancel()


@pytest.mark.parametrize("most", [WANTED, WANTED - 1])
async def test_the_page_says_how_far_the_run_is_and_very_many_images_show_as_the_latest(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch, most: int
):
    monkeypatch.setattr(live_page, "MOST_IMAGES", most)
    monkeypatch.setattr(fulfilment, "Latest", lambda: Latest(most=2))
    shop.write(many_rows(WANTED))
    async with watched(shop.edition() / "review.html") as seen:
        assert (await shop.run(in_flight=1)).exit_code == 0
    during = [data for data in seen if data["running"]]
    assert during
    for data in during:
        run, shown = data["run"], [image for image in data["images"] if image[5]]
        assert run == {"archived": run["archived"], "wanted": WANTED, "excerpt": most < WANTED, "is_shared": False}
        assert 0 < len(shown) <= (2 if most < WANTED else WANTED)
        assert {image[4] for image in shown} == {"archived"}
    assert [data["run"]["archived"] for data in during] == sorted({data["run"]["archived"] for data in during})
    final = review_data((shop.edition() / "review.html").read_bytes())
    assert (final["running"], final["run"]["excerpt"], len(final["images"])) == ("", False, WANTED)


async def test_of_runs_that_share_the_work_the_first_writes_the_page(shop: SandboxRig):
    shop.write(many_rows(WANTED))
    async with watched(shop.edition() / "review.html") as seen:
        await shop.run(in_flight=1, share=Share(1, 2))
    assert not [data for data in seen if data["running"]]
