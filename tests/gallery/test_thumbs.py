"""Thumbnails: made once, again where they are missing, and only from the bytes that the ledger names."""

import pytest
from support.pages import pages
from support.shop import SandboxRig, one_row

from adloom.core.exits import EXIT_INTERRUPTED
from adloom.core.identity import thumb_key
from adloom.edges.pictures import PictureDecoder
from adloom.targets import open_target
from adloom.wiring import rewrite_gallery


async def test_thumbnails_come_with_their_images_and_are_decoded_once(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    asked: list[bytes] = []
    honest = PictureDecoder.decode

    async def counted(decoder: PictureDecoder, content: bytes):
        asked.append(content)
        return await honest(decoder, content)

    monkeypatch.setattr(PictureDecoder, "decode", counted)
    shop.write(one_row(3))
    await shop.run()
    assert len(asked) == 3
    assert len(list(shop.edition().glob("thumbs/**/*.jpg"))) == 3


async def test_a_thumbnail_that_an_archive_lacks_is_made_when_its_pages_are_written_again(shop: SandboxRig):
    shop.write(one_row(3))
    await shop.run()
    thumbnails = {path: path.read_bytes() for path in shop.edition().glob("thumbs/**/*.jpg")}
    for path in thumbnails:
        path.unlink()
    await rewrite_gallery(*open_target(str(shop.edition()), shop.settings))
    assert {path: path.read_bytes() for path in shop.edition().glob("thumbs/**/*.jpg")} == thumbnails
    (page,) = pages(shop)
    assert [image["src"].split("/")[0] for image in page.all("img")] == ["thumbs"] * 3


async def test_an_interrupted_run_ends_at_once_with_a_page_of_originals(shop: SandboxRig):
    shop.write(one_row(1) + "  - {id: jug, prompt: a jug}\n")
    await shop.run()
    shop.write(one_row(1) + "  - {id: jug, prompt: a jug, variants: 2}\n")
    result = await shop.run(started=lambda run: run.interrupt())
    assert result.exit_code == EXIT_INTERRUPTED
    assert result.gallery
    (page,) = pages(shop)
    assert "Stopped before the end" in page.text


async def test_an_image_that_is_not_what_the_ledger_says_gets_no_thumbnail(shop: SandboxRig):
    shop.write(one_row(2))
    await shop.run()
    asset = shop.edition() / str(shop.lines()[0]["key"])
    asset.write_bytes(asset.read_bytes()[:-9] + b"tampered!")
    for path in shop.edition().glob("thumbs/**/*.jpg"):
        path.unlink()
    await rewrite_gallery(*open_target(str(shop.edition()), shop.settings))
    assert len(list(shop.edition().glob("thumbs/**/*.jpg"))) == 1
    (page,) = pages(shop)
    assert [image["src"].split("/")[0] for image in page.all("img")] == ["assets", "thumbs"]


def test_a_thumbnail_is_named_after_its_asset():
    assert thumb_key("assets/hero/red.mug-1-abc123.png") == "thumbs/hero/red.mug-1-abc123.jpg"
