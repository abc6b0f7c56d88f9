"""A third of all answers lost; ``make torture`` tries more seeds."""

import pytest
from support.shop import SandboxRig
from torture.lost_replies import lose_a_third


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("remembered", [True, False])
async def test_a_third_of_all_answers_lost_buys_nothing_twice(shop: SandboxRig, *, remembered: bool, listed: bool):
    verdict = await lose_a_third(shop, (remembered, listed, 3))
    assert verdict.problems == []
    assert verdict.bought == 48
    assert verdict.held == 0 or not (remembered or listed)
