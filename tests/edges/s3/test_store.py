"""The S3 store on a real server: what it sends, what it makes of answers that are lost, wrong or refusals."""

import asyncio
import base64
import hashlib

import pytest
from support.s3_proxy import Proxy
from support.s3_server import BUCKET, S3Server, running_s3_server

from adloom.core.errors import SettingInvalid, StoreRefused, StoreUnavailable
from adloom.edges.s3.protection import read_protection
from adloom.edges.s3.store import S3Store


async def test_an_image_is_stored_with_its_checksum_type_and_origin_for_a_browser_to_keep(
    s3: S3Server, store: S3Store, prefix: str
):
    content = b"\x89PNG..."
    await store.create(
        "camp/main/assets/hero/red-1.png", content, media_type="image/png", metadata={"call": "c-1", "task": "t-ü"}
    )
    found = s3.client().get_object(
        Bucket=BUCKET, Key=f"{prefix}/camp/main/assets/hero/red-1.png", ChecksumMode="ENABLED"
    )
    assert found["ContentType"] == "image/png"
    assert found["CacheControl"] == "private, max-age=31536000, immutable"
    assert found["ContentDisposition"] == 'inline; filename="red-1.png"'
    assert found["Metadata"] == {"call": "c-1", "task": "t-?"}
    assert found["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert "ContentEncoding" not in found


@pytest.mark.parametrize("key", ["camp/main/manifest.json", "camp/main/ledger/c-1/a1-intent.json"])
async def test_what_may_change_or_is_secret_is_kept_by_no_cache(s3: S3Server, store: S3Store, prefix: str, key: str):
    await store.replace(key, b"{}")
    assert s3.client().head_object(Bucket=BUCKET, Key=f"{prefix}/{key}")["CacheControl"] == "no-store"


async def test_a_list_goes_on_over_its_pages_and_leaves_out_the_marks_of_consoles(
    s3: S3Server, store: S3Store, prefix: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("adloom.edges.s3.store._LISTED_AT_ONCE", 7)
    names = {f"d{n % 3}/{n}.json" for n in range(30)}
    await asyncio.gather(*(store.create(name, b"x") for name in names))
    s3.client().put_object(Bucket=BUCKET, Key=f"{prefix}/d1/", Body=b"")
    listed = [found.key async for found in store.list("")]
    assert set(listed) == names
    assert len(listed) == len(names)


async def test_a_first_request_that_took_all_patience_and_lost_its_reply_is_tried_once_more(
    proxy: Proxy, store: S3Store, monkeypatch: pytest.MonkeyPatch
):
    """A slow machine spends seconds on its first request alone."""
    monkeypatch.setattr("adloom.edges.s3.store.FIRST_PATIENCE_S", 0.0)
    proxy.fail_next("lose", method="GET")
    assert await store.read("nothing.json") is None
    proxy.fail_next("cut", method="GET", times=2)
    with pytest.raises(StoreUnavailable):
        await S3Store(store.address).read("nothing.json")


async def test_a_create_whose_reply_was_lost_knows_its_own_object(proxy: Proxy, store: S3Store):
    proxy.fail_next("lose", part="mine.json")
    assert await store.create("mine.json", b"mine") is True
    assert len([path for method, path in proxy.seen if method == "PUT"]) == 2
    assert await store.create("mine.json", b"another") is False


async def test_a_create_that_lost_its_reply_and_the_race_knows_that_too(proxy: Proxy, store: S3Store):
    await store.create("theirs.json", b"theirs")
    proxy.fail_next("cut", part="theirs.json")
    assert await store.create("theirs.json", b"mine") is False
    assert await store.read("theirs.json") == b"theirs"


@pytest.mark.parametrize(
    ("fault", "times"),  # boto3 itself tries four times, and a conflict once
    [
        ("409 ConditionalRequestConflict", 3),
        ("503 SlowDown", 5),
        ("500 InternalError", 2),
        ("429 TooManyRequests", 2),
        ("cut", 2),
    ],
)
async def test_what_decides_nothing_is_tried_again(proxy: Proxy, store: S3Store, fault: str, times: int):
    await store.create("before.json", b"1")
    proxy.fail_next(fault, part="x.json", times=times)
    assert await store.create("x.json", b"x") is True
    assert await store.read("x.json") == b"x"


async def test_a_read_is_tried_again_and_a_document_replaced_again(proxy: Proxy, store: S3Store):
    proxy.fail_next("lose", part="doc.json", times=2)
    await store.replace("doc.json", b"new")
    proxy.fail_next("503 SlowDown", method="GET", times=2)
    assert await store.read("doc.json") == b"new"


async def test_an_answer_that_breaks_off_is_read_again(proxy: Proxy, store: S3Store):
    await store.create("long.json", b"x" * 500_000)
    proxy.fail_next("break", method="GET", times=5)
    assert await store.read("long.json") == b"x" * 500_000


async def test_a_gateways_404_does_not_make_an_object_missing(proxy: Proxy, store: S3Store):
    await store.create("there.json", b"1")
    proxy.fail_next("404 page", method="GET", times=2)
    assert await store.read("there.json") == b"1"
    assert await store.read("nowhere.json") is None


async def test_an_outage_that_lasts_is_said_with_what_to_do(proxy: Proxy, at_s3: None, prefix: str):
    store = S3Store(f"s3://{BUCKET}/{prefix}", patience_s=0.5)
    await store.create("a.json", b"1")
    proxy.rule = lambda *_: "503 SlowDown"
    with pytest.raises(StoreUnavailable) as caught:
        await store.create("b.json", b"1")
    assert "503" in caught.value.message
    assert "Run the same command again" in caught.value.remedy


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("403 AccessDenied", "s3:PutObject"),
        ("403 RequestTimeTooSkewed", "clock"),
        ("400 ExpiredToken", "log in again"),
        ("403 InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"),
        ("404 NoSuchBucket", "Create the bucket"),
        ("400 IllegalLocationConstraintException", "AWS_REGION"),
        ("501 NotImplemented", "If-None-Match"),
    ],
)
async def test_a_refusal_is_not_tried_for_long_and_says_what_to_do(
    proxy: Proxy, store: S3Store, answer: str, said: str
):
    await store.create("before.json", b"1")
    proxy.rule = lambda *_: answer
    with pytest.raises(StoreRefused) as caught:
        await store.create("x.json", b"x")
    assert said in caught.value.remedy
    assert f"s3://{BUCKET}" in caught.value.message


async def test_a_wrong_secret_an_unknown_key_and_a_missing_bucket_are_told_apart(
    at_s3: None, prefix: str, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(StoreRefused, match="NoSuchBucket"):
        [found async for found in S3Store(f"s3://no-such-bucket/{prefix}").list("")]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StoreRefused) as caught:
        await S3Store(f"s3://{BUCKET}/{prefix}").create("x.json", b"x")
    assert "AWS_SECRET_ACCESS_KEY" in caught.value.remedy
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "stranger")
    with pytest.raises(StoreRefused) as caught:
        await S3Store(f"s3://{BUCKET}/{prefix}").create("x.json", b"x")
    assert "AWS_ACCESS_KEY_ID" in caught.value.remedy
    assert "wrong" not in str(caught.value)


async def test_what_a_server_took_is_there_after_it_was_killed_while_it_wrote(tmp_path, monkeypatch):
    with running_s3_server(tmp_path / "s3") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        store, taken, some = S3Store(f"s3://{BUCKET}/x", patience_s=60), list[str](), asyncio.Event()

        async def write(number: int) -> None:
            for count in range(40):
                name = f"{number}/{count}.json"
                assert await store.create(name, name.encode() * 500)
                taken.append(name)
                if len(taken) > 60:
                    some.set()

        writing = asyncio.gather(*(write(number) for number in range(8)))
        await some.wait()
        await asyncio.to_thread(server.kill)
        before = list(taken)
        await asyncio.to_thread(server.start)
        for name in before:
            assert await store.read(name) == name.encode() * 500
        await writing
        assert {found.key async for found in store.list("")} == set(taken)
        assert len(taken) == 320
        await store.aclose()


async def test_images_are_for_shared_caches_only_if_that_is_asked_for(s3: S3Server, at_s3: None, prefix: str):
    store = S3Store(f"s3://{BUCKET}/{prefix}", read_protection({"ADLOOM_S3_CACHE": "public"}))
    await store.create("camp/main/assets/hero/red-1.png", b"x", media_type="image/png")
    await store.create("camp/main/ledger/c-1/a1-intent.json", b"{}")
    head = s3.client().head_object
    image = head(Bucket=BUCKET, Key=f"{prefix}/camp/main/assets/hero/red-1.png")
    assert image["CacheControl"] == "public, max-age=31536000, immutable"
    assert head(Bucket=BUCKET, Key=f"{prefix}/camp/main/ledger/c-1/a1-intent.json")["CacheControl"] == "no-store"


async def test_every_request_names_whose_bucket_it_must_be(proxy: Proxy, prefix: str):
    owners: list[str | None] = []
    proxy.judge = lambda _method, _path, headers: owners.append(headers.get("x-amz-expected-bucket-owner"))
    store = S3Store(f"s3://{BUCKET}/{prefix}", read_protection({"ADLOOM_S3_BUCKET_OWNER": "123456789012"}))
    await store.create("a.json", b"1")
    await store.create("a.json", b"2")
    await store.replace("b.json", b"3")
    assert await store.read("a.json") == b"1"
    assert [listed.key async for listed in store.list("")] == ["a.json", "b.json"]
    assert set(owners) == {"123456789012"}
    proxy.judge = lambda *_: "403 AccessDenied"
    with pytest.raises(StoreRefused) as caught:
        await store.read("a.json")
    assert "123456789012" in caught.value.remedy


def test_an_address_that_names_no_place_is_refused():
    for address in ("s3://", "s3://UPPER/x", "s3://bucket/../x", "s3://b/x", "s3://bucket/a//b"):
        with pytest.raises(SettingInvalid, match="not an S3 address"):
            S3Store(address)


async def test_encrypted_and_locked_objects_are_what_the_server_keeps(s3: S3Server, at_s3: None):
    client = s3.client()
    client.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
    asked = {
        "ADLOOM_S3_SSE": "AES256",
        "ADLOOM_S3_OBJECT_LOCK_MODE": "GOVERNANCE",
        "ADLOOM_S3_OBJECT_LOCK_DAYS": "1",
    }
    store = S3Store("s3://locked/x", read_protection(asked))
    assert await store.create("a.json", b"1") is True
    assert await store.create("a.json", b"2") is False
    await store.replace("manifest.json", b"1")
    await store.replace("manifest.json", b"2")
    found = client.head_object(Bucket="locked", Key="x/a.json")
    assert found["ServerSideEncryption"] == "AES256"
    assert found["ObjectLockMode"] == "GOVERNANCE"
    assert "ObjectLockMode" not in client.head_object(Bucket="locked", Key="x/manifest.json")
