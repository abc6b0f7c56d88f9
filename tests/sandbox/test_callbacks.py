"""Callbacks: what they bring, how often they are tried, and how they can go wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web


class Receiver:
    """A hook that remembers what it got and answers from a list."""

    def __init__(self) -> None:
        self._got_one = asyncio.Event()
        self.bodies: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.url = ""

    async def receive(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        self._got_one.set()
        return web.Response(status=self.answers.pop(0) if self.answers else 200)

    async def has(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(3):
            while len(self.bodies) < count:
                self._got_one.clear()
                await self._got_one.wait()
        return self.bodies


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    hook = Receiver()
    application = web.Application()
    application.router.add_post("/hook", hook.receive)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield hook
    await runner.cleanup()


@pytest.fixture
async def hooked(visit: Callable[..., Any]) -> Callable[..., Any]:
    async def start(**switches: Any) -> Any:
        switches = {"allow_loopback_callbacks": True, "callback_retry_waits_s": (0.01, 0.02, 0.04)} | switches
        return await visit(**switches)

    return start


async def test_a_callback_brings_the_task_as_a_query_shows_it(hooked, receiver):
    visitor = await hooked()
    task_id = await visitor.buy(callback_url=receiver.url)
    (body,) = await receiver.has(1)
    assert body == await visitor.task(task_id)
    assert body["status"] == "completed"


async def test_a_callback_leaves_by_itself_when_the_task_has_ended(hooked, receiver):
    visitor = await hooked(task_seconds=0.05)
    await visitor.post(callback_url=receiver.url)
    assert (await receiver.has(1))[0]["status"] == "completed"


async def test_failures_call_back_too(hooked, receiver):
    visitor = await hooked(final_failure_rate=1)
    await visitor.buy(callback_url=receiver.url)
    assert (await receiver.has(1))[0]["status"] == "failed"


async def test_a_callback_is_tried_four_times_and_then_never_again(hooked, receiver):
    visitor = await hooked()
    receiver.answers = [500] * 9
    await visitor.buy(callback_url=receiver.url)
    await receiver.has(4)
    await asyncio.sleep(0.1)
    assert len(receiver.bodies) == 4
    assert visitor.sandbox.state()["callbacks"]["given_up"] == 1


async def test_a_callback_stops_at_the_first_2xx(hooked, receiver):
    visitor = await hooked()
    receiver.answers = [500, 204]
    await visitor.buy(callback_url=receiver.url)
    await receiver.has(2)
    await asyncio.sleep(0.1)
    assert len(receiver.bodies) == 2


async def test_the_documented_waits_are_the_default(visit):
    visitor = await visit()
    assert visitor.sandbox.settings.callback_retry_waits_s == (1, 2, 4)
    assert visitor.sandbox.settings.callback_timeout_s == 10


async def test_a_callback_can_be_lost_doubled_forged_or_disagree(hooked, receiver):
    visitor = await hooked()
    for fault in ("lost", "duplicate", "forged", "disagrees"):
        visitor.sandbox.script(route="callback", fault=fault, match=f"{fault} mug")
    ids = {}
    for fault, count in (("lost", 0), ("duplicate", 2), ("forged", 4), ("disagrees", 5)):
        ids[fault] = await visitor.buy(prompt=f"a {fault} mug", callback_url=receiver.url)
        await receiver.has(count)
    bodies = [(body["id"], body["status"]) for body in receiver.bodies]
    assert bodies[:2] == [(ids["duplicate"], "completed")] * 2
    assert bodies[2][0] not in ids.values()
    assert bodies[3] == (ids["forged"], "completed")
    assert bodies[4] == (ids["disagrees"], "failed")
    assert visitor.sandbox.state()["callbacks"]["lost"] == 1


async def test_a_callback_can_be_late(hooked, receiver):
    visitor = await hooked(callback_late_rate=1, callback_late_s=0.2)
    await visitor.buy(callback_url=receiver.url)
    await asyncio.sleep(0.1)
    assert receiver.bodies == []
    await receiver.has(1)


async def test_a_callback_can_come_before_the_answer_to_the_post(hooked, receiver):
    visitor = await hooked(callback_before_answer=True)
    answer = await visitor.post(callback_url=receiver.url)
    assert [body["id"] for body in receiver.bodies] == [answer.json()["id"]]


async def test_callbacks_can_come_out_of_order(hooked, receiver):
    visitor = await hooked(callbacks_out_of_order=True)
    ids = [await visitor.buy(callback_url=receiver.url) for _ in range(2)]
    assert [body["id"] for body in await receiver.has(2)] == [*reversed(ids)]


async def test_a_lost_answer_still_calls_back(hooked, receiver):
    visitor = await hooked(task_seconds=0.05)
    visitor.sandbox.script(route="submit", fault="status", after=True)
    await visitor.post(callback_url=receiver.url)
    (body,) = await receiver.has(1)
    assert body["id"] == visitor.sandbox.charges()[0].task_id


async def test_loopback_is_refused_unless_switched_on_and_strangers_are_never_called(visit, receiver):
    visitor = await visit()
    assert (await visitor.post(callback_url=receiver.url)).status_code == 400
    await visitor.buy(callback_url="https://hooks.example/1")
    assert visitor.sandbox.state()["callbacks"] == {"unsent": 1}
