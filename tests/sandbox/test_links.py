"""Result links: signed, short-lived, and in every form that the API might use."""

from __future__ import annotations

import httpx
import pytest
from support.sandbox_pictures import image_of


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
