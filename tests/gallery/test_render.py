"""A page as HTML: strangers' words stay text, and its policy lets nothing else in."""

import hashlib
import json
import re
from base64 import b64encode

from support.pages import pages
from support.shop import SandboxRig, campaign_text, one_row

from adloom.core.manifest import overall_status
from adloom.core.outcomes import Status
from adloom.gallery.render import STATUS_WORDS

HOSTILE = """"><script>alert(1)</script><img src=x onerror="alert(2)"> {{ 7*7 }} <!-- '"""


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


def test_every_status_of_a_manifest_has_words():
    assert {overall_status({status: 1}, ()) for status in Status} <= set(STATUS_WORDS)
