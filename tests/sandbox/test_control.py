"""The switches that tests turn over HTTP."""

from __future__ import annotations

import pytest

from adloom.sandbox import SandboxSettings


async def test_the_state_and_the_charge_log_can_be_read_over_http(visit):
    visitor = await visit()
    await visitor.buy(prompt="Generate 2 different images: a mug", n=3)
    await visitor.post()
    await visitor.post(n=99)
    state = (await visitor.http.get("/_sandbox/state")).json()
    assert (state["posts_received"], state["posts_accepted"], state["images_made"]) == (3, 2, 2)
    assert state["posts"] == {"accepted": 2, "400": 1}
    assert state["tasks"] == {"running": 1, "completed": 1, "failed": 0, "cancelled": 0}
    assert (state["credits_reserved"], state["credits_charged"], state["credits_released"]) == (1.53, 3.06, 1.53)
    first, second = (await visitor.http.get("/_sandbox/charges")).json()
    assert (first["charged"], first["state"], second["state"]) == (3.06, "completed", "running")
    assert len(first["request_sha256"]) == 64


async def test_clock_settings_credits_and_running_tasks_can_be_moved_over_http(visit):
    visitor = await visit(task_seconds=60)
    control = visitor.http
    await visitor.post()
    await control.post("/_sandbox/clock", json={"advance_s": 61})
    assert visitor.sandbox.charges()[0].state == "completed"
    await control.post("/_sandbox/settings", json={"credits_per_image": "1.8", "task_seconds": [5, 9]})
    assert (await visitor.post()).json()["usage"]["credits_reserved"] == 1.8
    assert (await control.post("/_sandbox/finish")).json() == {"finished": 1}
    await control.post("/_sandbox/credits", json={"balance": 1, "key": "sk-evo-test"})
    assert (await visitor.post()).status_code == 402
    assert (await visitor.as_other("other").post()).status_code == 200
    await control.post("/_sandbox/credits", json={"balance": 0})
    assert (await visitor.as_other("third").post()).status_code == 402


async def test_some_tasks_can_be_finished_and_the_others_left(visit):
    visitor = await visit()
    ids = [(await visitor.post()).json()["id"] for _ in range(2)]
    await visitor.http.post("/_sandbox/finish", json={"ids": ids[:1]})
    assert [charge.state for charge in visitor.sandbox.charges()] == ["completed", "running"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("settings", {"no_such_switch": 1}),
        ("settings", {"lose_reply_rate": 2}),
        ("clock", {"advance_s": -1}),
        ("clock", {"advance_s": "soon"}),
        ("credits", {"fortune": 1}),
        ("credits", {"balance": "much"}),
        ("script", {"faults": "drop"}),
        ("finish", []),
    ],
)
async def test_nonsense_is_refused_and_changes_nothing(visit, path, body):
    visitor = await visit()
    before = visitor.sandbox.settings
    answer = await visitor.http.post(f"/_sandbox/{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert visitor.sandbox.settings == before


async def test_a_task_time_may_be_one_number_a_pair_or_text():
    spans = [SandboxSettings(task_seconds=value).task_seconds for value in (2, "2", "1,3", (1, 3))]
    assert spans == [(2, 2), (2, 2), (1, 3), (1, 3)]
