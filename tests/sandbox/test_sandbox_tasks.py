from __future__ import annotations

import pytest

from adloom.sandbox import SandboxSettings
from adloom.sandbox.outcomes import Ending


async def test_a_task_goes_from_pending_over_processing_to_completed_by_the_sandbox_clock(visit):
    visitor = await visit(task_seconds=60)
    task_id = (await visitor.post()).json()["id"]
    seen = []
    for _ in range(8):
        task = await visitor.task(task_id)
        seen.append((task["status"], task["progress"], task["task_info"]["can_cancel"]))
        visitor.sandbox.advance(10)
    states = [state for state, _, _ in seen]
    assert states[0] == "pending"
    assert states[3] == "processing"
    assert states[-1] == "completed"
    assert [progress for _, progress, _ in seen] == sorted(progress for _, progress, _ in seen)
    assert seen[-1] == ("completed", 100, False)


async def test_a_completed_task_shows_links_and_money(visit):
    visitor = await visit()
    task = await visitor.result(prompt="Generate 2 different images: a mug", n=3)
    assert len(set(task["results"])) == 2
    assert task["result_data"] == [{"url": link} for link in task["results"]]
    assert task["usage"] == {"credits_used": 3.06}
    assert task["billing"]["charge_status"] == "charged"
    assert task["billing"]["refunded_credits"] == 1.53


async def test_a_badly_formed_id_is_400_and_an_unknown_one_404(visit):
    visitor = await visit()
    assert (await visitor.get("/v1/tasks/nonsense")).status_code == 400
    assert (await visitor.get("/v1/tasks/task-unified-1700000000-abcdefgh")).status_code == 404


async def test_another_accounts_task_is_not_found_and_absent_from_its_batch_and_list(visit):
    visitor = await visit()
    task_id = await visitor.buy()
    other = visitor.as_other("sk-evo-other")
    assert (await other.get(f"/v1/tasks/{task_id}")).status_code == 404
    batch = await other.http.post("/v1/tasks/batch", json={"task_ids": [task_id]}, headers=other.headers)
    assert batch.json() == {"data": []}
    assert (await other.get("/v1/tasks")).json()["total"] == 0


async def test_a_task_older_than_the_retention_has_expired(visit):
    visitor = await visit(task_retention_s=3600)
    task_id = await visitor.buy()
    visitor.sandbox.advance(3601)
    assert (await visitor.get(f"/v1/tasks/{task_id}")).status_code == 404


async def test_there_is_no_way_to_cancel(visit):
    visitor = await visit()
    task_id = (await visitor.post()).json()["id"]
    answer = await visitor.http.post(f"/v1/tasks/{task_id}/cancel", headers=visitor.headers)
    assert answer.status_code == 404


async def test_a_batch_reads_up_to_fifty_tasks_at_once(visit):
    visitor = await visit()
    ids = [await visitor.buy(prompt=f"mug {number}") for number in range(3)]
    answer = await visitor.http.post(
        "/v1/tasks/batch", json={"task_ids": [*ids, "task-unified-1700000000-abcdefgh"]}, headers=visitor.headers
    )
    assert [task["id"] for task in answer.json()["data"]] == ids
    too_many = await visitor.http.post("/v1/tasks/batch", json={"task_ids": ids * 17}, headers=visitor.headers)
    assert too_many.status_code == 400


async def test_batch_and_list_can_be_closed_to_the_key(visit):
    visitor = await visit(batch_status=403, list_status=404)
    answer = await visitor.http.post("/v1/tasks/batch", json={"task_ids": ["x"]}, headers=visitor.headers)
    assert answer.status_code == 403
    assert (await visitor.get("/v1/tasks")).status_code == 404


async def test_the_list_shows_the_newest_first_in_pages_and_by_status(visit):
    visitor = await visit()
    ended = [await visitor.buy(prompt=f"mug {number}") for number in range(3)]
    running = [(await visitor.post()).json()["id"] for _ in range(2)]
    first = (await visitor.get("/v1/tasks", page=1, page_size=3)).json()
    assert [line["id"] for line in first["data"]] == [*reversed(running), ended[2]]
    assert (first["total"], first["page"], first["page_size"]) == (5, 1, 3)
    second = (await visitor.get("/v1/tasks", page=2, page_size=3)).json()
    assert [line["id"] for line in second["data"]] == [ended[1], ended[0]]
    queued = (await visitor.get("/v1/tasks", status="processing")).json()
    assert [line["id"] for line in queued["data"]] == [*reversed(running)]
    done = (await visitor.get("/v1/tasks", status="completed", page_size=2)).json()
    assert (done["total"], [line["id"] for line in done["data"]]) == (3, [ended[2], ended[1]])
    assert "results" not in done["data"][0]
    assert done["data"][0]["credits_used"] == 1.53
    assert (await visitor.get("/v1/tasks", model="doubao-seedream-4.5")).json()["total"] == 0
    assert (await visitor.get("/v1/tasks", type="video")).json()["total"] == 0
    assert (await visitor.get("/v1/tasks", page_size=51)).status_code == 400


@pytest.mark.parametrize(
    ("ending", "status", "made", "charged"),
    [
        ("failed", "failed", 0, 0),
        ("failed_without_error", "failed", 0, 0),
        ("cancelled", "cancelled", 0, 4.59),
        ("empty", "completed", 0, 0),
        ("missing", "completed", 0, 0),
        ("duplicate", "completed", 3, 4.59),
        ("surplus", "completed", 4, 4.59),
    ],
)
async def test_a_task_can_end_in_every_known_way(visit, ending, status, made, charged):
    visitor = await visit()
    visitor.sandbox.script(route="outcome", fault=ending)
    task = await visitor.result(prompt="Generate 3 different images: a mug", n=3)
    assert task["status"] == status
    charge = visitor.sandbox.charges()[0]
    assert (charge.made, float(charge.charged)) == (made, charged)
    assert charge.charged + charge.released == charge.reserved


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


async def test_a_failure_carries_the_code_it_was_given(visit):
    visitor = await visit()
    visitor.sandbox.script(route="outcome", fault="failed", code="generation_timeout", match="mug")
    assert (await visitor.result(prompt="a vase"))["status"] == "completed"
    failed = await visitor.result(prompt="a mug")
    assert failed["error"]["code"] == "generation_timeout"
    assert failed["billing"]["charge_status"] == "released"


async def test_some_tasks_never_finish_until_they_are_told_to(visit):
    visitor = await visit(never_finish_rate=1)
    task_id = (await visitor.post()).json()["id"]
    visitor.sandbox.advance(86_400)
    assert (await visitor.task(task_id))["status"] == "processing"
    assert visitor.sandbox.finish() == 1
    assert (await visitor.task(task_id))["status"] == "completed"


async def test_a_status_nobody_has_heard_of_is_possible(visit):
    visitor = await visit(strange_rate=1, strange_word="levitating")
    task_id = (await visitor.post()).json()["id"]
    visitor.sandbox.advance(3600)
    assert (await visitor.task(task_id))["status"] == "levitating"


async def test_tasks_may_start_at_processing_and_under_another_model_name(visit):
    visitor = await visit(start_at_processing=True, model_alias="seedream-internal")
    answer = (await visitor.post()).json()
    assert (answer["status"], answer["model"]) == ("processing", "seedream-internal")


async def test_sets_lose_images_to_moderation_and_to_faults_in_the_middle(visit):
    visitor = await visit(hole_rate=0.3, tail_cut_rate=0.3)
    for number in range(12):
        await visitor.buy(prompt=f"Generate 5 different images: mug {number}", n=5)
    made = [charge.made for charge in visitor.sandbox.charges()]
    assert min(made) < 5 <= max([5, *made])
    assert all(charge.charged == charge.reserved / 5 * charge.made for charge in visitor.sandbox.charges())


async def test_what_is_not_documented_can_be_switched_off_and_the_order_shuffled(visit):
    visitor = await visit(show_credits_used=False, show_billing=False, shuffle_fields=True, shuffle_results=True)
    task_id = await visitor.buy(prompt="Generate 4 different images: a mug", n=4)
    readings = [await visitor.task(task_id) for _ in range(6)]
    assert not {"usage", "billing"} & set(readings[0])
    assert len({tuple(reading) for reading in readings}) > 1
    assert len({tuple(reading["results"]) for reading in readings}) > 1
    visitor.sandbox.change(minimal_answers=True)
    assert set(await visitor.task(task_id)) == {"id", "status", "results"}


@pytest.mark.parametrize("rate", [name for name in SandboxSettings.model_fields if name.endswith("failure_rate")])
async def test_every_failure_rate_makes_tasks_fail(visit, rate):
    visitor = await visit(**{rate: 1})
    assert (await visitor.result())["status"] == "failed"


async def test_the_same_seed_gives_the_same_fates(visit):
    fates = []
    for seed in (1, 1, 2):
        visitor = await visit(seed=seed, transient_failure_rate=0.3, hole_rate=0.3)
        for number in range(20):
            await visitor.buy(prompt=f"Generate 3 different images: mug {number}", n=3)
        fates.append([(charge.state, charge.made) for charge in visitor.sandbox.charges()])
    assert fates[0] == fates[1]
    assert fates[0] != fates[2]


def test_every_ending_can_be_scripted():
    assert {ending.value for ending in Ending} >= {"never", "strange", "cancelled", "surplus"}
