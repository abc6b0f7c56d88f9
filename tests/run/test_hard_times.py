"""A wall clock that somebody sets, and an API that answers nothing for five minutes."""

import pytest
from support.fakes import FakeSource, ManualClock, MemoryStore, ScriptedApi, a_row, a_world, completed, look_at, run_all

from adloom.core.errors import ReadFailed
from adloom.core.task import Task

DAY_S = 24 * 3600
BROWN_OUT_S = 5 * 60
ROWS = [a_row(f"mug-{number}") for number in range(8)]


@pytest.mark.parametrize("days", [1, -1])
async def test_a_wall_clock_that_jumps_by_a_day_buys_nothing_again_and_loses_nothing(days):
    clock, store = ManualClock(), MemoryStore()
    api = ScriptedApi(clock)

    def jump_and_complete(task: str) -> Task | None:
        clock.jumped = days * DAY_S
        return completed(task, f"https://results.example/{task}/0")

    api.state_of = jump_and_complete
    world = a_world(store, clock, api)
    result = await run_all(world, await look_at(world, FakeSource(ROWS)))
    assert (result.exit_code, len(api.posts)) == (0, len(ROWS))
    assert result.published.manifest["totals"]["archived"] == len(ROWS)
    clock.jumped = -days * DAY_S
    again = await run_all(world, await look_at(world, FakeSource(ROWS)))
    assert (again.exit_code, len(api.posts)) == (0, len(ROWS))


async def test_a_brown_out_costs_nothing_and_is_not_answered_with_a_storm_of_reads():
    clock, store = ManualClock(), MemoryStore()
    api = ScriptedApi(clock)
    normal = api.tasks

    async def browned_out(task_ids):
        if clock.monotonic() < BROWN_OUT_S:
            api.reads.append((clock.monotonic(), tuple(task_ids)))
            raise ReadFailed("a 503", status=503)
        return await normal(task_ids)

    api.tasks = browned_out
    world = a_world(store, clock, api)
    result = await run_all(world, await look_at(world, FakeSource(ROWS)))
    assert (result.exit_code, len(api.posts)) == (0, len(ROWS))
    assert result.published.manifest["totals"]["archived"] == len(ROWS)
    afterwards = [task_ids for moment, task_ids in api.reads if moment >= BROWN_OUT_S]
    assert len(api.reads) <= 4 * len(ROWS)  # a hundred, were the poll interval kept
    everything = {task_id for _, task_ids in api.reads for task_id in task_ids}
    assert len(everything) == len(ROWS)
    assert [sorted(task_ids) for task_ids in afterwards] == [sorted(everything)]  # one batch, each task once
