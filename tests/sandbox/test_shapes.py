"""The JSON of a task, as documented and as it might also come."""

from __future__ import annotations


async def test_a_completed_task_shows_links_and_money(visit):
    visitor = await visit()
    task = await visitor.result(prompt="Generate 2 different images: a mug", n=3)
    assert len(set(task["results"])) == 2
    assert task["result_data"] == [{"url": link} for link in task["results"]]
    assert task["usage"] == {"credits_used": 3.06}
    assert task["billing"]["charge_status"] == "charged"
    assert task["billing"]["refunded_credits"] == 1.53


async def test_the_odd_endings_look_odd(visit):
    visitor = await visit()
    for ending in ("failed_without_error", "empty", "missing", "duplicate", "surplus"):
        visitor.sandbox.script(route="outcome", fault=ending)
    errorless, empty, missing, duplicate, surplus = [await visitor.result() for _ in range(5)]
    assert "error" not in errorless
    assert errorless["progress"] == 0
    assert empty["results"] == []
    assert "results" not in missing
    assert len(duplicate["results"]) == 2
    assert len(set(duplicate["results"])) == 1
    assert len(set(surplus["results"])) == 2


async def test_a_status_nobody_has_heard_of_is_possible(visit):
    visitor = await visit(strange_rate=1, strange_word="levitating")
    task_id = (await visitor.post()).json()["id"]
    visitor.sandbox.advance(3600)
    assert (await visitor.task(task_id))["status"] == "levitating"


async def test_tasks_may_start_at_processing_and_under_another_model_name(visit):
    visitor = await visit(start_at_processing=True, model_alias="seedream-internal")
    answer = (await visitor.post()).json()
    assert (answer["status"], answer["model"]) == ("processing", "seedream-internal")


async def test_what_is_not_documented_can_be_switched_off_and_the_order_shuffled(visit):
    visitor = await visit(show_credits_used=False, show_billing=False, shuffle_fields=True, shuffle_results=True)
    task_id = await visitor.buy(prompt="Generate 4 different images: a mug", n=4)
    readings = [await visitor.task(task_id) for _ in range(6)]
    assert not {"usage", "billing"} & set(readings[0])
    assert len({tuple(reading) for reading in readings}) > 1
    assert len({tuple(reading["results"]) for reading in readings}) > 1
    visitor.sandbox.change(minimal_answers=True)
    assert set(await visitor.task(task_id)) == {"id", "status", "results"}
