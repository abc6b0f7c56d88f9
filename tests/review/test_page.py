"""The page in a real browser: deciding by keys alone, what it keeps, what it asks for, and 10,000 images."""

import asyncio
import csv
import hashlib
import io
import json
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from support.reading_room import needs_browser, open_browser, open_room, press, until
from support.reviewer import EDITION, Reviewer
from support.shop import SandboxRig, campaign_text

from adloom.core.decision import Decision, Verdict
from adloom.core.origin import Origin
from adloom.core.planned import Variant
from adloom.gallery.chooser import Live, render
from adloom.gallery.choosing import Candidate, Choosing
from adloom.ledger.decisions import Decisions, write_decision
from adloom.review.server import ReviewServer
from adloom.targets import new_ledger, open_store
from adloom.wiring import rewrite_gallery

pytestmark = needs_browser
HOSTILE = "mug {{ n }} </script><script>window.caught = 1</script><img src=x onerror=alert(1)> \u2028 \"'&"
MUGS = campaign_text(
    f"  - {{id: mug, prompt: {json.dumps(HOSTILE)}, variants: 3, rows: mugs.csv}}\n  - {{id: jug, prompt: a jug}}\n"
)
AXE = Path(__file__).parent / "axe"
PHONE = {"width": 390, "height": 844}
COUNTS = "document.querySelector('#counts').innerText.replaceAll('\\n', ' ')"


async def bought(shop: SandboxRig) -> str:
    shop.write(MUGS)
    assert (await shop.run()).exit_code == 0
    return (shop.edition() / "review.html").as_uri()


async def test_a_reviewer_decides_by_keys_alone_and_takes_it_home(shop: SandboxRig, reviewer: Reviewer):
    url = await bought(shop)
    async with open_browser() as browser, open_room(browser, accept_downloads=True) as room:
        page = await room.open(url)
        await press(page, "a", "ArrowRight", "r", "4", "g")
        await page.keyboard.type('brighter, "please"')
        await press(page, "Escape", " ", "ArrowRight", "r", "u", "End", "5")
        assert "7 images 1 approved 1 rejected, next takes sandbox $0.02 5 waiting" in await page.evaluate(COUNTS)
        assert "3 only in this browser" in await page.evaluate(COUNTS)
        await page.reload()
        assert "1 approved 1 rejected" in await page.evaluate(COUNTS)
        other = await room.open(url)
        await press(other, "ArrowRight", "ArrowRight", "a")
        await until(page, f"{COUNTS}.includes('2 approved')")
        async with page.expect_download() as download:
            await page.keyboard.press("e")
        exported = await (await download.value).path()
        text = await asyncio.to_thread(Path(exported).read_text, encoding="utf-8")
        titles = [await each.title() for each in (page, other)]
        assert await page.evaluate("window.caught") is None
        assert room.complaints == []
        assert {asked.partition(":")[0] for asked in room.asked} <= {"file", "data", "blob"}
    assert titles == ["test, main: choose"] * 2
    said = list(csv.DictReader(io.StringIO(text)))
    assert [(each["variant"], each["decision"], each["stars"], each["change"]) for each in said] == [
        ("1", "approved", "0", ""),
        ("2", "rejected", "4", 'brighter, "please"'),
        ("3", "approved", "0", ""),
        ("1", "cleared", "5", ""),
    ]
    assert len((await reviewer.apply(text)).added) == 4
    assert (await reviewer.apply(text)).added == ()
    assert (await reviewer.buy_rejected()).exit_code == 0
    async with open_browser() as browser, open_room(browser) as room:
        page = await room.open(url)
        assert "7 images 2 approved 0 rejected 5 waiting" in await page.evaluate(COUNTS)
        await press(page, "ArrowRight", " ")
        figures = page.locator("#stage figcaption")
        assert [text.split(" · ")[2] for text in await figures.all_inner_texts()] == ["take 1", "take 2"]
        await press(page, "Escape")
        await page.select_option("[name=takes]", "all")
        await page.select_option("[name=decision]", "rejected")
        assert await page.locator(".tile").count() == 1


async def test_two_reviewers_of_a_served_page_lose_nothing(shop: SandboxRig, reviewer: Reviewer):
    await bought(shop)
    store = open_store(shop.settings.archive)
    ledger = new_ledger(store, EDITION)
    await ledger.load()
    server = ReviewServer(store, EDITION, ledger, "ann")
    async with (
        server.running(0) as url,
        open_browser() as browser,
        open_room(browser) as one,
        open_room(browser) as two,
    ):
        first, second = await one.open(url), await two.open(url)
        await press(first, "r", "ArrowRight", "a")
        await press(second, "3", "ArrowRight", "ArrowRight", "r")
        for page in (first, second):
            await until(page, f"{COUNTS}.includes('1 approved 2 rejected') && !document.querySelector('.unsaved')")
        await first.reload()
        assert "1 approved 2 rejected" in await first.evaluate(COUNTS)
        assert one.complaints == two.complaints == []
        assert {asked.startswith((url, "data:")) for asked in (*one.asked, *two.asked)} == {True}
    standing = (await reviewer.choosing()).standing
    assert sorted((each.verdict.value, each.stars) for each in standing.values()) == [
        ("approved", 0), ("rejected", 0), ("rejected", 3),
    ]  # fmt: skip
    assert len(reviewer.facts()) == server.saved == 4


@pytest.fixture(scope="session")
def axe(pytestconfig: pytest.Config) -> str:
    """axe-core's source, fetched from npm as pinned."""
    npm = shutil.which("npm")
    if not npm:
        pytest.skip("npm is not installed")
    digest = hashlib.sha256((AXE / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = Path(pytestconfig.cache.mkdir(f"axe-{digest}"))
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.exists():
        for name in ("package.json", "package-lock.json"):
            shutil.copy(AXE / name, folder)
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90, check=False)
        if done.returncode:
            pytest.skip(f"axe-core cannot be fetched: {done.stderr.strip()[-200:]}")
    return script.read_text(encoding="utf-8")


async def test_nobody_is_shut_out_and_nothing_runs_off_a_phone(shop: SandboxRig, axe: str):
    url = await bought(shop)
    async with open_browser() as browser:
        for scheme, width in (("light", 1280), ("dark", 390)):
            options = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}, "bypass_csp": True}
            async with open_room(browser, **options) as room:
                page = await room.open(url)
                await press(page, "a", "ArrowRight", "r", "4")
                await page.evaluate(axe)
                for keys in ((), (" ",)):
                    await press(page, *keys)
                    found = await page.evaluate("axe.run()")
                    assert [
                        (each["id"], each["nodes"][0]["html"])
                        for each in found["violations"]
                        if each["impact"] in ("serious", "critical")
                    ] == []
                wide = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
                assert await page.evaluate(wide)


def many(count: int) -> Choosing:
    line = {
        "job": "mug", "status": "archived", "key": "assets/one.jpg", "width_px": 64, "height_px": 64, "prompt": "a mug",
        "model": "m", "size": "1:1", "reason": None,
    }  # fmt: skip
    price = Decimal("1.53")
    return Choosing(
        EDITION, "token", Origin("sandbox", is_stand_in=True),
        tuple(
            Candidate(
                Variant(hashlib.sha256(bytes(str(number), "ascii")).hexdigest(), number % 4 + 1, 1),
                {**line, "row": f"r{number // 4}", "vars": {"n": str(number // 400)}},
                price, is_latest=True, label="", prompt="a mug",
            )
            for number in range(count)
        ),
        Decisions({}),
    )  # fmt: skip


async def test_ten_thousand_images_are_all_reachable_and_few_are_in_memory(tmp_path: Path):
    choosing = many(10_000)
    page_file = tmp_path / "review.html"
    page_file.write_bytes(render(choosing, set(), Live()))
    (tmp_path / "assets").mkdir()
    from PIL import Image  # noqa: PLC0415

    Image.new("RGB", (64, 64), "red").save(tmp_path / "assets" / "one.jpg")
    async with open_browser() as browser, open_room(browser) as room:
        page = await room.open(page_file.as_uri())
        await press(page, "End", "r")
        assert await page.evaluate("current.index") == 9_999
        assert "10,000 images" in await page.evaluate(COUNTS)
        most = 0
        for share in range(21):
            await page.evaluate(f"window.scrollTo(0, document.documentElement.scrollHeight * {share} / 20)")
            await page.evaluate("new Promise(requestAnimationFrame).then(() => new Promise(requestAnimationFrame))")
            most = max(most, await page.evaluate("document.querySelectorAll('.tile').length"))
            assert await page.evaluate(
                "[...document.querySelectorAll('.tile')].some(e => { const b = e.getBoundingClientRect();"
                " return b.bottom > 0 && b.top < innerHeight; })"
            )
        assert most < 120
        await press(page, "Home", "a")
        assert await page.evaluate("current.index") == 0
        assert room.complaints == []


async def test_the_page_of_an_edition_is_written_again_with_what_was_decided_since(
    shop: SandboxRig, reviewer: Reviewer
):
    await bought(shop)
    choosing = await reviewer.choosing()
    key = choosing.candidates[0].variant.key
    store = open_store(shop.settings.archive)
    await write_decision(store, EDITION, Decision(key, Verdict.REJECTED, writer="0" * 16))
    await rewrite_gallery(store, EDITION)
    assert b'"decision":"rejected"' in (shop.edition() / "review.html").read_bytes()
    assert replace(choosing).waiting == 7


async def test_the_large_view_opens_and_closes_by_space_and_a_button_that_was_pressed_by_key_keeps_the_focus(
    shop: SandboxRig,
):
    url = await bought(shop)
    async with open_browser() as browser, open_room(browser) as room:
        page = await room.open(url)
        await press(page, " ", " ")
        assert not await page.evaluate("viewer.open")
        assert "0 approved" in await page.evaluate(COUNTS)
        await press(page, " ")
        first = await page.evaluate("current.id")
        await page.get_by_role("button", name="Next", exact=True).focus()
        await press(page, "Enter")
        await until(page, f"current.id != {first!r}")
        assert await page.evaluate("document.activeElement.textContent") == "Next"
        assert not room.complaints


async def test_a_finger_opens_an_image_decides_and_goes_on(shop: SandboxRig):
    url = await bought(shop)
    async with open_browser() as browser, open_room(browser, viewport=PHONE, has_touch=True, is_mobile=True) as room:
        page = await room.open(url)
        assert not await page.evaluate("document.querySelector('[name=text]').checkVisibility()")
        await page.locator("#filtering summary").tap()
        await page.locator("[name=job]").select_option("mug")
        await page.locator(".tile").nth(1).tap()
        for words in ("Reject", "Next", "Approve", "Close"):
            await page.get_by_role("button", name=words, exact=True).tap()
        assert not await page.evaluate("viewer.open")
        assert "1 approved 1 rejected" in await page.evaluate(COUNTS)
        assert await page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


async def test_a_page_of_a_run_tells_how_far_it_is_and_stays_where_one_looks(tmp_path: Path):
    page_file = tmp_path / "review.html"

    def write(*, first: int, age_s: int) -> None:
        """The latest images, of which newer ones have come before those that were there."""
        every = many(400)
        shown = replace(every, candidates=every.candidates[first:])
        live = Live((datetime.now(UTC) - timedelta(seconds=age_s)).isoformat(), 34_210, 100_000, excerpt=True)
        page_file.write_bytes(render(shown, set(), live))

    write(first=40, age_s=0)
    async with open_browser() as browser, open_room(browser) as room:
        page = await room.open(page_file.as_uri())
        told = "document.querySelector('#running').textContent"
        assert "34,210 of 100,000 images have come, this page shows the latest 360." in await page.evaluate(told)
        await press(page, *["ArrowDown"] * 9)
        image, top = await page.evaluate(TOP_OF_CURRENT)
        write(first=0, age_s=700)  # so old that the page is not followed any longer
        await until(page, "data.images.length === 400 && document.querySelector('.tile.current') !== null")
        assert await page.evaluate(TOP_OF_CURRENT) == [image, pytest.approx(top, abs=2)]
        assert "there has been no news for 12 min" in await page.evaluate(told)


TOP_OF_CURRENT = """(() => {
  const tile = document.querySelector(".tile.current");
  return [tile.id, Math.round(tile.getBoundingClientRect().top)];
})()"""
