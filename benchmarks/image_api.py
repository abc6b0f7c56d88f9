"""An image API that costs next to nothing, so that what is measured is its client.

Its tables are dictionaries, its pictures are made once. It counts what it is asked, and how long finished tasks wait to
be seen.

    python benchmarks/image_api.py --pixels 1024 --bytes 670000 --task-seconds 2,4

Its first line of output is its address; it ends with its stdin. ``/counts`` tells what it was asked, and starts anew.
"""

import argparse
import asyncio
import itertools
import random
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from aiohttp import web
from PIL import Image

CREDITS_AN_IMAGE = 1.53
"""The list price: adloom stops at a price that is not the table's."""

PICTURES = 8


def picture(side_px: int, size_bytes: int, seed: int) -> bytes:
    """A JPEG of about so many bytes: a soft gradient under noise, of which there is as much as the bytes need."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0:side_px, 0:side_px] / side_px
    base = np.stack([255 * down, 255 * across, 255 * (1 - down)], axis=-1)
    noise = rng.normal(0, 1, (side_px, side_px, 1))
    low, high = 0.0, 120.0
    content = b""
    for _ in range(12):
        strength = (low + high) / 2
        buffer = BytesIO()
        Image.fromarray(np.clip(base + strength * noise, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
        content = buffer.getvalue()
        low, high = (strength, high) if len(content) < size_bytes else (low, strength)
    return content


@dataclass(slots=True)
class Made:
    """One task."""

    name: str
    images: int
    ends: float
    seen: bool = False


@dataclass
class Api:
    """The tables of one server."""

    address: str
    seconds: tuple[float, float]
    pictures: list[bytes]
    tasks: dict[str, Made] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    waits_s: list[float] = field(default_factory=list)
    numbers: itertools.count = field(default_factory=itertools.count)

    async def submit(self, request: web.Request) -> web.Response:
        wish = await request.json()
        prompt = wish["prompt"]
        images = int(prompt.split()[1]) if prompt.startswith("Generate ") else 1
        name = f"task-unified-{int(time.time())}-{next(self.numbers):08d}"
        self.tasks[name] = Made(name, images, time.time() + random.uniform(*self.seconds))
        self.counts["submits"] += 1
        reserved = round(images * CREDITS_AN_IMAGE, 4)
        return web.json_response(
            {
                "id": name,
                "status": "pending",
                "model": wish["model"],
                "created": int(time.time()),
                "usage": {"credits_reserved": reserved},
            }
        )

    async def task(self, request: web.Request) -> web.Response:
        self.counts["polls"] += 1
        return web.json_response(self.shown(request.match_info["name"]))

    async def batch(self, request: web.Request) -> web.Response:
        self.counts["polls"] += 1
        return web.json_response({"data": [self.shown(name) for name in (await request.json())["task_ids"]]})

    def shown(self, name: str) -> dict[str, object]:
        self.counts["reads"] += 1
        made = self.tasks[name]
        if time.time() < made.ends:
            return {"id": name, "status": "processing", "progress": 50}
        if not made.seen:
            made.seen = True
            self.waits_s.append(time.time() - made.ends)
        links = [f"{self.address}/files/{name}-{index}.jpg" for index in range(made.images)]
        used = round(made.images * CREDITS_AN_IMAGE, 4)
        return {
            "id": name,
            "status": "completed",
            "progress": 100,
            "results": links,
            "usage": {"credits_used": used},
            "billing": {"charge_status": "charged", "charged_credits": used},
        }

    async def file(self, request: web.Request) -> web.Response:
        self.counts["downloads"] += 1
        name = request.match_info["name"]
        return web.Response(body=self.pictures[hash(name) % len(self.pictures)], content_type="image/jpeg")

    async def credits(self, _: web.Request) -> web.Response:
        return web.json_response({"data": {"token": {"unlimited_credits": True}, "user": {"remaining_credits": 1e6}}})

    async def told(self, _: web.Request) -> web.Response:
        waits = self.waits_s or [0.0]
        answer = {**self.counts, "tasks": len(self.tasks), "wait_s": round(statistics.median(waits), 3)}
        self.tasks.clear()
        self.counts.clear()
        self.waits_s.clear()
        return web.json_response(answer)


async def serve(options: argparse.Namespace) -> None:
    pictures = [picture(options.pixels, options.bytes, seed) for seed in range(PICTURES)]
    api = Api("", tuple(float(part) for part in options.task_seconds.split(",")), pictures)
    app = web.Application()
    app.router.add_post("/v1/images/generations", api.submit)
    app.router.add_post("/v1/tasks/batch", api.batch)
    app.router.add_get("/v1/tasks/{name}", api.task)
    app.router.add_get("/v1/credits", api.credits)
    app.router.add_get("/files/{name}", api.file)
    app.router.add_get("/counts", api.told)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    api.address = f"http://{host}:{port}"
    print(api.address, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description="An image API that costs next to nothing.")
    parser.add_argument("--pixels", type=int, default=1024)
    parser.add_argument("--bytes", type=int, default=670_000)
    parser.add_argument("--task-seconds", default="2,4")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
