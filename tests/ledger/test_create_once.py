"""The proof that a store creates an object only once, and what is no proof that it does not."""

import pytest
from support.fakes import MemoryStore

from adloom.core.errors import StoreRefused, StoreUnavailable
from adloom.ledger.create_once import prove_create_once


async def test_a_store_that_creates_only_once_passes(store: MemoryStore):
    await prove_create_once(store, "probe.json")
    assert store.objects["probe.json"] == b"1\n"


@pytest.mark.parametrize("tells", [True, False])
async def test_a_store_that_overwrites_is_refused_whatever_it_says(store: MemoryStore, tells):
    async def create(key, content, **_):
        is_new = key not in store.objects
        store.objects[key] = content
        return is_new or tells

    store.create = create
    with pytest.raises(StoreRefused, match="does not create objects only once"):
        await prove_create_once(store, "probe.json")


@pytest.mark.parametrize("found", [None, b"<html>busy</html>", b""])
async def test_a_store_that_gives_back_something_else_is_out_of_order_not_unfit(
    store: MemoryStore, found: bytes | None
):
    async def read(key):
        return found

    store.read = read
    with pytest.raises(StoreUnavailable, match="does not give back what was just written"):
        await prove_create_once(store, "probe.json")


async def test_a_key_that_somebody_else_has_proves_nothing(store: MemoryStore):
    store.objects["probe.json"] = b"1\n"
    with pytest.raises(StoreUnavailable):
        await prove_create_once(store, "probe.json")
