"""The usual Prefect recipe: one mapped task for each call, with retries, over Prefect's own server.

    python benchmarks/mapped.py BASE_URL FOLDER --calls 200 --images 5 --check

What each task does is what ``script.py`` does for a call. A retry here buys again.
"""

import hashlib
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import httpx
from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner
from script import HEADERS, POLL_S, Bucket, Folder, parsed, thumbnail

OPTIONS = parsed()
STORE = Bucket(OPTIONS.to) if OPTIONS.to else Folder(OPTIONS.folder)
CLIENT = httpx.Client(headers=HEADERS, timeout=120, limits=httpx.Limits(max_connections=100))
POOL = ProcessPoolExecutor(2)


def bought(number: int) -> list[str]:
    prompt = f"Generate {OPTIONS.images} different images: ceramic cup number {number} on linen"
    wish = {"model": "doubao-seedream-4.0", "prompt": prompt, "n": OPTIONS.images, "size": "1:1", "quality": "1K"}
    name = CLIENT.post(f"{OPTIONS.base_url}/v1/images/generations", json=wish).raise_for_status().json()["id"]
    while True:
        time.sleep(POLL_S)
        shown = CLIENT.get(f"{OPTIONS.base_url}/v1/tasks/{name}").json()
        if shown["status"] == "completed":
            return list(shown["results"])


@task(retries=3)
def call(number: int) -> list[dict[str, object]]:
    """Buy the images of one call, store them, and make their thumbnails."""
    lines: list[dict[str, object]] = []
    for index, link in enumerate(bought(number)):
        content = CLIENT.get(link).raise_for_status().content
        key = f"assets/{number}-{index}.jpg"
        STORE.put(key, content)
        STORE.put(f"thumbs/{number}-{index}.jpg", POOL.submit(thumbnail, content).result())
        lines.append({"key": key, "sha256": hashlib.sha256(content).hexdigest()})
    return lines


@flow(task_runner=ThreadPoolTaskRunner(max_workers=OPTIONS.in_flight))
def campaign() -> None:
    lines = [line for future in call.map(list(range(OPTIONS.calls))) for line in future.result()]
    STORE.put("manifest.json", repr(lines).encode())


if __name__ == "__main__":
    if not OPTIONS.to:
        Path(OPTIONS.folder).mkdir(parents=True, exist_ok=True)
    campaign()
