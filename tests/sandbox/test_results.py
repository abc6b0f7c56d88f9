"""Downloads of results: the real pictures, and who is turned away."""

from __future__ import annotations

import httpx
import pytest
from support.sandbox_pictures import decoded, image_of

LOOK = "doubao-seedream-4.0"


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
