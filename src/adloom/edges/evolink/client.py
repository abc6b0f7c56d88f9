"""EvoLink's image API over HTTP.

What the rest may rely on: a purchase is sent at most once, over a connection of its own, and ``NotSent`` means that not
one byte of it left. The key is sent only to the API's own origin, never along a redirect and never with a download. No
method retries: the callers own that (only the transport repeats a GET by itself if a kept connection was closed before
any answer). Every answer is bounded in size and time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import httpx

from adloom.core.errors import AccountStopped, ApiError, NotSent, OutcomeUnknown, ReadFailed
from adloom.core.task import Accepted, Credits, Download, ListedTask, Task, TaskState
from adloom.edges.evolink import transport
from adloom.edges.evolink.account import AccountClient
from adloom.edges.evolink.answers import Answer, accepted, purchase_error, read_error
from adloom.edges.evolink.downloads import Downloader, DownloadLimits
from adloom.edges.evolink.tasks import read_credits, read_list, read_task, read_tasks
from adloom.edges.evolink.text import Unreadable, read_json
from adloom.edges.settings import Settings

BATCH_SIZE = 50  # the most ids that EvoLink's own clients put into one batch read
PAGE_SIZE = 50  # the largest page that they ask for
PAGES = 200  # 10,000 tasks: a longer list is not read to its end, and then proves nothing
BATCH_FAILURES = 3  # so many in a row, each while single reads worked, and this process asks for no more batches
SINGLE_READS = 8  # at once, where the batch read is closed: each makes the gateway ask its provider
FIRST_READS = 3  # that many tell whether the others can be read: an outage must not meet 50 requests, again and again
ANSWER_BYTES = 1024 * 1024  # one task shows 15 links twice, each of at most 8 KiB: 240 KiB, and room for the rest
BATCH_BYTES = 16 * ANSWER_BYTES  # 50 such tasks are 12 MiB
CLOSED = (403, 404, 405)  # an endpoint that is not open to this key
THROTTLED = 429
HTTPS_PORT = 443
READ_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step may take. Too short a wait for the answer to a purchase would only create unknowns."""

    connect_s: float = 5
    write_s: float = 10
    answer_s: float = 90
    submit_s: float = 120
    read_s: float = 15


class EvoLink(AccountClient):
    """The client of one account."""

    def __init__(
        self,
        settings: Settings,
        *,
        timeouts: Timeouts | None = None,
        download_limits: DownloadLimits | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(settings)
        self._base_url = settings.base_url
        self._api = _api_named(settings)
        self._timeouts = timeouts or Timeouts()
        self._now = now
        context = transport.ssl_context()
        self._paid = transport.paid_client(context)
        self._free = transport.free_client(context, connections=READ_CONNECTIONS)
        self._downloader = Downloader(context, loopback=settings.loopback, limits=download_limits or DownloadLimits())
        self._batch_failures = 0
        self._unread: dict[str, None] = {}  # the tasks whose last single read failed, the latest of them last
        self._single_reads = asyncio.Semaphore(SINGLE_READS)

    async def aclose(self) -> None:
        await self._paid.aclose()
        await self._free.aclose()
        await self._downloader.aclose()

    @property
    def account(self) -> str:
        return hashlib.sha256(f"{self._api}\n{self._key.reveal()}".encode()).hexdigest()[:16]

    async def submit(self, body: bytes, idempotency_key: str) -> Accepted:
        headers = {**self._authorization(), "Content-Type": "application/json", "Idempotency-Key": idempotency_key}
        left = _FirstByte()
        request = self._paid.build_request(
            "POST",
            f"{self._base_url}/v1/images/generations",
            content=body,
            headers=headers,
            timeout=self._purchase_timeout(),
            extensions={"trace": left.trace},
        )
        try:
            async with asyncio.timeout(self._timeouts.submit_s):
                answer = await exchange(self._paid, request)
        except transport.TROUBLE as error:
            raise self._lost(error, has_left=left.happened) from error
        if 200 <= answer.status < 300:  # noqa: PLR2004 - HTTP's own numbers
            return accepted(answer, self._clean)
        raise purchase_error(answer, self._clean, self._now())

    async def tasks(self, task_ids: Sequence[str]) -> Mapping[str, Task]:
        """Read tasks, 50 to a request where the batch read is open to this key and works, else one by one.

        The batch read is in no public reference, so its failure says nothing about the tasks, the account or an outage:
        only single reads do. A ReadFailed carries in ``read`` what could be read before it.
        """
        wanted = list(dict.fromkeys(task_ids))
        parts = [wanted[start : start + BATCH_SIZE] for start in range(0, len(wanted), BATCH_SIZE)]
        found: dict[str, Task] = {}
        failed: ReadFailed | None = None
        for part in parts:
            try:
                found |= await self._read_part(part)
            except ReadFailed as error:
                found |= error.read
                failed = error
        if failed:
            failed.read = found
            raise failed
        return found

    async def list_tasks(self, created_after: int) -> Sequence[ListedTask] | None:
        """The account's tasks since then, newest first; None as well when the list cannot be read to its end.

        A server may allow fewer lines to a page than were asked for. So a short page is the last one only if the list
        does not say that it has more.
        """
        seen: dict[str, ListedTask] = {}
        total: int | None = None
        for number in range(1, PAGES + 1):
            answer = await self._read("GET", f"/v1/tasks?page={number}&page_size={PAGE_SIZE}")
            if answer.status in CLOSED:
                return None
            page = read_list(self._json(answer), self._clean)
            if page is None:
                return None
            before = len(seen)
            seen |= {task.task_id: task for task in page.lines}
            total = page.total if total is None else total  # as of the first page: what is made meanwhile moves no end
            has_all = total is None or len(seen) >= total
            is_short = len(page.lines) < min(PAGE_SIZE, page.most or PAGE_SIZE)
            is_repeated = len(seen) == before
            is_older = any(task.created_at < created_after for task in page.lines)
            if is_older or (has_all and (is_short or (is_repeated and total is not None))):
                found = (task for task in seen.values() if task.created_at >= created_after)
                return sorted(found, key=lambda task: task.created_at, reverse=True)
            if is_repeated:
                return None
        return None

    async def credits(self) -> Credits:
        answer = await self._read("GET", "/v1/credits")
        found = read_credits(self._json(answer))
        if found is None:
            raise ReadFailed("EvoLink's credits could not be read from its answer", status=answer.status)
        return found

    async def download(self, url: str) -> Download:
        return await self._downloader.fetch(url)

    async def _read_part(self, task_ids: list[str]) -> dict[str, Task]:
        """Read at most one batch of tasks, by whichever endpoint is available."""
        if len(task_ids) == 1 or self._batch_failures >= BATCH_FAILURES:
            return await self._read_singly(task_ids)
        try:
            found = await self._read_batch(task_ids)
        except (ReadFailed, AccountStopped) as error:
            if error.status == THROTTLED or isinstance(error.__cause__, httpx.ConnectError):
                raise
            return await self._read_after_failure(task_ids)
        # a summary without links must not count as an empty result
        unsure = [id_ for id_, task in found.items() if task.state is TaskState.COMPLETED and not task.results]
        try:
            return found | await self._read_singly(unsure)
        except ReadFailed as error:
            error.read = {id_: task for id_, task in found.items() if id_ not in unsure} | dict(error.read)
            raise

    async def _read_batch(self, task_ids: list[str]) -> dict[str, Task]:
        """Read some tasks in one request. Raises ReadFailed or AccountStopped when that does not work."""
        answer = await self._read("POST", "/v1/tasks/batch", {"task_ids": task_ids}, most_bytes=BATCH_BYTES)
        lines = read_tasks(self._json(answer), self._clean) if answer.status not in CLOSED else None
        if lines is None:
            self._batch_failures = BATCH_FAILURES
            raise ReadFailed("EvoLink's batch read is closed", status=answer.status)
        told = {task.task_id: task for task in lines if task}
        found = {id_: told[id_] for id_ in task_ids if id_ in told}
        if len(found) < min(len(task_ids), len(lines)):
            raise ReadFailed("a batch read may tell of a task in a line that names none of those that were asked for")
        self._batch_failures = 0
        return found

    async def _read_after_failure(self, task_ids: list[str]) -> dict[str, Task]:
        """Read singly what a batch read did not. Where these reads fail too, it is an outage: no fault of the batch."""
        try:
            found = await self._read_singly(task_ids)
        except ReadFailed as error:
            self._batch_failures += bool(error.read)
            raise
        self._batch_failures += 1
        return found

    async def _read_singly(self, task_ids: list[str]) -> dict[str, Task]:
        """Read tasks one by one; a failure waits for the others, so that no reading is wasted.

        When the first few all fail, the others are not asked for. Those that failed come last the next time, so that
        tasks which can never be read hide no others.
        """
        places = {id_: place for place, id_ in enumerate(self._unread)}
        waiting = sorted(task_ids, key=lambda id_: places.get(id_, -1))
        found: dict[str, Task] = {}
        errors: list[BaseException] = []
        for part in (waiting[:FIRST_READS], waiting[FIRST_READS:]):
            outcomes = await asyncio.gather(*map(self._read_one, part), return_exceptions=True)
            for id_, outcome in zip(part, outcomes, strict=True):
                self._unread.pop(id_, None)
                if isinstance(outcome, Task):
                    found[id_] = outcome
                elif outcome is not None:
                    self._unread[id_] = None
                    errors.append(outcome)
            if len(errors) == len(part):
                break
        worst = next((error for error in errors if not isinstance(error, ReadFailed)), errors[0] if errors else None)
        if isinstance(worst, ReadFailed):
            worst.read = found
        if worst:
            raise worst
        return {id_: found[id_] for id_ in task_ids if id_ in found}

    async def _read_one(self, task_id: str) -> Task | None:
        """One task; None when the API does not know it, or calls its id malformed."""
        async with self._single_reads:
            answer = await self._read("GET", f"/v1/tasks/{quote(task_id, safe='')}")
        if answer.status in (400, 404):
            return None
        task = read_task(self._json(answer), self._clean, task_id)
        if task is None:
            raise ReadFailed(f"EvoLink's answer about task {task_id} is about another task", status=answer.status)
        return task

    async def _read(self, method: str, path: str, body: object = None, most_bytes: int = ANSWER_BYTES) -> Answer:
        """One free read. Raises ReadFailed when no answer came."""
        seconds = self._timeouts
        request = self._free.build_request(
            method,
            self._base_url + path,
            headers=self._authorization() | ({} if body is None else {"Content-Type": "application/json"}),
            content=None if body is None else json.dumps(body).encode(),
            timeout=httpx.Timeout(seconds.read_s, connect=seconds.connect_s, pool=None),
        )
        try:
            async with asyncio.timeout(seconds.connect_s + seconds.read_s):
                return await exchange(self._free, request, most_bytes)
        except transport.TROUBLE as error:
            raise ReadFailed(
                f"a read from EvoLink failed on the way ({kind_of(error)})",
                remedy="Reads are free and retried; check the network if this persists.",
            ) from error

    def _json(self, answer: Answer) -> object:
        """The JSON of a good answer. Raises the error that any other answer means."""
        if answer.status != 200:  # noqa: PLR2004
            raise read_error(answer, self._clean, self._now())
        try:
            return read_json(answer.body)
        except Unreadable as error:
            raise ReadFailed("EvoLink's answer to a read is not JSON", status=answer.status) from error

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key.reveal()}"}

    def _purchase_timeout(self) -> httpx.Timeout:
        seconds = self._timeouts
        return httpx.Timeout(seconds.answer_s, connect=seconds.connect_s, write=seconds.write_s, pool=None)

    def _lost(self, error: Exception, *, has_left: bool) -> ApiError:
        if has_left:
            return OutcomeUnknown(
                f"the answer to a purchase was lost ({kind_of(error)})",
                remedy="It may have been charged, so it is not sent again: adloom looks for its task first.",
            )
        return NotSent(
            f"EvoLink could not be reached ({kind_of(error)})",
            remedy="Nothing was sent; adloom tries again. If it persists, check network, proxy and EVOLINK_BASE_URL.",
        )


def _api_named(settings: Settings) -> str:
    """What an account's fingerprint says of its API.

    The host alone stands for https at the host's default port without a path, and for the sandbox that adloom starts
    itself, whose port is another each time: archives hold these fingerprints. Anything else is named whole.
    """
    parts = urlsplit(settings.base_url)
    host, port, path = parts.hostname or "", parts.port, parts.path.rstrip("/")
    if settings.embedded or (parts.scheme == "https" and port in (None, HTTPS_PORT) and not path):
        return host
    return f"{parts.scheme}://{host}:{port or ''}{path}"


class _FirstByte:
    """Watches httpcore's trace for the moment from which a byte of our own request may have left.

    The CONNECT request to a proxy and the TLS handshake do not count: they carry nothing of the purchase.
    """

    def __init__(self) -> None:
        self.happened = False

    async def trace(self, event: str, info: Mapping[str, object]) -> None:
        """Called by httpcore at each step of a request."""
        if event.endswith((".send_request_headers.started", ".send_request_body.started")):
            method = getattr(info.get("request"), "method", None)
            self.happened = self.happened or method != b"CONNECT"


async def exchange(client: httpx.AsyncClient, request: httpx.Request, most_bytes: int = ANSWER_BYTES) -> Answer:
    """Send a request and read the whole answer, up to ``most_bytes``. Raises what is in ``transport.TROUBLE``."""
    response = await client.send(request, stream=True)
    try:
        body = await transport.read_body(response, most_bytes)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, body)
    finally:
        await response.aclose()


def kind_of(error: Exception) -> str:
    """An error by its type: the text of a foreign error may contain a URL."""
    return str(error) if isinstance(error, transport.BadBody) else type(error).__name__
