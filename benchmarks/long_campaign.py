"""What a campaign of 100,000 calls costs when it is resumed with nothing to do, and when it is stopped. Loopback only.

    python benchmarks/long_campaign.py resume [CALLS [FOLDER]]    10,000 calls unless told otherwise: some minutes
    python benchmarks/long_campaign.py stop [ROWS [CALLS]]        100,000 rows, stopped after 200 calls: some minutes

``resume`` writes an archive of finished calls with adloom's own writers, without buying anything, and then runs the
campaign again; a FOLDER is kept, and used if it is there. ``stop`` buys from ``image_api.py`` and sends SIGTERM.
Seconds of the processor are what to compare, for others may use the machine. 100,000 calls are 900,000 files of 4 GB.
"""

import asyncio
import csv
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.finished import order_of

from adloom.core.campaign import Budget, Row
from adloom.core.identity import asset_stems, thumb_key
from adloom.core.records import Decided, Image, ImageFate, images_record
from adloom.edges.folder import FolderStore
from adloom.edges.processes import is_gone, this_process
from adloom.edges.settings import read_settings
from adloom.ledger.claims import hold
from adloom.ledger.edition import Edition
from adloom.ledger.index import Entry, create_entry
from adloom.ledger.ledger import Ledger
from adloom.plan.assessment import Wish, assess
from adloom.plan.reserve import reserve
from adloom.plan.revision import read_shard
from adloom.publish.seals import finished_seals
from adloom.targets import RunRequest, WallClock, edition_of, open_source
from adloom.wiring import publish_again
from adloom.world import World

HERE = Path(__file__).parent
ADLOOM = str(Path(sys.executable).with_name("adloom"))
PRICE = "1.53"
NULL = subprocess.DEVNULL
NOWHERE = "http://127.0.0.1:9"
"""The API of an archive from which nothing is bought."""


class Quick(FolderStore):
    """Writes in this thread; nothing here has to survive a power cut."""

    async def _run(self, key: str, action: Callable[[], Any]) -> Any:  # noqa: ANN401
        del key
        return action()


def write_rows(path: Path, count: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "prompt", "size", "sku", "market"])
        for row in range(count):
            prompt = f"ceramic cup number {row} on washed linen, morning light, soft shadow, no text"
            rows.writerow([f"r{row:07d}", prompt, "1:1", f"{row % 1000:04d}", "EN"])


async def finish(store: Quick, edition: Edition, ledger: Ledger, row: Row, token: str) -> None:
    """All that a run writes about a row's one image, and the image."""
    order = order_of(row)
    (variant,) = order.variants
    task, content = f"task-{order.call}", f"image of {order.call}".encode()
    sha256 = hashlib.sha256(content).hexdigest()
    intent = order.intent(edition_token=token, attempt=1, account="fingerprint", revision=1)
    await ledger.decide(order.call, "a1-intent", intent)
    await ledger.accept(order.call, 1, task, PRICE, credits_told=True, model=row.model, replayed=False)
    await hold(ledger, order.call, 1, task)
    link = f"https://files.example.com/results/{task}/0.jpg?Expires=1790000000&Signature={sha256}"
    completed = {"task": task, "links": [link], "reported": 1, "credits": PRICE, "told": True, "billed": 1}
    await ledger.note(order.call, "a1-completed", {**completed, "final": True})
    charge = {"outcome": Decided.CHARGED, "credits": PRICE, "reason": "", "kind": "", "final": True}
    await ledger.decide(order.call, "a1-settled", charge)
    key = asset_stems(row.job, row.label, 1, variant.key)[0] + ".jpg"
    for name in (key, thumb_key(key)):
        await store.create(edition.key(name), content)
    image = Image(0, 1, ImageFate.ARCHIVED, key, sha256, len(content), "image/jpeg", 1024, 1024, likeness=sha256)
    await ledger.note(order.call, "a1-archived-1", images_record([image]))


async def write_archive(folder: Path) -> None:
    """An archive of a campaign whose calls are all finished and sealed."""
    settings = read_settings(environment(NOWHERE, folder))
    store, clock = Quick(folder / "archive"), WallClock()
    source = open_source(RunRequest(str(folder / "long.csv")), settings)
    edition = edition_of(source, "main")
    wish = Wish(budget=Budget(usd=Decimal(10_000)), origin=settings.origin)
    nobody: Any = None
    world = World(store, nobody, nobody, clock, Random(0), this_process(), is_gone)
    reserved = await reserve(world, await assess(store, clock, source, edition, wish))
    revision, writer = reserved.revision, reserved.assessment.ledger.writer
    for shard in revision.shards:
        ledger = Ledger(store, edition, clock, writer)
        for planned in await read_shard(store, edition, shard):
            await finish(store, edition, ledger, planned.row, revision.edition_token)
        async for name, content in finished_seals(store, edition, ledger, [shard]):
            await store.create(edition.key(name), content)
    await reserved.heartbeat.beat(ended=True)
    await create_entry(store, "closed", Entry(edition, writer), clock.now())
    await publish_again(store, edition)


def environment(base_url: str, folder: Path) -> dict[str, str]:
    own = {"EVOLINK_BASE_URL": base_url, "EVOLINK_API_KEY": "sk-bench", "ADLOOM_ARCHIVE": str(folder / "archive")}
    return {**os.environ, **own, "ADLOOM_POLL_INTERVAL_S": "1"}


def command(folder: Path) -> list[str]:
    return [ADLOOM, "run", str(folder / "long.csv"), "--budget-usd", "10000", "--yes", "--direct"]


def processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ended(process: "subprocess.Popen[bytes]", expected: int) -> tuple[float, float]:
    """Processor seconds and peak MB of a process, once it has ended as it should."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == expected, process.returncode
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def resume(folder: Path, calls: int) -> None:
    if not (folder / "archive").exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(folder / "long.csv", calls)
        began, os.fsync = time.perf_counter(), lambda _: None
        asyncio.run(write_archive(folder))
        print(f"{calls:,} finished calls were written in {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    with subprocess.Popen(command(folder), env=environment(NOWHERE, folder), stdout=NULL, stderr=NULL) as process:
        cpu_s, peak_mb = ended(process, 0)
    wall_s = time.perf_counter() - began
    print(f"resumed with nothing to do: {cpu_s:.1f} s of processor, {wall_s:.1f} s, {peak_mb:.0f} MB at most")


def stop(folder: Path, rows: int, calls: int) -> None:
    write_rows(folder / "long.csv", rows)
    api = [sys.executable, str(HERE / "image_api.py"), "--pixels", "256", "--bytes", "20000", "--task-seconds", "1,2"]
    pipe = subprocess.PIPE
    with subprocess.Popen(api, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        settings = environment(server.stdout.readline().strip(), folder)
        images = folder / "archive" / "long" / "main" / "assets" / "long"
        run = [*command(folder), "--in-flight", "50"]
        with subprocess.Popen(run, env=settings, stdout=NULL, stderr=NULL) as process:
            while not images.exists() or sum(1 for _ in images.iterdir()) < calls:
                assert process.poll() is None
                time.sleep(0.2)
            before, began = processor_s(process.pid), time.perf_counter()
            process.send_signal(signal.SIGTERM)
            cpu_s, peak_mb = ended(process, 130)
            wall_s = time.perf_counter() - began
        server.stdin.close()
    print(f"{rows:,} rows, stopped after {calls:,} calls: {cpu_s - before:.1f} s of processor and {wall_s:.1f} s from")
    print(f"SIGTERM to the end, {peak_mb:.0f} MB at most")


def main() -> None:
    what, *more = sys.argv[1:] or ["resume"]
    with tempfile.TemporaryDirectory() as name:
        if what == "stop":
            stop(Path(name), *(int(text) for text in (more + ["100000", "200"][len(more) :])))
        else:
            resume(Path(more[1]) if more[1:] else Path(name), int(more[0]) if more else 10_000)


if __name__ == "__main__":
    main()
