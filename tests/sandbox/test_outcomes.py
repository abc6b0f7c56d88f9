"""How a task ends: by script, by rate, by a word of its prompt, and alike for a seed."""

from __future__ import annotations

import pytest

from adloom.sandbox import SandboxSettings
from adloom.sandbox.outcomes import Ending


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


async def test_a_failure_carries_the_code_it_was_given(visit):
    visitor = await visit()
    visitor.sandbox.script(route="outcome", fault="failed", code="generation_timeout", match="mug")
    assert (await visitor.result(prompt="a vase"))["status"] == "completed"
    failed = await visitor.result(prompt="a mug")
    assert failed["error"]["code"] == "generation_timeout"
    assert failed["billing"]["charge_status"] == "released"


async def test_sets_lose_images_to_moderation_and_to_faults_in_the_middle(visit):
    visitor = await visit(hole_rate=0.3, tail_cut_rate=0.3)
    for number in range(12):
        await visitor.buy(prompt=f"Generate 5 different images: mug {number}", n=5)
    made = [charge.made for charge in visitor.sandbox.charges()]
    assert min(made) < 5 <= max([5, *made])
    assert all(charge.charged == charge.reserved / 5 * charge.made for charge in visitor.sandbox.charges())


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
