"""Repairs: what comes back, from where, and what is never papered over."""

import pytest
from support.shop import SandboxRig
from support.verified import an_archive, mend


async def test_a_deleted_image_comes_back_while_its_link_lives(shop: SandboxRig):
    folder = await an_archive(shop)
    image = next((folder / "assets").rglob("*.jpg"))
    content = image.read_bytes()
    image.unlink()
    assert await mend(shop) == []
    assert image.read_bytes() == content


async def test_two_swapped_images_mend_each_other_even_when_their_links_are_dead(shop: SandboxRig):
    folder = await an_archive(shop)
    first, second, *_ = sorted((folder / "assets").rglob("*.jpg"))
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    shop.sandbox.advance(90_000)
    assert await mend(shop) == []
    assert (first.read_bytes(), second.read_bytes()) == contents


async def test_a_record_that_is_nowhere_any_more_is_never_papered_over(shop: SandboxRig):
    folder = await an_archive(shop)
    next((folder / "ledger").rglob("a1-completed.json")).unlink()
    next((folder / "ledger" / "sealed").iterdir()).unlink()
    lines = (folder / "assets.jsonl").read_bytes()
    assert await mend(shop)
    assert await mend(shop)
    assert (folder / "assets.jsonl").read_bytes() == lines


async def test_a_thumbnail_is_made_again_and_the_damaged_bytes_of_an_image_are_kept(shop: SandboxRig):
    folder = await an_archive(shop)
    image, thumb = next((folder / "assets").rglob("*.jpg")), next((folder / "thumbs").rglob("*.jpg"))
    good, damaged = (image.read_bytes(), thumb.read_bytes()), image.read_bytes()[:-9]
    image.write_bytes(damaged)
    thumb.write_bytes(b"")
    assert await mend(shop) == []
    assert (image.read_bytes(), thumb.read_bytes()) == good
    assert [path.read_bytes() for path in (folder / "quarantine").iterdir()] == [damaged]


@pytest.mark.parametrize("name", ["manifest.json", "assets.jsonl", "assets.csv", "gallery.html", "checksums.txt"])
async def test_what_is_derived_is_made_again(shop: SandboxRig, name: str):
    folder = await an_archive(shop)
    content = (folder / name).read_bytes()
    (folder / name).write_text("nonsense")
    assert await mend(shop) == []
    assert (folder / name).read_bytes() == content
