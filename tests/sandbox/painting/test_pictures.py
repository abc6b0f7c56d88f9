"""Pictures that are sold: whole, odd, damaged or large, each with bytes of its own."""

from __future__ import annotations

import httpx
import pytest
import simplejpeg
from support.sandbox_pictures import decoded, image_of


@pytest.mark.parametrize("fast", [True, False])
async def test_every_image_has_its_own_bytes_and_keeps_them(visit, fast):
    visitor = await visit(fast_pictures=fast)
    first = await visitor.result(prompt="Generate 3 different images: a mug", n=3, size="1:1", quality="1K")
    second = await visitor.result(prompt="Generate 3 different images: a mug", n=3, size="1:1", quality="1K")
    links = [*first["results"], *second["results"]]
    contents = [(await visitor.http.get(link)).content for link in links]
    assert len(set(contents)) == 6
    visitor.sandbox.gallery.clear()
    assert [(await visitor.http.get(link)).content for link in links[:2]] == contents[:2]


async def test_a_small_cache_stays_small(visit):
    visitor = await visit(fast_pictures=False, picture_cache_bytes=100_000)
    task = await visitor.result(prompt="Generate 4 different images: a mug", n=4, size="1:1", quality="1K")
    for link in task["results"]:
        decoded((await visitor.http.get(link)).content)
    assert visitor.sandbox.gallery._cached_bytes <= 100_000


@pytest.mark.parametrize(
    "damage", ["corrupt", "truncated", "wrong_bytes", "html", "empty", "png", "off_size", "partial", "drop", "status"]
)
async def test_a_download_can_go_wrong_once_and_right_the_next_time(visit, damage):
    visitor = await visit()
    link = await image_of(visitor, size="1:1", quality="1K")
    visitor.sandbox.script(route="image", fault=damage)
    try:
        spoiled = decoded((await visitor.http.get(link)).raise_for_status().content)
    except (httpx.HTTPError, OSError):
        spoiled = None
    assert spoiled is None or spoiled.format == "PNG" or spoiled.size == (1018, 1018)
    assert decoded((await visitor.http.get(link)).content).size == (1024, 1024)


async def test_a_picture_can_be_damaged_for_good(visit):
    visitor = await visit(picture_damage_rate=1, picture_damage_kinds=("corrupt",), fast_pictures=False)
    link = await image_of(visitor, size="1:1", quality="1K")
    contents = {(await visitor.http.get(link)).content for _ in range(2)}
    assert len(contents) == 1
    with pytest.raises(OSError, match=r"truncated|broken|unrecognized|decod"):
        decoded(contents.pop())


@pytest.mark.parametrize(
    ("kind", "form", "start"),
    [
        ("line_break", "JPEG", b"\r\n\xff\xd8"),
        ("animated", "WEBP", b"RIFF"),
        ("annotated", "PNG", b"\x89PNG"),
        ("labelled", "JPEG", b"\xff\xd8"),
        ("turned", "JPEG", b"\xff\xd8"),
    ],
)
async def test_a_picture_can_be_whole_and_odd(visit, kind, form, start):
    visitor = await visit(picture_damage_rate=1, picture_damage_kinds=(kind,))
    content = (await visitor.http.get(await image_of(visitor, size="1:1", quality="1K"))).content
    assert content.startswith(start)
    assert decoded(content.lstrip()).format == form


async def test_a_picture_can_be_cut_and_padded_to_its_end(visit):
    visitor = await visit(picture_damage_rate=1, picture_damage_kinds=("padded",))
    content = (await visitor.http.get(await image_of(visitor, size="1:1", quality="1K"))).content
    assert content.endswith(b"\xff\xd9")
    with pytest.raises(ValueError, match="premature end"):
        simplejpeg.decode_jpeg(content)


async def test_pictures_can_be_png(visit):
    visitor = await visit(picture_format="png")
    link = await image_of(visitor, size="1:1", quality="1K")
    answer = await visitor.http.get(link)
    assert link.partition("?")[0].endswith("_0.png")
    assert answer.headers["content-type"] == "image/png"
    assert decoded(answer.content).format == "PNG"


@pytest.mark.parametrize("media", ["jpeg", "png"])
async def test_pictures_can_have_large_files(visit, media):
    visitor = await visit(picture_bytes=1_000_000, picture_format=media)
    content = (await visitor.http.get(await image_of(visitor, size="1:1", quality="1K"))).content
    assert 1_000_000 <= len(content) < 1_200_000
    assert decoded(content).size == (1024, 1024)
