"""The documented JSON shapes of a task: the POST's answer, the query's, the list's, and the charge log's line."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal

from adloom.sandbox.answers import number
from adloom.sandbox.billing import ZERO
from adloom.sandbox.dice import SeededRandom
from adloom.sandbox.outcomes import Ending
from adloom.sandbox.settings import SandboxSettings
from adloom.sandbox.tasks import SandboxTask, State

_OBJECT = "image.generation.task"


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of the charge log: the outcome of one accepted POST.

    ``account`` is a fingerprint. ``state`` is ``running`` until the task has ended. ``made`` counts distinct images.
    """

    task_id: str
    account: str
    idempotency_key: str
    time: float
    n: int
    prompt: str
    model: str
    size: str
    quality: str
    references: int
    made: int
    reserved: Decimal
    charged: Decimal
    released: Decimal
    state: str
    request_sha256: str

    def as_json(self) -> dict[str, object]:
        """The same with amounts as JSON numbers."""
        return {name: number(value) if isinstance(value, Decimal) else value for name, value in asdict(self).items()}


def charge(task: SandboxTask) -> Charge:
    """The charge log's line of a task."""
    wanted = task.wanted
    return Charge(
        task_id=task.id,
        account=task.account.name,
        idempotency_key=task.idempotency_key,
        time=task.created,
        n=wanted.n,
        prompt=wanted.prompt,
        model=wanted.model.name,
        size=wanted.size,
        quality=wanted.quality,
        references=len(wanted.references),
        made=task.made,
        reserved=task.reserved,
        charged=task.charged,
        released=task.released,
        state=task.state.value,
        request_sha256=task.request_sha256,
    )


def accepted(task: SandboxTask, settings: SandboxSettings) -> dict[str, object]:
    """The answer to the POST."""
    if settings.minimal_answers:
        return {"id": task.id, "status": "pending"}
    return {
        "created": int(task.created),
        "id": task.id,
        "model": settings.model_alias or task.wanted.model.name,
        "object": _OBJECT,
        "progress": 0,
        "status": settings.processing_word if settings.start_at_processing else "pending",
        "task_info": {"can_cancel": True, "estimated_time": settings.estimated_time},
        "type": "image",
        "usage": {
            "billing_rule": "per_call",
            "credits_reserved": number(task.reserved if settings.show_reserve else ZERO),
            "user_group": settings.user_group,
        },
    }


def queried(task: SandboxTask, links: list[str], settings: SandboxSettings, now: float) -> dict[str, object]:
    """The answer to a query of the task, and the body of its callback."""
    content: dict[str, object] = {"id": task.id, "status": status_word(task, settings, now)}
    if not settings.minimal_answers:
        content |= {
            "created": int(task.created),
            "model": settings.model_alias or task.wanted.model.name,
            "object": _OBJECT,
            "progress": task.progress(now),
            "task_info": {"can_cancel": task.state is State.RUNNING},
            "type": "image",
        }
        if settings.show_billing:
            content["billing"] = _billing(task)
    if task.state is State.COMPLETED:
        content |= _completed(task, links, settings)
    if task.state is State.FAILED and task.error_code:
        told = task.error_message or f"the generation failed: {task.error_code}"
        content["error"] = {"code": task.error_code, "message": told}
    return content


def shuffled(content: dict[str, object], dice: SeededRandom, ordinal: int) -> dict[str, object]:
    """The same object with its fields in another order."""
    return {name: content[name] for name in sorted(content, key=lambda name: dice.number("field", name, ordinal))}


def listed(task: SandboxTask, settings: SandboxSettings, now: float) -> dict[str, object]:
    """One entry of the task list, which has no links."""
    return {
        "id": task.id,
        "status": status_word(task, settings, now),
        "model": settings.model_alias or task.wanted.model.name,
        "type": "image",
        "progress": task.progress(now),
        "created_at": int(task.created),
        "has_results": task.links > 0,
        "has_error": bool(task.error_code),
        "credits_used": number(task.charged),
    }


def status_word(task: SandboxTask, settings: SandboxSettings, now: float) -> str:
    """The status as the gateway writes it now."""
    if task.state is not State.RUNNING:
        return task.state.value
    if task.outcome.ending is Ending.STRANGE:
        return settings.strange_word
    waiting = now < task.started_at and not settings.start_at_processing
    return "pending" if waiting else settings.processing_word


def _completed(task: SandboxTask, links: list[str], settings: SandboxSettings) -> dict[str, object]:
    content: dict[str, object] = {} if task.outcome.ending is Ending.MISSING else {"results": links}
    if settings.minimal_answers:
        return content
    content["duration"] = max(1, round(task.ends_at - task.created))
    if task.outcome.ending is not Ending.MISSING:
        content["result_data"] = [{"url": link} for link in links]
    if settings.show_credits_used:
        content["usage"] = {"credits_used": number(task.charged)}
    return content


def _billing(task: SandboxTask) -> dict[str, object]:
    words = {State.RUNNING: "reserved", State.FAILED: "released"}
    status = words.get(task.state, "charged" if task.charged or not task.reserved else "released")
    back = task.released
    ended = task.state is not State.RUNNING
    return {
        "charge_status": status,
        "reserved_credits": number(task.reserved),
        "charged_credits": number(task.charged),
        "refund_scope": "none" if not back else "full" if back == task.reserved else "partial",
        "refund_status": "completed" if back else "not_required" if ended else "unknown",
        "refunded_credits": number(back),
        "refunded_at": datetime.fromtimestamp(task.ends_at, UTC).isoformat() if back else None,
    }
