"""What becomes of results that are no plain whole JPEG, as a user finds them in the archive and on the page."""

import json
import logging
from dataclasses import fields, replace

import pytest
from support.shop import SandboxRig, one_row

from adloom import wiring as session
from adloom.core.errors import StoreUnavailable
from adloom.core.records import Image, ImageFate, images_of, images_record

NOT_ASKED_HERE = {"near_duplicate", "wrong_pixels"}  # animated stand-ins are small


@pytest.mark.parametrize(
    ("kind", "media_type", "flags"), [("animated", "image/webp", {"animated"}), ("line_break", "image/jpeg", set())]
)
async def test_an_odd_but_whole_picture_is_archived_as_received(shop: SandboxRig, kind, media_type, flags):
    shop.sandbox.change(picture_damage_rate=1.0, picture_damage_kinds=(kind,))
    shop.write(one_row(2))
    assert (await shop.run()).exit_code == 0
    lines = shop.lines()
    told = [(line["status"], line["media_type"], set(line.get("flags", ())) - NOT_ASKED_HERE) for line in lines]
    assert told == [("archived", media_type, flags)] * 2
    page = (shop.edition() / "gallery.html").read_text()
    assert page.count("· animated") == (2 if flags else 0)
    written = [(shop.edition() / name).read_bytes() for name in ("assets.jsonl", "assets.csv", "gallery.html")]
    assert (await shop.run()).exit_code == 0
    assert written == [(shop.edition() / name).read_bytes() for name in ("assets.jsonl", "assets.csv", "gallery.html")]


async def test_what_a_picture_says_about_its_making_is_recorded(shop: SandboxRig):
    shop.write(one_row(2))
    shop.sandbox.script(route="image", fault="labelled")
    assert (await shop.run()).exit_code == 0
    assert sorted(line.get("provenance", []) for line in shop.lines()) == [[], ["xmp", "aigc"]]
    assert "provenance" not in (shop.edition() / "assets.csv").read_text().splitlines()[0]


async def test_a_jpeg_that_was_padded_to_its_end_is_never_archived_as_good(shop: SandboxRig):
    shop.sandbox.change(picture_damage_rate=1.0, picture_damage_kinds=("padded",))
    shop.write(one_row(1))
    await shop.run()
    assert shop.lines()[0]["status"] != "archived"
    assert list(shop.edition().glob("assets/**/*.*")) == []
    assert shop.bought() == 1


async def test_blank_pictures_and_near_duplicates_are_flagged_and_never_refused(shop: SandboxRig):
    shop.sandbox.change(fast_pictures=False)
    shop.write(one_row(4))
    shop.sandbox.script(route="image", fault="blank")
    assert (await shop.run()).exit_code == 0
    assert sorted(str(line.get("flags")) for line in shop.lines()) == ["None"] * 3 + ["['blank']"]
    page = (shop.edition() / "gallery.html").read_text()
    assert (page.count("· blank"), page.count("· near duplicate")) == (1, 0)


async def test_the_same_picture_in_other_bytes_is_flagged_from_the_second_on(shop: SandboxRig):
    shop.write(one_row(3))  # plain pictures of the sandbox differ in a comment alone
    assert (await shop.run()).exit_code == 0
    lines = shop.lines()
    assert len({line["sha256"] for line in lines}) == 3
    assert [line.get("flags") for line in lines] == [None, ["near_duplicate"], ["near_duplicate"]]
    assert (shop.edition() / "gallery.html").read_text().count("· near duplicate") == 2


async def test_an_image_of_another_size_is_flagged_and_kept(shop: SandboxRig):
    shop.write(one_row(2, more=", size: 1280x720"))
    shop.sandbox.script(route="image", fault="off_size")
    assert (await shop.run()).exit_code == 0
    flagged = {line["width_px"]: "wrong_pixels" in line.get("flags", ()) for line in shop.lines()}
    assert flagged == {1280: False, 1274: True}
    assert (shop.edition() / "gallery.html").read_text().count("· wrong pixels") == 1


def test_what_was_seen_of_images_stands_beside_what_older_versions_read():
    plain = Image(0, 1, ImageFate.ARCHIVED, "assets/a.jpg")
    flagged = Image(1, 2, ImageFate.ARCHIVED, "assets/b.webp", flags=("animated",), likeness="0f" * 32, link="1a" * 6)
    record = json.loads(json.dumps(images_record([plain, flagged])))
    assert images_of(record) == (plain, flagged)
    known = {field.name for field in fields(Image)} - {"flags", "likeness", "provenance", "link"}
    assert all(set(entry) == known for entry in record["images"])
    assert set(images_record([plain])) == {"images"}
    assert images_of({"images": record["images"]}) == (plain, replace(flagged, flags=(), likeness="", link=""))


async def test_notes_that_strangers_wrote_into_an_image_keep_nobody_from_seeing_it(
    shop: SandboxRig, caplog: pytest.LogCaptureFixture
):
    """Readers of metadata stumble over such images, and a run once ended with a traceback, for ever."""
    shop.sandbox.change(picture_damage_rate=1.0, picture_damage_kinds=("annotated",))
    shop.write(one_row(2))
    result = await shop.run()
    assert (result.exit_code, bool(result.gallery)) == (0, True)
    thumbnails = [path.read_bytes() for path in shop.edition().glob("thumbs/**/*.jpg")]
    assert len(thumbnails) == 2
    assert not any(b"sandbox" in thumbnail for thumbnail in thumbnails)
    assert (shop.edition() / "checksums.txt").is_file()
    assert caplog.records == []


@pytest.mark.parametrize("error", [ValueError("odd"), RecursionError(), StoreUnavailable("the disk is away")])
@pytest.mark.parametrize("what", ["write_gallery", "write_checksums"])
async def test_a_page_that_cannot_be_made_is_said_in_one_line_and_ends_nothing(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str, error: Exception
):
    async def fail(*_: object, **__: object) -> str:
        raise error

    monkeypatch.setattr(session, what, fail)
    shop.write(one_row(2))
    result = await shop.run()
    assert result.exit_code == 0
    assert result.published.manifest["totals"]["archived"] == 2
    assert (shop.edition() / "manifest.json").is_file()
    assert bool(result.gallery) == (what == "write_checksums")
    assert (shop.edition() / "checksums.txt").is_file() == (what == "write_gallery")
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "`adloom gallery`" in record.getMessage()
    assert record.exc_info is None
