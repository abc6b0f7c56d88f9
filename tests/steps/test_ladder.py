"""What an unknown purchase is settled by, over a store and an API in memory."""

import pytest
from fakes import EDITION, MODEL, FakeSource, ManualClock, MemoryStore, ScriptedApi, a_row, a_world, look_at, run_all

from adloom.core.errors import OutcomeUnknown
from adloom.core.task import ListedTask, TaskState
from adloom.ledger import to_json
from adloom.plan import Planner


class Listing(ScriptedApi):
    """An API that shows its tasks: one was made by the purchase whose answer was lost."""

    async def list_tasks(self, created_after):
        made = int(self.clock.now())
        return [ListedTask("task-lost", TaskState.PROCESSING, MODEL, made)] if created_after <= made else []


@pytest.mark.parametrize(("claimed_by", "exit_code"), [(None, 0), ("itself", 0), ("another", 6)])
async def test_the_one_task_of_the_list_is_adopted_even_after_a_death_between_claim_and_adoption(claimed_by, exit_code):
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    source = FakeSource([a_row()])
    call = next(Planner({}, {}).plan(source.rows())).calls[0].id
    if claimed_by:
        owner = call if claimed_by == "itself" else "another"
        claim = {"edition": EDITION.prefix, "call": owner, "attempt": 1, "writer": "run-dead"}
        store.objects["tasks/task-lost.json"] = to_json(claim)
    world = a_world(store, clock, api, dedicated_key=True)
    result = await run_all(world, await look_at(world, source))
    assert result.exit_code == exit_code
    assert len(api.posts) == 1
    assert result.published.manifest["totals"]["archived"] == (exit_code == 0)


async def test_a_campaign_called_like_the_folder_of_claims_is_not_taken_for_claims():
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    store.objects["tasks/main/plan-r1.json"] = b"{}"
    world = a_world(store, clock, api, dedicated_key=True)
    assert (await run_all(world, await look_at(world, FakeSource([a_row()])))).exit_code == 0
