"""The routes of the image API: the paid POST, the reads of tasks, credits and models."""

from __future__ import annotations

import hashlib
import re
from collections import deque

from adloom.sandbox import shapes, tables
from adloom.sandbox.answers import Refusal, Reply, json_reply
from adloom.sandbox.doors import Call
from adloom.sandbox.outcomes import Outcome, fated
from adloom.sandbox.sandbox import KeyMemory, Sandbox
from adloom.sandbox.settings import SandboxSettings
from adloom.sandbox.submission import Wanted, read_json, read_wanted
from adloom.sandbox.tasks import SandboxTask, Submission

_TASK_ID = re.compile(r"task-[a-z]+-\d{9,11}-[a-z0-9]{8}")
_KEY = re.compile(tables.IDEMPOTENCY_KEY_PATTERN)
_MINUTE_S = 60.0
_FIRST_CALLBACK_S = 2.0


class Gateway:
    """Handlers that answer or raise a refusal; ``doors`` does the rest."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def submit(self, call: Call) -> Reply:
        """``POST /v1/images/generations``."""
        settings = self._sandbox.settings
        memory = self._sandbox.memory(call.account)
        self._within_limits(call, memory, settings)
        wanted = read_wanted(read_json(call.body), settings)
        key = call.request.headers.get("Idempotency-Key", "")
        before = self._replayed(call, memory, key, settings)
        if before is not None:
            return json_reply(shapes.accepted(before, settings), headers={"idempotency-replayed": "true"})
        self._passes_checks(wanted, call.now, settings)
        task = self._accepted(call, wanted, key)
        memory.recent.append(call.now)
        if key:
            memory.known[key] = (task.request_sha256, task)
        if settings.callback_before_answer:
            await self._call_back_first(task)
        return json_reply(shapes.accepted(self._answered(task, settings), settings))

    async def task(self, call: Call) -> Reply:
        """``GET /v1/tasks/{id}``."""
        task_id = call.request.match_info["task_id"]
        if not _TASK_ID.fullmatch(task_id):
            raise Refusal(400, "the task id is badly formed", param="task_id")
        task = self._visible(call, task_id)
        if task is None:
            raise Refusal(404, "the task was not found or has expired")
        return json_reply(self._sandbox.queried(task, "task"))

    async def batch(self, call: Call) -> Reply:
        """``POST /v1/tasks/batch``: tasks of other accounts and unknown ones are absent."""
        self._open_to_this_key(self._sandbox.settings.batch_status)
        ids = read_json(call.body).get("task_ids")
        if not isinstance(ids, list) or not 1 <= len(ids) <= tables.BATCH_IDS:
            raise Refusal(400, f"task_ids must have 1 to {tables.BATCH_IDS} entries", param="task_ids")
        tasks = [self._visible(call, str(task_id)) for task_id in ids]
        return json_reply({"data": [self._sandbox.queried(task, "batch") for task in tasks if task is not None]})

    async def list(self, call: Call) -> Reply:
        """``GET /v1/tasks``: the account's tasks, newest first, without links."""
        self._open_to_this_key(self._sandbox.settings.list_status)
        query = call.request.query
        page = _positive(query.get("page", "1"), "page", 1_000_000)
        size = _positive(query.get("page_size", "20"), "page_size", tables.PAGE_SIZE)
        if query.get("type", "image") != "image":
            return json_reply({"data": [], "total": 0, "page": page, "page_size": size})
        status, model = query.get("status", ""), query.get("model", "")
        total, tasks = self._sandbox.tasks.listed(call.account, status, model, (page - 1) * size, size)
        lines = [
            shapes.listed(task, self._sandbox.settings, call.now) for task in tasks if not self._old(task, call.now)
        ]
        return json_reply({"data": lines, "total": total, "page": page, "page_size": size})

    async def credits(self, call: Call) -> Reply:
        """``GET /v1/credits``."""
        return json_reply(call.account.statement(call.now, self._sandbox.settings.credits_lag_s))

    async def models(self, _: Call) -> Reply:
        """``GET /v1/models``."""
        return json_reply({"object": "list", "data": [{"id": name, "object": "model"} for name in tables.MODELS]})

    def _accepted(self, call: Call, wanted: Wanted, key: str) -> SandboxTask:
        sandbox = self._sandbox

        def decide(ordinal: int) -> Outcome:
            scripted = sandbox.faults.scripted("outcome", wanted.prompt)
            return scripted.outcome() if scripted else fated(wanted, ordinal, sandbox.settings, sandbox.dice)

        submission = Submission(call.account, wanted, key, hashlib.sha256(call.body).hexdigest())
        return sandbox.tasks.accept(submission, decide, call.now)

    def _answered(self, task: SandboxTask, settings: SandboxSettings) -> SandboxTask:
        """The task that a POST is answered with: its own, unless the gateway is set to mix up ids."""
        return self._sandbox.tasks.numbered(task.ordinal - task.ordinal % settings.posts_an_id) or task

    def _within_limits(self, call: Call, memory: KeyMemory, settings: SandboxSettings) -> None:
        if settings.burst_429_every_s and call.now % settings.burst_429_every_s < settings.burst_429_for_s:
            raise Refusal(429, "too many requests upstream")
        if settings.requests_per_minute is not None:
            _forget_before(memory.recent, call.now - _MINUTE_S)
            if len(memory.recent) >= settings.requests_per_minute:
                raise Refusal(429, "too many requests in this minute")
        running = settings.running_tasks_limit
        if running is not None and self._sandbox.tasks.running(call.account) >= running:
            raise Refusal(429, "too many running tasks")

    def _replayed(self, call: Call, memory: KeyMemory, key: str, settings: SandboxSettings) -> SandboxTask | None:
        """The task that this key already created, if the gateway remembers keys."""
        if not key or settings.idempotency == "ignored":
            return None
        if not _KEY.fullmatch(key):
            raise Refusal(400, "Idempotency-Key must be 16 to 96 of A-Z a-z 0-9 . _ -", param="Idempotency-Key")
        if key not in memory.known:
            return None
        if settings.idempotency == "unsure":
            raise Refusal(settings.unsure_status, "whether this key was paid is unknown", code="paid_outcome_unknown")
        sha256, task = memory.known[key]
        if sha256 != hashlib.sha256(call.body).hexdigest():
            raise Refusal(409, "this key was used with another body", code="idempotency_conflict")
        return task

    def _passes_checks(self, wanted: Wanted, now: float, settings: SandboxSettings) -> None:
        if settings.unavailable_at == "submit" and wanted.model.name in settings.unavailable_models:
            raise Refusal(
                settings.unavailable_status,
                f"{wanted.model.name} is unavailable",
                code="model_unavailable",
                param="model",
            )
        if any(word in wanted.prompt for word in settings.moderated_at_submit):
            raise Refusal(400, "the prompt was refused by moderation", code=settings.moderation_code, param="prompt")
        if settings.reference_check == "submit":
            fault = self._sandbox.references_fail(wanted, now)
            if fault is not None:
                raise Refusal(400, fault.message, code=fault.code, param="image_urls")

    async def _call_back_first(self, task: SandboxTask) -> None:
        """End the task and let its callback arrive before the POST is answered."""
        self._sandbox.tasks.end_at_once(task)
        await self._sandbox.courier.drain(_FIRST_CALLBACK_S)

    def _visible(self, call: Call, task_id: str) -> SandboxTask | None:
        task = self._sandbox.tasks.find(task_id)
        mine = task is not None and task.account is call.account and not self._old(task, call.now)
        return task if mine else None

    def _old(self, task: SandboxTask, now: float) -> bool:
        return now > task.created + self._sandbox.settings.task_retention_s

    @staticmethod
    def _open_to_this_key(status: int) -> None:
        if status != 200:  # noqa: PLR2004 - the switch's own word for open
            raise Refusal(status, "this endpoint is not open to this key")


def _positive(text: str, name: str, most: int) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise Refusal(400, f"{name} must be an integer from 1 to {most}", param=name)
    return int(text)


def _forget_before(times: deque[float], oldest: float) -> None:
    while times and times[0] <= oldest:
        times.popleft()
