"""What strangers do to the receiver of callbacks over real sockets: it hears the true callback all the same."""

import asyncio
import json
import logging
import resource
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import pytest
from support.desk import ADLOOM, CliRig

from adloom.core.callbacks import CallbackAddresses, Secret, read_secrets, token
from adloom.edges.callback_receiver import BURST, TASKS_AN_ATTEMPT, Receiver, _caller
from adloom.edges.callback_server import BODY_BYTES, Buckets
from adloom.edges.folder import FolderStore
from adloom.targets import WallClock

TEXT = "0123456789abcdef" * 2
SECRET = Secret(TEXT.encode())
HALF_OPEN = 2000
USUAL_FILES = 1024
API_WAITS_S = 10
"""The API waits this long for an answer to its callback (EvoLink's OpenAPI text, 2026-10)."""
QUIET_BYTES = 20_000
HALF_A_HEAD = b"POST /hooks HTTP/1.1\r\nHost: a\r\nX-Long: "


def address(url: str, secret: Secret = SECRET, attempt: int = 1) -> str:
    return f"{url}/hooks/test/main/c-1/{attempt}/{token(secret, 'test/main/', 'c-1', attempt)}"


def told(folder: Path) -> set[str]:
    """The tasks that were written down."""
    return {json.loads(path.read_text())["task"] for path in folder.rglob("_callbacks/**/*.json")}


@contextmanager
def receiver_with_usual_limits(folder: Path) -> Iterator[tuple[str, Path]]:
    """A receiver in a process that may open as many files as is usual: its base address, and its log."""

    log = folder / "log"
    desk = CliRig(folder, "http://127.0.0.1:9")
    environment = desk.environment | {"ADLOOM_CALLBACK_SECRET": TEXT}
    with (
        log.open("wb") as file,
        subprocess.Popen(
            ["bash", "-c", f"ulimit -n {USUAL_FILES}; exec {ADLOOM} receive --port 0"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), log
        finally:
            process.terminate()
        assert process.wait(60) == 0


@contextmanager
def half_open(url: str, count: int) -> Iterator[list[socket.socket]]:
    """Connections that have sent half the head of a request, as many of ``count`` as this machine gives."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with ExitStack() as stack:
            opened = []
            for _ in range(min(count, hard - 200)):
                opened.append(stack.enter_context(connection(url)))
                opened[-1].sendall(HALF_A_HEAD)
            yield opened
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connection(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=120)


def is_ended(opened: socket.socket) -> bool:
    """Whether the other end closes a connection, within the time that the socket has."""
    try:
        while opened.recv(65_536):
            pass
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def test_a_true_callback_gets_through_while_two_thousand_half_open_requests_wait(tmp_path: Path):
    with receiver_with_usual_limits(tmp_path) as (url, log), half_open(url, HALF_OPEN) as opened:
        for number in range(5):
            answer = httpx.post(address(url), json={"id": f"true-{number}"}, timeout=API_WAITS_S)
            assert answer.status_code == 200
            opened[number].close()
        assert told(tmp_path) == {f"true-{number}" for number in range(5)}
        assert all(is_ended(each) for each in opened[10::100])
        assert log.stat().st_size < QUIET_BYTES


def test_what_is_no_request_fills_no_log(tmp_path: Path):
    nonsense = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /\xff\x00 HTTP/1.1\r\n\r\n",
        b"GET /lost HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/9.9\r\nCANARY: \r\n\r\n",
    ]
    with receiver_with_usual_limits(tmp_path) as (url, log):
        for content in nonsense * 100:
            with connection(url) as opened, suppress(ConnectionError):
                opened.sendall(content)
                assert is_ended(opened)
        assert httpx.post(address(url), json={"id": "true"}, timeout=API_WAITS_S).status_code == 200
        text = log.read_text()
    assert "Traceback" not in text
    assert "CANARY" not in text
    assert len(text.splitlines()) <= 3


class StillClock(WallClock):
    """A clock by which no bucket fills again, however slow the machine is."""

    def monotonic(self) -> float:
        return 0.0


@pytest.fixture
async def url(tmp_path: Path):
    async with Receiver(FolderStore(tmp_path), StillClock(), (SECRET,)).server() as server:
        yield server.url


async def sent(url: str, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """What is answered to bytes that are sent piece by piece."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    answer = asyncio.create_task(reader.read())
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if answer.done():
                break
            await asyncio.sleep(pause_s)
        return await answer
    except ConnectionError:
        return b""
    finally:
        answer.cancel()
        writer.close()


def head(target: str, length: int = 2) -> bytes:
    return (
        f"POST {target} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


async def test_a_head_or_a_body_that_trickles_is_not_waited_for(url: str):
    path = urlsplit(address(url)).path
    trickle = [b"x"] * 1000
    slow_head, slow_body = await asyncio.gather(
        sent(url, HALF_A_HEAD, *trickle, pause_s=0.1), sent(url, head(path, 1000), *trickle, pause_s=0.1)
    )
    assert slow_head == b""
    assert slow_body[:13] in (b"HTTP/1.1 408 ", b"")  # what is sent after it may cut the answer off


@pytest.mark.parametrize("is_right", [False, True])
async def test_a_body_is_read_no_further_than_its_limit_wherever_it_goes(url: str, *, is_right: bool):
    target = urlsplit(address(url)).path if is_right else "/nowhere"
    most = 200 * BODY_BYTES
    parts, taken = urlsplit(url), 0
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(head(target, 10 * most))
    with suppress(ConnectionError):
        while taken < most:
            writer.write(bytes(BODY_BYTES))
            await writer.drain()
            taken += BODY_BYTES
    writer.close()
    assert taken < most


async def test_a_connection_brings_one_request(url: str):
    asked = head(urlsplit(address(url)).path, 11) + b'{"id": "a"}'
    answer = await sent(url, asked + asked.replace(b'"a"', b'"b"'))
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert b"Connection: close" in answer


async def test_a_true_callback_may_come_in_pieces_and_chunks(url: str, tmp_path: Path):
    start = f"POST {urlsplit(address(url)).path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n".encode()
    body = b'{"id": "chunked"}'
    whole = start + b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    pieces = [whole[n : n + 7] for n in range(0, len(whole), 7)]
    assert (await sent(url, *pieces, pause_s=0.001)).startswith(b"HTTP/1.1 200 OK")
    assert told(tmp_path) == {"chunked"}


@pytest.mark.parametrize(
    ("peer", "headers", "caller"),
    [
        ("127.0.0.1", {"X-Forwarded-For": "1.1.1.1, 2.2.2.2"}, "2.2.2.2"),
        ("::1", {"X-Forwarded-For": "2.2.2.2"}, "2.2.2.2"),
        ("127.0.0.1", {}, "127.0.0.1"),
        ("9.9.9.9", {"X-Forwarded-For": "2.2.2.2"}, "9.9.9.9"),
        ("127.0.0.1", {"X-Forwarded-For": "x" * 5000}, "x" * 64),
    ],
)
def test_only_a_proxy_on_this_machine_names_the_caller(peer: str, headers: dict[str, str], caller: str):
    assert _caller(SimpleNamespace(remote=peer, headers=headers)) == caller


async def test_what_was_turned_away_is_counted_to_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    async with (
        Receiver(FolderStore(tmp_path), WallClock(), (SECRET,)).server() as server,
        httpx.AsyncClient() as client,
    ):
        for number in range(20):
            await client.post(f"{server.url}/x/{number}")
    assert [record.getMessage() for record in caplog.records if "turned away" in record.getMessage()] == [
        "turned away: 1 to no right address",
        "turned away: 19 to no right address",
    ]


async def test_who_guesses_addresses_is_slowed_down_alone(url: str, tmp_path: Path):
    async with httpx.AsyncClient() as client:
        guesses = [(await client.post(f"{url}/x/{n}")).status_code for n in range(int(BURST) + 50)]
        assert set(guesses) == {404, 429}
        assert guesses[: int(BURST)] == [404] * int(BURST)
        elsewhere = await client.post(f"{url}/x", headers={"X-Forwarded-For": "9.9.9.9, 203.0.113.7"})
        assert elsewhere.status_code == 404
        assert (await client.post(address(url), json={"id": "true"})).status_code == 200
    assert told(tmp_path) == {"true"}


async def test_an_address_that_leaked_is_slowed_down_alone(url: str):
    async with httpx.AsyncClient() as client:
        codes = {(await client.post(address(url), json={"id": "same"})).status_code for _ in range(int(BURST) + 50)}
        assert codes == {200, 429}
        assert (await client.post(address(url, attempt=2), json={"id": "true"})).status_code == 200


def test_a_bucket_fills_again_and_the_least_used_is_forgotten():
    buckets = Buckets(burst=2, per_s=1, most=2)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert [buckets.take("a", 1.5), buckets.take("a", 1.5)] == [True, False]
    assert [buckets.take("a", 99.0) for _ in range(3)] == [True, True, False]
    assert buckets.take("b", 99.0)
    assert buckets.take("c", 99.0)
    assert buckets.take("a", 99.0)


@pytest.mark.parametrize("id_", [True, 7, 1.5, None, ["a"], {"a": 1}, ""])
async def test_only_a_text_is_an_id(url: str, tmp_path: Path, id_: object):
    async with httpx.AsyncClient() as client:
        assert (await client.post(address(url), json={"id": id_})).status_code == 400
    assert told(tmp_path) == set()


async def test_false_ids_do_not_shut_out_the_true_one_and_are_not_kept_without_end(url: str, tmp_path: Path):
    async with httpx.AsyncClient() as client:
        for number in range(20):
            assert (await client.post(address(url), json={"id": f"false-{number}"})).status_code == 200
        assert (await client.post(address(url), json={"id": "true"})).status_code == 200
        assert "true" in told(tmp_path)
        for number in range(TASKS_AN_ATTEMPT):
            await client.post(address(url), json={"id": f"more-{number}"})
    assert len(told(tmp_path)) == TASKS_AN_ATTEMPT


async def told_by(secret: Secret, url: str) -> int:
    """What the address of a secret answers to a callback of its own."""
    async with httpx.AsyncClient() as client:
        return (await client.post(address(url, secret), json={"id": f"v{secret.version}"})).status_code


async def test_an_old_secret_is_heard_until_it_is_taken_away(tmp_path: Path):
    old, new = f"v1:{'o' * 32}", f"v2:{'n' * 32}"
    plain, first, second, third = (read_secrets(text)[0] for text in (TEXT, old, new, f"v3:{'n' * 32}"))
    async with Receiver(FolderStore(tmp_path), WallClock(), read_secrets(f"{new} {old} {TEXT}")).server() as server:
        codes = [await told_by(secret, server.url) for secret in (plain, first, second, third)]
    assert codes == [200, 200, 200, 404]
    assert told(tmp_path) == {"v0", "v1", "v2"}
    async with Receiver(FolderStore(tmp_path), WallClock(), read_secrets(new)).server() as server:
        assert await told_by(first, server.url) == 404


def test_the_newest_secret_makes_the_addresses():
    newest = read_secrets(f"v2:{'n' * 32} v1:{'o' * 32}")[0]
    made = CallbackAddresses("https://hooks.example/x", "test/main/", newest).of("c-1", 1)
    assert made == address("https://hooks.example/x", newest).replace("/hooks/test", "/test")
    assert made.rpartition("/")[2].startswith("2-")


async def test_a_fault_of_our_own_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    class Broken(FolderStore):
        async def create(self, *_args, **_more):
            raise RuntimeError("a fault of our own")

    async with Receiver(Broken(tmp_path), WallClock(), (SECRET,)).server() as server, httpx.AsyncClient() as client:
        with caplog.at_level(logging.WARNING):
            assert (await client.post(address(server.url), json={"id": "a"})).status_code == 500
    assert "a fault of our own" in caplog.text
