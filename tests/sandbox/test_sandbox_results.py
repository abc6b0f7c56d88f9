from __future__ import annotations

import io

import httpx
import pytest
import simplejpeg
from PIL import Image

LOOK = "doubao-seedream-4.0"


async def image_of(visitor, **fields) -> str:
    return (await visitor.result(**fields))["results"][0]


def decoded(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


async def test_a_result_is_a_real_jpeg_of_the_asked_size(visit):
    visitor = await visit()
    link = await image_of(visitor, size="4:5", quality="1K")
    assert httpx.URL(link).path.startswith("/files/")
    assert link.partition("?")[0].endswith("_0.jpg")
    answer = await visitor.http.get(link)
    assert answer.headers["content-type"] == "image/jpeg"
    picture = decoded(answer.content)
    assert (picture.format, picture.size) == ("JPEG", (896, 1120))


async def test_exact_pixels_and_auto_sizes_are_painted_too(visit):
    visitor = await visit()
    exact = await visitor.http.get(await image_of(visitor, size="1300x800"))
    assert decoded(exact.content).size == (1300, 800)
    free = await visitor.http.get(await image_of(visitor, quality="1K"))
    assert decoded(free.content).size[0] >= 648


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


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_links_die_after_a_day_of_the_sandbox_clock(visit, status):
    visitor = await visit(dead_link_status=status)
    link = await image_of(visitor)
    visitor.sandbox.advance(86_300)
    assert (await visitor.http.get(link)).status_code == 200
    visitor.sandbox.advance(200)
    assert (await visitor.http.get(link)).status_code == status


async def test_a_link_needs_its_signature(visit):
    visitor = await visit()
    link = await image_of(visitor)
    assert (await visitor.http.get(link.partition("?")[0])).status_code == 404
    assert (await visitor.http.get(link.replace("sig=", "sig=0"))).status_code == 404
    assert (await visitor.http.get(link.replace("/images/", "/images/9"))).status_code == 404


@pytest.mark.parametrize("agent", ["python-httpx/0.28", "Python-urllib/3.11", "Python/3.11 aiohttp/3.12", ""])
async def test_library_agents_are_turned_away_with_a_page(visit, agent):
    visitor = await visit()
    answer = await visitor.http.get(await image_of(visitor), headers={"User-Agent": agent})
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/html")


async def test_a_key_on_a_result_link_is_a_violation(visit):
    visitor = await visit()
    answer = await visitor.http.get(await image_of(visitor), headers=visitor.headers)
    assert answer.status_code == 400
    assert "must never reach here" in answer.text
    assert visitor.sandbox.state()["violation_count"] == 1


async def test_results_may_live_on_another_host(visit):
    visitor = await visit(result_host="localhost")
    assert (await image_of(visitor)).startswith("http://localhost:")


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
    [("line_break", "JPEG", b"\r\n\xff\xd8"), ("animated", "WEBP", b"RIFF"), ("annotated", "PNG", b"\x89PNG")],
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


async def test_downloads_fail_at_their_rates(visit):
    visitor = await visit(download_error_rate=0.4)
    link = await image_of(visitor, size="1:1", quality="1K")
    statuses = [(await visitor.http.get(link)).status_code for _ in range(20)]
    assert 2 <= sum(status >= 500 for status in statuses) <= 16


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_young_link_can_be_refused_a_few_times_or_for_a_while(visit, status):
    visitor = await visit(young_link_tries=2, young_link_status=status)
    link = await image_of(visitor, size="1:1", quality="1K")
    assert [(await visitor.http.get(link)).status_code for _ in range(4)] == [status, status, 200, 200]
    visitor.sandbox.change(young_link_s=60)
    assert (await visitor.http.get(link)).status_code == status
    visitor.sandbox.advance(60)
    assert (await visitor.http.get(link)).status_code == 200


@pytest.mark.parametrize("damage", ["html", "empty", "corrupt", "truncated"])
async def test_a_young_picture_can_be_something_else_a_few_times_or_for_a_while(visit, damage):
    visitor = await visit(young_picture_tries=2, young_picture_damage=damage)
    link = await image_of(visitor, size="1:1", quality="1K")
    first, second, whole = [(await visitor.http.get(link)).raise_for_status().content for _ in range(3)]
    assert first == second != whole
    visitor.sandbox.change(young_picture_s=60)
    assert (await visitor.http.get(link)).content == first
    visitor.sandbox.advance(60)
    assert (await visitor.http.get(link)).content == whole


async def test_results_can_stand_the_other_way_round_from_the_second_reading_on(visit):
    visitor = await visit(reverse_later_results=True)
    task = await visitor.buy(prompt="Generate 3 different images: a mug", n=3)
    first, second, third = [(await visitor.task(task))["results"] for _ in range(3)]
    assert first == second[::-1] == third[::-1]


@pytest.mark.parametrize(("form", "parameters"), [("query", {"image", "sig"}), ("signature", {"sig"})])
async def test_the_pictures_of_a_task_can_share_a_path(visit, form, parameters):
    visitor = await visit(link_form=form)
    task = await visitor.result(prompt="Generate 3 different images: a mug", n=3, size="1:1", quality="1K")
    links = task["results"]
    assert len({httpx.URL(link).path for link in links}) == 1
    assert set(httpx.URL(links[0]).params) == parameters
    assert len({(await visitor.http.get(link)).raise_for_status().content for link in links}) == 3
    assert (await visitor.http.get(links[0].replace("sig=", "sig=0"))).status_code == 404


@pytest.mark.parametrize("form", ["path", "query", "signature"])
async def test_links_can_be_signed_anew_at_every_reading_and_die_soon(visit, form):
    visitor = await visit(renewed_link_life_s=60, link_form=form, dead_link_status=410)
    task = await visitor.buy(size="1:1", quality="1K")
    first = (await visitor.task(task))["results"][0]
    content = (await visitor.http.get(first)).raise_for_status().content
    visitor.sandbox.advance(61)
    assert (await visitor.http.get(first)).status_code == 410
    second = (await visitor.task(task))["results"][0]
    assert second != first
    assert (await visitor.http.get(second)).content == content


@pytest.mark.parametrize("media", ["jpeg", "png"])
async def test_pictures_can_have_large_files(visit, media):
    visitor = await visit(picture_bytes=1_000_000, picture_format=media)
    content = (await visitor.http.get(await image_of(visitor, size="1:1", quality="1K"))).content
    assert 1_000_000 <= len(content) < 1_200_000
    assert decoded(content).size == (1024, 1024)
