"""A task from its acceptance to its end, as its account sees it."""

from __future__ import annotations


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


async def test_some_tasks_never_finish_until_they_are_told_to(visit):
    visitor = await visit(never_finish_rate=1)
    task_id = (await visitor.post()).json()["id"]
    visitor.sandbox.advance(86_400)
    assert (await visitor.task(task_id))["status"] == "processing"
    assert visitor.sandbox.finish() == 1
    assert (await visitor.task(task_id))["status"] == "completed"
