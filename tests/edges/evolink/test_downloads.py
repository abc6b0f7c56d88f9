import asyncio
import gzip
import hashlib
import socket
import ssl
import zlib

import pytest
from aiohttp.abc import AbstractResolver
from support.raw_server import always, answer, bare_server, raw_server, reset, unused_port

from adloom.core.errors import DownloadFailed, LinkExpired
from adloom.edges.addresses import is_loopback_host
from adloom.edges.evolink import transport
from adloom.edges.evolink.client import EvoLink
from adloom.edges.evolink.downloads import ByteBudget, Downloader, DownloadLimits
from adloom.edges.settings import read_settings

KEY = "sk-evo-canary-0123456789"
IMAGE = bytes(range(256)) * 400
WHOLE = answer(200, IMAGE, content_type="image/jpeg; charset=x")
INTERNAL = """127.0.0.1 127.1 2130706433 0x7f.0.0.1 017700000001 0.0.0.0 10.0.0.1 172.16.9.9 192.168.0.1 169.254.169.254
100.64.0.1 [::1] [::] [::ffff:10.0.0.1] [fd00:ec2::254] [fe80::1] [64:ff9b::7f00:1] [2002:7f00:1::] localhost
localhost. a.localhost metadata.google.internal"""


def downloader(*, loopback=True, **limits) -> Downloader:
    return Downloader(ssl.create_default_context(), loopback=loopback, limits=DownloadLimits(**limits))


async def fetched(url, *, loopback=True, **limits):
    fetcher = downloader(loopback=loopback, **limits)
    try:
        return await fetcher.fetch(url)
    finally:
        await fetcher.aclose()


async def failure(handler, **limits):
    async with raw_server(handler) as server:
        with pytest.raises((DownloadFailed, LinkExpired)) as caught:
            await fetched(server.url + "/a.jpg?signature=canary", **limits)
    assert "canary" not in str(caught.value)
    return type(caught.value)


async def test_bytes_come_as_they_are_with_their_hash():
    async with raw_server(always(WHOLE)) as server:
        found = await fetched(server.url + "/a.jpg?x=1#fragment")
    assert found.content == IMAGE
    assert found.sha256 == hashlib.sha256(IMAGE).hexdigest()
    assert found.media_type == "image/jpeg"
    assert server.requests[0].target == "/a.jpg?x=1"
    assert server.requests[0].headers["accept-encoding"] == "identity"
    assert server.requests[0].headers["user-agent"].startswith("adloom/")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_without_a_length_is_read_to_its_end(chunked):
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(IMAGE), IMAGE) if chunked else IMAGE
    headers = {"transfer-encoding": "chunked"} if chunked else {"connection": "close"}

    async def handle(_request, writer):
        writer.write(answer(200, b"", content_length=None, **headers) + body)
        await writer.drain()
        writer.close()

    async with raw_server(handle) as server:
        assert (await fetched(server.url)).content == IMAGE


@pytest.mark.parametrize("has_length", [True, False])
async def test_what_is_too_large_for_memory_is_spooled_to_a_file_and_comes_as_it_is(has_length):
    image = IMAGE * 5

    async def handle(_request, writer):
        writer.write(answer(200, b"", content_length=len(image) if has_length else None, connection="close") + image)
        await writer.drain()
        writer.close()

    async with raw_server(handle) as server:
        fetcher = downloader(image_bytes=len(IMAGE), in_flight_bytes=len(IMAGE), spooled_bytes=len(image))
        found = await asyncio.gather(*(fetcher.fetch(server.url) for _ in range(4)))
        await fetcher.aclose()
    assert {bytes(one.content) for one in found} == {image}
    assert {one.sha256 for one in found} == {hashlib.sha256(image).hexdigest()}
    assert not any(isinstance(one.content, bytes) for one in found)


def test_a_download_of_an_image_takes_five_minutes_at_most_and_64_mib_of_memory():
    """64 MiB in 300 s is a line of 2 Mbit/s; above that a file takes over, up to 512 MiB."""
    limits = DownloadLimits()
    assert (limits.total_s, limits.image_bytes, limits.spooled_bytes) == (300, 64 * 2**20, 512 * 2**20)
    assert limits.at_once * limits.image_bytes > limits.in_flight_bytes == 256 * 2**20


async def test_the_key_and_cookies_never_reach_a_result_not_even_on_the_apis_own_host():
    image = answer(200, IMAGE, set_cookie="a=b; Path=/")
    async with raw_server(always(image)) as server:
        environ = {"EVOLINK_API_KEY": KEY, "EVOLINK_BASE_URL": server.url}
        async with EvoLink(read_settings(environ)) as api:
            await asyncio.gather(api.tasks(["a"]), return_exceptions=True)
            for _ in range(2):
                await api.download(server.url + "/a.jpg")
    assert "authorization" in server.requests[0].headers
    for request in server.requests[1:]:
        assert "canary" not in str(request)
        assert not {"authorization", "cookie", "proxy-authorization"} & set(request.headers)


async def test_redirects_are_followed_three_times_and_no_further():
    async def handle(request, writer):
        left = int(request.target.rpartition("/")[2])
        writer.write(answer(302, b"", location=f"/hop/{left - 1}") if left else WHOLE)

    async with raw_server(handle) as server:
        assert (await fetched(server.url + "/hop/3")).content == IMAGE
        with pytest.raises(DownloadFailed, match="more than 3"):
            await fetched(server.url + "/hop/4")


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "ftp://a.b/c", "", "http://me:pw@127.0.0.1/", "gopher:x", "data:,x"]
)
async def test_a_redirect_to_an_odd_place_is_not_followed(place):
    assert await failure(always(answer(302, b"", location=place))) is DownloadFailed


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "", "x", "https://me:pw@a.b/c", "http://[::1", "https://", "//a.b"]
)
async def test_an_odd_link_is_not_followed(place):
    with pytest.raises(DownloadFailed):
        await fetched(place)


@pytest.mark.parametrize("host", INTERNAL.split())
async def test_an_internal_address_is_never_asked(host):
    port = unused_port()
    for url in (f"https://{host}:{port}/a", f"http://{host}:{port}/a"):
        with pytest.raises(DownloadFailed, match=r"internal|not https|no address"):
            await fetched(url, loopback=False)


INSIDE = [host for host in INTERNAL.split() if not is_loopback_host(host)]


@pytest.mark.parametrize("host", INSIDE)
async def test_an_api_on_this_machine_opens_no_other_internal_address(host):
    port = unused_port()
    for url in (f"https://{host}:{port}/a", f"http://{host}:{port}/a"):
        with pytest.raises(DownloadFailed, match=r"internal|not https|no address"):
            await fetched(url, loopback=True)
        with pytest.raises(DownloadFailed, match=r"internal|not https|no address"):
            async with raw_server(always(answer(302, b"", location=url))) as server:
                await fetched(server.url, loopback=True)


async def test_a_name_leads_inside_for_no_api_on_this_machine_either(monkeypatch):
    async with raw_server(always(WHOLE)) as server:
        port = server.url.rpartition(":")[2]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(port)))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: found)
        with pytest.raises(DownloadFailed):
            await fetched(f"https://files.example.com:{port}/a", loopback=True)
        assert (await fetched(f"http://localhost:{port}/a", loopback=True)).content == IMAGE
    assert server.connections == 1


@pytest.mark.parametrize("loopback", [False, True])
async def test_plain_http_is_not_followed_to_the_public(loopback):
    with pytest.raises(DownloadFailed, match="not https"):
        await fetched("http://example.com/a.jpg", loopback=loopback)


class Names(AbstractResolver):
    """Names as a test wants them; a second answer may differ from the first."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    async def resolve(self, host, port=0, _family=0):
        address = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            {"hostname": host, "host": each, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
            for each in address.split()
        ]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("addresses", ["127.0.0.1", "127.0.0.1 8.8.8.8"])
async def test_a_name_that_leads_inside_is_not_connected_to(monkeypatch, addresses):
    async with raw_server(always(WHOLE)) as server:
        port = server.url.rpartition(":")[2]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, int(port))) for each in addresses.split()]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: found)
        with pytest.raises(DownloadFailed):
            await fetched(f"https://files.example.com:{port}/a", loopback=False)
    assert server.connections == 0


async def test_a_name_is_looked_up_once_and_its_checked_address_used():
    names = Names("93.184.216.34", "127.0.0.1")
    resolver = transport.PublicResolver(names)
    found = await resolver.resolve("files.example.com", 443)
    assert [each["host"] for each in found] == ["93.184.216.34"]
    with pytest.raises(transport.InternalAddress):
        await resolver.resolve("files.example.com", 443)


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_dead_link_is_expired(status):
    assert await failure(always(answer(status, b"<html>error code: 1010</html>"))) is LinkExpired


@pytest.mark.parametrize(
    "whole",
    [
        answer(200, gzip.compress(IMAGE), content_encoding="gzip"),
        answer(200, zlib.compress(IMAGE), content_encoding="deflate"),
        answer(200, IMAGE, content_encoding="gzip"),
        answer(200, IMAGE, content_encoding="aws-chunked"),
        answer(203, IMAGE),
        answer(206, IMAGE, content_range=f"bytes 0-{len(IMAGE) - 1}/{len(IMAGE)}"),
    ],
    ids=["gzip", "deflate", "not gzip", "a label of an upload", "by way of a proxy", "all parts"],
)
async def test_what_a_host_sends_otherwise_than_asked_for_is_taken_all_the_same(whole):
    async with raw_server(always(whole)) as server:
        found = await fetched(server.url + "/a.jpg")
    assert (found.content, found.sha256) == (IMAGE, hashlib.sha256(IMAGE).hexdigest())


async def test_a_compressed_bomb_is_a_failed_try():
    bomb = gzip.compress(bytes(3_000_000))
    assert await failure(always(answer(200, bomb, content_encoding="gzip")), image_bytes=2_000_000) is DownloadFailed


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 401, 418, 429, 500, 502, 503])
async def test_any_other_status_is_a_failed_try(status):
    assert await failure(always(answer(status, b"" if status in (204, 304) else IMAGE))) is DownloadFailed


@pytest.mark.parametrize("kept_bytes", [0, 1, 30, len(WHOLE) - len(IMAGE), len(WHOLE) - 5000, len(WHOLE) - 1])
@pytest.mark.parametrize("ending", ["reset", "close"])
async def test_a_download_cut_at_any_byte_is_a_failed_try(kept_bytes, ending):
    async def handle(_request, writer):
        writer.write(WHOLE[:kept_bytes])
        await writer.drain()
        await asyncio.sleep(0.01)
        reset(writer) if ending == "reset" else writer.close()

    assert await failure(handle) is DownloadFailed


@pytest.mark.parametrize(
    "odd",
    [
        answer(200, b""),
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        answer(200, gzip.compress(IMAGE)[:-20], content_encoding="gzip"),
        answer(206, IMAGE, content_range=f"bytes 0-{len(IMAGE) - 1}/{len(IMAGE) + 1}"),
        answer(206, IMAGE, content_range=f"bytes 1-{len(IMAGE)}/{len(IMAGE) + 1}"),
        answer(200, IMAGE, content_length="-1"),
    ],
)
async def test_odd_answers_are_failed_tries(odd):
    async def handle(_request, writer):
        writer.write(odd)
        await writer.drain()
        writer.close()

    assert await failure(handle) is DownloadFailed


async def test_a_refused_connection_is_a_failed_try():
    with pytest.raises(DownloadFailed):
        await fetched(f"http://127.0.0.1:{unused_port()}/a")


@pytest.mark.parametrize("told", [True, False])
async def test_an_image_beyond_the_cap_is_given_up_early(told):
    sent = 0

    async def handle(_request, writer):
        nonlocal sent
        length = f"Content-Length: {10**9}\r\n" if told else ""
        writer.write(f"HTTP/1.1 200 OK\r\n{length}Connection: close\r\n\r\n".encode())
        for _ in range(10**4):
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    assert await failure(handle, image_bytes=100_000, spooled_bytes=300_000) is DownloadFailed
    assert sent < 20_000_000


async def test_a_stalled_download_fails_after_the_idle_time_and_a_dripping_one_after_the_whole_time():
    async def stall(_request, writer):
        writer.write(WHOLE[:-1])
        await asyncio.sleep(5)

    async def drip(_request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    assert await failure(stall, idle_s=0.1) is DownloadFailed
    assert await failure(drip, idle_s=0.1, total_s=0.3) is DownloadFailed


async def test_at_most_thirty_two_downloads_run_at_once():
    running = most = 0

    async def handle(_request, writer):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.02)
        running -= 1
        writer.write(WHOLE)

    async with raw_server(handle) as server:
        fetcher = downloader()
        await asyncio.gather(*(fetcher.fetch(f"{server.url}/{number}") for number in range(100)))
        await fetcher.aclose()
    assert most == 32


async def test_bytes_in_flight_stay_within_the_budget():
    fetcher = downloader(image_bytes=300_000, in_flight_bytes=350_000)
    free = fetcher._budget._free
    least = free
    taken = fetcher._budget._take

    async def watched(size_bytes):
        nonlocal least
        await taken(size_bytes)
        least = min(least, fetcher._budget._free)

    fetcher._budget._take = watched

    async def handle(request, writer):
        if request.target == "/unknown":
            writer.write(answer(200, b"", content_length=None, connection="close") + IMAGE)
            await writer.drain()
            writer.close()
        else:
            writer.write(WHOLE)

    async with raw_server(handle) as server:
        links = [f"{server.url}/{name}" for name in ("a", "unknown", "b", "c", "unknown", "d", "e")]
        found = await asyncio.gather(*map(fetcher.fetch, links))
        await fetcher.aclose()
    assert all(each.content == IMAGE for each in found)
    assert 0 <= least < free
    assert fetcher._budget._free == free


async def test_a_budget_serves_in_order_and_survives_those_who_leave():
    budget = ByteBudget(10)
    order = []

    async def hold(name, size_bytes):
        async with budget.reserved(size_bytes):
            order.append(name)
            await asyncio.sleep(0.01)

    holders = [asyncio.create_task(hold(*each)) for each in (("a", 6), ("big", 10), ("gone", 5), ("b", 4), ("c", 6))]
    await asyncio.sleep(0)
    holders[2].cancel()
    await asyncio.gather(*holders, return_exceptions=True)
    assert order == ["a", "big", "b", "c"]
    assert budget._free == 10


async def test_a_slow_server_does_not_keep_a_cancelled_download():
    async def serve(reader, _writer):
        await reader.read()

    async with bare_server(serve) as port:
        fetcher = downloader()
        fetching = asyncio.create_task(fetcher.fetch(f"http://127.0.0.1:{port}/"))
        await asyncio.sleep(0.05)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        await fetcher.aclose()
