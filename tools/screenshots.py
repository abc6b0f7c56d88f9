"""Make the images of adloom's own pages in docs/images again: ``python tools/screenshots.py``.

Everything is bought from the sandbox, in a folder that is removed afterwards: no key, no money. Needs Debian's
``chromium`` and a minute or two. Look at the images before you commit them: no test can.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
ADLOOM = str(Path(sys.executable).with_name("adloom"))
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
JPEG_QUALITY = 80
AT_MOST_S = 900
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 780}
CHOICES = ("a", "r", "5", "r", "", "4", "", "a")
"""What is decided on the first images, in their order: approved, rejected, stars, nothing."""


async def pages(folder: Path, browser: Browser) -> None:
    """The page to choose on, and that of a delivery."""
    shutil.copytree(ROOT / "campaigns", folder / "campaigns")
    for name in ("spring-launch", "channels"):
        _adloom(folder, "run", f"campaigns/{name}.yaml", "--sandbox", "--yes")
    _adloom(folder, "deliver", "campaigns/channels.yaml")
    archive = folder / "archive"
    review = (archive / "spring-launch" / "main" / "review.html").as_uri()
    async with _opened(browser, review, WIDE) as page:
        await _choose(page)
        await _press(page, "Home")
        await _to_the_top(page)
        await _save(page, "review-desktop.jpg")
    async with _opened(browser, review, WIDE) as page:
        await _choose(page)
        await _press(page, "Home", "c", "ArrowRight", "c", "ArrowRight", "c", "v")
        await page.wait_for_timeout(2000)  # three whole images
        await _save(page, "review-side-by-side.jpg")
    async with _opened(browser, review, WIDE, dark=True) as page:
        await _choose(page)
        await _press(page, "Home")
        await _to_the_top(page)
        await _save(page, "review-dark.jpg")
    async with _opened(browser, review, PHONE) as page:
        await _choose(page)
        await _press(page, "Home")
        await _to_the_top(page)
        await _save(page, "review-phone.jpg")
    delivery = (archive / "channels" / "main" / "delivery" / "delivery.html").as_uri()
    async with _opened(browser, delivery, {"width": 1200, "height": 900}) as page:
        await _save(page, "delivery.jpg")


async def _choose(page: Page) -> None:
    for key in CHOICES:
        await _press(page, *filter(None, (key, "ArrowRight")))


async def _press(page: Page, *keys: str) -> None:
    for key in keys:
        await page.keyboard.press(key)


async def _to_the_top(page: Page) -> None:
    await page.evaluate("window.scrollTo(0, 0)")


def _adloom(folder: Path, *words: str) -> None:
    command = [ADLOOM, *words]
    done = subprocess.run(  # noqa: S603 - our own command
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=AT_MOST_S
    )
    if done.returncode:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}\n{done.stdout}{done.stderr}")


@asynccontextmanager
async def _opened(browser: Browser, url: str, size: dict[str, int], *, dark: bool = False) -> AsyncIterator[Page]:
    context = await browser.new_context(
        viewport={"width": size["width"], "height": size["height"]}, color_scheme="dark" if dark else "light"
    )
    page = await context.new_page()
    await page.goto(url)
    yield page
    await context.close()


async def _save(page: Page, name: str) -> None:
    await page.wait_for_timeout(1000)  # what moves has come to rest
    await page.screenshot(path=IMAGES / name, type="jpeg", quality=JPEG_QUALITY)
    print(IMAGES / name)


async def main() -> None:
    """Make all images."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=120_000)
        with tempfile.TemporaryDirectory() as name:
            await pages(Path(name), browser)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
