"""The served page answers to its own address alone, and takes nothing but decisions about its images."""

import asyncio
import threading
from collections.abc import AsyncIterator

import aiohttp
import pytest
from support.reviewer import EDITION, Reviewer
from support.shop import SandboxRig, one_row

from adloom.gallery.chooser import Live
from adloom.gallery.chooser.render import ID_DIGITS, render
from adloom.gallery.choosing import Choosing
from adloom.review.server import ReviewServer
from adloom.targets import new_ledger, open_store


@pytest.fixture
async def server(shop: SandboxRig) -> AsyncIterator[ReviewServer]:
    shop.write(one_row(2))
    await shop.run()
    store = open_store(shop.settings.archive)
    ledger = new_ledger(store, EDITION)
    await ledger.load()
    server = ReviewServer(store, EDITION, ledger, "ann")
    async with server.running(0):
        yield server


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as client:
        yield client


async def test_strangers_get_nothing(server: ReviewServer, client: aiohttp.ClientSession):
    wrong = server.url.replace(server.token, "x" * len(server.token))
    for url, headers in (
        (wrong, {}),
        (server.origin + "/", {}),
        (server.url, {"Host": "rebind.example"}),
        (server.url, {"Origin": "https://evil.example"}),
    ):
        answer = await client.get(url, headers=headers)
        assert answer.status in (403, 404)
        assert "mug" not in await answer.text()
    for headers in ({}, {"Origin": "null"}, {"Origin": "https://evil.example"}):
        answer = await client.post(server.url + "decide", json={"id": "x"}, headers=headers)
        assert answer.status == 403


async def test_only_images_of_the_edition_are_shown(
    server: ReviewServer, client: aiohttp.ClientSession, shop: SandboxRig
):
    key = str(shop.lines()[0]["key"])
    assert (await client.get(server.url + key)).status == 200
    for other in ("manifest.json", "plan-r1.json", "assets/%2e%2e/plan-r1.json", "assets/none.jpg", "ledger/x.jpg"):
        assert (await client.get(server.url + other)).status in (403, 404)


async def test_a_decision_sets_what_it_names_and_leaves_the_rest(
    server: ReviewServer, client: aiohttp.ClientSession, reviewer: Reviewer
):
    image = (await reviewer.choosing()).candidates[0].variant.key[:ID_DIGITS]
    own = {"Origin": server.origin}
    for said in ({"decision": "rejected", "change": "brighter"}, {"stars": 2, "by": "bob"}, {"stars": 2, "by": "bob"}):
        answer = await client.post(server.url + "decide", json={"id": image, **said}, headers=own)
        assert answer.status == 200
    (decision,) = (await reviewer.choosing()).standing.values()
    assert (decision.verdict, decision.change, decision.stars, decision.by) == ("rejected", "brighter", 2, "bob")
    assert len(reviewer.facts()) == 2


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ({"id": "x", "decision": "approved"}, 404),
        ({"decision": "approved"}, 400),
        ({"id": "{image}", "decision": "maybe"}, 400),
        ({"id": "{image}", "stars": 6}, 400),
        ({"id": "{image}", "note": "x" * 2001}, 400),
        ({"id": "{image}", "note": 5}, 400),
        ({"id": "{image}", "note": "a\ud800b"}, 400),
        ([], 400),
    ],
)
async def test_what_is_no_decision_is_refused_and_nothing_is_kept(
    server: ReviewServer, client: aiohttp.ClientSession, reviewer: Reviewer, said: object, status: int
):
    image = (await reviewer.choosing()).candidates[0].variant.key[:ID_DIGITS]
    body = {**said, "id": said["id"].format(image=image)} if isinstance(said, dict) and "id" in said else said
    own = {"Origin": server.origin}
    assert (await client.post(server.url + "decide", json=body, headers=own)).status == status
    assert (await client.post(server.url + "decide", data="{}", headers=own)).status == 415
    assert reviewer.facts() == []


async def test_decisions_are_saved_while_a_large_page_is_made(
    server: ReviewServer, client: aiohttp.ClientSession, reviewer: Reviewer, monkeypatch: pytest.MonkeyPatch
):
    begun, saved = threading.Event(), threading.Event()

    def takes_long(choosing: Choosing, thumbs: set[str], live: Live) -> bytes:
        begun.set()
        assert saved.wait(20)
        return render(choosing, thumbs, live)

    monkeypatch.setattr("adloom.review.server.render", takes_long)
    page = asyncio.create_task(client.get(server.url))
    assert await asyncio.to_thread(begun.wait, 20)
    image = (await reviewer.choosing()).candidates[0].variant.key[:ID_DIGITS]
    wish, origin = {"id": image, "decision": "approved"}, {"Origin": server.origin}
    assert (await client.post(server.url + "decide", json=wish, headers=origin)).status == 200
    saved.set()
    assert (await page).status == 200
