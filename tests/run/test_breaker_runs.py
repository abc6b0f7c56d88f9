"""A model whose tasks fail: it is not bought from any more, and what other models make goes on."""

import pytest
from support.fakes import FakeSource, ManualClock, MemoryStore, ScriptedApi, a_row, a_world, completed, look_at, run_all
from support.shop import SandboxRig, campaign_text

from adloom.core.task import Task, TaskState

OTHER = "doubao-seedream-4.5"


def failed(task: str, code: str = "service_error") -> Task:
    return Task(task, TaskState.FAILED, charge_status="released", error_code=code, error_message="sorry", word="failed")


@pytest.fixture
def world():
    clock = ManualClock()
    return a_world(MemoryStore(), clock, ScriptedApi(clock))


async def test_when_every_task_fails_the_buying_ends_in_the_apis_own_words(world):
    world.api.state_of = failed
    result = await run_all(world, await look_at(world, FakeSource([a_row(f"r{n}") for n in range(100)]), in_flight=4))
    assert result.exit_code == 7
    assert 8 <= len(world.api.posts) <= 24
    assert "service_error (sorry)" in result.stops[0].message
    assert result.published.manifest["totals"]["open"] == 100
    assert result.published.manifest["totals"]["credits_charged"] == 0


async def test_rows_of_another_model_are_bought_on(world):
    models = {}

    def state(task):
        post = world.api.posts[int(task.rsplit("-", 1)[1]) - 1]
        models[task] = post.body["model"]
        return completed(task, f"https://r.example/{task}") if models[task] == OTHER else failed(task)

    world.api.state_of = state
    rows = [a_row(f"r{n}", model=OTHER if n % 2 else "doubao-seedream-4.0", quality="2K") for n in range(60)]
    world.api.reserved_per_image = None
    result = await run_all(world, await look_at(world, FakeSource(rows), in_flight=4))
    assert list(models.values()).count(OTHER) == 30
    assert list(models.values()).count("doubao-seedream-4.0") < 25
    assert result.exit_code == 7
    assert result.published.manifest["totals"]["archived"] == 30


async def test_failures_of_prompts_break_no_model(world):
    world.api.state_of = lambda task: failed(task, "content_policy_violation")
    result = await run_all(world, await look_at(world, FakeSource([a_row(f"r{n}") for n in range(30)])))
    assert len(world.api.posts) == 30
    assert result.exit_code == 3
    assert result.published.manifest["totals"]["refused"] == 30


async def test_its_fallback_takes_over(shop: SandboxRig):
    jobs = "  - {id: mug, prompt: 'mug {{ n }}', quality: 2K, matrix: {n: [a, b, c, d, e, f, g, h, i, j]}}\n"
    shop.write(campaign_text(jobs, more=f"fallback: [{OTHER}]\n"))
    for _ in range(10):
        shop.sandbox.script(route="outcome", fault="failed", code="service_error")
    result = await shop.run(in_flight=10)
    assert result.exit_code == 0
    bought = [charge.model for charge in shop.sandbox.charges() if charge.charged]
    assert bought == [OTHER] * 10
