"""The folder as a store: its room, its failures, and what a killed write leaves."""

# ruff: noqa: ASYNC220, ASYNC240 - tests may look at the disk themselves

import asyncio
import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest
from support.racers import keys

from adloom.core.errors import StoreRefused, StoreUnavailable
from adloom.edges import folder as folder_module
from adloom.edges.folder import FolderStore


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


async def test_another_folder_in_the_archives_place_is_an_outage_until_the_archive_is_back(tmp_path: Path):
    """A disk that is unmounted leaves its mount point, which is empty and can be written to."""
    root, aside = tmp_path / "archive", tmp_path / "aside"
    store = FolderStore(root)
    await store.create("a/one.json", b"content")
    root.rename(aside)
    for is_there in (False, True):
        if is_there:
            root.mkdir()
        for action in (
            lambda: store.create("a/two.json", b"content"),
            lambda: store.replace("a/one.json", b"content"),
            lambda: store.read("a/one.json"),
            lambda: store.open("a/one.json"),
            lambda: keys(store),
            store.has_room,
        ):
            with pytest.raises(StoreUnavailable, match="is its disk mounted"):
                await action()
    assert not list(root.iterdir())
    root.rmdir()
    aside.rename(root)
    assert await store.create("a/two.json", b"content")


@pytest.mark.parametrize("writes", [True, False])
async def test_an_archive_whose_disk_is_mounted_anew_is_known_again(tmp_path: Path, *, writes: bool):
    root, aside = tmp_path / "archive", tmp_path / "aside"
    store = FolderStore(root)
    await store.create("a/one.json", b"content")
    if not writes:
        store = FolderStore(root)
        assert await store.read("a/one.json") == b"content"
    root.rename(aside)
    shutil.copytree(aside, root)  # as a device or a server that gives out other numbers
    assert await store.read("a/one.json") == b"content"
    assert await store.create("a/two.json", b"content")


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
