"""The pages of an edition: cut between rows, counted, and the same for the same archive."""

from urllib.parse import unquote

import pytest
from support.pages import many_rows, pages
from support.shop import SandboxRig

from adloom.core.selection import Selection
from adloom.gallery import choosing, write
from adloom.targets import open_target
from adloom.wiring import rewrite_gallery


async def test_an_unchanged_second_run_changes_neither_page_nor_thumbnails(shop: SandboxRig):
    shop.write(many_rows(3, variants=2))
    await shop.run()
    watched = [*shop.edition().glob("thumbs/**/*.jpg"), shop.edition() / "gallery.html"]
    before = [(path.read_bytes(), path.stat().st_mtime_ns if "thumbs" in path.parts else 0) for path in watched]
    await shop.run()
    assert len(watched) == 7
    assert before == [(path.read_bytes(), path.stat().st_mtime_ns if "thumbs" in path.parts else 0) for path in watched]
    await rewrite_gallery(*open_target(str(shop.edition()), shop.settings))
    assert before[-1][0] == watched[-1].read_bytes()


async def test_a_large_edition_is_cut_between_rows_into_pages_that_lead_to_each_other(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(write, "IMAGES_PER_PAGE", 5)
    shop.write(many_rows(7, variants=2))
    shop.sandbox.change(moderated_at_submit=("colour 6",))
    await shop.run()
    found = pages(shop)
    assert [page.path.name for page in found] == [f"gallery{end}.html" for end in ("", "-2", "-3", "-4")]
    assert [len(page.all("article")) for page in found] == [2, 2, 2, 1]
    assert [len(page.all("img")) for page in found] == [4, 4, 4, 0]
    ids = {page.path.name: page.ids() for page in found}
    for page in found:
        for link in page.links():
            target, _, anchor = unquote(link).partition("#")
            assert not anchor or anchor in ids[target or page.path.name]
            assert not target or (shop.edition() / target).is_file()
    neighbours = [[link for link in page.all("a") if "rel" in link] for page in found]
    assert [sorted({link["href"] for link in links}) for links in neighbours] == [
        ["gallery-2.html"],
        ["gallery-3.html", "gallery.html"],
        ["gallery-2.html", "gallery-4.html"],
        ["gallery-3.html"],
    ]
    assert any(link.startswith("gallery-4.html#row/") for link in found[0].links())
    assert "continued" in found[1].text


async def test_rows_of_which_nothing_is_bought_yet_are_counted_and_fill_no_pages(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(write, "IMAGES_PER_PAGE", 5)
    monkeypatch.setattr(choosing, "IMAGES_PER_PAGE", 5)
    later = "  - {id: later, prompt: 'a {{ n }} jug', matrix: {n: [a, b, c]}}\n"
    shop.write(many_rows(20, variants=2) + later)
    await shop.run(selection=Selection(first=3))
    found = pages(shop)
    assert [len(page.all("article")) for page in found] == [2, 1]
    assert "20 rows are still open" in found[-1].text
    assert "20 rows are still open" not in found[0].text
    assert "6 of 40" in found[0].text
    assert [link for link in found[0].links() if link.startswith("#job/") or ".html#job/" in link] == ["#job/many"]
    assert "0 of 3" in found[0].text
    to_choose_from = (shop.edition() / "review.html").read_text()
    assert "colour 2" in to_choose_from
    assert "colour 3" not in to_choose_from
    assert "jug" not in to_choose_from


async def test_a_page_that_a_smaller_plan_no_longer_fills_leads_to_the_first(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(write, "IMAGES_PER_PAGE", 2)
    shop.write(many_rows(4))
    await shop.run()
    shop.write(many_rows(2))
    await shop.run()
    first, leftover = pages(shop)
    assert "colour 1" in first.text
    assert leftover.links() == ["gallery.html"]
    assert "colour 3" not in leftover.text
