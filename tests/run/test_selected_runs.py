"""Runs for a part of a campaign: what they buy, what they leave, and what the cap counts."""

import pytest
from support.shop import SandboxRig, campaign_text

from adloom.core.errors import SettingInvalid
from adloom.core.outcomes import Status
from adloom.core.selection import Selection
from adloom.targets import open_store
from adloom.wiring import assessment_of, execute

TWELVE = campaign_text("  - {id: mug, prompt: 'mug {{ n }}', variants: 2, matrix: {n: [a, b, c, d, e, f]}}\n")


def _statuses(shop: SandboxRig) -> str:
    return "".join(str(line["status"])[0] for line in shop.lines())


def _revisions(shop: SandboxRig) -> list[str]:
    return sorted(path.name for path in shop.edition().glob("plan-r*.json"))


async def test_a_run_for_some_rows_buys_those_and_leaves_the_rest_open_in_plan_order(shop: SandboxRig):
    shop.write(TWELVE)
    result = await shop.run(selection=Selection(where='n in ["b", "e"]'))
    assert result.exit_code == 0
    assert _statuses(shop) == "ooaaooooaaoo"
    assert result.published.manifest["status"] == "partial"
    assert [charge.n for charge in shop.sandbox.charges()] == [2, 2]


async def test_the_next_whole_run_buys_the_rest_from_the_same_revision_and_nothing_twice(shop: SandboxRig):
    shop.write(TWELVE)
    for selection in (Selection(first=2), Selection(sample=3), Selection(first=2)):
        assert (await shop.run(selection=selection)).exit_code == 0
    assert (await shop.run()).exit_code == 0
    assert _statuses(shop) == "a" * 12
    assert shop.bought() == 12
    assert _revisions(shop) == ["plan-r1.json"]


async def test_a_small_budget_is_enough_for_a_small_part(shop: SandboxRig):
    shop.write(TWELVE.replace("usd: 50", "images: 4"))
    assert (await shop.run()).exit_code == 4
    assert shop.sandbox.charges() == []
    assert (await shop.run(selection=Selection(first=2))).exit_code == 0
    assert (await shop.run(selection=Selection(first=3))).exit_code == 4
    assert (await shop.run(selection=Selection(first=2))).exit_code == 0
    assert shop.bought() == 4
    shop.write(TWELVE)
    assert (await shop.run()).exit_code == 0
    assert (_statuses(shop), shop.bought()) == ("a" * 12, 12)


async def test_two_parts_that_fit_a_budget_each_but_not_together_do_not_both_get_it(shop: SandboxRig):
    shop.write(TWELVE.replace("usd: 50", "images: 4"))
    store = open_store(shop.settings.archive)
    request = shop.request(selection=Selection(first=2))
    looked_before = await assessment_of(request, shop.settings, store, to_run=True)
    assert (await shop.run(selection=Selection(where='n in ["e", "f"]'))).exit_code == 0
    assert (await execute(shop.settings, store, looked_before)).exit_code == 4
    assert shop.bought() == 4


async def test_a_part_that_was_reserved_and_not_bought_makes_room_for_another(shop: SandboxRig):
    shop.write(TWELVE.replace("usd: 50", "images: 4"))
    stopped = await shop.run(selection=Selection(first=2), started=lambda run: run.interrupt())
    assert stopped.exit_code == 130
    assert (await shop.run(selection=Selection(where='n in ["b", "f"]'))).exit_code == 0
    assert _statuses(shop) == "ooaaooooooaa"
    shop.write(TWELVE)
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 12


async def test_a_part_that_does_not_fit_takes_nothing_back_from_the_whole(shop: SandboxRig):
    shop.write(TWELVE)
    await shop.run(started=lambda run: run.interrupt())
    shop.write(TWELVE.replace("usd: 50", "images: 1"))
    assert (await shop.run(selection=Selection(first=2))).exit_code == 4
    assert not list((shop.edition() / "ledger").glob("c-*"))


async def test_what_ended_badly_elsewhere_does_not_change_how_a_part_ends(shop: SandboxRig):
    shop.write(campaign_text("  - {id: bad, prompt: forbidden face}\n  - {id: good, prompt: a cup}\n"))
    shop.sandbox.change(moderated_at_submit=("forbidden",))
    assert (await shop.run(selection=Selection(jobs=("bad",)))).exit_code == 3
    assert (await shop.run(selection=Selection(jobs=("good",)))).exit_code == 0
    assert (await shop.run()).exit_code == 3


async def test_new_takes_are_for_the_selected_rows_alone(shop: SandboxRig):
    shop.write(campaign_text("  - {id: mug, prompt: 'mug {{ n }}', matrix: {n: [a, b]}}\n"))
    shop.sandbox.script(route="outcome", fault="empty", times=4)
    assert (await shop.run()).exit_code == 3
    result = await shop.run(selection=Selection(where='n == "b"'), only=frozenset({Status.SHORT}))
    assert result.exit_code == 0
    assert [(line["status"], line["take"]) for line in shop.lines()] == [("short", 1), ("archived", 2)]


async def test_what_was_begun_for_other_rows_comes_in_but_is_not_asked_for_again(shop: SandboxRig):
    shop.write(campaign_text("  - {id: a, prompt: a cup, variants: 3}\n  - {id: b, prompt: a jug}\n"))
    shop.sandbox.script(route="outcome", fault="completed", images=2, match="cup")
    shop.sandbox.change(download_error_rate=1.0)
    assert (await shop.run(selection=Selection(jobs=("a",)))).exit_code == 7
    shop.sandbox.change(download_error_rate=0.0)
    assert (await shop.run(selection=Selection(jobs=("b",)))).exit_code == 0
    assert _statuses(shop) == "aaoa"
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 4


@pytest.mark.parametrize("selection", [Selection(jobs=("cup",)), Selection(where='colour == "red"')])
async def test_a_selection_that_fits_nothing_sends_and_writes_nothing(shop: SandboxRig, selection: Selection):
    shop.write(TWELVE)
    with pytest.raises(SettingInvalid):
        await shop.run(selection=selection)
    assert shop.sandbox.charges() == []
    assert not shop.edition().exists()
