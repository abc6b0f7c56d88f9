"""A headless Chromium that tests steer over its debugging socket: what a page does in the browser people use."""

import asyncio
import base64
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
STARTS_IN_S = 120
ANSWERS_IN_S = 120
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
_FACTS = """(async () => {
  for (const image of document.images) image.loading = 'eager';
  await Promise.all([...document.images].map(image => image.decode().catch(() => null)));
  return {
    images: document.images.length,
    broken: [...document.images].filter(image => !image.naturalWidth).map(image => image.src),
    page_width: document.documentElement.scrollWidth,
    window_width: document.documentElement.clientWidth,
    styled: getComputedStyle(document.querySelector('.skip')).position === 'absolute',
  };
})()"""


class Tab:
    """One page of the browser."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.complaints: list[str] = []
        """What the browser's console said: blocked images, broken policies, missing files."""

    async def ask(self, method: str, **parameters: object) -> dict:
        wanted = next(self._ids)
        await self._socket.send_json({"id": wanted, "method": method, "params": parameters})
        while True:
            message = await self._next()
            if message.get("id") == wanted:
                assert "error" not in message, message
                return dict(message["result"])

    async def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> dict:
        """Show a page; what can be measured of it once every image is loaded or has failed."""
        await self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.ask("Emulation.setEmulatedMedia", features=[scheme])
        await self.show(url)
        answer = await self.ask("Runtime.evaluate", expression=_FACTS, awaitPromise=True, returnByValue=True)
        return dict(answer["result"]["value"])

    async def show(self, url: str) -> None:
        """Show a page, whatever is on it."""
        for domain in ("Page", "Log", "Runtime"):
            await self.ask(f"{domain}.enable")
        await self.ask("Page.navigate", url=url)
        while (await self._next()).get("method") != "Page.loadEventFired":
            pass

    async def screenshot(self, *, whole: bool = False) -> bytes:
        """What the window shows, or the whole page, as a PNG."""
        shot = await self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])

    async def _next(self) -> dict:
        async with asyncio.timeout(ANSWERS_IN_S):
            message = json.loads(await self._socket.receive_str())
        if message.get("method") == "Log.entryAdded":
            self.complaints.append(message["params"]["entry"]["text"])
        return dict(message)


@asynccontextmanager
async def open_tab(*options: str) -> AsyncIterator[Tab]:
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *_OPTIONS,
            *options,
            f"--user-data-dir={profile}",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            port = await _port(Path(profile) / "DevToolsActivePort")
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                    pages = [page for page in await answer.json() if page["type"] == "page"]
                async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    tab = Tab(socket)
                    yield tab
                    await tab.ask("Browser.close")
        finally:
            if process.returncode is None:
                try:
                    await asyncio.wait_for(process.wait(), 5)
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def _port(file: Path) -> int:
    """The port that the browser writes down once it listens."""
    async with asyncio.timeout(STARTS_IN_S):
        while not (text := await asyncio.to_thread(_text, file)):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.05)
    return int(text.split()[0])


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""
