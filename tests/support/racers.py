"""What other processes do in tests: they import this, so it imports little."""

import asyncio
import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.synchronize import Barrier
from pathlib import Path

from adloom.edges.folder import FolderStore
from adloom.edges.s3.store import S3Store
from adloom.ports import Store

OPEN: dict[str, Callable[[str], Store]] = {"folder": lambda address: FolderStore(Path(address)), "s3": S3Store}
"""How to open a store of each kind at an address, in whichever process."""


def race(kind: str, address: str, racer: int, keys: list[str], start: Barrier) -> list[bool]:
    """Create every key at the same time as all other racers; which of them this one made."""
    store = OPEN[kind](address)
    won = []
    for key in keys:
        start.wait(120)
        won.append(asyncio.run(store.create(key, content_of(racer, key))))
    return won


def content_of(racer: int, key: str) -> bytes:
    return f"{racer}:{key}:".encode() * 2000


def run_race(kind: str, address: str, keys: list[str], racers: int) -> list[list[bool]]:
    """Let processes race; for each of them, which keys it made."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(racers) as pool:
        start = manager.Barrier(racers)
        return pool.starmap(race, [(kind, address, racer, keys, start) for racer in range(racers)], chunksize=1)


def create_and_die(kind: str, address: str, key: str, content: str) -> None:
    """Create an object; the test has this process stopped on its way."""
    asyncio.run(OPEN[kind](address).create(key, content.encode()))
    print("done", flush=True)  # noqa: T201 - the test listens
    sys.stdin.read()


if __name__ == "__main__":
    create_and_die(*sys.argv[1:5])


async def keys(store: Store, prefix: str = "") -> set[str]:
    return {listed.key async for listed in store.list(prefix)}
