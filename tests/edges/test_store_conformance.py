"""What every store must do: the one suite that each of them passes.

Another store joins by an entry in ``racers.OPEN`` and a parameter of ``place``.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from support.racers import OPEN, content_of, keys, run_race
from support.s3_server import BUCKET

from adloom.ports import Spool, Store


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


async def opened(store: Store, key: str) -> AsyncIterator[bytes]:
    """What an opened object has, read as two readers do."""
    for _ in range(2):
        file = await store.open(key)
        assert file is not None
        yield file.read()


async def test_an_object_is_created_once_and_its_first_content_stays(store: Store):
    assert await store.create("a/b/1.json", b"first") is True
    assert await store.create("a/b/1.json", b"second") is False
    assert await store.create("a/b/1.json", b"first") is False
    assert await store.read("a/b/1.json") == b"first"


@pytest.mark.parametrize("content", [b"", b"\x00\r\n\xff", b"x" * 5_000_000], ids=["empty", "binary", "large"])
async def test_an_object_is_read_byte_for_byte_by_another(place: Place, content: bytes):
    await place.open().create("o.bin", content, media_type="application/octet-stream", metadata={"call": "c-1"})
    assert await place.open().read("o.bin") == content
    assert [part async for part in opened(place.open(), "o.bin")] == [content, content]
    assert len([listed async for listed in place.open().list("")]) == 1
    assert await place.open().metadata("o.bin") == ({"call": "c-1"} if place.kind == "s3" else {})


async def test_what_is_not_there_reads_as_none(store: Store):
    assert await store.read("nothing.json") is None
    assert await store.open("nothing.json") is None
    assert await store.metadata("nothing.json") == {}
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
    reads = (lambda: store.read(key), lambda: store.open(key))
    for action in (lambda: store.create(key, b"x"), lambda: store.replace(key, b"x"), *reads):
        with pytest.raises(ValueError, match="not a key"):
            await action()
    assert await keys(store) == set()


# What is told of a folder alone.


@pytest.mark.parametrize("size", [0, 10, 3_000_000], ids=["empty", "small", "large"])
async def test_a_document_in_a_file_is_written_from_its_beginning_as_often_as_it_is_asked_for(store: Store, size: int):
    file = Spool()
    file.write(b"x" * size)
    for key in ("once.json", "again.json"):
        await store.replace(key, file)
        assert await store.read(key) == b"x" * size
