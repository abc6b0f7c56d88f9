"""Tasks that have ended but do not show it consistently.

Results come late, the charge is reported late, or a failure turns out to be none. The actual charge does not waver: the
charge log is correct from the task's end on.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Literal

from adloom.sandbox.answers import number
from adloom.sandbox.billing import ZERO
from adloom.sandbox.dice import SeededRandom
from adloom.sandbox.settings import SandboxSettings
from adloom.sandbox.tasks import SandboxTask, State

ReadBy = Literal["task", "batch", "callback"]


def as_read(
    task: SandboxTask, read_by: ReadBy, settings: SandboxSettings, dice: SeededRandom, now: float
) -> SandboxTask:
    """The task as this reading shows it: a completed one may read failed at first. The reading is counted."""
    if task.state is not State.COMPLETED:
        return task
    task.readings += 1
    early = now < task.ends_at + settings.failed_first_s or task.readings <= settings.failed_first_readings
    here = settings.failed_first_in in {"all", read_by}
    if not (early and here and dice.hits(settings.failed_first_rate, "failed first", task.ordinal)):
        return task
    return replace(task, state=State.FAILED, error_code=settings.failed_first_code, made=0, charged=ZERO)


def with_late_parts(
    content: dict[str, object],
    task: SandboxTask,
    read_by: ReadBy,
    settings: SandboxSettings,
    dice: SeededRandom,
    now: float,
) -> dict[str, object]:
    """A reading of a completed task without what this one does not show yet."""
    if task.state is not State.COMPLETED or read_by == "callback":
        return content
    if now < task.ends_at + settings.late_usage_s:
        content = {name: value for name, value in content.items() if name not in {"usage", "billing"}}
        content |= {"usage": {"credits_used": 0}} if settings.late_usage == "zero" else {}
    early = now < task.ends_at + settings.late_results_s or task.readings <= settings.late_results_readings
    here = settings.late_results_in in {"all", read_by}
    if early and here and dice.hits(settings.late_results_rate, "late results", task.ordinal):
        few = _with_few_results(content, settings)
        return _billed_as_shown(few, task) if settings.late_results_billed else few
    return content


def _billed_as_shown(content: dict[str, object], task: SandboxTask) -> dict[str, object]:
    """The reading of a task with the charge for the results that it shows."""
    links = content.get("results")
    share = Decimal(len(links) if isinstance(links, list) else 0) / max(1, task.links)
    told = {name: value for name, value in content.items() if name != "billing"}
    return {**told, "usage": {"credits_used": number(task.charged * share)}}


def _with_few_results(content: dict[str, object], settings: SandboxSettings) -> dict[str, object]:
    shown = {name: value for name, value in content.items() if name not in {"results", "result_data"}}
    links = content.get("results")
    match settings.late_results:
        case "empty":
            shown |= {"results": [], "result_data": []}
        case "null":
            shown |= {"results": None, "result_data": None}
        case "partial" if isinstance(links, list):
            shown["results"] = links[: len(links) // 2]
    return shown
