"""A browser that people choose in: Playwright drives Debian's Chromium, and everything it complains of is kept."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.async_api", reason="Playwright is not installed")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


@dataclass
class Room:
    """One reviewer's browser: what its pages complain of, and what they ask for."""

    context: "playwright.BrowserContext"
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def open(self, url: str) -> "playwright.Page":
        page = await self.context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        await page.goto(url)
        await until(page, "document.querySelector('#counts b') !== null")
        return page


@asynccontextmanager
async def open_browser() -> AsyncIterator["playwright.Browser"]:
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"], timeout=120_000
        )
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def open_room(browser: "playwright.Browser", **options: object) -> AsyncIterator[Room]:
    context = await browser.new_context(**options)
    context.set_default_timeout(60_000)
    yield Room(context)
    await context.close()


async def press(page: "playwright.Page", *keys: str) -> None:
    for key in keys:
        await page.keyboard.press(key)


async def until(page: "playwright.Page", expression: str) -> None:
    """Wait until something is so on a page, whose policy lets nobody evaluate text in a timer of its own.

    A page that is being loaded again has not answered yet.
    """
    async with asyncio.timeout(60):
        while True:
            with suppress(playwright.Error):
                if await page.evaluate(expression):
                    return
            await asyncio.sleep(0.02)
