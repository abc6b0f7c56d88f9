"""Reference images in S3, on a real server."""

import io
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image
from support.s3_server import BUCKET, S3Server
from support.shop import SandboxRig, campaign_text

from adloom.campaign.references.reader import BadReference, ReadFrom, ReferenceReader, read_file
from adloom.campaign.sources.origin import Origin
from adloom.core.errors import InputError
from adloom.core.limits import STRICT


def _picture(kind: str = "png", size: tuple[int, int] = (64, 48), colour: str = "white") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, kind)
    return stream.getvalue()


@pytest.fixture
def at_s3(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)


def _put(s3: S3Server, content: bytes, name: str = "图 bottle.png") -> str:
    key = f"{uuid4()}/{name}"
    s3.client().put_object(Bucket=BUCKET, Key=key, Body=content)
    return f"s3://{BUCKET}/{key}"


def _reader(folder: Path, **named: tuple[str, str]) -> ReferenceReader:
    origin = Origin(folder / "campaign.yaml", "campaign.yaml")
    return ReferenceReader(named, ReadFrom(origin, loopback_urls=False), STRICT.references)


def test_an_object_is_known_by_its_bytes_as_a_file_with_the_same_is(s3: S3Server, at_s3: None, tmp_path: Path):
    content = _picture()
    (tmp_path / "bottle.png").write_bytes(content)
    address = _put(s3, content)
    found = _reader(tmp_path, bottle=("file", address)).read("bottle")
    assert (found.url, found.shown) == (None, address)
    assert found.content == _reader(tmp_path).read("bottle.png").content
    assert _reader(tmp_path).read(address) == found


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_picture(size=(14, 14)), "14×14 pixels (at least 15 on each side)"),
        (b"hello", "is not an image of a known type"),
        (b"\x89PNG\r\n\x1a\n" + bytes(10_000_000), "is too large (at most 10 MB)"),
    ],
    ids=["pixels", "text", "bytes"],
)
def test_an_object_is_checked_as_a_file_is(s3: S3Server, at_s3: None, tmp_path: Path, content: bytes, message: str):
    address = _put(s3, content)
    with pytest.raises(BadReference) as caught:
        _reader(tmp_path).read(address)
    assert message in f"{caught.value.message} ({caught.value.allowed})"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (f"s3://{BUCKET}/none.png", "there is no such object"),
        ("s3://no-such-bucket-here/a.png", "cannot be read: S3 says NoSuchBucket"),
        ("s3://BAD_bucket/a.png", "not an address like s3://bucket/folder/picture.png"),
        (f"s3://{BUCKET}", "not an address"),
        (f"s3://{BUCKET}/a/../b.png", "not an address"),
        (f"s3://{BUCKET}/", "not an address"),
    ],
)
def test_an_object_that_cannot_be_read_is_said_with_the_reason(
    s3: S3Server, at_s3: None, tmp_path: Path, address: str, message: str
):
    with pytest.raises(BadReference) as caught:
        _reader(tmp_path).read(address)
    assert message in caught.value.message
    assert "AWS settings" in caught.value.allowed


def test_an_endpoint_in_the_clear_is_not_asked(tmp_path: Path, at_s3: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://10.0.0.1:9000")
    with pytest.raises(BadReference, match="in the clear"):
        _reader(tmp_path).read("s3://bucket/a.png")


async def test_an_object_that_went_away_is_an_error_of_the_input(s3: S3Server, at_s3: None, tmp_path: Path):
    address = _put(s3, _picture())
    assert await read_file(str(tmp_path / "campaign.yaml"), address) == _picture()
    with pytest.raises(InputError, match="can no longer be read: there is no such object"):
        await read_file(str(tmp_path / "campaign.yaml"), address + ".gone")


async def test_a_campaign_buys_with_an_object_and_an_edited_one_makes_new_images(
    s3: S3Server, at_s3: None, shop: SandboxRig
):
    address = _put(s3, _picture())
    job = f"  - {{id: mug, prompt: a mug, references: ['{address}'], variants: 2}}\n"
    shop.write(campaign_text(job + "  - {id: plain, prompt: a jug}\n"))
    assert (await shop.run()).exit_code == 0
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 3
    assert [line["references"] for line in shop.lines()] == [[address], [address], []]
    assert len(list((shop.edition() / "ledger" / "uploads").iterdir())) == 1
    bucket, _, key = address.removeprefix("s3://").partition("/")
    s3.client().put_object(Bucket=bucket, Key=key, Body=_picture(colour="red"))
    assert (await shop.run()).exit_code == 0
    assert shop.bought() == 5
