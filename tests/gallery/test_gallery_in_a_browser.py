"""The gallery in the browser people use: images load, the policy holds, nothing runs off the screen."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from support.browser import CHROMIUM, open_tab
from support.shop import SandboxRig, campaign_text

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
LONG_WORD = "w" * 300


@asynccontextmanager
async def served(shop: SandboxRig) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_static("/", shop.edition())
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    yield f"http://{host}:{port}/gallery.html"
    await runner.cleanup()


@pytest.mark.parametrize("way", ["file", "http"])
async def test_every_image_loads_and_nothing_is_blocked_or_runs_off_a_phone(shop: SandboxRig, way: str):
    prompt = f"mug {LONG_WORD} <script>document.title = 1</script>"
    shop.write(campaign_text(f"  - {{id: mug, prompt: '{prompt}', variants: 5, size: ['1:1', '16:9', '9:16']}}\n"))
    await shop.run()
    async with served(shop) as address, open_tab() as tab:
        url = address if way == "http" else (shop.edition() / "gallery.html").as_uri()
        for width in (1280, 360):
            facts = await tab.open(url, width=width)
            assert (facts["images"], facts["broken"]) == (15, [])
            assert facts["styled"]
            assert facts["page_width"] <= facts["window_width"]
        assert tab.complaints == []


async def test_a_script_that_got_in_anyway_would_not_run(shop: SandboxRig):
    shop.write(campaign_text("  - {id: mug, prompt: a mug}\n"))
    await shop.run()
    path = shop.edition() / "gallery.html"
    path.write_text(path.read_text().replace("</body>", "<script>document.title = 'caught'</script></body>"))
    async with open_tab() as tab:
        await tab.open(path.as_uri())
        title = await tab.ask("Runtime.evaluate", expression="document.title")
        assert title["result"]["value"] == "test, main"
        assert any("Content Security Policy" in complaint for complaint in tab.complaints)
