"""Clients of S3: where they connect, with whose credentials, and what they refuse to carry in the clear."""

import pytest
from support.s3_proxy import Proxy, running_proxy
from support.s3_server import BUCKET, S3Server

from adloom.core.errors import StoreRefused, StoreUnavailable
from adloom.edges.s3.store import S3Store


async def test_credentials_that_were_renewed_meanwhile_are_taken_up(proxy: Proxy, store: S3Store):
    await store.create("before.json", b"1")
    proxy.fail_next("400 ExpiredToken", part="x.json")
    assert await store.create("x.json", b"x") is True


async def test_nobody_at_the_endpoint_is_said_within_seconds(at_s3: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(StoreUnavailable) as caught:
        await S3Store(f"s3://{BUCKET}/x").read("x.json")
    assert "AWS_ENDPOINT_URL_S3" in caught.value.remedy


async def test_images_are_not_carried_in_the_clear_beyond_this_machine(at_s3: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3.example.com")
    with pytest.raises(StoreRefused, match="in the clear"):
        await S3Store(f"s3://{BUCKET}/x").read("x.json")


async def test_no_credentials_at_all_is_a_refusal(at_s3: None, monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StoreRefused) as caught:
        await S3Store(f"s3://{BUCKET}/x").read("x.json")
    assert "AWS_" in caught.value.remedy


async def test_no_proxy_hears_of_a_store_on_this_machine(s3: S3Server, store: S3Store, monkeypatch: pytest.MonkeyPatch):
    with running_proxy(s3.endpoint) as listening:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, listening.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        assert await store.create("camp/main/assets/hero/red-1.png", b"x")
        assert await store.read("camp/main/assets/hero/red-1.png") == b"x"
        assert listening.seen == []
