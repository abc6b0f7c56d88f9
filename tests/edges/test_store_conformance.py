"""What every store must do: the one suite that each of them passes.

Another store joins by an entry in ``racers.OPEN`` and a parameter of ``place``.
"""

# ruff: noqa: ASYNC220, ASYNC240 - tests may look at the disk themselves

import asyncio
import errno
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname
from uuid import uuid4

import pytest
from support.racers import OPEN, content_of, run_race
from support.s3_server import BUCKET

from adloom.core.errors import StoreRefused, StoreUnavailable
from adloom.edges import folder as folder_module
from adloom.edges.folder import FolderStore
from adloom.ports import Store


@dataclass(frozen=True)
class Place:
    """Where a store of some kind keeps its objects: any process can open it."""

    kind: str
    address: str

    def open(self) -> Store:
        return OPEN[self.kind](self.address)


@pytest.fixture(params=["folder", "s3", "s3_over_tls"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "folder":
        return Place("folder", str(tmp_path / "archive"))
    for name, value in request.getfixturevalue(request.param).environment().items():
        monkeypatch.setenv(name, value)
    return Place("s3", f"s3://{BUCKET}/{uuid4()}/archive")


@pytest.fixture
def store(place: Place) -> Store:
    return place.open()


async def keys(store: Store, prefix: str = "") -> set[str]:
    return {listed.key async for listed in store.list(prefix)}


async def test_an_object_is_created_once_and_its_first_content_stays(store: Store):
    assert await store.create("a/b/1.json", b"first") is True
    assert await store.create("a/b/1.json", b"second") is False
    assert await store.create("a/b/1.json", b"first") is False
    assert await store.read("a/b/1.json") == b"first"


@pytest.mark.parametrize("content", [b"", b"\x00\r\n\xff", b"x" * 5_000_000], ids=["empty", "binary", "large"])
async def test_an_object_is_read_byte_for_byte_by_another(place: Place, content: bytes):
    await place.open().create("o.bin", content, media_type="application/octet-stream", metadata={"call": "c-1"})
    assert await place.open().read("o.bin") == content
    assert [listed.size_bytes async for listed in place.open().list("")] == [len(content)]


async def test_what_is_not_there_reads_as_none(store: Store):
    assert await store.read("nothing.json") is None
    await store.create("some/thing.json", b"x")
    assert await store.read("some/other.json") is None
    assert await store.read("other/thing.json") is None


async def test_of_racing_tasks_exactly_one_creates(place: Place):
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(32))
    stores = [place.open() for _ in range(4)] * 8
    for key in [f"deep/er/{number}.json" for number in range(4)]:
        won = await asyncio.gather(*(store.create(key, content_of(n, key)) for n, store in enumerate(stores)))
        assert won.count(True) == 1
        assert await stores[0].read(key) == content_of(won.index(True), key)


def test_of_racing_processes_exactly_one_creates(place: Place):
    raced = [f"ledger/c-{number}/a1-intent.json" for number in range(12)]
    won = run_race(place.kind, place.address, raced, racers=4)
    store = place.open()
    for position, key in enumerate(raced):
        makers = [racer for racer in range(4) if won[racer][position]]
        assert len(makers) == 1
        assert asyncio.run(store.read(key)) == content_of(makers[0], key)
    assert asyncio.run(keys(store)) == set(raced)


async def test_a_prefix_is_the_beginning_of_a_key_and_not_only_a_folder(store: Store):
    for key in ("c/e/plan-r1.json", "c/e/plan-r12.json", "c/e/plan/x.jsonl", "c/e2/plan-r1.json", "c/e/a/b/c.json"):
        await store.create(key, b"x")
    assert await keys(store, "c/e/plan-r") == {"c/e/plan-r1.json", "c/e/plan-r12.json"}
    assert await keys(store, "c/e/plan") == {"c/e/plan-r1.json", "c/e/plan-r12.json", "c/e/plan/x.jsonl"}
    assert await keys(store, "c/e/plan-r1.json") == {"c/e/plan-r1.json"}
    assert await keys(store, "c/e/") == {"c/e/plan-r1.json", "c/e/plan-r12.json", "c/e/plan/x.jsonl", "c/e/a/b/c.json"}
    assert "c/e2/plan-r1.json" in await keys(store, "c/e")
    assert len(await keys(store)) == 5
    assert await keys(store, "c/x/") == set()
    assert await keys(store, "plan") == set()


async def test_an_empty_store_lists_nothing(store: Store):
    assert await keys(store) == set()
    assert await keys(store, "a/b") == set()


async def test_a_document_is_replaced_as_a_whole(place: Place):
    store = place.open()
    contents = [bytes([number]) * 100_000 * (number + 1) for number in range(6)]
    await store.replace("manifest.json", contents[0])

    async def write() -> None:
        for _ in range(3):
            for content in contents:
                await store.replace("manifest.json", content)

    async def read() -> None:
        reader = place.open()
        for _ in range(60):
            assert await reader.read("manifest.json") in contents
            assert await keys(reader) == {"manifest.json"}

    await asyncio.gather(write(), read(), read())
    assert await store.read("manifest.json") == contents[-1]


async def test_a_document_that_was_replaced_is_there_for_a_create(store: Store):
    await store.replace("a/x.json", b"1")
    assert await store.create("a/x.json", b"2") is False


KEYS = [
    "../x.json",
    "a/../../x.json",
    "a/../x.json",
    "/etc/x.json",
    "a//x.json",
    "a/",
    "",
    ".x.json",
    "a/.x/y.json",
    "./x",
]


@pytest.mark.parametrize("key", KEYS)
async def test_a_key_that_leads_elsewhere_is_refused(place: Place, key: str):
    store = place.open()
    for action in (lambda: store.create(key, b"x"), lambda: store.replace(key, b"x"), lambda: store.read(key)):
        with pytest.raises(ValueError, match="not a key"):
            await action()
    assert await keys(store) == set()


# What is told of a folder alone.


async def test_a_list_is_complete_however_long_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = FolderStore(tmp_path)
    monkeypatch.setattr(folder_module, "_LISTED_AT_ONCE", 10)
    for count in (9, 1, 1, 9, 1):
        made = len(await keys(store))
        await asyncio.gather(*(store.create(f"d{n % 3}/{made + n}.json", b"x") for n in range(count)))
        listed = [found.key async for found in store.list("")]
        assert len(listed) == len(set(listed)) == made + count


async def test_an_objects_link_leads_to_it(tmp_path: Path):
    store = FolderStore(tmp_path)
    await store.create("a/x y.json", b"content")
    link = urlparse(store.link("a/x y.json"))
    assert link.scheme == "file"
    assert Path(url2pathname(link.path)).read_bytes() == b"content"


async def test_a_store_says_whether_it_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = FolderStore(tmp_path)
    assert await store.has_room() is True
    monkeypatch.setattr(folder_module, "ROOM_BYTES", 1 << 62)
    assert await store.has_room() is False


async def test_a_folder_is_not_made_before_the_first_write(tmp_path: Path):
    store = FolderStore(tmp_path / "archive")
    await store.read("a.json")
    await keys(store)
    await store.has_room()
    assert not (tmp_path / "archive").exists()


async def test_a_file_where_the_folder_should_be_is_refused_with_a_remedy(tmp_path: Path):
    (tmp_path / "archive").write_text("I am a file")
    with pytest.raises(StoreRefused) as caught:
        await FolderStore(tmp_path / "archive").create("a/x.json", b"x")
    assert "--archive" in caught.value.remedy


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
async def test_a_folder_nobody_may_write_to_is_refused(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreRefused):
        await FolderStore(tmp_path).create("x.json", b"x")


def _failing(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("place_of_failure", ["fsync", "link", "open"])
@pytest.mark.parametrize(
    ("code", "error"),
    [
        (errno.ENOSPC, StoreUnavailable),
        (errno.EIO, StoreUnavailable),
        (errno.EDQUOT, StoreUnavailable),
        (errno.EMFILE, StoreUnavailable),
        (errno.EROFS, StoreRefused),
        (errno.EPERM, StoreRefused),
        (errno.EACCES, StoreRefused),
    ],
)
async def test_a_disk_that_fails_is_an_outage_and_a_folder_that_forbids_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place_of_failure: str, code: int, error: type[Exception]
):
    store = FolderStore(tmp_path)
    await store.create("a/before.json", b"before")
    with monkeypatch.context() as patch:
        patch.setattr(os, place_of_failure, _failing(code))
        with pytest.raises(error) as caught:
            await store.create("a/x.json", b"x")
    assert str(tmp_path) in str(caught.value)
    assert await store.read("a/before.json") == b"before"
    if place_of_failure != "open":  # which is how the folder is synced, after the name is there
        assert await keys(store) == {"a/before.json"}
        assert await store.create("a/x.json", b"y") is True


async def test_a_replace_that_fails_leaves_the_old_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = FolderStore(tmp_path)
    await store.replace("manifest.json", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _failing(errno.ENOSPC))
        with pytest.raises(StoreUnavailable):
            await store.replace("manifest.json", b"new")
    assert await store.read("manifest.json") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


async def test_an_unfinished_object_is_neither_listed_nor_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, reached, go_on = FolderStore(tmp_path), threading.Event(), threading.Event()
    fsync = os.fsync

    def slow(descriptor: int) -> None:
        reached.set()
        assert go_on.wait(120)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    creating = asyncio.create_task(store.create("x.json", b"x"))
    await asyncio.to_thread(reached.wait, 30)
    assert len(list(tmp_path.iterdir())) == 1
    assert await keys(store) == set()
    assert await store.read("x.json") is None
    go_on.set()
    assert await creating is True
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


STOPS = {
    "before the bytes are safe": ("os.fsync = stop", False),
    "before it has its name": ("os.link = stop", False),
    "after it has its name": ("link = os.link\nos.link = lambda *names: (link(*names), stop())", True),
}


@pytest.mark.parametrize("moment", STOPS)
async def test_a_create_that_is_killed_leaves_all_of_an_object_or_nothing(tmp_path: Path, moment: str):
    patch, is_there = STOPS[moment]
    program = (
        "import os, sys, time, runpy\n"
        "def stop(*_): print('here', flush=True); time.sleep(60)\n"
        f"{patch}\nsys.path.insert(0, sys.argv.pop(1))\n"
        "from support import racers\nracers.create_and_die(*sys.argv[1:5])"
    )
    tests = str(Path(sys.modules["support.racers"].__file__ or "").parents[1])
    arguments = [sys.executable, "-c", program, tests, "folder", str(tmp_path), "a/x.json", "x" * 50_000]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGKILL)
    store = FolderStore(tmp_path)
    assert await keys(store) == ({"a/x.json"} if is_there else set())
    assert await store.read("a/x.json") == (b"x" * 50_000 if is_there else None)
    assert await store.create("a/x.json", b"again") is not is_there
    assert await keys(store) == {"a/x.json"}


async def test_contents_are_whole_whatever_sizes_race(tmp_path: Path):
    chance = random.Random(7)
    contents = [bytes([n]) * chance.randint(1, 200_000) for n in range(12)]
    won = await asyncio.gather(*(FolderStore(tmp_path).create("x.bin", content) for content in contents))
    assert await FolderStore(tmp_path).read("x.bin") == contents[won.index(True)]
