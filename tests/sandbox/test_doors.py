"""Who comes in, and how an answer can be lost on its way out."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest


@pytest.mark.parametrize("authorization", ["", "Bearer", "Basic abc", "sk-evo-test"])
async def test_a_request_without_a_bearer_key_is_unauthorized(visit, authorization):
    visitor = await visit()
    answer = await visitor.http.post("/v1/images/generations", json={}, headers={"Authorization": authorization})
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "authentication_error"


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [("revoked", 401, 401), ("key_disabled", 401, "key_disabled"), ("ip_restricted", 403, "ip_restricted")],
)
async def test_a_key_can_be_in_a_state_that_refuses_it(visit, state, status, code):
    visitor = await visit(key_states={"sk-evo-test": state})
    answer = await visitor.post()
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert "sk-evo-test" not in answer.text
    assert (await visitor.as_other("another").post()).status_code == 200


@pytest.mark.parametrize("fault", ["drop", "hang", "partial"])
async def test_an_accepted_post_can_lose_its_answer_on_the_wire(visit, fault):
    visitor = await visit()
    visitor.sandbox.script(route="submit", fault=fault, after=True, seconds=0.1)
    with pytest.raises(httpx.TransportError):
        await visitor.post()
    assert len(visitor.sandbox.charges()) == 1
    assert (await visitor.get("/v1/tasks")).json()["total"] == 1
    assert visitor.sandbox.state()["posts"] == {f"lost_{fault}": 1}


async def test_a_hanging_answer_outlasts_the_clients_patience(visit):
    visitor = await visit()
    visitor.sandbox.script(route="submit", fault="hang", after=True)
    with pytest.raises(httpx.ReadTimeout):
        await visitor.http.post(
            "/v1/images/generations",
            json={"model": "doubao-seedream-4.0", "prompt": "a mug"},
            headers=visitor.headers,
            timeout=0.2,
        )
    assert len(visitor.sandbox.charges()) == 1


async def test_an_accepted_post_can_be_answered_with_502_or_broken_json(visit):
    visitor = await visit()
    visitor.sandbox.script(
        {"route": "submit", "fault": "status", "after": True, "status": 502, "html": True},
        {"route": "submit", "fault": "broken_json"},
    )
    page = await visitor.post()
    assert page.status_code == 502
    assert page.headers["content-type"].startswith("text/html")
    broken = await visitor.post()
    assert broken.status_code == 200
    with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
        broken.json()
    assert len(visitor.sandbox.charges()) == 2


@pytest.mark.parametrize("fault", ["drop", "hang"])
async def test_a_connection_can_break_before_anything_is_accepted(visit, fault):
    visitor = await visit()
    visitor.sandbox.script(route="submit", fault=fault, seconds=0.05)
    with pytest.raises(httpx.TransportError):
        await visitor.post()
    assert visitor.sandbox.charges() == []
    assert (await visitor.post()).status_code == 200


async def test_an_answer_can_be_slow(visit):
    visitor = await visit()
    visitor.sandbox.script(route="submit", fault="slow", seconds=0.2)
    begun = time.monotonic()
    assert (await visitor.post()).status_code == 200
    assert time.monotonic() - begun >= 0.2


async def test_open_posts_are_counted(visit):
    visitor = await visit()
    visitor.sandbox.script(route="submit", fault="slow", seconds=0.1, times=4)
    await asyncio.gather(*(visitor.post() for _ in range(4)))
    assert visitor.sandbox.state()["most_open_posts"] == 4
