"""Several runs that buy an edition together: each image once, within the limits of one."""

import asyncio

import pytest
from support.shop import SandboxRig, campaign_text

from adloom.plan.assessment import Share
from adloom.targets import open_store
from adloom.wiring import assessment_of, execute

ROWS = 24


def campaign(*, in_flight: int = 8) -> str:
    colours = ", ".join(f"colour{number}" for number in range(ROWS))
    job = f"  - {{id: cup, prompt: 'a {{{{ c }}}} cup', variants: 2, matrix: {{c: [{colours}]}}}}\n"
    return campaign_text(job, more=f"limits: {{in_flight: {in_flight}}}\n")


async def order_of_purchases(shop: SandboxRig, share: Share) -> list[str]:
    store = open_store(shop.settings.archive)
    assessment = await assessment_of(shop.request(share=share), shop.settings, store, to_run=True)
    await execute(shop.settings, store, assessment)
    return [charge.prompt for charge in shop.sandbox.charges()]


@pytest.mark.parametrize("runs", [2, 3, 5])
async def test_runs_that_share_an_edition_buy_each_image_once_and_archive_all(shop: SandboxRig, runs: int):
    shop.write(campaign())
    results = await asyncio.gather(*(shop.run(share=Share(number, runs)) for number in range(runs)))
    assert {result.exit_code for result in results} == {0}
    assert shop.sandbox.state()["posts_received"] == ROWS
    assert shop.bought() == 2 * ROWS
    assert results[-1].published.manifest["totals"]["archived"] == 2 * ROWS


async def test_a_run_begins_at_its_own_part_and_goes_around_for_one_that_never_came(shop: SandboxRig):
    shop.write(campaign(in_flight=1))
    prompts = await order_of_purchases(shop, Share(1, 2))
    assert len(prompts) == ROWS
    numbers = [int(prompt.rpartition("colour")[2].split()[0]) for prompt in prompts]
    assert numbers == [*range(ROWS // 2, ROWS), *range(ROWS // 2)]
