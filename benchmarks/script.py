"""The yardstick: what a careful engineer writes in an afternoon, asyncio and httpx, without a ledger.

    python benchmarks/script.py BASE_URL FOLDER --calls 200 --images 5 [--check] [--to s3://bucket/prefix]

It submits, polls each task, downloads, hashes and writes, each file synced, and ends with a manifest. With ``--check``
two processes decode each image whole and make its thumbnail, as Pillow is mostly used. What it does not do: remember
purchases through a crash, prove its files, cap its money, show a page.
"""

import argparse
import asyncio
import hashlib
import json
import os
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

POLL_S = 1.0
THUMB_PX = 480
HEADERS = {"Authorization": "Bearer sk-bench", "User-Agent": "yardstick/1"}


class Folder:
    """Writes files durably."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def put(self, key: str, content: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


class Bucket:
    """Writes objects with boto3."""

    def __init__(self, address: str) -> None:
        import boto3  # noqa: PLC0415 - only for this

        self.bucket, _, self.prefix = address.removeprefix("s3://").partition("/")
        self.client = boto3.client("s3")

    def put(self, key: str, content: bytes) -> None:
        kind = "image/jpeg" if key.endswith(".jpg") else "application/json"
        self.client.put_object(
            Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=content, ContentType=kind, ChecksumAlgorithm="SHA256"
        )


def thumbnail(content: bytes) -> bytes:
    """Decode an image whole, and make it small."""
    with Image.open(BytesIO(content)) as image:
        image.load()
        image.thumbnail((THUMB_PX, THUMB_PX))
        small = BytesIO()
        image.convert("RGB").save(small, "JPEG", quality=82, optimize=True, progressive=True)
    return small.getvalue()


class Job:
    """Everything that the calls share."""

    def __init__(self, options: argparse.Namespace, client: httpx.AsyncClient) -> None:
        self.options = options
        self.client = client
        self.pool = ProcessPoolExecutor(2) if options.check else None
        self.store = Bucket(options.to) if options.to else Folder(options.folder)
        self.places = asyncio.Semaphore(options.in_flight)
        self.lines: list[dict[str, Any]] = []

    async def call(self, number: int) -> None:
        async with self.places:
            links = await self.buy(number)
        await asyncio.gather(*(self.image(number, index, link) for index, link in enumerate(links)))

    async def buy(self, number: int) -> list[str]:
        images, base = self.options.images, self.options.base_url
        prompt = f"Generate {images} different images: ceramic cup number {number} on linen"
        wish = {"model": "doubao-seedream-4.0", "prompt": prompt, "n": images, "size": "1:1", "quality": "1K"}
        answer = await self.client.post(f"{base}/v1/images/generations", json=wish)
        answer.raise_for_status()
        task = answer.json()["id"]
        while True:
            await asyncio.sleep(POLL_S)
            shown = (await self.client.get(f"{base}/v1/tasks/{task}")).json()
            if shown["status"] == "completed":
                return list(shown["results"])

    async def image(self, number: int, index: int, link: str) -> None:
        content = (await self.client.get(link)).raise_for_status().content
        key = f"assets/{number}-{index}.jpg"
        sha256 = hashlib.sha256(content).hexdigest()
        await asyncio.to_thread(self.store.put, key, content)
        if self.pool is not None:
            small = await asyncio.get_running_loop().run_in_executor(self.pool, thumbnail, content)
            await asyncio.to_thread(self.store.put, f"thumbs/{number}-{index}.jpg", small)
        self.lines.append({"key": key, "sha256": sha256, "size_bytes": len(content)})


async def run(options: argparse.Namespace) -> None:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with httpx.AsyncClient(headers=HEADERS, limits=limits, timeout=120) as client:
        job = Job(options, client)
        async with asyncio.TaskGroup() as group:
            for number in range(options.calls):
                group.create_task(job.call(number))
        job.store.put("manifest.json", json.dumps(job.lines).encode())
    if job.pool is not None:
        job.pool.shutdown()


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a careful engineer writes in an afternoon.")
    parser.add_argument("base_url")
    parser.add_argument("folder")
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--in-flight", type=int, default=50)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--to", default="")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(run(parsed()))
