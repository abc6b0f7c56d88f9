"""Whoever stops a run of very many images waits for little more than the manifest."""

import pytest
from support.shop import SandboxRig, one_row

from adloom import wiring
from adloom.publish.checksums import verify
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
