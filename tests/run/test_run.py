"""A campaign's whole way, against the sandbox's charge log."""

import json
import math
from decimal import Decimal

import pytest
from PIL import Image
from support.shop import SandboxRig, campaign_text, one_row

from adloom.core.campaign import Budget
from adloom.core.outcomes import Status
from adloom.edges.evolink.client import EvoLink
from adloom.ledger.claims import claim_task
from adloom.run.run import Run
from adloom.targets import new_ledger, open_target


@pytest.mark.parametrize("references", [0, 1, 5, 6, 9, 10])
@pytest.mark.parametrize("variants", [1, 14, 15, 16, 31])
async def test_every_wanted_variant_is_archived_with_the_fewest_calls(shop: SandboxRig, references: int, variants: int):
    shop.write(one_row(variants, references=references))
    result = await shop.run()
    totals = result.published.manifest["totals"]
    assert result.exit_code == 0
    assert totals["archived"] == totals["wanted"] == variants
    assert shop.sandbox.state()["posts_received"] == totals["posts"] == math.ceil(variants / (15 - references))
    assert shop.bought() == variants


async def test_an_archived_image_is_what_the_manifest_says(shop: SandboxRig):
    shop.write(one_row(3, references=1))
    await shop.run()
    for line in shop.lines():
        path = shop.edition() / str(line["key"])
        with Image.open(path) as image:
            assert image.size == (line["width_px"], line["height_px"]) == (1024, 1024)
            assert image.get_format_mimetype() == line["media_type"]
        assert path.stat().st_size == line["size_bytes"]
        assert line["credits"] == 1.53
        assert line["references"] == ["https://example.com/0.png"]


async def test_an_unchanged_second_run_sends_nothing_and_changes_nothing(shop: SandboxRig):
    shop.write(one_row(5))
    await shop.run()
    before = {name: (shop.edition() / name).read_bytes() for name in ("assets.jsonl", "assets.csv", "manifest.json")}
    posts = shop.sandbox.state()["posts_received"]
    result = await shop.run()
    assert result.exit_code == 0
    assert shop.sandbox.state()["posts_received"] == posts
    assert before == {name: (shop.edition() / name).read_bytes() for name in before}


async def test_more_variants_buy_only_the_new_ones(shop: SandboxRig):
    shop.write(one_row(4))
    await shop.run()
    shop.write(one_row(9))
    result = await shop.run()
    assert result.published.manifest["totals"]["archived"] == 9
    assert shop.bought() == 9
    assert result.published.manifest["plan_revision"] == 2


async def test_each_model_of_an_axis_is_sent_by_its_name_and_paid_at_its_price(shop: SandboxRig):
    models = {"doubao-seedream-4.0": "1.53", "doubao-seedream-4.5": "2.04", "doubao-seedream-5.0-lite": "1.904"}
    job = f"  - {{id: mug, prompt: a mug, variants: 2, quality: 2K, model: [{', '.join(models)}]}}\n"
    shop.write(campaign_text(job))
    result = await shop.run()
    assert result.exit_code == 0
    charged = {charge.model: charge.charged / charge.made for charge in shop.sandbox.charges()}
    assert charged == {model: Decimal(price) for model, price in models.items()}
    assert [(line["model"], str(line["credits"])) for line in shop.lines()[::2]] == list(models.items())


async def test_reordered_rows_buy_nothing(shop: SandboxRig):
    jobs = [f"  - {{id: {name}, prompt: '{name} on a shelf', variants: 2}}\n" for name in ("cup", "jug", "pan")]
    shop.write(campaign_text("".join(jobs)))
    await shop.run()
    shop.write(campaign_text("".join(reversed(jobs))))
    result = await shop.run()
    assert result.exit_code == 0
    assert shop.bought() == 6
    assert [line["job"] for line in shop.lines()] == ["pan", "pan", "jug", "jug", "cup", "cup"]


async def test_a_shortfall_is_topped_up_for_the_missing_variants_only(shop: SandboxRig):
    shop.write(one_row(6))
    shop.sandbox.script(route="outcome", fault="completed", images=4)
    result = await shop.run()
    assert result.exit_code == 0
    assert [charge.n for charge in shop.sandbox.charges()] == [6, 2]
    assert shop.bought() == 6
    assert [line["variant"] for line in shop.lines()] == [1, 2, 3, 4, 5, 6]


async def test_a_top_up_that_the_account_could_not_pay_is_bought_by_the_next_run(shop: SandboxRig):
    shop.write(one_row(6))
    shop.sandbox.script(route="outcome", fault="completed", images=4)
    shop.sandbox.script(route="submit", fault="status", status=402, match="Generate 2")
    assert (await shop.run()).exit_code == 5
    assert (await shop.run()).exit_code == 0
    assert [charge.n for charge in shop.sandbox.charges()] == [6, 2]
    assert shop.bought() == 6


async def test_a_variant_that_never_comes_is_asked_for_once_more_and_then_short(shop: SandboxRig):
    shop.write(one_row(3))
    shop.sandbox.script(route="outcome", fault="completed", images=2)
    shop.sandbox.script(route="outcome", fault="empty", times=-1)
    result = await shop.run()
    assert result.exit_code == 3
    assert result.published.manifest["totals"]["short"] == 1
    assert [charge.n for charge in shop.sandbox.charges()] == [3, 1, 1]
    again = await shop.run()
    assert again.exit_code == 3
    assert len(shop.sandbox.charges()) == 3


async def test_a_short_variant_is_bought_as_the_next_take_when_asked_for(shop: SandboxRig):
    shop.write(one_row(2))
    shop.sandbox.script(route="outcome", fault="empty", times=2)
    assert (await shop.run()).exit_code == 3
    result = await shop.run(only=frozenset({Status.SHORT}))
    assert result.exit_code == 0
    assert {line["take"] for line in shop.lines()} == {2}
    plain = await shop.run()
    assert plain.exit_code == 0
    assert shop.bought() == 2


async def test_images_above_what_was_asked_for_are_kept_as_extras(shop: SandboxRig):
    shop.write(one_row(2))
    shop.sandbox.script(route="outcome", fault="surplus")
    result = await shop.run()
    assert result.exit_code == 0
    made = sum(charge.made for charge in shop.sandbox.charges())
    assert len(list((shop.edition() / "extras").iterdir())) == made - 2 > 0


async def test_a_repeated_link_counts_as_a_shortfall(shop: SandboxRig):
    shop.write(one_row(3))
    shop.sandbox.script(route="outcome", fault="duplicate")
    result = await shop.run()
    assert result.published.manifest["totals"]["archived"] == 3
    assert len({line["sha256"] for line in shop.lines()}) == 3


async def test_a_moderated_prompt_is_refused_with_its_reason_and_never_sent_again(shop: SandboxRig):
    shop.write(campaign_text("  - {id: bad, prompt: forbidden face, variants: 2}\n  - {id: good, prompt: a cup}\n"))
    shop.sandbox.change(moderated_at_submit=("forbidden",))
    result = await shop.run()
    assert result.exit_code == 3
    assert result.published.manifest["totals"]["refused"] == 2
    refused = [line for line in shop.lines() if line["status"] == "refused"]
    assert all(line["reason"] for line in refused)
    posts = shop.sandbox.state()["posts_received"]
    await shop.run()
    assert shop.sandbox.state()["posts_received"] == posts


async def test_moderation_inside_the_task_is_refused_too(shop: SandboxRig):
    shop.write(one_row(2, prompt="forbidden face"))
    shop.sandbox.change(moderated_in_task=("forbidden",))
    result = await shop.run()
    assert result.published.manifest["totals"]["refused"] == 2
    assert len(shop.sandbox.charges()) == 1


async def test_a_transient_failure_is_tried_again_once_its_charge_is_back(shop: SandboxRig):
    shop.write(one_row(2))
    shop.sandbox.script(route="outcome", fault="failed", code="service_error", times=2)
    result = await shop.run()
    assert result.exit_code == 0
    assert len(shop.sandbox.charges()) == 3
    assert shop.bought() == 2
    assert {line["attempt"] for line in shop.lines()} == {3}


async def test_the_third_transient_failure_is_final(shop: SandboxRig):
    shop.write(one_row(2))
    shop.sandbox.script(route="outcome", fault="failed", code="service_error", times=-1)
    result = await shop.run()
    assert result.exit_code == 3
    assert result.published.manifest["totals"]["failed"] == 2
    assert len(shop.sandbox.charges()) == 3


async def test_a_cancelled_task_fails_and_is_not_bought_again(shop: SandboxRig):
    shop.write(one_row(1))
    shop.sandbox.script(route="outcome", fault="cancelled")
    result = await shop.run()
    assert result.published.manifest["totals"]["failed"] == 1
    assert len(shop.sandbox.charges()) == 1


async def test_a_429_is_waited_out_under_the_same_key(shop: SandboxRig):
    shop.write(one_row(1))
    shop.sandbox.script(route="submit", fault="status", status=429, retry_after="1", times=1)
    result = await shop.run()
    assert result.exit_code == 0
    assert result.published.manifest["totals"]["posts"] == 2
    assert result.published.manifest["totals"]["calls"] == 1
    assert len(shop.sandbox.charges()) == 1


@pytest.mark.parametrize("fault", ["drop", "broken_json"])
async def test_a_lost_answer_is_held_and_never_sent_again(shop: SandboxRig, fault: str):
    shop.write(one_row(2))
    shop.sandbox.script(route="submit", fault=fault, after=True)
    result = await shop.run()
    assert result.exit_code == 6
    assert result.published.manifest["totals"]["held"] == 2
    assert Decimal(str(result.published.manifest["totals"]["credits_at_risk"])) == Decimal("3.06")
    assert (await shop.run()).exit_code == 6
    assert len(shop.sandbox.charges()) == 1


async def test_three_unknown_purchases_stop_the_buying(shop: SandboxRig):
    shop.write(campaign_text("  - {id: many, prompt: 'mug {{ n }}', matrix: {n: [a, b, c, d, e, f, g, h]}}\n"))
    shop.sandbox.script(route="submit", fault="drop", after=True, times=-1)
    result = await shop.run()
    assert result.exit_code == 7
    assert result.published.manifest["totals"]["held"] == 3
    assert len(shop.sandbox.charges()) == 3


async def test_a_rejected_key_stops_at_once_and_a_good_one_goes_on(shop: SandboxRig):
    shop.write(campaign_text("  - {id: many, prompt: 'mug {{ n }}', matrix: {n: [a, b, c, d, e, f]}}\n"))
    shop.sandbox.change(key_states={"sk-test-canary": "revoked"})
    result = await shop.run()
    assert result.exit_code == 5
    assert result.published.manifest["totals"]["open"] == 6
    assert shop.sandbox.state()["posts_received"] == 1
    shop.sandbox.change(key_states={})
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 6


async def test_an_empty_account_stops_the_buying_and_a_top_up_goes_on(shop: SandboxRig):
    shop.write(campaign_text("  - {id: many, prompt: 'mug {{ n }}', matrix: {n: [a, b, c, d, e, f]}}\n"))
    shop.sandbox.set_credits(balance=Decimal("4.6"))
    result = await shop.run(in_flight=1)
    assert result.exit_code == 5
    assert result.published.manifest["totals"]["archived"] == 3
    shop.sandbox.set_credits(balance=Decimal(100))
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 6


async def test_a_plan_over_its_budget_sends_nothing(shop: SandboxRig):
    shop.write(campaign_text("  - {id: mug, prompt: a mug, variants: 10}\n", budget="{usd: 0.10}"))
    result = await shop.run()
    assert result.exit_code == 4
    assert shop.sandbox.state()["posts_received"] == 0
    assert result.published.manifest["totals"]["open"] == 10
    assert "needs sandbox $0.22 (15.3 credits) more" in result.stops[0].message


@pytest.mark.parametrize(
    ("of_file", "wish"),
    [
        ("{usd: 100}", {"ceiling": Budget(usd=Decimal("0.10"))}),
        ("{usd: 100}", {"ceiling": Budget(usd=Decimal("0.10")), "budget": Budget(usd=Decimal(50))}),
        ("{images: 1000}", {"ceiling": Budget(usd=Decimal("0.10"))}),
        ("{usd: 0.10}", {"ceiling": Budget(usd=Decimal(100))}),
    ],
)
async def test_no_budget_passes_the_ceiling_and_a_ceiling_raises_none(
    shop: SandboxRig, of_file: str, wish: dict[str, object]
):
    shop.write(campaign_text("  - {id: mug, prompt: a mug, variants: 10}\n", budget=of_file))
    result = await shop.run(**wish)
    assert result.exit_code == 4
    assert shop.sandbox.state()["posts_received"] == 0


async def test_a_price_that_moved_stops_after_the_first_call(shop: SandboxRig):
    shop.write(campaign_text("  - {id: many, prompt: 'mug {{ n }}', matrix: {n: [a, b, c, d, e, f]}}\n"))
    shop.sandbox.change(credits_per_image=Decimal("1.8"))
    result = await shop.run()
    assert result.exit_code == 4
    assert shop.sandbox.state()["posts_received"] == 1
    assert result.published.manifest["totals"]["archived"] == 1
    shop.write(
        campaign_text(
            "  - {id: many, prompt: 'mug {{ n }}', matrix: {n: [a, b, c, d, e, f]}}\n",
            more="prices: {doubao-seedream-4.0: 1.8}\n",
        )
    )
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 6


@pytest.mark.parametrize("fault", ["status", "drop", "truncated", "html", "empty", "corrupt"])
async def test_a_download_that_fails_is_tried_again(shop: SandboxRig, fault: str):
    shop.write(one_row(2))
    shop.sandbox.script(route="image", fault=fault, times=2)
    result = await shop.run()
    assert result.exit_code == 0
    assert shop.bought() == 2


async def test_bytes_that_never_decode_are_kept_in_quarantine_and_stay_open_while_their_link_lives(shop: SandboxRig):
    shop.write(one_row(1))
    shop.sandbox.script(route="image", fault="corrupt", times=-1)
    result = await shop.run()
    assert result.exit_code == 7
    assert result.published.manifest["totals"]["open"] == 1
    assert len(list((shop.edition() / "quarantine").iterdir())) == 1


async def test_a_download_outage_leaves_the_image_for_the_next_run(shop: SandboxRig):
    shop.write(one_row(2))
    shop.sandbox.change(download_error_rate=1.0)
    first = await shop.run()
    assert first.exit_code == 7
    assert first.published.manifest["totals"]["open"] == 2
    shop.sandbox.change(download_error_rate=0.0)
    second = await shop.run()
    assert second.exit_code == 0
    assert len(shop.sandbox.charges()) == 1


async def test_an_interrupted_run_goes_on_where_it_stopped(shop: SandboxRig):
    shop.write(campaign_text("  - {id: many, prompt: 'mug {{ n }}', matrix: {n: [a, b, c, d, e, f, g, h]}}\n"))
    result = await shop.run(started=lambda run: run.interrupt(), in_flight=2)
    assert result.exit_code == 130
    assert result.published.manifest["totals"]["open"] == 8
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 8


async def test_no_key_and_no_signed_link_outside_the_ledger(shop: SandboxRig):
    shop.write(one_row(2, references=1))
    await shop.run()
    for path in shop.edition().rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"sk-test-canary" not in content, path
            if "ledger" not in path.parts:
                assert b"sig=" not in content, path
    assert shop.sandbox.state()["violation_count"] == 0


async def test_a_task_that_nothing_claims_is_copied_before_its_links_die(shop: SandboxRig):
    shop = shop.with_settings(dedicated_key=True)
    async with EvoLink(shop.settings) as api:
        stranger = await api.submit(
            b'{"model": "doubao-seedream-4.0", "prompt": "a stray cat", "n": 1}', "adloom-0" * 4
        )
    shop.sandbox.finish()
    shop.write(one_row(1))
    assert (await shop.run()).exit_code == 0
    folder = shop.edition().parents[1] / "orphans" / stranger.task_id
    assert sorted(path.name for path in folder.iterdir()) == ["image-0.jpg", "task.json"]
    assert len(list((shop.edition().parents[1] / "orphans").iterdir())) == 1


async def test_a_task_whose_finder_died_after_its_claim_is_still_collected_and_by_no_other_call(shop: SandboxRig):
    shop.write(campaign_text("  - {id: cup, prompt: a cup}\n"))
    shop.sandbox.script(route="submit", fault="drop", after=True)
    assert (await shop.run()).exit_code == 6
    (charge,) = shop.sandbox.charges()
    store, edition = open_target(str(shop.edition()), shop.settings)
    ledger = new_ledger(store, edition)
    await ledger.load()
    (call,) = ledger.calls()
    assert await claim_task(store, ledger, (edition.prefix, call, 1), charge.task_id)
    assert not await claim_task(store, ledger, ("test/other/", call, 1), charge.task_id)
    shop = shop.with_settings(dedicated_key=True)
    shop.write(campaign_text("  - {id: cup, prompt: a cup}\n"))
    assert (await shop.run()).exit_code == 0
    assert len(shop.sandbox.charges()) == 1


async def test_what_a_removed_row_has_bought_is_money_but_no_progress(shop: SandboxRig):
    rows = campaign_text("  - {id: cup, prompt: 'a {{ n }} cup', matrix: {n: [red, blue]}}\n")
    shop.write(rows)
    shop.sandbox.script(route="submit", fault="drop", after=True)
    assert (await shop.run()).exit_code == 6
    (lost,) = (line["row"] for line in shop.lines() if line["status"] == "held")
    shop = shop.with_settings(dedicated_key=True)
    shop.write(rows.replace("[red, blue]", "[blue]" if "red" in lost else "[red]"))
    runs: list[Run] = []
    assert (await shop.run(started=runs.append)).exit_code == 0
    progress = runs[0].progress()
    assert (progress.archived, progress.ended, progress.wanted) == (1, 1, 1)
    assert progress.charged == sum(charge.charged for charge in shop.sandbox.charges())


async def test_a_second_task_of_one_attempt_is_kept_and_its_charge_shown(shop: SandboxRig):
    shop.write(one_row(2))
    await shop.run()
    body = json.loads(next(shop.edition().rglob("a1-intent.json")).read_text())["body"]
    async with EvoLink(shop.settings) as api:
        second = await api.submit(body.encode(), "adloom-1" * 4)
    shop.sandbox.finish()
    store, edition = open_target(str(shop.edition()), shop.settings)
    ledger = new_ledger(store, edition)
    await ledger.load()
    (call,) = ledger.calls()
    await ledger.accept(call, 1, second.task_id, "3.06")
    result = await shop.run()
    assert result.published.manifest["totals"]["credits_charged"] == pytest.approx(6.12)
    assert result.published.manifest["totals"]["archived"] == 2
    assert len(list((shop.edition() / "extras").iterdir())) == 2


async def test_a_finished_edition_is_resumed_from_its_seals_without_reading_its_records(shop: SandboxRig):
    shop.write(campaign_text("  - {id: cup, prompt: a cup, variants: 20}\n  - {id: jug, prompt: a jug}\n"))
    await shop.run()
    assert len(list((shop.edition() / "ledger" / "sealed").iterdir())) == 1
    store, edition = open_target(str(shop.edition()), shop.settings)
    reads = []
    read = store.read

    async def counted(key):
        reads.append(key)
        return await read(key)

    store.read = counted
    ledger = new_ledger(store, edition)
    await ledger.load()
    assert len(reads) == 1
    assert len(ledger.calls()) == 3
    shop.write(campaign_text("  - {id: cup, prompt: a cup, variants: 21}\n  - {id: jug, prompt: a jug}\n"))
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 22


async def test_what_is_ready_to_download_comes_before_anything_is_bought(shop: SandboxRig):
    jobs = "  - {id: cup, prompt: a cup, variants: 2}\n"
    shop.write(campaign_text(jobs))
    shop.sandbox.change(download_error_rate=1.0)
    assert (await shop.run()).exit_code == 7
    shop.sandbox.change(download_error_rate=0.0)
    shop.write(campaign_text(jobs + "  - {id: jug, prompt: a jug}\n"))
    downloaded = []

    def watch(run: Run) -> None:
        buy = run._steps.spender.buy

        async def watched(order):
            downloaded.append(shop.sandbox.state()["requests"].get("image whole", 0))
            await buy(order)

        run._steps.spender.buy = watched

    assert (await shop.run(started=watch)).exit_code == 0
    assert downloaded == [2]
