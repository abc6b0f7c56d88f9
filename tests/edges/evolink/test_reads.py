"""Reading tasks, lists and credits: in batches, singly, and around whatever answers oddly."""

import asyncio
import json
from decimal import Decimal

import pytest
from support.raw_server import always, answer, bare_server, raw_server, reset, unused_port

from adloom.core.errors import AccountStopped, AdloomError, ReadFailed
from adloom.core.task import TaskState
from adloom.edges.evolink.client import BATCH_BYTES, PAGES, EvoLink, Timeouts
from adloom.edges.settings import read_settings

KEY = "sk-evo-canary-0123456789"


def client(url, **options) -> EvoLink:
    return EvoLink(read_settings({"EVOLINK_API_KEY": KEY, "EVOLINK_BASE_URL": url}), **options)


class Tasks:
    """A server of tasks: ``known`` by id; ``batch``, ``single`` and ``page`` may be replaced."""

    def __init__(self, *known: str, batch_status: int = 200) -> None:
        self.known = {task_id: {"id": task_id, "status": "processing"} for task_id in known}
        self.batch_status = batch_status
        self.single = {}
        self.listed = []
        self.running = self.most_running = 0

    async def __call__(self, request, writer) -> None:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0.001)
        self.running -= 1
        writer.write(self.answered(request))

    def answered(self, request) -> bytes:
        if request.target == "/v1/tasks/batch":
            wanted = json.loads(request.body)["task_ids"]
            if self.batch_status != 200:
                return answer(self.batch_status, {"error": {"code": self.batch_status}})
            return answer(200, {"data": [self.known[task_id] for task_id in wanted if task_id in self.known]})
        if request.target.startswith("/v1/tasks?page="):
            page = int(request.target.partition("page=")[2].partition("&")[0])
            return answer(200, {"data": self.listed[50 * (page - 1) : 50 * page]})
        task_id = request.target.rpartition("/")[2]
        if task_id in self.single:
            return self.single[task_id]
        return answer(200, self.known[task_id]) if task_id in self.known else answer(404, {"error": {"code": 404}})


def targets(server) -> list[str]:
    return [f"{request.method} {request.target}" for request in server.requests]


async def test_many_tasks_are_read_fifty_to_a_request_and_absent_ones_left_out():
    ids = [f"task-{number}" for number in range(120)]
    async with raw_server(Tasks(*ids)) as server, client(server.url) as api:
        found = await api.tasks([*ids, ids[0], "unknown"])
    assert list(found) == ids
    assert targets(server) == ["POST /v1/tasks/batch"] * 3
    assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in server.requests)


async def test_no_tasks_are_no_request():
    async with raw_server(Tasks()) as server, client(server.url) as api:
        assert await api.tasks([]) == {}
    assert server.requests == []


@pytest.mark.parametrize("status", [403, 404, 405])
async def test_a_closed_batch_is_remembered_and_tasks_are_read_singly_eight_at_a_time(status):
    tasks = Tasks(*(f"task-{number}" for number in range(30)), batch_status=status)
    async with raw_server(tasks) as server, client(server.url) as api:
        for _ in range(2):
            assert len(await api.tasks([*tasks.known, "unknown"])) == 30
    assert targets(server).count("POST /v1/tasks/batch") == 1
    assert 1 < tasks.most_running <= 8


async def test_one_malformed_id_hides_no_other():
    tasks = Tasks("a", "b", batch_status=400)
    tasks.single["bad"] = answer(400, {"error": {"code": 400}})
    async with raw_server(tasks) as server, client(server.url) as api:
        assert set(await api.tasks(["a", "bad", "b"])) == {"a", "b"}
        await api.tasks(["a", "b"])
    assert targets(server).count("POST /v1/tasks/batch") == 2


async def test_a_batch_without_tasks_in_it_is_not_used_again():
    async def handle(request, writer):
        body = {"tasks": []} if "batch" in request.target else {"id": request.target[-1], "status": "pending"}
        writer.write(answer(200, body))

    async with raw_server(handle) as server, client(server.url) as api:
        for _ in range(2):
            assert set(await api.tasks(["a", "b"])) == {"a", "b"}
    assert targets(server).count("POST /v1/tasks/batch") == 1


FAILURES = {
    "401": answer(401, {"error": {"code": "key_endpoint_not_allowed"}}),
    "402": answer(402, {"error": {"code": "insufficient_user_quota"}}),
    "413": answer(413, {"error": {"code": 413}}),
    "500": answer(500, {"error": {"code": 500}}),
    "501": answer(501, b""),
    "502": answer(502, b"<html>"),
    "no JSON": answer(200, b"<html>"),
    "too long": answer(200, b" " * (BATCH_BYTES + 1)),
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    "nothing": b"",
}


class BadBatch(Tasks):
    """A server whose batch read answers with these bytes and hangs up."""

    def __init__(self, failure: bytes, *known: str) -> None:
        super().__init__(*known)
        self.failure = failure

    async def __call__(self, request, writer) -> None:
        if "batch" not in request.target:
            await super().__call__(request, writer)
            return
        writer.write(self.failure)
        await writer.drain()
        writer.close()


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_what_a_batch_does_not_tell_is_read_singly_and_after_three_failures_no_batch_is_asked_for(failure):
    tasks = BadBatch(failure, *(f"task-{number}" for number in range(10)))
    async with raw_server(tasks) as server, client(server.url) as api:
        for _ in range(5):
            assert list(await api.tasks([*tasks.known, "unknown"])) == list(tasks.known)
    assert targets(server).count("POST /v1/tasks/batch") == 3


async def test_a_batch_that_works_again_is_used_further():
    tasks = Tasks("a", "b")
    async with raw_server(tasks) as server, client(server.url) as api:
        for status in (500, 500, 200, 500, 500, 200):
            tasks.batch_status = status
            assert set(await api.tasks(["a", "b"])) == {"a", "b"}
    assert targets(server).count("POST /v1/tasks/batch") == 6


async def test_a_batch_that_comes_too_often_is_not_followed_by_single_reads():
    tasks = Tasks("a", "b", batch_status=429)
    async with raw_server(tasks) as server, client(server.url) as api:
        with pytest.raises(ReadFailed) as caught:
            await api.tasks(["a", "b"])
    assert (caught.value.status, targets(server)) == (429, ["POST /v1/tasks/batch"])


async def test_an_outage_is_not_met_with_a_request_for_each_task_and_does_not_close_the_batch():
    ids = [f"task-{number}" for number in range(50)]
    tasks = Tasks(*ids, batch_status=500)
    tasks.single = dict.fromkeys(ids, answer(503, b""))
    async with raw_server(tasks) as server, client(server.url) as api:
        for _ in range(5):
            with pytest.raises(ReadFailed) as caught:
                await api.tasks(ids)
            assert (caught.value.status, caught.value.read) == (503, {})
        assert len(server.requests) == 5 * 4
        tasks.batch_status = 200
        assert list(await api.tasks(ids)) == ids
    assert targets(server)[-1] == "POST /v1/tasks/batch"


async def test_a_stopped_account_is_believed_of_single_reads():
    tasks = Tasks("a", "b", batch_status=500)
    tasks.single = dict.fromkeys("ab", answer(402, {"error": {"code": "insufficient_user_quota"}}))
    async with raw_server(tasks) as server, client(server.url) as api:
        with pytest.raises(AccountStopped, match="no credits left"):
            await api.tasks(["a", "b"])


async def test_tasks_that_can_never_be_read_hide_no_others():
    ids = [f"task-{number}" for number in range(12)]
    tasks = Tasks(*ids, batch_status=500)
    tasks.single = dict.fromkeys(ids, answer(503, b""))
    async with raw_server(tasks) as server, client(server.url) as api:
        for _ in range(5):  # an outage that every task met
            with pytest.raises(ReadFailed):
                await api.tasks(ids)
        tasks.single = dict.fromkeys(ids[:7], answer(500, b""))
        read = {}
        for _ in range(4):
            with pytest.raises(ReadFailed) as caught:
                await api.tasks(ids)
            read |= caught.value.read
    assert list(read) == ids[7:]


async def test_a_batch_of_the_longest_links_is_read():
    ids = [f"task-{number}" for number in range(50)]
    tasks = Tasks(*ids)
    for task in tasks.known.values():
        links = [f"https://x/{place}?sign={'a' * 8000}" for place in range(15)]
        task |= {"status": "completed", "results": links, "result_data": [{"url": link} for link in links]}
    async with raw_server(tasks) as server, client(server.url) as api:
        found = await api.tasks(ids)
    assert [len(task.results) for task in found.values()] == [15] * 50
    assert targets(server) == ["POST /v1/tasks/batch"]


@pytest.mark.parametrize("odd", [{"id": "1-a"}, {"task_id": "task-unified-1-a", "id": None}])
async def test_a_task_that_the_batch_may_tell_of_under_another_name_is_read_singly(odd):
    ids = ["task-unified-1-a", "task-unified-1-b"]
    tasks = Tasks(*ids)
    tasks.known[ids[0]] |= odd
    tasks.single[ids[0]] = answer(200, {"id": "1-a", "status": "processing"})
    async with raw_server(tasks) as server, client(server.url) as api:
        assert list(await api.tasks(ids)) == ids
    assert targets(server) == ["POST /v1/tasks/batch", *(f"GET /v1/tasks/{task_id}" for task_id in ids)]


async def test_a_finished_task_without_links_in_the_batch_is_read_singly_before_it_is_believed():
    tasks = Tasks("a", "b", "c")
    tasks.known["a"]["status"] = tasks.known["b"]["status"] = "completed"
    tasks.known["b"]["results"] = ["https://x/b"]
    tasks.single["a"] = answer(200, {"id": "a", "status": "completed", "results": ["https://x/a"]})
    async with raw_server(tasks) as server, client(server.url) as api:
        found = await api.tasks(["a", "b", "c"])
    assert found["a"].results == ("https://x/a",)
    assert targets(server) == ["POST /v1/tasks/batch", "GET /v1/tasks/a"]


async def test_what_could_be_read_travels_with_the_failure():
    tasks = Tasks("a", "b", "c", batch_status=404)
    tasks.single["b"] = answer(503, b"<html>", retry_after="9")
    async with raw_server(tasks) as server, client(server.url) as api:
        with pytest.raises(ReadFailed) as caught:
            await api.tasks(["a", "b", "c"])
    assert set(caught.value.read) == {"a", "c"}
    assert (caught.value.status, caught.value.retry_after_s) == (503, 9)


async def test_a_failed_second_look_keeps_the_rest_of_the_batch():
    tasks = Tasks("a", "b")
    tasks.known["a"]["status"] = "completed"
    tasks.single["a"] = answer(500, b"")
    async with raw_server(tasks) as server, client(server.url) as api:
        with pytest.raises(ReadFailed) as caught:
            await api.tasks(["a", "b"])
    assert set(caught.value.read) == {"b"}


@pytest.mark.parametrize("status", [401, 403])
async def test_a_stopped_account_beats_failed_reads(status):
    tasks = Tasks("a", batch_status=404)
    tasks.single = {"b": answer(500, b""), "c": answer(status, {"error": {"code": "key_disabled"}})}
    async with raw_server(tasks) as server, client(server.url) as api:
        with pytest.raises(AccountStopped, match="disabled"):
            await api.tasks(["a", "b", "c"])


async def test_an_odd_id_stays_one_part_of_the_path():
    async with raw_server(Tasks()) as server, client(server.url) as api:
        assert await api.tasks(["a?b#c%2Fd"]) == {}
    assert targets(server) == ["GET /v1/tasks/a%3Fb%23c%252Fd"]


@pytest.mark.parametrize(
    "odd",
    [
        answer(200, b"<html>"),
        answer(200, b'{"id": "a"'),
        answer(200, {"id": "another", "status": "completed"}),
        answer(200, {"error": {"code": 1}}),
        answer(200, b"x" * 1_100_000),
        answer(302, b"", location="http://127.0.0.1:1/"),
        answer(429, {"error": {"code": 429}}),
        answer(500, b""),
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        answer(200, b'{"id":"t"}', content_encoding="gzip"),
    ],
)
async def test_an_odd_answer_to_a_read_is_a_failed_read(odd):
    async def handle(_request, writer):
        writer.write(odd)
        await writer.drain()
        writer.close()

    async with raw_server(handle) as server, client(server.url) as api:
        with pytest.raises(ReadFailed):
            await api.tasks(["a"])


async def test_reads_fail_when_nobody_listens_or_the_line_is_reset():
    async def serve(reader, writer):
        await reader.read(1)
        reset(writer)

    async with bare_server(serve) as port:
        for url in (f"http://127.0.0.1:{port}", f"http://127.0.0.1:{unused_port()}"):
            async with client(url) as api:
                for read in (api.tasks(["a"]), api.tasks(["a", "b"]), api.list_tasks(0), api.credits()):
                    with pytest.raises(ReadFailed, match="on the way"):
                        await read


async def test_a_read_without_an_answer_fails_in_time():
    async def handle(_request, _writer):
        await asyncio.sleep(5)

    async with raw_server(handle) as server, client(server.url, timeouts=Timeouts(connect_s=0.1, read_s=0.1)) as api:
        with pytest.raises(ReadFailed):
            await api.tasks(["a"])


def listed(count: int, newest: int = 2_000_000_000) -> list[dict]:
    return [{"id": f"task-{place}", "status": "completed", "created_at": newest - place} for place in range(count)]


async def test_the_list_is_read_page_by_page_until_it_is_older():
    tasks = Tasks()
    tasks.listed = listed(180)
    async with raw_server(tasks) as server, client(server.url) as api:
        found = await api.list_tasks(2_000_000_000 - 70)
    assert [task.task_id for task in found] == [f"task-{place}" for place in range(71)]
    assert targets(server) == ["GET /v1/tasks?page=1&page_size=50", "GET /v1/tasks?page=2&page_size=50"]


async def test_a_short_page_is_the_last():
    tasks = Tasks()
    tasks.listed = listed(50)
    async with raw_server(tasks) as server, client(server.url) as api:
        assert len(await api.list_tasks(0)) == 50
        tasks.listed = []
        assert await api.list_tasks(0) == []
    assert len(server.requests) == 3


@pytest.mark.parametrize("body", [answer(403, {}), answer(404, b""), answer(405, b""), answer(200, {"data": [{}]})])
async def test_a_list_that_is_closed_or_unreadable_is_none(body):
    async with raw_server(always(body)) as server, client(server.url) as api:
        assert await api.list_tasks(0) is None


class Listing:
    """A server of ``count`` listed tasks, on pages of ``cap`` lines at most; ``told`` is what its pages say besides."""

    def __init__(self, count: int, cap: int, **told: object) -> None:
        self.lines, self.cap, self.told = listed(count), cap, told

    async def __call__(self, request, writer) -> None:
        page = int(request.target.partition("page=")[2].partition("&")[0])
        writer.write(answer(200, {"data": self.lines[self.cap * (page - 1) : self.cap * page], **self.told}))


@pytest.mark.parametrize(
    "told",
    [{"total": 7}, {"page_size": 3}, {"total": 7, "page_size": 3}, {"total": 7, "page_size": 50}, {"page_size": "3"}],
)
@pytest.mark.parametrize("count", [6, 7])
async def test_a_server_with_shorter_pages_than_were_asked_for_is_read_to_the_end_of_its_list(count, told):
    told = {name: count if name == "total" else value for name, value in told.items()}
    async with raw_server(Listing(count, 3, **told)) as server, client(server.url) as api:
        assert [task.task_id for task in await api.list_tasks(0)] == [f"task-{place}" for place in range(count)]


async def test_a_server_with_shorter_pages_is_read_until_it_is_older():
    async with raw_server(Listing(90, 3, total=90)) as server, client(server.url) as api:
        assert len(await api.list_tasks(2_000_000_000 - 4)) == 5
    assert len(server.requests) == 2


async def test_what_is_made_while_the_list_is_read_moves_no_end():
    server_of = Listing(7, 3, total=7)

    async def handle(request, writer):
        await server_of(request, writer)
        server_of.lines.insert(0, {"id": f"new-{request.target}", "status": "pending", "created_at": 2_000_000_001})
        server_of.told["total"] += 1

    async with raw_server(handle) as server, client(server.url) as api:
        found = await api.list_tasks(0)
    assert {f"task-{place}" for place in range(7)} <= {task.task_id for task in found}


@pytest.mark.parametrize("lines", [0, 3, 50])
async def test_a_list_that_stops_before_the_end_it_told_of_proves_nothing(lines):
    async with raw_server(Listing(lines, 50, total=lines + 1)) as server, client(server.url) as api:
        assert await api.list_tasks(0) is None
    assert len(server.requests) <= 2


async def test_a_list_whose_pages_are_all_the_same_proves_nothing():
    page = answer(200, {"data": listed(50)})
    async with raw_server(always(page)) as server, client(server.url) as api:
        assert await api.list_tasks(0) is None
    assert len(server.requests) == 2


async def test_a_list_is_complete_when_all_that_it_counts_were_seen_though_the_pages_repeat():
    page = answer(200, {"data": listed(50), "total": 50})
    async with raw_server(always(page)) as server, client(server.url) as api:
        assert len(await api.list_tasks(0)) == 50


async def test_a_list_that_never_ends_proves_nothing():
    async with raw_server(Listing(50 * PAGES + 1, 50)) as server, client(server.url) as api:
        assert await api.list_tasks(0) is None
    assert len(server.requests) == PAGES


async def test_credits_are_decimals():
    body = b'{"success":true,"data":{"token":{"remaining_credits":120.1},"user":{"remaining_credits":800.25}}}'
    async with raw_server(always(answer(200, body))) as server, client(server.url) as api:
        found = await api.credits()
    assert (found.key_remaining, found.account_remaining) == (Decimal("120.1"), Decimal("800.25"))


@pytest.mark.parametrize(
    ("odd", "error"),
    [
        (answer(200, {"success": False}), ReadFailed),
        (answer(404, b""), ReadFailed),
        (answer(402, {"error": {"code": "insufficient_user_quota"}}), AccountStopped),
    ],
)
async def test_credits_that_cannot_be_read_are_an_error(odd, error):
    async with raw_server(always(odd)) as server, client(server.url) as api:
        with pytest.raises(AdloomError) as caught:
            await api.credits()
    assert type(caught.value) is error


async def test_a_state_that_nobody_knows_is_kept_as_written():
    tasks = Tasks("a")
    tasks.known["a"]["status"] = "marinating"
    async with raw_server(tasks) as server, client(server.url) as api:
        found = await api.tasks(["a"])
    assert (found["a"].state, found["a"].word) == (TaskState.OTHER, "marinating")


async def test_a_good_answer_that_is_no_json_is_a_failed_read_and_not_an_absent_task():
    tasks = Tasks("task-1")
    tasks.single["task-1"] = answer(200, "<html>maintenance</html>")
    tasks.batch_status = 404
    async with raw_server(tasks) as server, client(server.url) as api:
        with pytest.raises(ReadFailed, match="is not JSON"):
            await api.tasks(["task-1"])


async def test_a_closed_client_holds_no_connection_of_its_purchases():
    async with raw_server(Tasks("task-1")) as server:
        async with client(server.url) as api:
            assert not api._paid.is_closed
        assert api._paid.is_closed
