"""What both clients of the API keep to, whatever is around them: proxies, and bodies that nobody asked for."""

import gzip
import tracemalloc
import zlib

import pytest
from support.raw_server import Request, always, answer, raw_server

from adloom.core.errors import OutcomeUnknown, ReadFailed
from adloom.edges.evolink.client import ANSWER_BYTES, EvoLink
from adloom.edges.evolink.files import EvoLinkFiles
from adloom.edges.settings import read_settings

KEY = "sk-evo-canary-0123456789"
TASK = b'{"id": "task-1", "status": "pending", "balance": 5, "data": {"remain_files": 7}, "success": true}'
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


def settings(url: str):
    return read_settings({"EVOLINK_API_KEY": KEY, "EVOLINK_BASE_URL": url, "EVOLINK_FILES_URL": url})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2"])
async def test_no_proxy_hears_what_is_said_to_this_machine(monkeypatch, host):
    async with raw_server(always(answer(200, TASK))) as proxy, raw_server(always(answer(200, TASK))) as api_server:
        for name in PROXIES:
            monkeypatch.setenv(name, proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        url = api_server.url.replace("127.0.0.1", host)
        async with EvoLink(settings(url)) as api, EvoLinkFiles(settings(url)) as files:
            if host != "127.0.0.2":  # nobody listens there: that it cannot be reached is all that is to see
                assert (await api.submit(b"{}", "key-1")).task_id == "task-1"
                assert set(await api.tasks(["task-1"])) == {"task-1"}
                assert await files.room() == 7
                await api.download(f"{url}/a.jpg")
            else:
                with pytest.raises(ReadFailed):
                    await api.tasks(["task-1"])
        assert proxy.requests == []
        assert proxy.connections == 0


async def test_a_proxy_is_used_for_the_way_out(monkeypatch):
    async with raw_server(always(answer(502, b""))) as proxy:
        for name in PROXIES:
            monkeypatch.setenv(name, proxy.url)
        async with EvoLink(settings("https://api.example.com")) as api:
            with pytest.raises(ReadFailed):
                await api.tasks(["task-1"])
    assert [request.method for request in proxy.requests] == ["CONNECT"]


def zipped(content: bytes, *, encoding: str = "gzip") -> bytes:
    packed = gzip.compress(content) if encoding == "gzip" else zlib.compress(content)
    return answer(200, packed, content_encoding=encoding)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_an_answer_that_comes_zipped_uninvited_is_read_as_what_it_is(encoding):
    async with raw_server(always(zipped(TASK, encoding=encoding))) as server, EvoLink(settings(server.url)) as api:
        assert (await api.submit(b"{}", "key-1")).task_id == "task-1"
        assert set(await api.tasks(["task-1"])) == {"task-1"}
    assert {request.headers["accept-encoding"] for request in server.requests} == {"identity"}


async def test_a_small_answer_that_inflates_without_end_takes_no_memory():
    bomb = zipped(bytes(64 * ANSWER_BYTES))
    assert len(bomb) < ANSWER_BYTES / 8

    async with raw_server(always(bomb)) as server, EvoLink(settings(server.url)) as api:
        tracemalloc.start()
        try:
            with pytest.raises(ReadFailed, match="too long"):
                await api.tasks(["task-1"])
            with pytest.raises(OutcomeUnknown, match="too long"):
                await api.submit(b"{}", "key-1")
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 8 * ANSWER_BYTES


@pytest.mark.parametrize(
    "sent",
    [
        answer(200, TASK, content_encoding="gzip"),
        answer(200, gzip.compress(TASK)[:-12], content_encoding="gzip"),
        answer(200, TASK, content_encoding="br"),
        answer(200, TASK, content_encoding="gzip, gzip"),
    ],
)
async def test_an_answer_whose_encoding_is_no_use_is_a_failed_read_and_an_unknown_purchase(sent: bytes):
    async def handle(_request: Request, writer) -> None:
        writer.write(sent)

    async with raw_server(handle) as server, EvoLink(settings(server.url)) as api:
        with pytest.raises(ReadFailed):
            await api.tasks(["task-1"])
        with pytest.raises(OutcomeUnknown):
            await api.submit(b"{}", "key-1")
