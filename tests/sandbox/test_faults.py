"""Scripted and random faults, each where and as often as it was asked for."""

from __future__ import annotations

from decimal import Decimal
from email.utils import parsedate_to_datetime

import httpx
import pytest


@pytest.mark.parametrize("status", [429, 500, 502, 503])
@pytest.mark.parametrize("html", [False, True])
async def test_the_gateway_can_refuse_in_json_or_html(visit, status, html):
    visitor = await visit()
    visitor.sandbox.script(route="submit", fault="status", status=status, html=html)
    answer = await visitor.post()
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html" if html else "application/json")
    assert visitor.sandbox.charges() == []


async def test_retry_after_comes_as_seconds_as_a_date_or_absurdly_long(visit):
    visitor = await visit()
    for wish in ("", "3", "date:30", "86400"):
        visitor.sandbox.script(route="submit", fault="status", status=429, retry_after=wish)
    answers = [await visitor.post() for _ in range(4)]
    assert "Retry-After" not in answers[0].headers
    assert answers[1].headers["Retry-After"] == "3"
    date = parsedate_to_datetime(answers[2].headers["Retry-After"])
    assert 28 < date.timestamp() - visitor.sandbox.clock.now() <= 30
    assert answers[3].headers["Retry-After"] == "86400"


async def test_lost_replies_come_at_their_rate_and_alike_for_a_seed(visit):
    losses = []
    for _ in range(2):
        visitor = await visit(seed=3, lose_reply_rate=0.33)
        lost = []
        for number in range(40):
            try:
                await visitor.post(prompt=f"mug {number}")
            except httpx.TransportError:
                lost.append(number)
        losses.append(lost)
        assert visitor.sandbox.state()["posts_accepted"] == 40
    assert losses[0] == losses[1]
    assert 6 <= len(losses[0]) <= 20


async def test_scripted_faults_strike_in_order_as_often_as_asked_and_only_what_matches(visit):
    visitor = await visit()
    visitor.sandbox.script(route="submit", fault="status", status=500, times=2, match="vase")
    assert [(await visitor.post(prompt=prompt)).status_code for prompt in ("mug", "vase", "mug", "vase", "vase")] == [
        200,
        500,
        200,
        500,
        200,
    ]
    assert visitor.sandbox.state()["script_waiting"] == 0


async def test_a_script_can_last_for_ever(visit):
    visitor = await visit()
    visitor.sandbox.script(route="credits", fault="status", times=-1)
    assert {(await visitor.get("/v1/credits")).status_code for _ in range(5)} == {503}


@pytest.mark.parametrize("route", ["task", "batch", "list", "credits"])
@pytest.mark.parametrize("fault", ["status", "drop", "partial", "broken_json"])
async def test_reads_fail_too(visit, route, fault):
    visitor = await visit()
    task_id = await visitor.buy()
    visitor.sandbox.script(route=route, fault=fault)

    async def read() -> httpx.Response:
        if route == "batch":
            return await visitor.http.post("/v1/tasks/batch", json={"task_ids": [task_id]}, headers=visitor.headers)
        return await visitor.get({"task": f"/v1/tasks/{task_id}", "list": "/v1/tasks"}.get(route, "/v1/credits"))

    with pytest.raises((httpx.HTTPError, ValueError)):
        (await read()).raise_for_status().json()
    assert (await read()).json()


async def test_reads_fail_at_their_rates(visit):
    visitor = await visit(read_error_rate=0.5, html_error_rate=0.5)
    answers = [await visitor.get("/v1/credits") for _ in range(40)]
    failed = [answer for answer in answers if answer.status_code >= 500]
    assert 8 <= len(failed) <= 32
    assert len({answer.headers["content-type"].split(";")[0] for answer in failed}) == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"route": "submit", "fault": "corrupt"},
        {"route": "outcome", "fault": "drop"},
        {"route": "nowhere", "fault": "drop"},
        {"route": "submit", "fault": "drop", "wish": 1},
        {"route": "callback", "fault": "status"},
    ],
)
async def test_a_script_that_makes_no_sense_is_refused(visit, fault):
    visitor = await visit()
    answer = await visitor.http.post("/_sandbox/script", json=fault)
    assert answer.status_code == 400
    assert visitor.sandbox.state()["script_waiting"] == 0


async def test_a_refused_post_does_not_use_up_a_scripted_ending(visit):
    visitor = await visit(balance_credits=0)
    visitor.sandbox.script(route="outcome", fault="empty")
    assert (await visitor.post()).status_code == 402
    visitor.sandbox.set_credits(balance=Decimal(10))
    assert (await visitor.result())["results"] == []
