"""What becomes of results that are no plain whole JPEG, as a user finds them in the archive and on the page."""

import pytest
from shop import Shop, one_row

from adloom.core.facts import Image, ImageFate, image_entry, images_of


@pytest.mark.parametrize(
    ("kind", "media_type", "flags"), [("animated", "image/webp", ["animated"]), ("line_break", "image/jpeg", None)]
)
async def test_an_odd_but_whole_picture_is_archived_as_received(shop: Shop, kind, media_type, flags):
    shop.sandbox.change(picture_damage_rate=1.0, picture_damage_kinds=(kind,))
    shop.write(one_row(2))
    assert (await shop.run()).exit_code == 0
    lines = shop.lines()
    assert [(line["status"], line["media_type"], line.get("flags")) for line in lines] == [
        ("archived", media_type, flags)
    ] * 2
    page = (shop.edition() / "gallery.html").read_text()
    assert page.count("· animated") == (2 if flags else 0)
    written = [(shop.edition() / name).read_bytes() for name in ("assets.jsonl", "assets.csv", "gallery.html")]
    assert (await shop.run()).exit_code == 0
    assert written == [(shop.edition() / name).read_bytes() for name in ("assets.jsonl", "assets.csv", "gallery.html")]


async def test_a_jpeg_that_was_padded_to_its_end_is_never_archived_as_good(shop: Shop):
    shop.sandbox.change(picture_damage_rate=1.0, picture_damage_kinds=("padded",))
    shop.write(one_row(1))
    await shop.run()
    assert shop.lines()[0]["status"] != "archived"
    assert list(shop.edition().glob("assets/**/*.*")) == []
    assert shop.bought() == 1


def test_flags_are_written_down_only_where_there_are_any():
    """An older version reads what it knows: it meets an unknown field only with an image that it would not take."""
    plain = Image(0, 1, ImageFate.ARCHIVED, "assets/a.jpg")
    flagged = Image(1, 2, ImageFate.ARCHIVED, "assets/b.webp", flags=("animated",))
    assert "flags" not in image_entry(plain)
    record = {"images": [{**image_entry(image), "flags": list(image.flags)} for image in (plain, flagged)]}
    assert images_of(record) == (plain, flagged)
    assert images_of({"images": [image_entry(plain)]}) == (plain,)
