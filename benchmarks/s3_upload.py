"""What an image costs on its way to S3: the store beside a plain loop of boto3's, over TLS to a real server.

    python benchmarks/s3_upload.py [--images 200] [--megabytes 1] [--rounds 5]

Both put the same bytes with as many threads, in turns, in one process. CPU is the client's alone; the machine and the
server decide the seconds, so the ratios of a round are what to compare. A minute or two.
"""

import argparse
import asyncio
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.s3_server import BUCKET, running_s3_server

from adloom.edges.s3.client import IMAGES
from adloom.edges.s3.store import S3Store

CPU_MOST = 1.2
THROUGHPUT_LEAST = 0.9


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one pass: seconds of this process's CPU, and seconds on the clock."""

    cpu_s: float
    took_s: float


def measured(work: Callable[[], None]) -> Cost:
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    work()
    took_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    return Cost(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, took_s)


def plain_loop(images: list[bytes]) -> Callable[[str], None]:
    """Uploads as anybody would write them: one client, a pool of threads, ``put_object``."""
    pool = Config(max_pool_connections=IMAGES.threads, s3={"addressing_style": "path"})
    client = boto3.client("s3", config=pool)

    def upload(name: str) -> None:
        with ThreadPoolExecutor(IMAGES.threads) as threads:
            keys = (f"{name}/{number}.png" for number in range(len(images)))
            put = lambda key, body: client.put_object(Bucket=BUCKET, Key=key, Body=body, ContentType="image/png")  # noqa: E731
            list(threads.map(put, keys, images))

    return upload


def through_the_store(images: list[bytes]) -> Callable[[str], None]:
    """Uploads as a run makes them: created once, with checksum, type and metadata, from the event loop."""
    store = S3Store(f"s3://{BUCKET}/store")

    async def upload_all(name: str) -> None:
        creates = (
            store.create(f"{name}/main/assets/{number}.png", body, media_type="image/png", metadata={"call": "c-1"})
            for number, body in enumerate(images)
        )
        assert all(await asyncio.gather(*creates))

    return lambda name: asyncio.run(upload_all(name))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--megabytes", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    images = [os.urandom(int(wanted.megabytes * 1e6)) for _ in range(min(wanted.images, 24))]
    images = [images[number % len(images)] for number in range(wanted.images)]
    with (
        tempfile.TemporaryDirectory(prefix="adloom-upload-") as folder,
        running_s3_server(Path(folder), tls=True) as s3,
    ):
        os.environ |= s3.environment()
        ways = {"plain": plain_loop(images), "store": through_the_store(images)}
        for way, upload in ways.items():
            upload(f"warm-{way}")
        rounds = [one_round(ways, number) for number in range(wanted.rounds)]
    return show(rounds, wanted.images)


def one_round(ways: dict[str, Callable[[str], None]], number: int) -> dict[str, Cost]:
    turns = list(ways.items())[:: 1 if number % 2 else -1]  # who comes second finds the server busier
    return {way: measured(lambda upload=upload, way=way: upload(f"{way}-{number}")) for way, upload in turns}


def show(rounds: list[dict[str, Cost]], images: int) -> int:
    for way in ("plain", "store"):
        cpu_ms = statistics.median(costs[way].cpu_s for costs in rounds) / images * 1000
        rate = images / statistics.median(costs[way].took_s for costs in rounds)
        print(f"{way}: {cpu_ms:.2f} ms of CPU an image, {rate:.0f} images/s")
    cpu = statistics.median(costs["store"].cpu_s / costs["plain"].cpu_s for costs in rounds)
    throughput = statistics.median(costs["plain"].took_s / costs["store"].took_s for costs in rounds)
    print(f"store beside plain: CPU x{cpu:.2f} (at most {CPU_MOST})")
    print(f"store beside plain: throughput x{throughput:.2f} (at least {THROUGHPUT_LEAST})")
    return int(cpu > CPU_MOST or throughput < THROUGHPUT_LEAST)


if __name__ == "__main__":
    raise SystemExit(main())
