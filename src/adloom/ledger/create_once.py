"""Proves that a store creates an object only once: two runs could buy the same image in one that does not."""

from __future__ import annotations

from adloom.core.errors import StoreRefused, StoreUnavailable
from adloom.ports import Store


async def prove_create_once(store: Store, key: str) -> None:
    """Create an object twice, under a key that nobody else uses, and read it back.

    Raises StoreRefused if the second attempt was accepted, StoreUnavailable if what was written does not come back.
    """
    first, second = [await store.create(key, content) for content in (b"1\n", b"2\n")]
    found = await store.read(key)
    if second or found == b"2\n":
        raise StoreRefused(
            f"the archive {store.address} does not create objects only once: two runs could buy the same image",
            remedy="Use a folder on a local disk, or an S3 store that supports If-None-Match.",
        )
    if not first or found != b"1\n":
        raise StoreUnavailable(
            f"the archive {store.address} does not give back what was just written ({key})",
            remedy="Run the same command again when the store has recovered, or look at what is in front of it.",
        )
