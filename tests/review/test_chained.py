"""A job whose references are the approved images of another: it waits, is bought once, and only a refresh buys anew."""

import asyncio
import json
from random import Random

import pytest
from support.reviewer import EDITION, Reviewer
from support.shop import SandboxRig, campaign_text

from adloom.core.errors import CampaignInvalid, InputError, SettingInvalid
from adloom.deliver.masters import masters_of
from adloom.plan.text import plan_lines, plan_summary
from adloom.publish.checksums import verify
from adloom.run.run import Run
from adloom.run.text import exit_reason, result_lines
from adloom.targets import new_ledger, open_source, open_store
from adloom.wiring import assessment_of, execute

CHAINED = campaign_text(
    "  - {id: mug, prompt: 'mug {{ n }}', variants: 2, rows: mugs.csv}\n"
    "  - {id: banner, prompt: a banner, variants: 3, references: [{job: mug, approved: true}]}\n"
)
NESTED = CHAINED + "  - {id: story, prompt: a story, references: [{job: banner, approved: true}]}\n"
WAITS = "3 images of job banner, until images of job mug are approved"


def banners(shop: SandboxRig) -> list[dict[str, object]]:
    return [line for line in shop.lines() if line["job"] == "banner"]


def sent_references(shop: SandboxRig, word: str) -> list[int]:
    """How many references each purchase whose prompt ends with a word had."""
    return [charge.references for charge in shop.sandbox.charges() if charge.prompt.endswith(word)]


def record(shop: SandboxRig, number: int = 1) -> dict[str, object]:
    return dict(json.loads((shop.edition() / f"references/banner/{number}.json").read_text()))


async def test_a_chained_job_waits_and_every_place_says_so(shop: SandboxRig, reviewer: Reviewer):
    shop.write(CHAINED)
    before = await reviewer.assessment()
    assert f"waits     {WAITS}" in plan_lines(before)
    assert plan_summary(before)["waits"] == [{"job": "banner", "for": "mug", "images": 3}]
    assert before.surveyed.asked.images == 4
    result = await shop.run()
    assert (result.exit_code, exit_reason(result)) == (0, "everything that does not wait for an approval is archived")
    assert f"waits:   {WAITS}" in result_lines(result)
    manifest = result.published.manifest
    assert manifest["waits"] == [{"job": "banner", "for": "mug", "images": 3}]
    assert "as far as it can be: 3 images wait for an approval" in (shop.edition() / "gallery.html").read_text()
    assert (manifest["totals"]["open"], manifest["status"]) == (3, "partial")
    assert {line["reason"] for line in banners(shop)} == {"waits until images of job mug are approved"}
    assert "waits until images of job mug are approved" in (shop.edition() / "review.html").read_text()
    posts = shop.sandbox.state()["posts_received"]
    shop.write(CHAINED.replace("{usd: 50}", "{usd: 40}"))
    for _ in range(3):
        runs: list[Run] = []
        assert (await shop.run(started=runs.append)).exit_code == 0
        assert (runs[0].progress().archived, runs[0].progress().wanted) == (4, 4)
    assert shop.sandbox.state()["posts_received"] == posts
    assert len(list(shop.edition().glob("plan-r*.json"))) == 2  # one for each budget


async def test_it_is_bought_with_the_approved_images_once_there_are_some(shop: SandboxRig, reviewer: Reviewer):
    shop.write(CHAINED)
    await shop.run()
    name = banners(shop)[0]["row"]
    await reviewer.decide("a,1,1,approved,", "b,2,1,approved,", "a,2,1,rejected,")
    approved = [line for line in shop.lines() if (line["row"], line["variant"]) in (("a", 1), ("b", 2))]
    assert (await reviewer.assessment()).surveyed.asked.images == 3
    result = await shop.run()
    assert (result.exit_code, "waits" in result.published.manifest) == (0, False)
    assert sent_references(shop, "a banner") == [2]
    assert banners(shop)[0]["references"] == [line["key"] for line in approved]
    assert banners(shop)[0]["row"] == name  # it is the row that waited
    assert [master["sha256"] for master in record(shop)["of"]["mug"]] == [line["sha256"] for line in approved]
    store = open_store(shop.settings.archive)
    assert (await verify(store, EDITION, new_ledger(store, EDITION))).findings == ()


async def test_a_changed_approval_is_a_warning_and_buys_nothing(shop: SandboxRig, reviewer: Reviewer):
    shop.write(CHAINED)
    await shop.run()
    await reviewer.decide("a,1,1,approved,")
    await shop.run()
    before = shop.bought()
    await reviewer.decide("a,2,1,approved,")
    assessment = await reviewer.assessment()
    (warning,) = assessment.source.warnings
    assert warning == (
        "job banner keeps 1 image of job mug as references, as it was bought; other images are approved now: "
        "--refresh banner buys it again with them"
    )
    assert not assessment.to_buy
    await shop.run()
    await reviewer.decide("a,1,1,rejected,", "a,2,1,cleared,")
    (warning,) = (await reviewer.assessment()).source.warnings
    assert warning.endswith("; none is approved now")
    await shop.run()
    assert shop.bought() == before
    assert {line["status"] for line in banners(shop)} == {"archived"}


async def test_a_refresh_has_a_price_and_buys_once(shop: SandboxRig, reviewer: Reviewer):
    shop.write(CHAINED)
    await shop.run()
    await reviewer.decide("a,1,1,approved,")
    await shop.run()
    first = {line["key"] for line in banners(shop)}
    before = shop.bought()
    refresh = frozenset({"banner"})
    assert not (await reviewer.assessment(refresh=refresh)).to_buy  # the same approvals: the same images
    await reviewer.decide("a,2,1,approved,")
    assert (await reviewer.assessment(refresh=refresh)).surveyed.asked.images == 3
    for wish in ({"refresh": refresh}, {"refresh": refresh}, {}):
        assert (await shop.run(**wish)).exit_code == 0
        assert shop.bought() == before + 3
    assert sent_references(shop, "a banner") == [1, 2]
    assert first.isdisjoint(line["key"] for line in banners(shop))
    assert all((shop.edition() / str(key)).exists() for key in first)
    assert not (await reviewer.assessment()).source.warnings


async def test_a_refresh_of_what_cannot_be_refreshed_says_why(shop: SandboxRig, reviewer: Reviewer):
    shop.write(CHAINED)
    await shop.run()
    with pytest.raises(SettingInvalid, match="no image of job mug is approved"):
        await reviewer.assessment(refresh=frozenset({"banner"}))
    with pytest.raises(SettingInvalid, match="refresh mug: no such job has"):
        await reviewer.assessment(refresh=frozenset({"mug"}))


async def test_chains_of_chains_wait_for_one_another(shop: SandboxRig, reviewer: Reviewer):
    shop.write(NESTED)
    await shop.run()
    await reviewer.decide("a,1,1,approved,")
    result = await shop.run()
    assert [each["job"] for each in result.published.manifest["waits"]] == ["story"]
    row = banners(shop)[0]["row"]
    await reviewer.apply(f"job,row,variant,take,decision\nbanner,{row},2,1,approved\n")
    assert (await shop.run()).exit_code == 0
    assert sent_references(shop, "a story") == [1]
    before = shop.bought()
    await reviewer.decide("a,2,1,approved,")
    await shop.run(refresh=frozenset({"banner"}))
    assert shop.bought() == before + 3  # the story keeps what it was bought with
    (warning,) = (await reviewer.assessment()).source.warnings
    assert warning.startswith("job story keeps 1 image of job banner")


async def test_nothing_is_recorded_while_nothing_may_be_bought(shop: SandboxRig, reviewer: Reviewer):
    shop.write(CHAINED)
    await shop.run()
    await reviewer.decide("a,1,1,approved,")
    await shop.run(agreed=False)
    shop.write(CHAINED.replace("{usd: 50}", "{images: 5}"))
    assert (await shop.run()).exit_code == 4
    assert not (shop.edition() / "references").exists()
    await reviewer.decide("a,2,1,approved,")
    shop.write(CHAINED)
    await shop.run()
    assert sent_references(shop, "a banner") == [2]


async def test_another_run_that_was_first_is_not_contradicted(shop: SandboxRig, reviewer: Reviewer):
    shop.write(CHAINED)
    await shop.run()
    await reviewer.decide("a,1,1,approved,")
    store = open_store(shop.settings.archive)
    late = await assessment_of(shop.request(), shop.settings, store, to_run=True)
    await reviewer.decide("a,2,1,approved,")
    await shop.run()
    before = shop.bought()
    with pytest.raises(InputError, match="another run has just begun to buy job banner"):
        await execute(shop.settings, store, late)
    assert shop.bought() == before


async def test_a_run_that_would_take_a_refresh_back_buys_nothing(shop: SandboxRig, reviewer: Reviewer):
    shop.write(CHAINED)
    await shop.run()
    await reviewer.decide("a,1,1,approved,")
    await shop.run()
    shop.write(CHAINED.replace("variants: 2", "variants: 3"))
    store = open_store(shop.settings.archive)
    late = await assessment_of(shop.request(), shop.settings, store, to_run=True)
    assert late.surveyed.asked.images == 2  # of the mugs alone
    await reviewer.decide("a,2,1,approved,")
    await shop.run(refresh=frozenset({"banner"}))
    revisions = len(list(shop.edition().glob("plan-r*.json")))
    with pytest.raises(InputError, match="another run has just begun to buy job banner"):
        await execute(shop.settings, store, late)
    assert len(list(shop.edition().glob("plan-r*.json"))) == revisions


async def test_a_job_whose_images_another_one_buys_has_approved_images_too(shop: SandboxRig, reviewer: Reviewer):
    twin = "  - {id: twin, prompt: 'mug {{ n }}', variants: 2, rows: mugs.csv}\n"
    text = CHAINED.replace("  - {id: banner", f"{twin}  - {{id: banner").replace("job: mug", "job: twin")
    shop.write("duplicates: merge\n" + text)
    await shop.run()
    await reviewer.decide("a,1,1,approved,")
    assert (await shop.run()).exit_code == 0
    assert sent_references(shop, "a banner") == [1]


async def test_rows_with_references_of_their_own_do_not_wait_and_decide_nothing_for_the_others(
    shop: SandboxRig, reviewer: Reviewer
):
    own = "{s: own, references: 'https://example.com/1.png'}"
    shop.write(
        CHAINED.replace(
            "prompt: a banner, variants: 3", f"prompt: '{{{{ s }}}} banner', include: [{own}], matrix: {{s: [a]}}"
        )
    )
    result = await shop.run()
    assert result.published.manifest["waits"] == [{"job": "banner", "for": "mug", "images": 1}]
    assert sent_references(shop, "own banner") == [1]
    assert not (shop.edition() / "references").exists()
    await reviewer.decide("a,1,1,approved,", "a,2,1,approved,")
    await shop.run()
    assert (sent_references(shop, "a banner"), sent_references(shop, "own banner")) == ([2], [1])


async def test_too_many_approved_images_are_an_error_at_the_job(shop: SandboxRig, reviewer: Reviewer):
    text = CHAINED.replace("variants: 2, rows: mugs.csv", "variants: 6, rows: mugs.csv")
    shop.write(text)
    await shop.run()
    await reviewer.decide(*(f"{row},{number},1,approved," for row in "ab" for number in range(1, 7)))
    with pytest.raises(CampaignInvalid) as caught:
        await reviewer.assessment()
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (6, 61)
    assert problem.message == "12 reference images, among them 12 approved images of job mug"
    assert problem.allowed == "at most 10 (strict limits): approve fewer"


async def test_references_leave_room_for_images_in_a_call(shop: SandboxRig, reviewer: Reviewer):
    shop.write(CHAINED.replace("variants: 2", "variants: 4").replace("variants: 3", "variants: 15"))
    await shop.run()
    await reviewer.decide(*(f"{row},{number},1,approved," for row in "ab" for number in range(1, 5)))
    assert (await reviewer.assessment()).surveyed.asked.calls == 3  # 8 references leave room for 7 images
    await shop.run()
    assert sent_references(shop, "a banner") == [8, 8, 8]


async def test_a_delivery_has_the_images_of_chained_jobs(shop: SandboxRig, reviewer: Reviewer):
    shop.write(CHAINED)
    await shop.run()
    await reviewer.decide("a,1,1,approved,")
    await shop.run()
    store = open_store(shop.settings.archive)
    ledger = new_ledger(store, EDITION)
    await ledger.load()
    source = open_source(shop.request(), shop.settings)
    masters = [each async for each in masters_of(ledger, source, None)]
    assert [each.job for each in masters] == ["mug"] * 4 + ["banner"] * 3


async def test_an_approved_image_that_is_gone_stops_before_anything_is_sent(shop: SandboxRig, reviewer: Reviewer):
    shop.write(CHAINED)
    await shop.run()
    await reviewer.decide("a,1,1,approved,")
    key = str(next(line["key"] for line in shop.lines() if line["row"] == "a"))
    (shop.edition() / key).unlink()
    posts = shop.sandbox.state()["posts_received"]
    with pytest.raises(InputError, match=f"the archived image {key}"):
        await shop.run()
    assert shop.sandbox.state()["posts_received"] == posts


@pytest.mark.parametrize("seed", range(2))
async def test_refreshes_that_die_anywhere_buy_each_image_once(shop: SandboxRig, reviewer: Reviewer, seed: int):
    dice = Random(seed)
    shop.write(CHAINED)
    await shop.run()
    await reviewer.decide("a,1,1,approved,")
    await shop.run()
    before = shop.bought()
    await reviewer.decide("a,2,1,approved,")
    for _ in range(4):
        wish = {"refresh": frozenset({"banner"})} if dice.random() < 0.6 else {}
        run = asyncio.create_task(shop.run(**wish))
        await asyncio.wait([run], timeout=dice.random() * 0.25)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
    await shop.run(refresh=frozenset({"banner"}))
    assert shop.bought() <= before + 3
    assert len(list(shop.edition().glob("references/banner/*.json"))) == 2
    assert {line["status"] for line in banners(shop)} <= {"archived", "held"}
