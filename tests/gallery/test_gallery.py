"""The gallery of editions that the sandbox made: what it shows, what it never lets through, what stays the same."""

import asyncio
import json
import re
from urllib.parse import unquote

import pytest
from support.pages import many_rows, pages
from support.shop import SandboxRig, campaign_text, one_row
from typer.testing import CliRunner

from adloom.cli.app import app
from adloom.core.errors import InputError
from adloom.core.exits import EXIT_INPUT
from adloom.run.text import result_lines, result_summary
from adloom.targets import edition_of, open_source, open_store, open_target
from adloom.wiring import rewrite_gallery


async def test_a_run_ends_with_a_page_that_shows_every_image_and_what_was_asked_for(shop: SandboxRig):
    shop.write(one_row(3, references=1))
    result = await shop.run()
    (page,) = pages(shop)
    assert result.gallery == page.path.as_uri()
    assert f"look at: {page.path.as_uri()}" in result_lines(result)
    assert result_summary(result)["gallery"] == page.path.as_uri()
    assert [image["src"].split("/")[0] for image in page.all("img")] == ["thumbs"] * 3
    assert all("red mug on oak table" in image["alt"] for image in page.all("img"))
    for words in ("Complete", "red mug on oak table", "1:1", "1K", "doubao-seedream-4.0", "https://example.com/0.png"):
        assert words in page.text
    assert "$0.07" in page.text
    assert "1024\u00a0×\u00a01024" in page.source


async def test_every_link_is_relative_and_leads_to_something(shop: SandboxRig):
    shop.write(many_rows(4, variants=2))
    await shop.run()
    (page,) = pages(shop)
    assert {"manifest.json", "assets.jsonl", "assets.csv"} < set(page.links())
    for link in page.links():
        target, _, anchor = unquote(link).partition("#")
        assert not re.match(r"[a-z]+:|/|\.\.", target)
        assert (shop.edition() / target).is_file() or not target
        assert not anchor or anchor in page.ids()


async def test_what_did_not_make_it_is_shown_with_its_end_and_its_reason(shop: SandboxRig):
    jobs = ("cup", "refuse this", "fail this", "shorten this", "lose this")
    shop.write(
        campaign_text(
            "".join(f"  - {{id: {prompt.split()[0]}, prompt: {prompt}, variants: 3}}\n" for prompt in jobs),
            more="limits: {in_flight: 1}\n",
        )
    )
    shop.sandbox.change(moderated_at_submit=("refuse this",))
    shop.sandbox.script(route="outcome", fault="cancelled", match="fail this")
    shop.sandbox.script(route="outcome", fault="empty", match="shorten this", times=-1)
    shop.sandbox.script(route="submit", fault="drop", match="lose this", after=True)
    result = await shop.run()
    totals = result.published.manifest["totals"]
    ends = ("archived", "refused", "failed", "short", "held")
    assert [totals[end] for end in ends] == [3] * 5
    (page,) = pages(shop)
    gaps = [found["class"].split()[1] for found in page.all("li") if found.get("class", "").startswith("gap")]
    assert gaps == ["refused", "failed", "short", "held"]
    for line in shop.lines():
        assert str(line["reason"] or "") in "".join(page.words)
    assert "What is missing" in page.text
    assert "at risk" in page.text


async def test_open_variants_are_shown_as_open_and_an_unfinished_edition_says_so(shop: SandboxRig):
    shop.write(one_row(40))
    result = await shop.run(budget=None)
    assert result.exit_code == 0
    shop.write(one_row(40).replace("usd: 50", "usd: 0.5") + "  - {id: jug, prompt: a jug, variants: 2}\n")
    await shop.run()
    (page,) = pages(shop)
    assert "Stopped before the end" in page.text
    assert [found["class"] for found in page.all("li") if found.get("class", "").startswith("gap")] == ["gap open"]
    assert "not bought yet" in page.text


async def test_a_damaged_manifest_does_not_keep_the_images_from_being_seen(shop: SandboxRig):
    shop.write(one_row(2))
    await shop.run()
    (shop.edition() / "manifest.json").unlink()
    await rewrite_gallery(*open_target(str(shop.edition()), shop.settings))
    (page,) = pages(shop)
    assert len(page.all("img")) == 2
    assert "Complete" in page.text
    assert "manifest.json" not in page.links()


async def test_no_key_and_no_signed_link_is_on_a_page(shop: SandboxRig):
    shop.write(one_row(2, references=1).replace("0.png", "0.png?signature=canary"))
    await shop.run()
    source = (shop.edition() / "gallery.html").read_text()
    assert "sk-test-canary" not in source
    assert "signature" not in source
    assert shop.sandbox.base_url not in source


async def test_a_target_is_a_campaign_file_or_the_folder_of_an_edition(shop: SandboxRig):
    shop.write(one_row(1))
    await shop.run()
    by_folder = open_target(str(shop.edition()), shop.settings)
    by_file = open_target(str(shop.campaign), shop.settings)
    assert by_folder[1] == by_file[1] == edition_of(open_source(shop.request(), shop.settings), "main")
    assert by_folder[0].address == by_file[0].address == open_store(shop.settings.archive).address
    assert open_target(str(shop.campaign), shop.settings, "2026-03-01")[1].edition == "2026-03-01"


async def test_the_command_writes_the_page_again_and_prints_its_address(shop: SandboxRig):
    shop.write(one_row(1))
    await shop.run()
    page = shop.edition() / "gallery.html"
    page.unlink()
    done = await asyncio.to_thread(CliRunner().invoke, app, ["gallery", str(shop.edition()), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout.splitlines()[-1])["gallery"] == page.as_uri()
    assert page.is_file()
    by_file = ["gallery", str(shop.campaign), "--archive", shop.settings.archive]
    assert (await asyncio.to_thread(CliRunner().invoke, app, by_file)).stdout.strip() == page.as_uri()
    refused = await asyncio.to_thread(CliRunner().invoke, app, ["gallery", str(shop.folder)])
    assert refused.exit_code == EXIT_INPUT


@pytest.mark.parametrize("target", ["nowhere.yaml", "archive", "."])
async def test_a_target_that_is_neither_is_refused_with_what_to_give(shop: SandboxRig, target: str):
    (shop.folder / "archive").mkdir()
    with pytest.raises(InputError) as caught:
        open_target(str(shop.folder / target), shop.settings)
    assert "<archive>/<campaign>/<edition>" in caught.value.remedy


async def test_an_edition_without_a_plan_is_refused(shop: SandboxRig):
    shop.write(one_row(1))
    with pytest.raises(InputError, match="contains no plan"):
        await rewrite_gallery(*open_target(str(shop.campaign), shop.settings))
