"""The API's own handlers: repeated keys, limits, and reading tasks one by one, in batches and as a list."""

from __future__ import annotations


async def test_models_are_listed(visit):
    visitor = await visit()
    names = [model["id"] for model in (await visitor.get("/v1/models")).json()["data"]]
    assert "doubao-seedream-4.0" in names


async def test_an_ignored_key_buys_twice(visit):
    visitor = await visit()
    await visitor.post(key="run_0123456789abcdef")
    await visitor.post(key="run_0123456789abcdef")
    assert len(visitor.sandbox.charges()) == 2


async def test_an_honoured_key_replays_the_first_task(visit):
    visitor = await visit(idempotency="honoured")
    first = await visitor.post(key="run_0123456789abcdef")
    again = await visitor.post(key="run_0123456789abcdef")
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert len(visitor.sandbox.charges()) == 1
    other = await visitor.post(key="run_0123456789abcdef", n=2)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
    stranger = await visitor.as_other("other").post(key="run_0123456789abcdef")
    assert stranger.json()["id"] != first.json()["id"]
    assert (await visitor.post(key="short")).status_code == 400


async def test_an_unsure_gateway_says_that_it_does_not_know(visit):
    visitor = await visit(idempotency="unsure", unsure_status=503)
    await visitor.post(key="run_0123456789abcdef")
    again = await visitor.post(key="run_0123456789abcdef")
    assert (again.status_code, again.json()["error"]["code"]) == (503, "paid_outcome_unknown")
    assert len(visitor.sandbox.charges()) == 1


async def test_a_replay_is_not_counted_as_a_purchase(visit):
    visitor = await visit(idempotency="honoured")
    await visitor.post(key="run_0123456789abcdef")
    await visitor.post(key="run_0123456789abcdef")
    state = visitor.sandbox.state()
    assert (state["posts_received"], state["posts_accepted"]) == (2, 1)
    assert state["posts"] == {"accepted": 1, "replayed": 1}


async def test_running_tasks_and_requests_per_minute_are_limited(visit):
    visitor = await visit(running_tasks_limit=2, limit_retry_after="7")
    await visitor.post()
    await visitor.post()
    refused = await visitor.post()
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "7")
    assert refused.json()["error"]["type"] == "rate_limit_error"
    visitor.sandbox.finish()
    assert (await visitor.post()).status_code == 200
    visitor.sandbox.change(running_tasks_limit=None, requests_per_minute=4)
    assert [(await visitor.post()).status_code for _ in range(2)] == [200, 429]
    visitor.sandbox.advance(61)
    assert (await visitor.post()).status_code == 200


async def test_bursts_of_429_come_whatever_the_pace(visit):
    visitor = await visit(burst_429_every_s=1000, burst_429_for_s=500)
    seen = []
    for _ in range(4):
        seen.append((await visitor.post()).status_code)
        visitor.sandbox.advance(500)
    assert sorted(seen) == [200, 200, 429, 429]


async def test_error_codes_may_be_words(visit):
    visitor = await visit(string_error_codes=True)
    assert (await visitor.post(n=99)).json()["error"]["code"] == "invalid_request_error"


async def test_a_badly_formed_id_is_400_and_an_unknown_one_404(visit):
    visitor = await visit()
    assert (await visitor.get("/v1/tasks/nonsense")).status_code == 400
    assert (await visitor.get("/v1/tasks/task-unified-1700000000-abcdefgh")).status_code == 404


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
