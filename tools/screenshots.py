"""Make docs/images again: ``python tools/screenshots.py [pages] [prefect]``, without a word both.

Everything is bought from the sandbox, in a folder that is removed afterwards: no key, no money. Needs Debian's
``chromium``. adloom's own pages take a minute or two. Those of Prefect take some minutes more, on a quiet machine: a
server, a worker and deployments of their own are started and stopped, on another port than those of ``make up``.
Look at the images before you commit them: no test can.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from adloom.orchestration.local_stack import StartFailed, down, up
from adloom.orchestration.server import authorization

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
ADLOOM = str(Path(sys.executable).with_name("adloom"))
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
JPEG_QUALITY = 80
AT_MOST_S = 900
DRAWN_MS = 5000
"""Prefect draws the bars of a run some time after its page is there."""

SIDEBAR_PX = 256
WIDE: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 780}
CHOICES = ("a", "r", "5", "r", "", "4", "", "a")
"""What is decided on the first images, in their order: approved, rejected, stars, nothing."""

STACK = ("prefect.yaml", "prefect.env", "work-pool.json", "automations.yaml")
"""What `make up` reads, beside the flows and campaigns."""


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


async def prefect(folder: Path, browser: Browser) -> None:
    """The form, the approval, a run, its artifacts and its contact sheet, as Prefect shows them."""
    for name in ("campaigns", "flows"):
        shutil.copytree(ROOT / name, folder / name)
    for name in STACK:
        shutil.copy(ROOT / name, folder)
    for name in ("EVOLINK_API_KEY", "PREFECT_API_URL", "PREFECT_HOME"):
        os.environ.pop(name, None)
    port = _free_port()
    os.environ["PREFECT_SERVER_API_PORT"] = str(port)
    os.chdir(folder)  # where `make up` is typed
    try:
        up(folder)
        secret = (folder / ".prefect-home" / "api-secret").read_text().strip()
        await _seen_in_prefect(browser, Server(f"http://127.0.0.1:{port}", secret))
    except StartFailed as error:
        sys.exit(f"{error}. On a machine at its limit it takes too long: try again later.")
    finally:
        down(folder)
        os.chdir(ROOT)


@dataclass(frozen=True, slots=True)
class Server:
    """A Prefect server, its secret, and what is asked of its API."""

    address: str
    secret: str

    def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - what an API answers
        """The answer to one request."""
        headers = {"Content-Type": "application/json", **authorization(self.secret)}
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}/api{path}", content, headers, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own server
            return json.loads(answer.read())

    def run(self, deployment: str, **parameters: object) -> str:
        """Start a flow run; its id."""
        parameters = {"campaign": "campaigns/spring-launch.yaml", "dry_run": False, **parameters}
        made = self.ask("POST", f"/deployments/{deployment}/create_flow_run", {"parameters": parameters})
        return str(made["id"])

    async def until(self, run: str, state: str) -> None:
        """Wait until a flow run has a state."""
        until = time.monotonic() + AT_MOST_S
        while (now := self.ask("GET", f"/flow_runs/{run}")["state"]["name"]) != state:
            if time.monotonic() > until:
                sys.exit(f"the flow run is {now}, not {state}")
            await asyncio.sleep(2)


async def _seen_in_prefect(browser: Browser, server: Server) -> None:
    deployment = server.ask("GET", "/deployments/name/campaign/by-hand")["id"]
    waits = server.run(deployment, edition="2026-12-01", approve_above_usd=0.5)
    buys = server.run(deployment, edition="2026-12-07", approve_above_usd=20)
    secret = server.secret
    form = f"{server.address}/deployments/deployment/{deployment}/run"
    async with _opened(browser, form, {"width": 1280, "height": 1900}, secret=secret) as page:
        await page.get_by_text("approve_above_usd").first.wait_for()
        await _save(page, "prefect-form.png")
    await server.until(waits, "Suspended")
    address = f"{server.address}/runs/flow-run/"
    async with _opened(browser, address + waits, {"width": 1280, "height": 900}, secret=secret) as page:
        await page.get_by_role("button", name="Resume").click()
        await page.get_by_text("Buy it").wait_for()
        await _save(page, "prefect-approval.png")
    await server.until(buys, "Completed")
    async with _opened(browser, address + buys, {"width": 1280, "height": 620}, secret=secret) as page:
        await page.get_by_text("Completed").first.wait_for()
        await page.wait_for_timeout(DRAWN_MS)
        await _save(page, "prefect-run.png")
    async with _opened(browser, address + buys, {"width": 1280, "height": 1200}, secret=secret) as page:
        await page.get_by_text("Artifacts", exact=True).click()
        await page.get_by_text("-gallery").first.wait_for()
        await _save(page, "prefect-artifacts.png", below="Task Runs")
    wanted = {"flow_runs": {"id": {"any_": [buys]}}, "artifacts": {"key": {"any_": ["spring-launch-contact-sheet"]}}}
    (sheet,) = server.ask("POST", "/artifacts/filter", wanted)
    address = f"{server.address}/artifacts/artifact/{sheet['id']}"
    async with _opened(browser, address, {"width": 1280, "height": 700}, secret=secret) as page:
        await page.locator("img").first.wait_for()
        await _save(page, "prefect-contact-sheet.png")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _adloom(folder: Path, *words: str) -> None:
    command = [ADLOOM, *words]
    done = subprocess.run(  # noqa: S603 - our own command
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=AT_MOST_S
    )
    if done.returncode:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}\n{done.stdout}{done.stderr}")


@asynccontextmanager
async def _opened(
    browser: Browser, url: str, size: ViewportSize, *, dark: bool = False, secret: str = ""
) -> AsyncIterator[Page]:
    context = await browser.new_context(viewport=size, color_scheme="dark" if dark else "light")
    context.set_default_timeout(AT_MOST_S * 1000)
    if secret:  # as its page keeps it once it was typed
        await context.add_init_script(f"localStorage.setItem('prefect-password', btoa('{secret}'))")
    page = await context.new_page()
    await page.goto(url)
    yield page
    await context.close()


async def _save(page: Page, name: str, *, below: str = "") -> None:
    """Save what is seen, or the part of it that begins with a word."""
    await page.wait_for_timeout(1000)  # what moves has come to rest
    content = await page.screenshot()
    image = Image.open(BytesIO(content)).convert("RGB")
    if below and (box := await page.get_by_text(below, exact=True).bounding_box()):
        image = image.crop((SIDEBAR_PX, int(box["y"]) - 20, *image.size))
    if name.endswith(".jpg"):
        image.save(IMAGES / name, quality=JPEG_QUALITY, optimize=True)
    else:
        image.quantize(256, dither=Image.Dither.NONE).save(IMAGES / name, optimize=True)
    print(IMAGES / name)


async def main(asked: list[str]) -> None:
    """Make the images that are asked for."""
    known: dict[str, Callable[[Path, Browser], Awaitable[None]]] = {"pages": pages, "prefect": prefect}
    if unknown := set(asked) - known.keys():
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=120_000)
        for part in asked or known:
            with tempfile.TemporaryDirectory() as name:
                await known[part](Path(name), browser)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
