"""The gallery of editions that the sandbox made: what it shows, what it never lets through, what stays the same."""

import asyncio
import hashlib
import json
import re
from base64 import b64encode
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from support.shop import SandboxRig, campaign_text, one_row
from typer.testing import CliRunner

from adloom.cli.app import app
from adloom.core.errors import InputError
from adloom.core.exits import EXIT_INPUT, EXIT_INTERRUPTED
from adloom.core.identity import thumb_key
from adloom.core.manifest import overall_status
from adloom.core.outcomes import Status
from adloom.core.selection import Selection
from adloom.edges.pictures import PictureDecoder
from adloom.gallery import choosing, write
from adloom.gallery.render import STATUS_WORDS
from adloom.run.text import result_lines, result_summary
from adloom.targets import edition_of, open_source, open_store, open_target
from adloom.wiring import rewrite_gallery

HOSTILE = """"><script>alert(1)</script><img src=x onerror="alert(2)"> {{ 7*7 }} <!-- '"""


class Page(HTMLParser):
    """A page taken apart: tags, links, images and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def links(self) -> list[str]:
        return [found["href"] for found in self.all("a")] + [found["src"] for found in self.all("img")]

    def ids(self) -> set[str]:
        return {attributes["id"] for _, attributes in self.tags if "id" in attributes}


def pages(shop: SandboxRig) -> list[Page]:
    paths = sorted(
        shop.edition().glob("gallery*.html"), key=lambda path: int((re.findall(r"\d+", path.name) or [1])[0])
    )
    return [Page(path) for path in paths]


def many_rows(rows: int, variants: int = 1) -> str:
    values = json.dumps([f"colour {number}" for number in range(rows)])
    return campaign_text(
        f"  - {{id: many, prompt: 'mug in {{{{ n }}}}', variants: {variants}, matrix: {{n: {values}}}}}\n"
    )


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


async def test_a_prompt_is_text_whatever_it_holds(shop: SandboxRig):
    rows = f"id,visual,style\nx,{json.dumps(HOSTILE).replace(chr(92) + chr(34), chr(34) * 2)},</style>\n"
    (shop.folder / "rows.csv").write_text(rows)
    shop.write(campaign_text("  - {id: evil, prompt: '{{ visual }} in {{ style }}', rows: rows.csv}\n"))
    await shop.run()
    (page,) = pages(shop)
    assert HOSTILE in "".join(page.words)
    assert page.all("script") == []
    assert len(page.all("img")) == len(page.all("style")) == 1
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"]


async def test_the_policy_allows_the_page_its_style_and_its_images_and_nothing_else(shop: SandboxRig):
    shop.write(one_row(1))
    await shop.run()
    (page,) = pages(shop)
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", page.source, re.DOTALL)
    assert style is not None
    digest = b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src 'self' file: data:",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert not re.search(r"url\(|@import|@font-face", style[1])


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


async def test_an_unchanged_second_run_changes_neither_page_nor_thumbnails(shop: SandboxRig):
    shop.write(many_rows(3, variants=2))
    await shop.run()
    watched = [*shop.edition().glob("thumbs/**/*.jpg"), shop.edition() / "gallery.html"]
    before = [(path.read_bytes(), path.stat().st_mtime_ns if "thumbs" in path.parts else 0) for path in watched]
    await shop.run()
    assert len(watched) == 7
    assert before == [(path.read_bytes(), path.stat().st_mtime_ns if "thumbs" in path.parts else 0) for path in watched]
    await rewrite_gallery(*open_target(str(shop.edition()), shop.settings))
    assert before[-1][0] == watched[-1].read_bytes()


async def test_a_large_edition_is_cut_between_rows_into_pages_that_lead_to_each_other(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(write, "IMAGES_PER_PAGE", 5)
    shop.write(many_rows(7, variants=2))
    shop.sandbox.change(moderated_at_submit=("colour 6",))
    await shop.run()
    found = pages(shop)
    assert [page.path.name for page in found] == [f"gallery{end}.html" for end in ("", "-2", "-3", "-4")]
    assert [len(page.all("article")) for page in found] == [2, 2, 2, 1]
    assert [len(page.all("img")) for page in found] == [4, 4, 4, 0]
    ids = {page.path.name: page.ids() for page in found}
    for page in found:
        for link in page.links():
            target, _, anchor = unquote(link).partition("#")
            assert not anchor or anchor in ids[target or page.path.name]
            assert not target or (shop.edition() / target).is_file()
    neighbours = [[link for link in page.all("a") if "rel" in link] for page in found]
    assert [sorted({link["href"] for link in links}) for links in neighbours] == [
        ["gallery-2.html"],
        ["gallery-3.html", "gallery.html"],
        ["gallery-2.html", "gallery-4.html"],
        ["gallery-3.html"],
    ]
    assert any(link.startswith("gallery-4.html#row/") for link in found[0].links())
    assert "continued" in found[1].text


async def test_rows_of_which_nothing_is_bought_yet_are_counted_and_fill_no_pages(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(write, "IMAGES_PER_PAGE", 5)
    monkeypatch.setattr(choosing, "IMAGES_PER_PAGE", 5)
    later = "  - {id: later, prompt: 'a {{ n }} jug', matrix: {n: [a, b, c]}}\n"
    shop.write(many_rows(20, variants=2) + later)
    await shop.run(selection=Selection(first=3))
    found = pages(shop)
    assert [len(page.all("article")) for page in found] == [2, 1]
    assert "20 rows are still open" in found[-1].text
    assert "20 rows are still open" not in found[0].text
    assert "6 of 40" in found[0].text
    assert [link for link in found[0].links() if link.startswith("#job/") or ".html#job/" in link] == ["#job/many"]
    assert "0 of 3" in found[0].text
    to_choose_from = (shop.edition() / "review.html").read_text()
    assert "colour 2" in to_choose_from
    assert "colour 3" not in to_choose_from
    assert "jug" not in to_choose_from


async def test_a_page_that_a_smaller_plan_no_longer_fills_leads_to_the_first(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(write, "IMAGES_PER_PAGE", 2)
    shop.write(many_rows(4))
    await shop.run()
    shop.write(many_rows(2))
    await shop.run()
    first, leftover = pages(shop)
    assert "colour 1" in first.text
    assert leftover.links() == ["gallery.html"]
    assert "colour 3" not in leftover.text


async def test_thumbnails_come_with_their_images_and_are_decoded_once(
    shop: SandboxRig, monkeypatch: pytest.MonkeyPatch
):
    asked: list[bytes] = []
    honest = PictureDecoder.decode

    async def counted(decoder: PictureDecoder, content: bytes):
        asked.append(content)
        return await honest(decoder, content)

    monkeypatch.setattr(PictureDecoder, "decode", counted)
    shop.write(one_row(3))
    await shop.run()
    assert len(asked) == 3
    assert len(list(shop.edition().glob("thumbs/**/*.jpg"))) == 3


async def test_a_thumbnail_that_an_archive_lacks_is_made_at_the_next_run(shop: SandboxRig):
    shop.write(one_row(3))
    await shop.run()
    thumbnails = {path: path.read_bytes() for path in shop.edition().glob("thumbs/**/*.jpg")}
    for path in thumbnails:
        path.unlink()
    await shop.run()
    assert {path: path.read_bytes() for path in shop.edition().glob("thumbs/**/*.jpg")} == thumbnails
    (page,) = pages(shop)
    assert [image["src"].split("/")[0] for image in page.all("img")] == ["thumbs"] * 3


async def test_an_interrupted_run_ends_at_once_with_a_page_of_originals(shop: SandboxRig):
    shop.write(one_row(1) + "  - {id: jug, prompt: a jug}\n")
    await shop.run()
    shop.write(one_row(1) + "  - {id: jug, prompt: a jug, variants: 2}\n")
    result = await shop.run(started=lambda run: run.interrupt())
    assert result.exit_code == EXIT_INTERRUPTED
    assert result.gallery
    (page,) = pages(shop)
    assert "Stopped before the end" in page.text


async def test_an_image_that_is_not_what_the_ledger_says_gets_no_thumbnail(shop: SandboxRig):
    shop.write(one_row(2))
    await shop.run()
    asset = shop.edition() / str(shop.lines()[0]["key"])
    asset.write_bytes(asset.read_bytes()[:-9] + b"tampered!")
    for path in shop.edition().glob("thumbs/**/*.jpg"):
        path.unlink()
    await rewrite_gallery(*open_target(str(shop.edition()), shop.settings))
    assert len(list(shop.edition().glob("thumbs/**/*.jpg"))) == 1
    (page,) = pages(shop)
    assert [image["src"].split("/")[0] for image in page.all("img")] == ["assets", "thumbs"]


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


def test_a_thumbnail_is_named_after_its_asset():
    assert thumb_key("assets/hero/red.mug-1-abc123.png") == "thumbs/hero/red.mug-1-abc123.jpg"


def test_every_status_of_a_manifest_has_words():
    assert {overall_status({status: 1}, ()) for status in Status} <= set(STATUS_WORDS)
