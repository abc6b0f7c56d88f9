from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from PIL import Image

from adloom.campaign.references.reader import BadReference, ReadFrom, ReferenceReader, url_reference
from adloom.campaign.sources.origin import Origin
from adloom.core.limits import STRICT, WIDE
from adloom.edges.addresses import BadAddress, check_url


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "campaign").mkdir()
    (tmp_path / "secret.png").write_bytes(picture_bytes(tmp_path, "png", (64, 64)))
    return tmp_path / "campaign"


def picture_bytes(folder: Path, kind: str, size: tuple[int, int]) -> bytes:
    path = folder / "made"
    Image.new("RGB", size, "white").save(path, kind)
    content = path.read_bytes()
    path.unlink()
    return content


def reader(folder: Path, profile=STRICT) -> ReferenceReader:
    origin = Origin(folder / "campaign.yaml", "campaign.yaml")
    return ReferenceReader({"logo": ("file", "logo.png")}, ReadFrom(origin, loopback_urls=False), profile.references)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "http://example.com:8080/a.png?token=1#x",
        "https://8.8.8.8/a.png",
        "https://[2606:4700::1111]/a.png",
        "https://例子.com/图.png",
        "HTTPS://EXAMPLE.COM/A.PNG",
        "https://localhost.example.com/a",
    ],
)
def test_public_addresses_are_passed_on_as_written(url):
    reference = url_reference(url, loopback_urls=False)
    assert reference.url == url
    assert reference.content == f"url:{url}"
    assert "?" not in reference.shown
    assert "#" not in reference.shown


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1",
        "0177.0.0.1", "017700000001", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",
        "100.64.0.1", "0.0.0.0", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "[::1]",
        "[::]",
        "[fe80::1]", "[fc00::1]", "[ff02::1]", "[::ffff:127.0.0.1]", "[::ffff:169.254.169.254]", "[::127.0.0.1]",
        "[2002:7f00:1::]", "[64:ff9b::7f00:1]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]", "metadata.google.internal",
        "printer.local", "router.lan", "minio", "１２７.0.0.1", "127。0。0。1",
    ],
)  # fmt: skip
def test_internal_hosts_are_refused_in_every_spelling(host):
    with pytest.raises(BadAddress):
        check_url(f"https://{host}/a.png", ("https", "http"), loopback_urls=False)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://example.com/a", 'starts with "ftp"'),
        ("file:///etc/passwd", 'starts with "file"'),
        ("data:image/png;base64,AAAA", 'starts with "data"'),
        ("https://user:secret@example.com/a", "contains a user name or a password"),
        ("https://example.com\\@10.0.0.1/", "a backslash"),
        ("https://exa mple.com/", "a space"),
        ("https://example.com/\nx", "a control character"),
        ("https:///a.png", "has no host"),
        ("https://example.com:99999/", "is not an address"),
        ("https://[::1/a", "is not an address"),
        ("https://example.com/" + "a" * 2048, "at most 2,048"),
    ],
)
def test_addresses_that_are_none_are_refused(url, message):
    with pytest.raises(BadAddress) as caught:
        check_url(url, ("https", "http"), loopback_urls=False)
    assert message in f"{caught.value.message} {caught.value.allowed}"
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
def test_loopback_is_allowed_where_the_api_itself_is_there(host):
    check_url(f"http://{host}/a.png", ("https", "http"), loopback_urls=True)
    with pytest.raises(BadAddress):
        check_url("http://10.0.0.1/a.png", ("https", "http"), loopback_urls=True)


def test_a_file_is_known_by_its_bytes(folder):
    content = picture_bytes(folder, "png", (60, 40))
    (folder / "logo.png").write_bytes(content)
    reference = reader(folder).read("logo")
    assert reference.content == "sha256:" + hashlib.sha256(content).hexdigest()
    assert (reference.url, reference.shown) == (None, "logo.png")
    assert reader(folder).read("./logo.png") == reference


@pytest.mark.parametrize(
    ("kind", "size", "profile", "message"),
    [
        ("png", (45, 15), STRICT, ""),
        ("png", (46, 15), STRICT, "46×15 pixels (no side more than 3 times the other)"),
        ("png", (46, 15), WIDE, ""),
        ("png", (14, 14), STRICT, "14×14 pixels (at least 15 on each side)"),
        ("png", (6001, 3000), STRICT, "6001×3000 pixels (at most 6000×6000)"),
        ("webp", (40, 40), STRICT, ""),
        ("webp", (46, 15), STRICT, "46×15 pixels (no side more than 3 times the other)"),
        ("webp", (40, 40), WIDE, ""),
        ("tiff", (40, 40), WIDE, "is a tiff image (one of jpeg, png, webp, gif)"),
    ],
)
def test_a_picture_is_measured_before_anything_is_spent(folder, kind, size, profile, message):
    (folder / "a.png").write_bytes(picture_bytes(folder, kind, size))
    if not message:
        assert reader(folder, profile).read("a.png").content.startswith("sha256:")
        return
    with pytest.raises(BadReference) as caught:
        reader(folder, profile).read("a.png")
    assert message in f"{caught.value.message} ({caught.value.allowed})"


def test_files_that_are_no_usable_pictures_are_refused(folder):
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "text.png").write_text("hello")
    (folder / "cut.png").write_bytes(picture_bytes(folder, "png", (40, 40))[:20])
    frame = b"\x2c\0\0\0\0\x08\0\x08\0\0\x02\x02\x4c\x01\0"
    short = b"\x21\xf9\x01\0\0"  # a block of one byte where Pillow unpacks three: a struct.error
    (folder / "odd.gif").write_bytes(b"GIF89a\x08\0\x08\0\0\0\0" + frame + short + frame + b";")
    (folder / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(10_000_000))
    for name, message in {
        "moving.gif": "animated",
        "text.png": "is not an image of a known type",
        "cut.png": "is a damaged png image",
        "odd.gif": "is a damaged gif image",
        "large.png": "has 10.0 MB",
        "none.png": "there is no file",
    }.items():
        with pytest.raises(BadReference, match=message):
            reader(folder, WIDE).read(name)


def test_a_file_cannot_be_taken_from_outside_the_folder(folder):
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "loop.png").symlink_to(folder / "loop.png")
    os.mkfifo(folder / "pipe.png")
    for text in (
        "../secret.png", "x/../../secret.png", str(folder.parent / "secret.png"), "link.png", "loop.png", "pipe.png",
        ".",
        "~/a.png", "C:\\a.png", "a\0.png", "..\\secret.png",
    ):  # fmt: skip
        with pytest.raises(BadReference):
            reader(folder).read(text)
