"""What a delivery costs: one 4K master for all shipped channels, and many masters for ten channels, killed in between.

    python benchmarks/delivery.py [MASTERS]

Signed where ``adloom[c2pa]`` is installed. No network. Processor seconds are those of all processes. On a machine that
others use too, the processors that were used say little: the second figure adds the time in which a process was ready
and waited for one. An hour at most, then it is an error.
"""

import asyncio
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from adloom.channels.shipped import shipped_channels
from adloom.core.delivery import Marking, Wanted
from adloom.core.rendition import Master, MasterOrders, Order
from adloom.deliver.delivery import Delivery, Place, deliver
from adloom.deliver.marks.credentials import is_installed
from adloom.deliver.marks.keys import CERTIFICATE, KEY, write_keys
from adloom.deliver.marks.signing import Signing
from adloom.edges.folder import FolderStore
from adloom.edges.settings import SecretText
from adloom.ledger.edition import Edition

EDITION = Edition("bench", "main")
TEN = ("gdn-300x250", "gdn-336x280", "gdn-728x90", "gdn-160x600", "gdn-300x600", "gdn-970x250", "gdn-320x50",
       "linkedin-portrait", "google-square", "meta-feed-square")  # fmt: skip
WORKERS = os.cpu_count() or 1
AT_MOST_S = 3600.0


def photograph(side_px: int, seed: int) -> bytes:
    """Noise at many scales, which encodes as a photograph does: 4.5 MB at 4,096 pixels."""
    random = np.random.default_rng(seed)
    found = np.full((side_px, side_px, 3), 128, np.float32)
    for cell, strength in ((512, 90), (128, 50), (32, 30), (8, 16), (2, 10)):
        count = max(2, side_px // cell)
        small = random.normal(size=(3, count, count)).astype(np.float32)
        planes = [Image.fromarray(plane).resize((side_px, side_px), Image.Resampling.BICUBIC) for plane in small]
        found += strength * np.stack([np.asarray(plane) for plane in planes], -1)
    file = BytesIO()
    Image.fromarray(np.clip(found, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def wanted(folder: Path, number: int, content: bytes, side_px: int, names: tuple[str, ...]) -> MasterOrders:
    """A master in the archive, and what is made of it. Bytes behind the end make each one another file."""
    content += str(number).encode()
    asset = f"assets/mug/{number}.jpg"
    path = folder / EDITION.key(asset)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    master = Master(
        sha256, "mug", f"r{number}", f"r{number}", 1, 1, asset, sha256, "image/jpeg", side_px, side_px, "a mug",
        "doubao-seedream-4.0", {}, Wanted(names),
    )  # fmt: skip
    channels = shipped_channels()
    return MasterOrders(master, tuple(Order(name, channels[name], f"{name}/{number}") for name in names))


def delivery(folder: Path, to: Path) -> Delivery:
    if not (folder / KEY).exists():  # the same signer after a kill, or everything would be made again
        write_keys(folder, "bench")
    pems = [(folder / name).read_text() for name in (CERTIFICATE, KEY)]
    signing = Signing(pems[0], SecretText(pems[1])) if is_installed() else None
    place = Place(FolderStore(to))
    return Delivery(FolderStore(folder), EDITION, place, Marking(), signing, shipped_channels())


def processor_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


class Demand:
    """Processor seconds that this process and its children used, and those for which they waited for a processor."""

    def __init__(self) -> None:
        self._of: dict[str, int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end_s(self) -> float:
        """Stop, and give the sum."""
        self._ended.set()
        self._thread.join()
        return sum(self._of.values()) / 1e9

    def _watch(self) -> None:
        own = str(os.getpid())
        while not self._ended.wait(0.5):
            for process in Path("/proc").iterdir():
                if process.name.isdigit() and own in (process.name, _parent(process)):
                    self._read(process)

    def _read(self, process: Path) -> None:
        for stat in process.glob("task/*/schedstat"):
            try:
                used_ns, waited_ns, _ = stat.read_text().split()
            except OSError:  # it ended meanwhile
                continue
            self._of[str(stat)] = int(used_ns) + int(waited_ns)


def _parent(process: Path) -> str:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[1]
    except OSError:
        return ""


def one_master(folder: Path) -> None:
    content = photograph(4096, 1)
    order = wanted(folder, 0, content, 4096, tuple(shipped_channels()))
    before = processor_s()
    result = asyncio.run(deliver(delivery(folder, folder / "one"), [order], 1))
    print(f"one 4K master     {result.made} files, {processor_s() - before:.2f} s of processor time, start included")


def child(folder: Path, count: int) -> None:
    """The delivery of many masters, in a process of its own that may be killed; prints what it came to."""
    content = (folder / "photograph.jpg").read_bytes()
    orders = [wanted(folder, number, content, 1200, TEN) for number in range(count)]
    before, began, demand = processor_s(), time.monotonic(), Demand()
    result = asyncio.run(deliver(delivery(folder, folder / "many"), orders, WORKERS))
    status = Path("/proc/self/status").read_text()  # ru_maxrss of a process begins with that of its parent
    own_mb = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    children_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    told = {"made": result.made, "kept": result.kept, "refused": result.refused, "wall": time.monotonic() - began}
    told |= {"processor": processor_s() - before, "demand": demand.end_s()}
    print(json.dumps({**told, "own_mb": own_mb, "children_mb": children_mb}))


def run(folder: Path, count: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", str(folder), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=AT_MOST_S)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def killed(folder: Path, count: int) -> set[str]:
    """Kill a delivery with SIGKILL when half of the records are there; the files that are recorded."""
    process = subprocess.Popen([sys.executable, __file__, "--child", str(folder), str(count)], start_new_session=True)
    while len(list((folder / "many" / "records").glob("*.json"))) < count // 2 and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    records = [json.loads(path.read_bytes()) for path in (folder / "many" / "records").glob("*.json")]
    return {line["key"] for record in records for line in record["lines"].values() if line["key"]}


def many_masters(count: int) -> None:
    content = photograph(1200, 2)
    for masters in (count // 10, count):
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "photograph.jpg").write_bytes(content)
            told = run(Path(name), masters)
            print(
                f"{masters:,} masters × 10   {told['made']:.0f} files in {told['wall']:.0f} s, "
                f"{told['processor'] / told['made'] * 1000:.0f} ms of processor time a file, "
                f"{told['processor'] / told['wall']:.1f} of {WORKERS} processors used, "
                f"{told['demand'] / told['wall']:.1f} used or waited for, "
                f"{told['own_mb']:.0f} MB and {told['children_mb']:.0f} MB in the largest child"
            )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photograph.jpg").write_bytes(content)
        recorded = killed(folder, count)
        before = {key: (folder / "many" / key).stat().st_mtime_ns for key in recorded}
        told = run(folder, count)
        again = sum((folder / "many" / key).stat().st_mtime_ns != stamp for key, stamp in before.items())
        lines = [json.loads(line) for line in (folder / "many" / "delivery.jsonl").read_text().splitlines()]
        wrong = [
            line["key"]
            for line in lines
            if line["key"]
            and hashlib.sha256((folder / "many" / line["key"]).read_bytes()).hexdigest() != line["sha256"]
        ]
        print(
            f"killed at {len(recorded):,} files: {told['kept']:.0f} kept, {told['made']:.0f} made, {again} made twice, "
            f"{len(wrong)} of {len(lines):,} not as recorded"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        with tempfile.TemporaryDirectory() as root:
            one_master(Path(root))
        many_masters(int(sys.argv[1]) if sys.argv[1:] else 1000)
