"""Only what was rejected is bought again, once, whatever happens."""

import asyncio
from decimal import Decimal
from random import Random

import pytest
from support.reviewer import EDITION, Reviewer
from support.shop import SandboxRig, campaign_text

from adloom.campaign.files import open_campaign
from adloom.core.errors import SettingInvalid
from adloom.core.outcomes import Status
from adloom.deliver.edition import DeliverRequest, deliver_edition
from adloom.orchestration.report import result_report
from adloom.publish.checksums import verify
from adloom.run.run import Run
from adloom.run.text import exit_reason, result_lines
from adloom.targets import new_ledger, open_store

MUGS = campaign_text("  - {id: mug, prompt: 'mug {{ n }}', variants: 3, rows: mugs.csv}\n")


def bought_prompts(shop: SandboxRig) -> list[tuple[str, int]]:
    return [(charge.prompt, charge.made) for charge in shop.sandbox.charges() if charge.charged]


async def test_the_loop_from_a_rejection_to_a_better_image(shop: SandboxRig, reviewer: Reviewer):
    shop.write(MUGS)
    assert (await shop.run()).exit_code == 0
    await reviewer.decide("a,1,1,rejected,in brighter light", "a,2,1,approved,", "b,3,1,rejected,")
    assessment = await reviewer.assessment(only=frozenset({"rejected"}))
    assert (assessment.surveyed.asked.images, assessment.surveyed.asked.calls) == (2, 2)
    before = shop.bought()
    assert (await reviewer.buy_rejected()).exit_code == 0
    assert shop.bought() == before + 2
    assert ("mug a\nin brighter light", 1) in bought_prompts(shop)
    assert ("mug b", 1) in bought_prompts(shop)
    for _ in range(2):  # the same decisions again
        assert (await reviewer.buy_rejected()).exit_code == 0
        assert (await shop.run()).exit_code == 0
    assert shop.bought() == before + 2


async def test_progress_counts_the_images_that_are_wanted_now(shop: SandboxRig, reviewer: Reviewer):
    shop.write(MUGS)
    await shop.run()
    await reviewer.decide("a,1,1,rejected,", "a,2,1,rejected,")
    runs: list[Run] = []
    began: list[tuple[int, int]] = []

    def note(run: Run) -> None:
        runs.append(run)
        began.append((run.progress().archived, run.progress().ended))

    await reviewer.buy_rejected(started=note)
    await shop.run(started=note)
    assert began == [(4, 4), (6, 6)]
    for run in runs:
        assert (run.progress().archived, run.progress().ended, run.progress().wanted) == (6, 6, 6)


async def test_what_a_run_for_rejected_images_leaves_open_is_not_called_archived(shop: SandboxRig, reviewer: Reviewer):
    shop.write(MUGS)
    await shop.run()
    await reviewer.decide("a,1,1,rejected,")
    shop.write(MUGS + "  - {id: jug, prompt: a jug}\n")
    assert "everything that was asked for is archived" in exit_reason(await reviewer.buy_rejected())
    assert exit_reason(await shop.run()) == "all archived"


async def test_the_manifest_shows_both_takes_with_decision_and_lineage_and_counts_the_latest(
    shop: SandboxRig, reviewer: Reviewer
):
    shop.write(MUGS)
    await shop.run()
    await reviewer.decide("a,1,1,rejected,in brighter light")
    totals = (await reviewer.buy_rejected()).published.manifest["totals"]
    assert (totals["wanted"], totals["archived"]) == (6, 6)
    first, second = shop.lines()[:2]
    assert (first["take"], first["decision"], first["stars"], first["decided_by"]) == (1, "rejected", 0, "ann")
    assert (second["take"], second["prompt"]) == (2, "mug a\nin brighter light")
    assert second["replaces"] == {"key": first["key"], "sha256": first["sha256"]}
    assert second["change"] == "in brighter light"
    assert (shop.edition() / str(first["key"])).exists()
    assert len(shop.lines()) == 7
    header = (shop.edition() / "assets.csv").read_text("utf-8-sig").splitlines()[0]
    assert header.endswith("reason,decision,stars,decided_by,replaces,change")
    store = open_store(shop.settings.archive)
    assert (await verify(store, EDITION, new_ledger(store, EDITION))).findings == ()


async def test_an_earlier_take_that_is_approved_after_all_is_delivered(shop: SandboxRig, reviewer: Reviewer):
    shop.write(MUGS)
    await shop.run()
    await reviewer.decide("a,1,1,rejected,", "b,3,1,rejected,")
    await reviewer.buy_rejected()
    await reviewer.decide("a,1,2,rejected,", "a,1,1,approved,", "b,3,2,approved,", "b,3,1,approved,", "b,1,1,approved,")

    async def delivered(*, approved: bool | None) -> tuple[list[tuple[str, int, int]], tuple[str, ...]]:
        ledger = new_ledger(open_store(shop.settings.archive), EDITION)
        request = DeliverRequest(channels=("original",), approved=approved)
        for source in (None, open_campaign(shop.campaign)):
            done = await deliver_edition(ledger, source, request)
        return [(line["row"], line["variant"], line["take"]) for line in done.result.lines], done.notes

    images, notes = await delivered(approved=None)
    assert images == [("a", 1, 1), ("b", 1, 1), ("b", 3, 1), ("b", 3, 2)]
    assert "only approved images are delivered: 4; --all delivers the others too" in notes
    names = {path.stem for path in (shop.edition() / "delivery" / "original").iterdir()}
    assert names == {"mug-a-v1", "mug-b-v1", "mug-b-v3", "mug-b-v3-t2"}
    images, _ = await delivered(approved=False)
    assert images == [("a", 1, 2), ("a", 2, 1), ("a", 3, 1), ("b", 1, 1), ("b", 2, 1), ("b", 3, 2)]


async def test_an_edition_without_decisions_is_described_as_ever(shop: SandboxRig):
    shop.write(MUGS)
    await shop.run()
    assert not any("decision" in line or "replaces" in line for line in shop.lines())
    assert (shop.edition() / "assets.csv").read_text("utf-8-sig").splitlines()[0].endswith(",credits,reason")


async def test_a_decision_after_the_run_is_no_damage(shop: SandboxRig, reviewer: Reviewer):
    shop.write(MUGS)
    await shop.run()
    await reviewer.decide("a,1,1,rejected,")
    store = open_store(shop.settings.archive)
    assert (await verify(store, EDITION, new_ledger(store, EDITION))).findings == ()
    reviewer.facts()[0].write_bytes(b"{}")
    assert len((await verify(store, EDITION, new_ledger(store, EDITION))).findings) == 1


async def test_a_change_that_is_edited_once_the_next_take_exists_buys_nothing(shop: SandboxRig, reviewer: Reviewer):
    shop.write(MUGS)
    await shop.run()
    await reviewer.decide("a,1,1,rejected,brighter")
    await reviewer.buy_rejected()
    before = shop.bought()
    await reviewer.decide("a,1,1,rejected,much brighter")
    await reviewer.buy_rejected()
    assert shop.bought() == before
    assert shop.lines()[1]["change"] == "brighter"


async def test_a_next_take_in_any_state_is_not_bought_again(shop: SandboxRig, reviewer: Reviewer):
    shop.write(MUGS)
    await shop.run()
    await reviewer.decide("a,1,1,rejected,forbidden face", "b,1,1,rejected,a dog")
    shop.sandbox.change(moderated_at_submit=("forbidden",), download_error_rate=1.0)
    assert (await reviewer.buy_rejected()).exit_code == 7
    assert [line["status"] for line in shop.lines() if line["take"] == 2] == ["refused", "open"]
    posts = shop.sandbox.state()["posts_received"]
    shop.sandbox.change(download_error_rate=0.0)
    assert (await reviewer.buy_rejected()).exit_code == 3
    assert [line["status"] for line in shop.lines() if line["take"] == 2] == ["refused", "archived"]
    assert shop.sandbox.state()["posts_received"] == posts


@pytest.mark.parametrize(
    ("decision", "prompts"),
    [
        ("rejected,darker", {"mug a\ndarker", "mug b\ndarker"}),
        ("rejected,brighter", {"mug a\nbrighter", "mug b\nbrighter"}),
        ("approved,", set()),
        ("cleared,", set()),
    ],
)
async def test_a_next_take_that_could_not_be_bought_is_what_is_decided_when_it_can(
    shop: SandboxRig, reviewer: Reviewer, decision: str, prompts: set[str]
):
    shop.write(MUGS)
    await shop.run()
    await reviewer.decide("a,1,1,rejected,brighter", "b,1,1,rejected,brighter")
    charges = len(shop.sandbox.charges())
    shop.sandbox.set_credits(balance=Decimal(0))
    assert (await reviewer.buy_rejected()).exit_code == 5
    shop.sandbox.set_credits(balance=Decimal(100))
    await reviewer.decide(f"a,1,1,{decision}", f"b,1,1,{decision}")
    assert (await shop.run()).exit_code == 0
    assert len(shop.sandbox.charges()) == charges
    assert (await reviewer.buy_rejected()).exit_code == 0
    assert {charge.prompt for charge in shop.sandbox.charges()[charges:]} == prompts
    assert {line["take"] for line in shop.lines()} == ({1, 2} if prompts else {1})


async def test_a_rejected_second_take_gets_a_third(shop: SandboxRig, reviewer: Reviewer):
    shop.write(MUGS)
    await shop.run()
    for take in (1, 2):
        await reviewer.decide(f"a,1,{take},rejected,change {take}")
        await reviewer.buy_rejected()
    takes = [(line["take"], line.get("change")) for line in shop.lines() if (line["row"], line["variant"]) == ("a", 1)]
    assert takes == [(1, None), (2, "change 1"), (3, "change 2")]


async def test_variants_with_the_same_change_share_a_call_and_others_do_not(shop: SandboxRig, reviewer: Reviewer):
    shop.write(MUGS)
    await shop.run()
    await reviewer.decide("a,1,1,rejected,brighter", "a,2,1,rejected,on snow", "a,3,1,rejected,brighter")
    await reviewer.buy_rejected()
    assert sorted(bought_prompts(shop)[2:]) == [
        ("Generate 2 different images: mug a\nbrighter", 2),
        ("mug a\non snow", 1),
    ]


async def test_what_a_change_asked_for_is_asked_for_again_when_the_api_made_too_few(
    shop: SandboxRig, reviewer: Reviewer
):
    shop.write(MUGS)
    await shop.run()
    shop.sandbox.script(route="outcome", fault="completed", images=1, match="brighter")
    await reviewer.decide("a,1,1,rejected,brighter", "a,2,1,rejected,brighter")
    assert (await reviewer.buy_rejected()).exit_code == 0
    assert [prompt for prompt, _ in bought_prompts(shop)[-2:]] == [
        "Generate 2 different images: mug a\nbrighter",
        "mug a\nbrighter",
    ]


async def test_a_change_that_makes_the_prompt_too_long_buys_nothing_and_names_the_image(
    shop: SandboxRig, reviewer: Reviewer
):
    shop.write(MUGS)
    await shop.run()
    before = shop.bought()
    await reviewer.decide(f"a,1,1,rejected,{'x' * 1999}", "b,1,1,rejected,")
    with pytest.raises(SettingInvalid, match="mug/a, variant 1"):
        await reviewer.buy_rejected()
    assert shop.bought() == before


async def test_what_is_cleared_or_approved_since_is_not_bought(shop: SandboxRig, reviewer: Reviewer):
    shop.write(MUGS)
    await shop.run()
    before = shop.bought()
    await reviewer.decide("a,1,1,rejected,", "a,2,1,rejected,")
    await reviewer.decide("a,1,1,approved,", "a,2,1,cleared,")
    await reviewer.buy_rejected()
    assert shop.bought() == before


async def test_rejected_and_failed_are_asked_for_in_one_run(shop: SandboxRig, reviewer: Reviewer):
    shop.write(MUGS)
    shop.sandbox.script(route="outcome", fault="empty", times=2, match="mug b")
    assert (await shop.run()).exit_code == 3
    await reviewer.decide("a,1,1,rejected,")
    assert (await shop.run(only=frozenset({*_REJECTED, Status.SHORT}))).exit_code == 0
    assert [line["take"] for line in shop.lines()] == [1, 2, 1, 1, 2, 2, 2]


_REJECTED = frozenset({"rejected"})


@pytest.mark.parametrize("seed", range(3))
async def test_runs_that_die_anywhere_buy_each_next_take_once(shop: SandboxRig, reviewer: Reviewer, seed: int):
    """A run is cut off wherever it happens to be, again and again, with and without ``--only``."""
    dice = Random(seed)
    shop.write(MUGS)
    await shop.run()
    before = shop.bought()
    await reviewer.decide("a,1,1,rejected,brighter", "a,2,1,rejected,", "b,1,1,rejected,", "b,3,1,rejected,on snow")
    for _ in range(4):
        only = {"only": frozenset(_REJECTED)} if dice.random() < 0.7 else {}
        run = asyncio.create_task(shop.run(**only))
        await asyncio.wait([run], timeout=dice.random() * 0.25)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
    await reviewer.buy_rejected()
    seconds = [line["status"] for line in shop.lines() if line["take"] == 2]
    assert len(seconds) == 4
    assert set(seconds) <= {"archived", "held"}  # what was cut off within its POST is held
    assert before + seconds.count("archived") <= shop.bought() <= before + 4
    assert len(reviewer.facts()) == 4


async def test_a_run_says_how_many_images_wait_for_a_decision_and_where_to_decide(shop: SandboxRig, reviewer: Reviewer):
    shop.write(MUGS)
    result = await shop.run()
    assert result.published.waiting == 6
    assert f"choose:  {result.review} (6 images wait for a decision)" in result_lines(result)
    assert f"**6 images wait for a decision**: `{result.review}`" in result_report(result, "test")
    await reviewer.decide("a,1,1,approved,", "a,2,1,rejected,")
    assert (await reviewer.buy_rejected()).published.waiting == 5
