"""Parses EvoLink's JSON of tasks, task lists and credits.

Tolerant by design: fields come and go, are reordered, or have another shape than the reference says (links have been
seen as strings, as objects, and under ``result_data``). What cannot be read is left out; only an entry without an id is
not a task.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal

from adloom.core.task import Credits, ListedTask, Task, TaskState
from adloom.edges.evolink.answers import TASK_ID
from adloom.edges.evolink.text import Cleaner, amount, mapping

_LINK_LENGTH = 8192  # a signed link has some hundred characters
_MADE_AT = re.compile(r"task-unified-(\d{9,11})-")
_STATES: Mapping[str, TaskState] = {state.value: state for state in TaskState} | {"canceled": TaskState.CANCELLED}
_MILLISECONDS = 10**11  # as seconds this is the year 5138
_CHARGES = ("reserved", "charged", "released")


def read_task(value: object, clean: Cleaner, expected_id: str = "") -> Task | None:
    """One task; None when it names none, or one other than ``expected_id``."""
    data = mapping(value)
    word = clean(data.get("status"), 40)
    task_id = data.get("id") or (word and expected_id)
    if not isinstance(task_id, str) or not TASK_ID.fullmatch(task_id) or (expected_id and task_id != expected_id):
        return None
    error = mapping(data.get("error"))
    return Task(
        task_id=task_id,
        state=_state(word),
        results=tuple(_links(data.get("results"))) or tuple(_links(data.get("result_data"))),
        credits_used=_charge(data),
        charge_status=_charge_status(data),
        error_code=clean(error.get("code"), 100),
        error_message=clean(error.get("message")),
        word=word,
        model=clean(data.get("model"), 100),
        created_at=_unix_time(data.get("created") or data.get("created_at"), task_id),
    )


def read_tasks(value: object, clean: Cleaner) -> dict[str, Task] | None:
    """A batch answer as tasks by id; None when it holds no list."""
    items = mapping(value).get("data")
    if not isinstance(items, list):
        return None
    tasks = (read_task(item, clean) for item in items)
    return {task.task_id: task for task in tasks if task}


def read_list(value: object, clean: Cleaner) -> list[ListedTask] | None:
    """One page of the account's tasks; None when it cannot be read to the last line.

    All or nothing, because the list serves to find a lost task by elimination: an unseen rival would mislead it.
    """
    items = mapping(value).get("data")
    if not isinstance(items, list):
        return None
    listed = [_listed(mapping(item), clean) for item in items]
    return [task for task in listed if task] if all(listed) else None


def read_credits(value: object) -> Credits | None:
    """What is left to spend; None when the answer does not say."""
    data = mapping(mapping(value).get("data"))
    key, account = mapping(data.get("token")), mapping(data.get("user"))
    key_remaining, account_remaining = amount(key.get("remaining_credits")), amount(account.get("remaining_credits"))
    if account_remaining is None:
        return None
    return Credits(
        key_remaining=None if key.get("unlimited_credits") is True else key_remaining,
        account_remaining=account_remaining,
    )


def _state(word: str) -> TaskState:
    return _STATES.get(word.lower(), TaskState.OTHER)


def _links(value: object) -> Iterator[str]:
    for item in value if isinstance(value, list) else []:
        data = mapping(item)
        link = item if isinstance(item, str) else data.get("url") or data.get("image_url")
        if isinstance(link, str) and 0 < len(link) <= _LINK_LENGTH and link.isprintable() and link.strip():
            yield link.strip()


def _charge(data: Mapping[str, object]) -> Decimal | None:
    usage = mapping(data.get("usage"))
    told = (
        usage.get("credits_used"),
        mapping(usage.get("cost")).get("credits"),
        mapping(data.get("billing")).get("charged_credits"),
    )
    return next((number for number in map(amount, told) if number is not None and number >= 0), None)


def _charge_status(data: Mapping[str, object]) -> str:
    status = mapping(data.get("billing")).get("charge_status")
    return status if isinstance(status, str) and status in _CHARGES else ""


def _listed(data: Mapping[str, object], clean: Cleaner) -> ListedTask | None:
    task_id = data.get("id")
    if not isinstance(task_id, str) or not TASK_ID.fullmatch(task_id):
        return None
    created_at = _unix_time(data.get("created_at"), task_id)
    if created_at is None:
        return None
    return ListedTask(task_id, _state(clean(data.get("status"), 40)), clean(data.get("model"), 100), created_at)


def _unix_time(value: object, task_id: str) -> int | None:
    """When a task was created: as reported, in seconds or as a date, else from its id."""
    number = amount(value)
    if number is not None:
        return int(number if number < _MILLISECONDS else number / 1000)
    if isinstance(value, str):
        try:
            date = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    found = _MADE_AT.match(task_id)
    return int(found.group(1)) if found else None
