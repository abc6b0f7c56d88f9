"""The client of the file service, against the sandbox and against odd answers."""

import base64
import hashlib
import io
import json

import httpx
import pytest
from PIL import Image
from support.raw_server import always, answer, raw_server, unused_port

from adloom.core.errors import AccountStopped, FileRefused, ReadFailed, RequestRefused, SettingInvalid
from adloom.edges.evolink.files import KEPT_S, EvoLinkFiles, Timeouts
from adloom.edges.settings import read_settings
from adloom.ports import HostedFile
from adloom.sandbox import SandboxSettings, running_sandbox

KEY = "sk-evo-canary-0123456789"
URL = "https://files.example.com/adloom/a.png"
TIMES = {"upload_time": "2026-11-01T08:00:00+08:00", "expires_at": "2026-11-04T08:00:00+08:00"}


def picture(kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 50), "orange").save(out, kind)
    return out.getvalue()


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def client(url: str, *, key: str = KEY, **options) -> EvoLinkFiles:
    environ = {"EVOLINK_API_KEY": key, "EVOLINK_BASE_URL": "http://127.0.0.1:9", "EVOLINK_FILES_URL": url}
    return EvoLinkFiles(read_settings(environ), **options)


async def uploaded(handler: bytes) -> HostedFile:
    async with raw_server(always(handler)) as server, client(server.url) as files:
        return await files.upload(picture(), sha256_of(picture()))


def good(**data: object) -> bytes:
    return answer(200, {"success": True, "code": 200, "data": {"file_url": URL, **TIMES, **data}})


@pytest.fixture
async def sandbox():
    async with running_sandbox(SandboxSettings()) as sandbox:
        yield sandbox


@pytest.mark.parametrize(("kind", "extension"), [("PNG", "png"), ("JPEG", "jpg"), ("GIF", "gif"), ("WEBP", "webp")])
async def test_a_file_is_hosted_byte_for_byte_under_a_name_made_of_its_content(sandbox, kind, extension):
    content = picture(kind)
    async with client(sandbox.base_url) as files, httpx.AsyncClient() as anyone:
        hosted = await files.upload(content, sha256_of(content))
        fetched = await anyone.get(hosted.url)
    assert hosted.url.endswith(f"/adloom/adloom-{sha256_of(content)[:32]}.{extension}")
    assert hosted.life_s == KEPT_S
    assert fetched.content == content


async def test_an_upload_that_is_sent_twice_leaves_one_file(sandbox):
    async with client(sandbox.base_url) as files:
        before = await files.room()
        first, second = [await files.upload(picture(), sha256_of(picture())) for _ in range(2)]
        assert first == second
        assert await files.room() == before - 1


async def test_the_room_is_read_and_not_calculated(sandbox):
    sandbox.change(quota_skew=-1935)
    async with client(sandbox.base_url) as files:
        assert await files.room() == 65


@pytest.mark.parametrize("status", [404, 405])
async def test_a_service_without_a_quota_page_says_nothing_about_room(status):
    async with raw_server(always(answer(status, "nothing here"))) as server, client(server.url) as files:
        assert await files.room() is None


async def test_a_full_account_is_the_accounts_own_trouble(sandbox):
    sandbox.change(max_files=0)
    async with client(sandbox.base_url) as files:
        with pytest.raises(AccountStopped, match="no room for more files") as caught:
            await files.upload(picture(), sha256_of(picture()))
    assert caught.value.code == "40003"
    assert "72 h" in caught.value.remedy


@pytest.mark.parametrize(("state", "status"), [("revoked", 401), ("ip_restricted", 403)])
async def test_a_key_that_is_not_accepted_stops_the_account(sandbox, state, status):
    sandbox.change(key_states={KEY: state})
    async with client(sandbox.base_url) as files:
        for ask in (files.room(), files.upload(picture(), sha256_of(picture()))):
            with pytest.raises(AccountStopped) as caught:
                await ask
            assert caught.value.status == status
            assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer(200, {"success": False, "code": 40003, "msg": "quota"}), AccountStopped),
        (answer(403, {"success": False, "code": 40003, "msg": "quota"}), AccountStopped),
        (answer(200, {"success": False, "code": 401, "msg": "no such key"}), AccountStopped),
        (answer(402, {"error": {"code": 402, "message": "no credits"}}), AccountStopped),
        (answer(403, "<html>blocked</html>"), AccountStopped),
        (answer(413, {"success": False, "code": 40001, "msg": "too large"}), FileRefused),
        (answer(200, {"success": False, "code": 40002, "msg": "type"}), FileRefused),
        (answer(413, {"success": False, "code": 413, "msg": "too large"}), FileRefused),
        (answer(415, {"success": False, "msg": "type"}), FileRefused),
        (answer(400, {"success": False, "code": 49999, "msg": "never heard of"}), RequestRefused),
        (answer(400, "<html>bad request</html>"), ReadFailed),
        (answer(500, {"success": False, "code": 50001, "msg": "storage"}), ReadFailed),
        (answer(200, {"success": False, "code": 50001, "msg": "storage"}), ReadFailed),
        (answer(200, {"code": 200, "data": {"file_url": URL}}), ReadFailed),
        (answer(200, {"success": "true", "data": {"file_url": URL}}), ReadFailed),
        (answer(200, {"success": True, "data": None}), ReadFailed),
        (answer(200, "no json"), ReadFailed),
        (answer(302, b"", location="https://elsewhere.example/"), ReadFailed),
        (answer(404, {"success": False, "code": 404, "msg": "no such page"}), ReadFailed),
        (good(file_url="http://169.254.169.254/a.png"), ReadFailed),
        (good(file_url="https://user:secret@example.com/a.png"), ReadFailed),
        (good(file_url="file:///etc/passwd"), ReadFailed),
        (good(file_url=7), ReadFailed),
        (good(file_name="adloom-0123.png"), ReadFailed),
        (good(file_name="ab12.png", original_name="hero.png"), ReadFailed),
        (good(file_size=7), ReadFailed),
    ],
)
async def test_an_answer_is_judged_by_its_own_word_before_its_status(reply, error):
    with pytest.raises(error) as caught:
        await uploaded(reply)
    assert type(caught.value) is error
    assert caught.value.remedy


NAME = f"adloom-{sha256_of(picture())[:32]}.png"


@pytest.mark.parametrize(
    "data",
    [
        {"file_name": NAME, "file_size": 7},
        {"file_name": "ab12.png", "original_name": NAME},
        {"file_name": "ab12.png", "file_url": f"https://files.example.com/{NAME}"},
        {"file_name": "", "original_name": None, "file_size": len(picture())},
        {"file_size": "unknown"},
    ],
)
async def test_an_answer_is_about_the_file_that_was_sent_whatever_else_it_is_called(data):
    assert (await uploaded(good(**data))).life_s == KEPT_S


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_an_upload_that_made_a_file_is_good(status):
    body = {"success": True, "data": {"file_url": URL, **TIMES}}
    assert await uploaded(answer(status, body)) == HostedFile(URL, KEPT_S)


async def test_less_than_no_room_is_no_room():
    quota = answer(200, {"success": True, "data": {"remain_files": -3}})
    async with raw_server(always(quota)) as server, client(server.url) as files:
        assert await files.room() == 0


async def test_the_advice_of_a_busy_service_is_passed_on():
    with pytest.raises(ReadFailed) as caught:
        await uploaded(answer(429, {"error": {"code": 429}}, retry_after="7"))
    assert caught.value.retry_after_s == 7


@pytest.mark.parametrize(
    ("data", "life_s"),
    [
        ({}, KEPT_S),
        ({"expires_at": "2026-11-02T08:00:00+08:00"}, 24 * 3600),
        ({"expires_at": "2036-11-02T08:00:00+08:00"}, KEPT_S),
        ({"expires_at": "2020-11-02T08:00:00+08:00"}, KEPT_S),
        ({"expires_at": "tomorrow"}, KEPT_S),
        ({"expires_at": "2026-11-02T08:00:00"}, KEPT_S),
        ({"upload_time": None}, KEPT_S),
    ],
)
async def test_a_file_lives_as_long_as_the_service_says_and_never_longer_than_72_hours(data, life_s):
    assert await uploaded(good(**data)) == HostedFile(URL, life_s)


async def test_what_is_sent_is_the_documented_request():
    async with raw_server(always(good())) as server, client(server.url) as files:
        await files.upload(picture(), sha256_of(picture()))
        (request,) = server.requests
    body = json.loads(request.body)
    assert (request.method, request.target) == ("POST", "/api/v1/files/upload/base64")
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert body.keys() == {"base64_data", "upload_path", "file_name"}
    assert base64.b64decode(body["base64_data"]) == picture()


async def test_the_key_does_not_follow_a_redirect():
    async with raw_server(always(good())) as trap:
        there = answer(307, b"", location=f"{trap.url}/api/v1/files/upload/base64")
        async with raw_server(always(there)) as server, client(server.url) as files:
            for ask in (files.upload(picture(), sha256_of(picture())), files.room()):
                with pytest.raises(ReadFailed):
                    await ask
    assert trap.requests == []


async def test_no_answer_is_a_failure_that_may_pass():
    async def silent(_request, _writer) -> None:
        """Leave the client waiting."""

    for url in (f"http://127.0.0.1:{unused_port()}", None):
        async with (
            raw_server(silent) as server,
            client(url or server.url, timeouts=Timeouts(0.05, 0.05, 0.05)) as files,
        ):
            with pytest.raises(ReadFailed):
                await files.room()
            with pytest.raises(ReadFailed):
                await files.upload(picture(), sha256_of(picture()))


def test_an_account_is_a_key_at_an_address_and_shows_neither():
    accounts = {
        client(url, key=key).account for url in ("https://a.example", "https://b.example") for key in (KEY, "k")
    }
    assert len(accounts) == 4
    assert all(len(account) == 16 and KEY not in account for account in accounts)


def test_without_a_key_there_is_no_client():
    with pytest.raises(SettingInvalid):
        EvoLinkFiles(read_settings({}))


def test_nothing_that_is_printed_shows_the_key():
    assert KEY not in repr(client("https://a.example"))
