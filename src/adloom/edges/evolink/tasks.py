"""Parses EvoLink's JSON of tasks, task lists and credits.

Tolerant by design: fields come and go, are reordered, or have another shape than the reference says (links have been
seen as strings, as objects, and under ``result_data``). What cannot be read is left out, and results among it are
counted; only an entry without an id is not a task.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from adloom.core.links import others
from adloom.core.task import Credits, ListedTask, Task, TaskState
from adloom.edges.evolink.answers import TASK_ID
from adloom.edges.evolink.text import Cleaner, amount, mapping

log = logging.getLogger(__name__)

_LINK_LENGTH = 8192  # a signed link has some hundred characters
_MADE_AT = re.compile(r"task-unified-(\d{9,11})-")
_PREFIX = re.compile(r"^task-(?:unified-)?")
_STATES: Mapping[str, TaskState] = {state.value: state for state in TaskState} | {"canceled": TaskState.CANCELLED}
_LINK_NAMES = ("url", "image_url", "image")
_NESTED = ("image", "image_url")
_MILLISECONDS = 10**11  # as seconds this is the year 5138
_CHARGES = ("unknown", "reserved", "charged", "released")


def read_task(value: object, clean: Cleaner, expected_id: str = "") -> Task | None:
    """One task; None when it names none, or one other than ``expected_id``, in whatever form."""
    data = mapping(value)
    word = clean(data.get("status"), 40)
    task_id = data.get("id") or (word and expected_id)
    if not isinstance(task_id, str) or not TASK_ID.fullmatch(task_id):
        return None
    if expected_id:
        if not _is_same(task_id, expected_id):
            return None
        task_id = expected_id
    error = mapping(data.get("error"))
    links, unreadable = _results(data)
    if unreadable:
        log.warning("task %s shows %d result(s) that cannot be read", task_id, unreadable)
    return Task(
        task_id=task_id,
        state=_state(word),
        results=links,
        unreadable=unreadable,
        credits_used=_charge(data),
        charge_status=_charge_status(data),
        error_code=clean(error.get("code"), 100),
        error_message=clean(error.get("message")),
        word=word,
        model=clean(data.get("model"), 100),
        created_at=_unix_time(data.get("created") or data.get("created_at"), task_id),
    )


def read_tasks(value: object, clean: Cleaner) -> list[Task | None] | None:
    """A batch answer line by line, with None for a line that is no task; None when it holds no list."""
    items = mapping(value).get("data")
    return [read_task(item, clean) for item in items] if isinstance(items, list) else None


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of the account's tasks.

    ``total`` is how many tasks the whole list has, and ``most`` how many lines a page has at most, as far as it says.
    """

    lines: tuple[ListedTask, ...]
    total: int | None
    most: int | None


def read_list(value: object, clean: Cleaner) -> ListPage | None:
    """One page of the account's tasks; None when it cannot be read to the last line.

    All or nothing, because the list serves to find a lost task by elimination: an unseen rival would mislead it.
    """
    data = mapping(value)
    items = data.get("data")
    if not isinstance(items, list):
        return None
    listed = [_listed(mapping(item), clean) for item in items]
    lines = tuple(task for task in listed if task)
    return ListPage(lines, _count(data.get("total")), _count(data.get("page_size"))) if all(listed) else None


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


def _is_same(one: str, other: str) -> bool:
    """Whether two ids are forms of one: equal but for what may stand before its number."""
    shorter, longer = sorted((_PREFIX.sub("", one), _PREFIX.sub("", other)), key=len)
    return longer == shorter or (bool(shorter) and longer.endswith(tuple(mark + shorter for mark in "-_:.")))


def _state(word: str) -> TaskState:
    return _STATES.get(word.lower(), TaskState.OTHER)


def _results(data: Mapping[str, object]) -> tuple[tuple[str, ...], int]:
    """The links of ``results``, then those that only a fuller ``result_data`` shows; and how many more there must be.

    Both fields tell of the same images, so what cannot be read in one counts only as far as the other does not make up
    for it: the fuller of the two says how many images there are, the better readable one how many have a link.
    """
    one, other = _entries(data.get("results")), _entries(data.get("result_data"))
    results, further = ([link for entry in entries if (link := _link(entry))] for entries in (one, other))
    is_fuller = len(further) > len(results)  # else its links may be other ones to the same images
    links = (*results, *others(results, further)) if is_fuller else tuple(results)
    return links, max(len(one), len(other)) - max(len(results), len(further))


def _entries(value: object) -> list[object]:
    """The results that a field shows, be it a list or a single one; without empty ones and those that only failed."""
    entries = value if isinstance(value, list) else [value]
    return [entry for entry in entries if _link(entry) or not _is_empty(entry)]


def _is_empty(entry: object) -> bool:
    """Whether an entry without a link shows no image: nothing at all, or the error that came instead of it."""
    if isinstance(entry, dict):
        return bool(entry.get("error")) or all(map(_is_empty, entry.values()))
    return entry in (None, []) or (isinstance(entry, str) and not entry.strip())


def _link(entry: object) -> str:
    """The link of one result, or nothing: a string, or an object that holds one, or holds such an object."""
    data = mapping(entry)
    told = [entry, *(data.get(name) for name in _LINK_NAMES), *(mapping(data.get(name)).get("url") for name in _NESTED)]
    found = (text.strip() for text in told if isinstance(text, str))
    return next((text for text in found if 0 < len(text) <= _LINK_LENGTH and text.isprintable()), "")


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
    word = status.strip().lower() if isinstance(status, str) else ""
    return word if word in _CHARGES else ""


def _count(value: object) -> int | None:
    number = amount(value)
    return None if number is None or number < 0 else int(number)


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
