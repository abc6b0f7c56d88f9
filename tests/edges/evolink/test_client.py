"""Purchases over a real wire: when one was not sent, when nobody can tell, and what shows the key."""

import asyncio
import contextlib
import datetime as dt
import hashlib
import ipaddress
import logging
import socket
import ssl
import traceback

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.raw_server import always, answer, bare_server, raw_server, read_request, reset, unused_port

from adloom.core.errors import (
    AccountStopped,
    ModerationRefused,
    NotSent,
    OutcomeUnknown,
    RequestRefused,
    SettingInvalid,
    Throttled,
)
from adloom.edges.evolink.client import EvoLink, Timeouts
from adloom.edges.settings import read_settings

KEY = "sk-evo-canary-0123456789"
BODY = '{"model":"doubao-seedream-4.0","prompt":"ein Glas Öl"}'.encode()
TAKEN = answer(200, {"id": "task-1", "usage": {"credits_reserved": 1.53}})


def client(url, **options) -> EvoLink:
    return EvoLink(read_settings({"EVOLINK_API_KEY": KEY, "EVOLINK_BASE_URL": url}), **options)


async def submit(url, **options):
    async with client(url, **options) as api:
        return await api.submit(BODY, "run-key-0123456789")


async def outcome(handler, **options):
    """What a purchase raises, and how often it reached the server."""
    async with raw_server(handler) as server:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the tests look at its type
            await submit(server.url, **options)
        return caught.value, len(server.requests)


async def test_the_bytes_go_out_as_given_with_key_type_and_idempotency_key():
    async with raw_server(always(TAKEN)) as server:
        found = await submit(server.url + "/")
    assert found.task_id == "task-1"
    (sent,) = server.requests
    assert (sent.method, sent.target, sent.body) == ("POST", "/v1/images/generations", BODY)
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert sent.headers["content-type"] == "application/json"
    assert sent.headers["idempotency-key"] == "run-key-0123456789"
    assert sent.headers["user-agent"] == "adloom/0.1.0"


async def test_every_purchase_has_a_connection_of_its_own():
    async with raw_server(always(TAKEN)) as server, client(server.url) as api:
        for _ in range(3):
            await api.submit(BODY, "key-0123456789abcdef")
        await asyncio.gather(*(api.submit(BODY, "key-0123456789abcdef") for _ in range(5)))
    assert server.connections == len(server.requests) == 8


async def test_no_cookie_is_kept_and_no_environment_credentials_are_sent(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password pw\n")
    monkeypatch.setenv("NETRC", str(netrc))
    taken = answer(200, {"id": "t"}, set_cookie="a=b; Path=/")
    async with raw_server(always(taken)) as server, client(server.url) as api:
        for _ in range(2):
            await api.submit(BODY, "key-0123456789abcdef")
    assert "cookie" not in server.requests[1].headers
    assert server.requests[1].headers["authorization"] == f"Bearer {KEY}"


async def test_a_refused_connection_was_not_sent():
    with pytest.raises(NotSent, match="could not be reached"):
        await submit(f"http://127.0.0.1:{unused_port()}")


async def test_a_name_that_does_not_resolve_was_not_sent():
    with pytest.raises(NotSent):
        await submit("https://nothing-here.invalid")


async def test_a_connection_that_never_completes_was_not_sent():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as fillers:
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(full.getsockname())
        with pytest.raises(NotSent):
            await submit(f"http://127.0.0.1:{full.getsockname()[1]}", timeouts=Timeouts(connect_s=0.1))


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 no TLS here\r\n\r\n", b""])
async def test_a_tls_failure_was_not_sent(garbage):
    async def serve(reader, writer):
        await reader.read(100)
        writer.write(garbage)

    async with bare_server(serve) as port:
        with pytest.raises(NotSent):
            await submit(f"https://127.0.0.1:{port}")


def certificate(folder) -> tuple[ssl.SSLContext, str]:
    """A server context for 127.0.0.1 and api.example.com, and the file of the authority that vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("api.example.com")]
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "chain.pem").write_bytes(pem + secret)
    (folder / "authority.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "chain.pem")
    return context, str(folder / "authority.pem")


async def test_an_untrusted_certificate_was_not_sent_and_ssl_cert_file_makes_it_trusted(monkeypatch, tmp_path):
    context, authority = certificate(tmp_path)
    async with raw_server(always(TAKEN), ssl=context) as server:
        with pytest.raises(NotSent):
            await submit(server.url)
        assert server.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", authority)
        assert (await submit(server.url)).task_id == "task-1"
        async with client(server.url) as api:
            assert (await api.download(server.url + "/image")).content


@pytest.mark.parametrize("read_bytes", [1, 50, 300])
async def test_a_reset_at_any_byte_after_the_first_is_unknown_and_sent_once(read_bytes):
    connections = 0

    async def serve(reader, writer):
        nonlocal connections
        connections += 1
        await reader.read(read_bytes)
        reset(writer)

    async with bare_server(serve) as port:
        with pytest.raises(OutcomeUnknown):
            await submit(f"http://127.0.0.1:{port}")
    assert connections == 1


@pytest.mark.parametrize("kept_bytes", [0, 1, 9, 20, 60, len(TAKEN) - 1])
@pytest.mark.parametrize("ending", ["reset", "close"])
async def test_an_answer_cut_at_any_byte_is_unknown_and_the_request_sent_once(kept_bytes, ending):
    async def handle(_request, writer):
        writer.write(TAKEN[:kept_bytes])
        await writer.drain()
        await asyncio.sleep(0.01)
        reset(writer) if ending == "reset" else writer.close()

    error, sent = await outcome(handle)
    assert type(error) is OutcomeUnknown
    assert sent == 1


@pytest.mark.parametrize(
    "odd",
    [
        b"garbage\r\n\r\n",
        answer(200, b"<html>"),
        answer(200, b'{"id": "task-1"'),
        answer(200, {"id": ""}),
        answer(204, b""),
        answer(200, b'{"id":"t"}', content_encoding="gzip"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        answer(200, b"x" * 1_100_000),
        answer(101, b"", connection="upgrade", upgrade="x"),
    ],
)
async def test_an_unreadable_answer_is_unknown(odd):
    error, sent = await outcome(always(odd))
    assert type(error) is OutcomeUnknown
    assert sent == 1


async def test_an_interim_answer_is_skipped():
    async with raw_server(always(b"HTTP/1.1 103 Early Hints\r\n\r\n" + TAKEN)) as server:
        assert (await submit(server.url)).task_id == "task-1"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_unknown_and_never_followed(status):
    async with raw_server(always(TAKEN)) as trap:
        error, sent = await outcome(always(answer(status, b"", location=f"{trap.url}/v1/images/generations")))
        assert type(error) is OutcomeUnknown
        assert sent == 1
        assert trap.connections == 0


async def test_silence_is_unknown_after_the_answers_time():
    async def handle(_request, _writer):
        await asyncio.sleep(5)

    error, sent = await outcome(handle, timeouts=Timeouts(answer_s=0.1))
    assert type(error) is OutcomeUnknown
    assert sent == 1


async def test_a_dripping_answer_is_unknown_after_the_whole_time():
    async def handle(_request, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    error, _sent = await outcome(handle, timeouts=Timeouts(submit_s=0.2))
    assert type(error) is OutcomeUnknown


async def test_refusals_over_the_wire_keep_their_meaning():
    throttled = {"error": {"code": 429, "type": "rate_limit_error", "fallback_suggestion": "retry after 60 seconds"}}
    error, _ = await outcome(always(answer(429, throttled, retry_after="3", x_request_id="r-9")))
    assert type(error) is Throttled
    assert (error.retry_after_s, error.request_id) == (3, "r-9")
    error, _ = await outcome(always(answer(400, {"error": {"code": "sensitive_content", "message": "no"}})))
    assert type(error) is ModerationRefused
    error, _ = await outcome(always(answer(400, {"error": {"code": 400, "param": "size"}})))
    assert type(error) is RequestRefused


async def test_a_refusal_sent_before_the_body_was_read_is_still_read():
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(413, {"error": {"code": 413, "type": "request_too_large_error"}}, connection="close"))
        await writer.drain()
        writer.write_eof()
        await reader.read()

    async with bare_server(serve) as port:
        with pytest.raises(RequestRefused):
            await submit(f"http://127.0.0.1:{port}")


async def test_a_cancelled_purchase_is_cancelled():
    async def handle(_request, _writer):
        await asyncio.sleep(5)

    async with raw_server(handle) as server, client(server.url) as api:
        buying = asyncio.create_task(api.submit(BODY, "key-0123456789abcdef"))
        await asyncio.sleep(0.05)
        buying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await buying


async def test_the_key_shows_in_no_error_log_or_repr(caplog):
    caplog.set_level(logging.DEBUG)
    message = f"invalid key {KEY}, see https://x.y/z?signature=canary"
    refusal = answer(401, {"error": {"code": 401, "message": message}})
    async with raw_server(always(refusal)) as server, client(server.url) as api:
        with pytest.raises(AccountStopped) as caught:
            await api.submit(BODY, "key-0123456789abcdef")
        shown = repr(api) + str(caught.value) + "".join(traceback.format_exception(caught.value))
    assert "canary" not in shown + caplog.text
    assert server.url not in caplog.text


async def test_without_a_key_there_is_no_client():
    with pytest.raises(SettingInvalid, match="EVOLINK_API_KEY"):
        EvoLink(read_settings({}))


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("https://api.example", {}),
        ("https://API.example/", {}),
        ("https://api.example:443", {}),
        ("http://127.0.0.1:1", {"ADLOOM_EMBEDDED_SANDBOX": "1"}),
        ("http://127.0.0.1:2", {"ADLOOM_EMBEDDED_SANDBOX": "1"}),
    ],
)
async def test_an_account_is_a_fingerprint_of_host_and_key_where_the_host_says_it_all(url, more):
    host = "127.0.0.1" if more else "api.example"
    assert await account(url, **more) == hashlib.sha256(f"{host}\n{KEY}".encode()).hexdigest()[:16]
    assert await account(url, EVOLINK_API_KEY="sk-other-1", **more) != await account(url, **more)


async def test_another_scheme_port_or_path_is_another_account():
    urls = (
        "https://127.0.0.1",
        "https://127.0.0.1:8443",
        "https://127.0.0.1/v2",
        "http://127.0.0.1",
        "http://127.0.0.1:443",
        "http://127.0.0.1:1",
        "http://127.0.0.1:2",
    )
    assert len({await account(url) for url in urls}) == len(urls)
    assert await account("http://127.0.0.1:1/") == await account("http://127.0.0.1:1")


async def account(url: str, **more: str) -> str:
    environment = {"EVOLINK_API_KEY": KEY, "EVOLINK_BASE_URL": url, "EVOLINK_FILES_URL": url, **more}
    async with EvoLink(read_settings(environment)) as api:
        return api.account


class Proxy:
    """A little proxy: tunnels CONNECT to the port of this machine that it names, or refuses; notes what it saw."""

    def __init__(self, refusal: bytes = b"") -> None:
        self.refusal = refusal
        self.seen: list[str] = []

    async def serve(self, reader, writer) -> None:
        while request := await read_request(reader):
            self.seen.append(f"{request.method} {request.target} {request.headers.get('authorization', '')}")
            if self.refusal:
                writer.write(self.refusal)
                return
            if request.method == "CONNECT":
                inner = await asyncio.open_connection("127.0.0.1", int(request.target.partition(":")[2]))
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                await asyncio.gather(pipe(reader, inner[1]), pipe(inner[0], writer))
                return
            writer.write(answer(200, {"id": "by-proxy", "status": "pending"}))
            await writer.drain()


async def pipe(reader, writer) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def test_proxies_and_their_exceptions_are_read_from_the_environment(monkeypatch, tmp_path):
    context, authority = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", authority)
    one_task = answer(200, {"id": "task-1", "status": "pending"})
    proxy = Proxy()

    async with raw_server(always(one_task), ssl=context) as server, bare_server(proxy.serve) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        place = server.url.removeprefix("https://").replace("127.0.0.1", "api.example.com")
        async with client(f"https://{place}") as api:
            assert (await api.submit(BODY, "key-0123456789abcdef")).task_id == "task-1"
            assert list(await api.tasks(["task-1"])) == ["task-1"]
            assert (await api.download(f"https://{place}/image")).content
        assert proxy.seen == [f"CONNECT {place} "] * 3  # one for each client; the key stays inside the tunnel

        monkeypatch.setenv("NO_PROXY", "api.example.com")
        here = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", int(place.partition(":")[2])))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_k: here)
        async with client(f"https://{place}") as api:
            assert (await api.submit(BODY, "key-0123456789abcdef")).task_id == "task-1"
            assert list(await api.tasks(["task-1"])) == ["task-1"]
        assert len(proxy.seen) == 3


@pytest.mark.parametrize("refusal", [answer(407, b""), answer(502, b"<html>"), b"garbage\r\n\r\n", b"\r\n"])
async def test_a_purchase_that_its_proxy_did_not_connect_was_not_sent(monkeypatch, refusal):
    proxy = Proxy(refusal)
    async with bare_server(proxy.serve) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        with pytest.raises(NotSent):
            await submit("https://api.evolink.ai")
    assert proxy.seen == ["CONNECT api.evolink.ai:443 "]


async def test_an_unusable_proxy_is_told_as_a_setting(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "gopher://127.0.0.1:1")
    with pytest.raises(SettingInvalid, match="proxy"):
        client("http://127.0.0.1:1")


async def test_an_unreadable_authority_file_is_told_as_a_setting(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(SettingInvalid, match="SSL_CERT_FILE"):
        client("http://127.0.0.1:1")
