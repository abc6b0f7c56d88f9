"""What one call costs in requests to the archive: each fact is a PUT, so there are no more than what they mean."""

from support.fakes import FakeSource, ScriptedApi, a_row, a_world, completed, look_at, run_all


async def test_a_call_takes_six_records_and_one_look_whatever_it_makes(store, clock):
    api = ScriptedApi(clock)
    links = [f"https://results.example/task-001/{number}" for number in range(3)]
    api.state_of = lambda task: completed(task, *links)
    world = a_world(store, clock, api)
    assessment = await look_at(world, FakeSource([a_row(variants=3)]))
    looks: list[str] = []
    store.fault = lambda operation, key: looks.append(key) if operation == "list" else None
    result = await run_all(world, assessment)
    (call,) = assessment.ledger.calls() or [key.split("/")[3] for key in store.writes if key.endswith("a1-intent.json")]
    records = [key.rpartition("/")[2] for key in store.writes if f"/ledger/{call}/" in key]
    assert records == [
        "a1-intent.json",
        "a1-accepted.task-001.json",
        "a1-completed.json",
        "a1-settled.json",
        "a1-archived-1.json",
    ]
    assert [key for key in store.writes if key.startswith("tasks/")] == ["tasks/task-001.json"]
    assert len([key for key in store.writes if "/assets/" in key and key.endswith(".png")]) == 3
    assert [key.rpartition("ledger/")[2] for key in looks if key.endswith(f"ledger/{call}/")] == [f"{call}/"]
    assert result.exit_code == 0
