"""The point that crops keep: moved by a person on the page, carried by decisions and tables, heeded by a delivery."""

import json
from random import Random
from typing import Any

import pytest
from support.reading_room import needs_browser, open_browser, open_room, press, until
from support.reviewer import EDITION, Reviewer
from support.shop import SandboxRig, campaign_text

from adloom.core.crop import Crop, Focus, Pixels, crop
from adloom.core.decision import Decision, Verdict, decision_from
from adloom.core.errors import CampaignInvalid
from adloom.deliver.edition import DeliverRequest, deliver_edition
from adloom.ledger.decisions import write_decision
from adloom.review.server import ReviewServer
from adloom.targets import new_ledger, open_store
from adloom.wiring import rewrite_gallery

MUGS = campaign_text(
    '  - {id: mug, prompt: "a mug {{ n }}", rows: mugs.csv, deliver: [wide, tall], focus: auto}\n'
    "channels: {wide: {pixels: 900x300, safe: {top: .1, bottom: .2}}, tall: {pixels: 300x900}}\n"
)


SAVED = "!document.querySelector('.unsaved')"


async def bought(shop: SandboxRig) -> str:
    shop.write(MUGS)
    assert (await shop.run()).exit_code == 0
    return (shop.edition() / "review.html").as_uri()


async def delivered(shop: SandboxRig) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    done = await deliver_edition(new_ledger(open_store(shop.settings.archive), EDITION), None, DeliverRequest())
    return [dict(line) for line in done.result.lines], done.notes


@needs_browser
async def test_a_person_drags_the_point_and_sees_the_crop_that_is_delivered(shop: SandboxRig, reviewer: Reviewer):
    await bought(shop)
    store = open_store(shop.settings.archive)
    ledger = new_ledger(store, EDITION)
    await ledger.load()
    server = ReviewServer(store, EDITION, ledger, "ann")
    async with server.running(0) as url, open_browser() as browser, open_room(browser) as room:
        page = await room.open(url)
        await press(page, "f")
        await until(page, "document.querySelectorAll('.crop').length === 2")
        assert "adloom proposes a point when it delivers" in await page.inner_text("#side")
        box = await page.locator("#stage img").bounding_box()
        assert box is not None
        await page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
        await page.mouse.down()
        drawn = []
        for share in (0.5, 0.9):
            await page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] * 0.8)
            drawn.append(await _drawn(page))
        await page.mouse.up()
        await until(
            page,
            f"{SAVED} && document.querySelector('#side').innerText.includes('moved by hand')",
        )
        assert drawn[0] != drawn[1] == await _drawn(page)  # the crop moves with the hand, before anything is decided
        await page.select_option("[name=channel]", "wide")
        assert await page.locator(".crop").count() == await page.locator(".crop .safe").count() == 1
        await page.select_option("[name=channel]", "")
        await page.evaluate("document.activeElement.blur()")
        await press(page, "Shift+ArrowUp")
        await until(page, f"{SAVED} && decisionOf(current).focus.endsWith(' 0.7')")
        last = await _drawn(page)
        assert room.complaints == []
    (decision,) = (await reviewer.choosing()).standing.values()
    assert decision.focus is not None
    assert decision.verdict is Verdict.CLEARED
    assert (round(decision.focus.x, 1), round(decision.focus.y, 1)) == (0.9, 0.7)
    lines, notes = await delivered(shop)
    mine = {line["channel"]: line for line in lines if line["row"] == "a"}
    assert {name: tuple(line["crop"]) for name, line in mine.items()} == last
    assert {(line["row"], line["focus_source"]) for line in lines} == {("a", "decided"), ("b", "auto")}
    assert last["wide"] == crop(Pixels(1024, 1024), Pixels(900, 300), decision.focus)
    assert "nobody has decided on any image yet, so all are delivered" in notes
    assert any(note.startswith("1 image is cut around a point that adloom proposed: look at") for note in notes)


async def _drawn(page: Any) -> dict[str, Crop]:
    found = await page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.crop')].map(({dataset: d}) => [d.channel, d.crop]))"
    )
    return {name: Crop(*map(int, text.split())) for name, text in found.items()}


@needs_browser
async def test_the_page_shows_a_proposed_point_as_such_and_a_table_takes_the_moved_one_home(
    shop: SandboxRig, reviewer: Reviewer
):
    url = await bought(shop)
    lines, _ = await delivered(shop)
    await rewrite_gallery(open_store(shop.settings.archive), EDITION)
    async with open_browser() as browser, open_room(browser) as room:
        page = await room.open(url)
        await press(page, "f")
        await until(page, "document.querySelectorAll('.crop').length === 2")
        assert "proposed by adloom: look whether it is right" in await page.inner_text("#side")
        assert await _drawn(page) == {line["channel"]: Crop(*line["crop"]) for line in lines[:2]}
        await press(page, "ArrowLeft", "ArrowLeft", "u", "a")
        text = await page.evaluate("reviewCsv()")
        assert room.complaints == []
    x, y = lines[0]["focus"]
    (applied,) = (await reviewer.apply(text)).added
    assert applied[1].verdict is Verdict.APPROVED
    assert applied[1].focus == Focus(round(x - 0.01, 3), round(y, 3))
    assert (await reviewer.apply(text)).added == ()
    lines, notes = await delivered(shop)
    assert [line["focus"] for line in lines] == [list(applied[1].focus)] * 2  # the approved image alone
    assert "only approved images are delivered: 1; --all delivers the others too" in notes


@needs_browser
async def test_a_master_that_lies_on_its_side_is_cut_as_the_page_shows_it(shop: SandboxRig):
    shop.sandbox.change(picture_damage_rate=1.0, picture_damage_kinds=("turned",))
    shop.write(MUGS.replace("focus: auto", 'focus: [0.3, 0.3], size: "4:3", quality: 2K'))
    assert (await shop.run()).exit_code == 0
    lines, _ = await delivered(shop)
    stored = shop.lines()[0]
    async with open_browser() as browser, open_room(browser) as room:
        page = await room.open((shop.edition() / "review.html").as_uri())
        await press(page, "f")
        await until(page, "document.querySelector('#stage img').complete")
        shown = await page.evaluate(
            "(({naturalWidth, naturalHeight}) => [naturalWidth, naturalHeight])($('stage').querySelector('img'))"
        )
        assert shown == [stored["height_px"], stored["width_px"]]
        assert await _drawn(page) == {line["channel"]: Crop(*line["crop"]) for line in lines[:2]}


@needs_browser
async def test_every_crop_is_drawn_to_the_pixel(shop: SandboxRig):
    url = await bought(shop)
    random = Random(7)
    cases = [
        [[random.randint(500, 6000) for _ in range(2)], [random.randint(50, 2000) for _ in range(2)],
         [random.choice((0.5, 0.25, round(random.random(), 3))) for _ in range(2)]]
        for _ in range(2000)
    ]  # fmt: skip
    async with open_browser() as browser, open_room(browser) as room:
        page = await room.open(url)
        drawn = await page.evaluate("(cases) => cases.map((each) => cropOf(...each))", cases)
    assert [Crop(*each) for each in drawn] == [
        crop(Pixels(*master), Pixels(*wanted), Focus(*at)) for master, wanted, at in cases
    ]


async def test_a_line_sets_takes_back_or_leaves_a_focus(shop: SandboxRig, reviewer: Reviewer):
    await bought(shop)
    header = "row,variant,take,decision,focus"
    for line, focus in (("a,1,1,,0.2 0.7", Focus(0.2, 0.7)), ("a,1,1,approved,", None)):
        await reviewer.decide(line, header=header)
        (decision,) = (await reviewer.choosing()).standing.values()
        assert decision.focus == focus
    await reviewer.decide('a,1,1,,"0.3, 0.4"', header=header)
    await reviewer.decide("a,1,1,rejected", header="row,variant,take,decision")
    (decision,) = (await reviewer.choosing()).standing.values()
    assert (decision.verdict, decision.focus) == (Verdict.REJECTED, Focus(0.3, 0.4))
    for bad in ("0.5", "0.5 3", "auto", "0.5 0.5 0.5"):
        with pytest.raises(CampaignInvalid, match=r"review\.csv:2: the focus .* is not two fractions"):
            await reviewer.decide(f"a,1,1,,{bad}", header=header)


async def test_a_fact_without_a_focus_is_the_one_that_older_versions_wrote(shop: SandboxRig):
    plain = Decision("ab" * 32, Verdict.APPROVED, by="ann", writer="0" * 16)
    assert "focus" not in plain.record()
    moved = Decision("ab" * 32, Verdict.APPROVED, focus=Focus(0.25, 1.0), by="ann", writer="0" * 16)
    record = json.loads(json.dumps(moved.record()))
    assert decision_from(moved.key, record) == moved
    store = open_store(shop.settings.archive)
    assert await write_decision(store, EDITION, moved) == moved
    for wrong in ([0.5], [0.5, 2], "0.5 0.5", [None, 0.5]):
        with pytest.raises(ValueError, match="two fractions"):
            decision_from(moved.key, record | {"focus": wrong})
