"""Reference images are looked at where they are, and no more of them is fetched than needed."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import Awaitable, Callable

import pytest
from PIL import Image, PngImagePlugin
from support.raw_server import Request, always, answer, raw_server, reset, unused_port

from adloom.core.limits import STRICT, WIDE
from adloom.edges.evolink import transport
from adloom.edges.reference_hosts import (
    ADDRESSES_OF_A_DEAD_HOST,
    AT_ONCE,
    FIRST_BYTES,
    Fault,
    ReferenceHosts,
)


def picture(kind: str = "png", size: tuple[int, int] = (64, 48), **saved: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "white").save(out, kind, **saved)
    return out.getvalue()


def late_header() -> bytes:
    """A JPEG whose size comes after a large comment."""
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    content = picture("jpeg", exif=exif, comment=b"c" * 60_000)
    assert content.find(b"\xff\xc0") > FIRST_BYTES
    return content


async def slept(_seconds: float) -> None:
    pass


def hosts(limits=STRICT.references, *, loopback: bool = True, **given) -> ReferenceHosts:
    return ReferenceHosts(limits, ssl.create_default_context(), loopback=loopback, sleep=slept, **given)


async def looked_at(url: str, limits=STRICT.references, **given) -> Fault | None:
    async with hosts(limits, **given) as visitor:
        return await visitor.fault(url)


def serving(content: bytes, **headers: str) -> Callable[[Request, object], Awaitable[None]]:
    """A host that honours ranges and answers ``HEAD``."""

    async def handle(request, writer):
        if request.method == "HEAD":
            writer.write(answer(200, b"", content_length=len(content), **headers))
            return
        first, last = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
        part = content[first : last + 1]
        where = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
        writer.write(answer(206, part, content_range=where, **headers))

    return handle


@pytest.mark.parametrize("kind", ["png", "jpeg"])
async def test_a_good_picture_is_looked_at_by_its_first_bytes_alone(kind):
    content = picture(kind) + bytes(1_000_000)
    async with raw_server(serving(content)) as server:
        assert await looked_at(server.url + "/a.png?signature=x#part") is None
    assert [request.method for request in server.requests] == ["HEAD", "GET"]
    assert {request.target for request in server.requests} == {"/a.png?signature=x"}
    assert server.requests[1].headers["range"] == f"bytes=0-{FIRST_BYTES - 1}"
    assert "authorization" not in server.requests[1].headers


async def test_a_host_without_ranges_is_read_no_further_than_needed():
    sent = 0

    async def handle(request, writer):
        nonlocal sent
        content = picture() + bytes(9_000_000)
        if request.method == "HEAD":
            writer.write(answer(405))
            return
        writer.write(answer(200, b"", content_length=len(content)))
        for start in range(0, len(content), 65_536):
            writer.write(content[start : start + 65_536])
            await writer.drain()
            sent = start

    async with raw_server(handle) as server:
        assert await looked_at(server.url) is None
    assert sent < 8_000_000  # what the buffers on the way took


@pytest.mark.parametrize("status", [403, 404, 405, 500, 501])
async def test_a_head_that_is_refused_means_nothing(status):
    async def handle(request, writer):
        writer.write(answer(status) if request.method == "HEAD" else answer(200, picture()))

    async with raw_server(handle) as server:
        assert await looked_at(server.url) is None


async def test_a_header_that_goes_on_beyond_the_first_bytes_is_read_from_the_whole_file():
    async with raw_server(serving(late_header())) as server:
        assert await looked_at(server.url) is None
    assert [request.method for request in server.requests] == ["HEAD", "GET", "GET"]


@pytest.mark.parametrize("kind", ["webp", "gif", "bmp", "tiff"])
async def test_a_profile_says_which_formats_are_good(kind):
    async with raw_server(serving(picture(kind))) as server:
        fault = await looked_at(server.url)
        assert fault == Fault(f"is a {kind} image", "one of jpeg, png")
        assert await looked_at(server.url, WIDE.references) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "is not an image of a known type"),
        (picture(size=(14, 14)), "has 14×14 pixels"),
        (picture(size=(6001, 3000)), "has 6001×3000 pixels"),
        (picture(size=(301, 100)), "has 301×100 pixels"),
        (picture(size=(100, 301)), "has 100×301 pixels"),
        (picture("jpeg")[:100], "is a damaged jpeg image"),
        (b"", "is empty"),
    ],
)
async def test_what_the_api_would_not_take_is_said(content, said):
    async with raw_server(always(answer(200, content))) as server:
        fault = await looked_at(server.url)
    assert fault is not None
    assert fault.message == said
    assert fault.allowed


async def test_a_picture_that_is_too_large_by_its_head_is_not_fetched():
    async with raw_server(always(answer(200, b"", content_length=10_000_001))) as server:
        fault = await looked_at(server.url)
    assert fault == Fault("has 10.0 MB", "at most 10 MB")
    assert [request.method for request in server.requests] == ["HEAD"]


@pytest.mark.parametrize("ranged", [True, False])
async def test_a_picture_whose_host_tells_its_size_late_is_too_large_all_the_same(ranged):
    async def handle(request, writer):
        content = picture() + bytes(11_000_000)
        if request.method == "HEAD":
            writer.write(answer(405))
        elif ranged:
            writer.write(answer(206, content[:FIRST_BYTES], content_range=f"bytes 0-{FIRST_BYTES - 1}/{len(content)}"))
        else:
            writer.write(answer(200, b"", content_length=None, connection="close") + content)
            await writer.drain()
            writer.close()

    async with raw_server(handle) as server:
        fault = await looked_at(server.url)
    assert fault is not None
    assert "MB" in fault.message


async def test_a_small_file_whose_host_never_tells_its_size_is_good():
    async def handle(request, writer):
        writer.write(
            answer(405) if request.method == "HEAD" else answer(200, b"", content_length=None, connection="close")
        )
        writer.write(b"" if request.method == "HEAD" else picture())
        await writer.drain()
        writer.close()

    async with raw_server(handle) as server:
        assert await looked_at(server.url) is None


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_final_answer_is_not_asked_for_again(status):
    async with raw_server(always(answer(status))) as server:
        fault = await looked_at(server.url)
    assert fault is not None
    assert fault.message == f"is answered with HTTP {status}"
    assert len(server.requests) == 2


@pytest.mark.parametrize("trouble", [429, 500, 503, "reset"])
async def test_a_host_that_wavers_is_asked_again(trouble):
    asked = 0

    async def handle(request, writer):
        nonlocal asked
        if request.method == "HEAD":
            writer.write(answer(405))
            return
        asked += 1
        if asked == 3:
            writer.write(answer(200, picture()))
        elif trouble == "reset":
            reset(writer)
        else:
            writer.write(answer(trouble))

    async with raw_server(handle) as server:
        assert await looked_at(server.url) is None
    assert asked == 3


async def test_a_host_that_is_down_is_said_with_its_reason():
    async with raw_server(always(answer(503))) as server:
        fault = await looked_at(server.url)
    assert fault is not None
    assert fault.message == "cannot be looked at, in 3 tries: HTTP 503"
    fault = await looked_at(f"http://127.0.0.1:{unused_port()}/a.png")
    assert fault is not None
    assert fault.message == "cannot be looked at, in 3 tries: no answer"


async def test_a_slow_host_is_not_waited_for():
    async def handle(_request, writer):
        writer.write(answer(200, b"", content_length=5000) + picture()[:10])
        await asyncio.sleep(60)

    async with raw_server(handle) as server:
        fault = await looked_at(server.url, try_s=0.05)
    assert fault is not None
    assert fault.message == "cannot be looked at, in 3 tries: no answer within 0.05 s"


async def test_a_dead_host_is_not_asked_for_all_of_its_addresses():
    async with raw_server(always(answer(503))) as server, hosts() as visitor:
        for number in range(ADDRESSES_OF_A_DEAD_HOST):
            await visitor.fault(f"{server.url}/{number}.png")
        asked = len(server.requests)
        fault = await visitor.fault(f"{server.url}/another.png")
        assert fault is not None
        assert "did not answer for others" in fault.message
        assert len(server.requests) == asked


@pytest.mark.parametrize("place", ["https://10.0.0.1/a.png", "https://169.254.169.254/", "http://example.com/a.png"])
async def test_a_redirect_to_where_no_download_may_go_is_not_followed(place):
    async with raw_server(always(answer(302, location=place))) as server:
        fault = await looked_at(server.url)
    assert fault is not None
    assert fault.message in ("leads to an internal address", "is not https")
    assert len(server.requests) == 1


async def test_redirects_are_followed_three_times():
    async def handle(request, writer):
        left = int(request.target.removeprefix("/"))
        writer.write(answer(302, location=f"/{left - 1}") if left else answer(200, picture()))

    async with raw_server(handle) as server:
        assert await looked_at(server.url + "/3") is None
        fault = await looked_at(server.url + "/4")
        assert fault is not None
        assert fault.message == "redirects more than 3 times"


async def test_a_public_name_that_leads_inside_is_said(monkeypatch):
    class Inside(transport.DefaultResolver):
        async def resolve(self, host, port=0, family=0):
            return [{"hostname": host, "host": "10.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    monkeypatch.setattr(transport, "DefaultResolver", Inside)
    fault = await looked_at("https://pictures.example.com/a.png", loopback=False)
    assert fault == Fault("leads to an internal address", "a public https address")


async def test_plain_http_is_looked_at_for_an_api_on_this_machine_alone():
    async with raw_server(serving(picture())) as server:
        fault = await looked_at(server.url, loopback=False)
    assert fault is not None
    assert fault.message == "is not https"
    assert server.requests == []


async def test_a_compressed_answer_is_not_unpacked():
    async with raw_server(always(answer(200, b"x", content_encoding="gzip"))) as server:
        fault = await looked_at(server.url)
    assert fault is not None
    assert "compressed" in fault.message


async def test_so_many_addresses_are_looked_at_together_and_no_more():
    at_once, most = 0, 0
    full = asyncio.Event()

    async def handle(request, writer):
        nonlocal at_once, most
        if request.method == "HEAD":
            writer.write(answer(405))
            return
        at_once += 1
        most = max(most, at_once)
        if at_once == AT_ONCE:
            full.set()
        await full.wait()
        at_once -= 1
        writer.write(answer(200, picture()))

    async with raw_server(handle) as server, hosts() as visitor:
        found = await asyncio.gather(*(visitor.fault(f"{server.url}/{number}") for number in range(3 * AT_ONCE)))
    assert set(found) == {None}
    assert most == AT_ONCE


async def test_a_header_is_read_in_the_child_and_nothing_is_decoded():
    """A PNG that says 6000 × 6000 and holds no pixels: whoever decoded it would fail, or take 100 MB."""
    whole = picture(size=(6000, 6000))
    async with raw_server(always(answer(200, whole[: whole.index(b"IDAT") + 4]))) as server:
        assert await looked_at(server.url) is None


async def test_no_image_is_opened_in_the_process_that_holds_keys(monkeypatch):
    def opened(*_: object) -> None:
        raise AssertionError

    content = picture()
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "_open", opened)
    async with raw_server(serving(content)) as server:
        assert await looked_at(server.url) is None
