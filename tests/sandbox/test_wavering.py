"""Tasks that have ended and do not show it steadily."""

from __future__ import annotations

import pytest

FOUR = {"prompt": "Generate 4 different images: a mug", "n": 4}


async def in_batch(visitor, task_id: str) -> dict[str, object]:
    answer = await visitor.http.post("/v1/tasks/batch", json={"task_ids": [task_id]}, headers=visitor.headers)
    return answer.json()["data"][0]


@pytest.mark.parametrize(("late", "shown"), [("empty", []), ("null", None), ("missing", "absent")])
async def test_a_completed_task_can_show_its_results_late(visit, late, shown):
    visitor = await visit(late_results_rate=1, late_results_s=100, late_results=late)
    task_id = await visitor.buy(**FOUR)
    early = await visitor.task(task_id)
    assert early["status"] == "completed"
    assert early.get("results", "absent") == early.get("result_data", "absent") == shown
    assert early["usage"] == {"credits_used": 6.12}
    visitor.sandbox.advance(101)
    assert len((await visitor.task(task_id))["results"]) == 4


async def test_a_completed_task_can_show_half_of_its_results_to_its_first_readings(visit):
    visitor = await visit(late_results_rate=1, late_results_readings=2, late_results="partial")
    task_id = await visitor.buy(**FOUR)
    assert [len((await visitor.task(task_id))["results"]) for _ in range(3)] == [2, 2, 4]


@pytest.mark.parametrize(("where", "in_get", "in_line"), [("task", 0, 4), ("batch", 4, 0)])
async def test_results_can_be_late_in_one_kind_of_answer_alone(visit, where, in_get, in_line):
    visitor = await visit(late_results_rate=1, late_results_s=100, late_results_in=where)
    task_id = await visitor.buy(**FOUR)
    assert len((await visitor.task(task_id))["results"]) == in_get
    assert len((await in_batch(visitor, task_id))["results"]) == in_line


async def test_a_line_of_a_batch_can_be_a_summary_that_tells_the_charge_for_what_it_shows(visit):
    lasting = {"late_results_rate": 1, "late_results_s": 100, "late_results": "partial"}
    visitor = await visit(**lasting, late_results_in="batch", late_results_billed=True)
    task_id = await visitor.buy(**FOUR)
    line, alone = await in_batch(visitor, task_id), await visitor.task(task_id)
    assert (len(line["results"]), line["usage"]) == (2, {"credits_used": 3.06})
    assert (len(alone["results"]), alone["usage"]) == (4, {"credits_used": 6.12})


async def test_the_charge_can_be_told_late(visit):
    visitor = await visit(late_usage_s=100)
    task_id = await visitor.buy(**FOUR)
    assert not {"usage", "billing"} & set(await visitor.task(task_id))
    visitor.sandbox.advance(101)
    assert (await visitor.task(task_id))["usage"] == {"credits_used": 6.12}


async def test_the_charge_can_read_as_nothing_at_first(visit):
    visitor = await visit(late_usage_s=100, late_usage="zero")
    task_id = await visitor.buy(**FOUR)
    assert (await visitor.task(task_id))["usage"] == {"credits_used": 0}
    visitor.sandbox.advance(101)
    assert (await visitor.task(task_id))["usage"] == {"credits_used": 6.12}


async def test_a_completed_task_can_read_failed_first(visit):
    visitor = await visit(failed_first_rate=1, failed_first_readings=1)
    task_id = await visitor.buy(**FOUR)
    first, second = await visitor.task(task_id), await visitor.task(task_id)
    assert (first["status"], first["error"]["code"]) == ("failed", "service_error")
    assert (first["billing"]["charge_status"], second["billing"]["charge_status"]) == ("released", "charged")
    assert (second["status"], len(second["results"])) == ("completed", 4)
    assert [(charge.made, charge.state) for charge in visitor.sandbox.charges()] == [(4, "completed")]
