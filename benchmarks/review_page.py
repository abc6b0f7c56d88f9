"""How smooth the page to choose on is: frames a second while 10,000 images are scrolled.

    python benchmarks/review_page.py [IMAGES]

The images are one small picture again and again, so this measures the page, not the disk. Needs Chromium and
Playwright. A headless Chromium without a GPU paints on the processor; a desktop is smoother.
"""

import asyncio
import hashlib
import itertools
import shutil
import statistics
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path

from PIL import Image
from playwright.async_api import async_playwright

from adloom.core.origin import Origin
from adloom.core.planned import Variant
from adloom.gallery.chooser import Live, render
from adloom.gallery.choosing import Candidate, Choosing
from adloom.ledger.decisions import Decisions
from adloom.ledger.edition import Edition

SCROLL = """async (pixels) => {
  const frames = [];
  window.scrollTo(0, 0);
  for (let step = 0; step <= 240; step += 1) {
    window.scrollBy(0, pixels);
    await new Promise(requestAnimationFrame);
    frames.push(performance.now());
  }
  return frames;
}"""
PIXELS_A_FRAME = (100, 400, 3700)
"""A wheel, a fling, and from top to bottom in four seconds: every frame is another screen."""


def choosing(count: int) -> Choosing:
    line = {
        "job": "mug", "status": "archived", "key": "assets/one.jpg", "width_px": 480, "height_px": 480,
        "prompt": "a mug", "model": "m", "size": "1:1", "reason": None,
    }  # fmt: skip
    candidates = tuple(
        Candidate(
            Variant(hashlib.sha256(str(number).encode()).hexdigest(), number % 4 + 1, 1),
            {**line, "row": f"r{number // 4}", "vars": {"n": str(number // 400)}},
            Decimal("1.53"), is_latest=True, label="", prompt="a mug",
        )
        for number in range(count)
    )  # fmt: skip
    return Choosing(Edition("bench", "main"), "token", Origin("sandbox", is_stand_in=True), candidates, Decisions({}))


async def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "assets").mkdir()
        Image.new("RGB", (480, 480), "teal").save(place / "assets" / "one.jpg")
        began, what = time.perf_counter(), choosing(count)
        began = time.perf_counter()
        page_bytes = render(what, set(), Live())
        print(f"{count:,} images: page of {len(page_bytes) / 1e6:.1f} MB made in {time.perf_counter() - began:.2f} s")
        (place / "review.html").write_bytes(page_bytes)
        async with async_playwright() as driver:
            browser = await driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = await browser.new_page(viewport={"width": 1280, "height": 800})
            began = time.perf_counter()
            await page.goto((place / "review.html").as_uri())
            await page.evaluate("document.querySelector('.tile') !== null")
            print(f"opened in {time.perf_counter() - began:.2f} s")
            for pixels in PIXELS_A_FRAME:
                frames = await page.evaluate(SCROLL, pixels)
                spans = [later - earlier for earlier, later in itertools.pairwise(frames)]
                print(f"{pixels} px a frame: {1000 / statistics.mean(spans):.0f} frames/s, slowest {max(spans):.0f} ms")
            print(await page.evaluate("document.querySelectorAll('.tile').length"), "tiles held")
            await browser.close()


asyncio.run(main())
