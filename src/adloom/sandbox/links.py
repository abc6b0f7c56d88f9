"""Result links: a link's text identifies its picture, so that many tasks need no table of links."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from adloom.sandbox.dice import SeededRandom
from adloom.sandbox.outcomes import Ending
from adloom.sandbox.settings import LinkForm
from adloom.sandbox.tasks import SandboxTask

_NAME = re.compile(r"([0-9a-f]{8})(?:([0-9a-f]{2})[0-9a-f]{12})?_0\.(jpg|png)")


@dataclass(frozen=True, slots=True)
class Look:
    """How links are written: ``form`` says what distinguishes the pictures of a task, ``expires`` when links die.

    ``expires`` is Unix time in seconds with a point, empty for links that live as long as the settings say.
    """

    extension: str
    form: LinkForm = "path"
    expires: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The picture behind a link, and the expiry that the link states; ``""`` if none."""

    task: SandboxTask
    index: int
    expires: str


def links(task: SandboxTask, base_url: str, look: Look, dice: SeededRandom) -> list[str]:
    """Every result link of a completed task, in order; a duplicate repeats the first."""
    made = [f"{base_url}{path(task, index, look, dice)}" for index in range(task.made)]
    return [*made, made[0]] if made and task.outcome.ending is Ending.DUPLICATE else made


def path(task: SandboxTask, index: int, look: Look, dice: SeededRandom) -> str:
    """Path and query of one result."""
    place, query = _parts(task, index, look, dice)
    return f"{place}?{urlencode(query)}"


def find(
    place: str, query: Mapping[str, str], numbered: Callable[[int], SandboxTask | None], dice: SeededRandom
) -> Found | None:
    """The picture that a link leads to, by its path and query; None if no such link was ever issued."""
    match = _NAME.fullmatch(place.rsplit("/", 1)[-1])
    task = numbered(int(match[1], 16)) if match else None
    if match is None or task is None:
        return None
    expires = query.get("expires", "")
    form: LinkForm = "path" if match[2] else "query" if "image" in query else "signature"
    indexes = range(task.made) if match[2] is None else [int(match[2], 16)]
    for index in indexes:
        if index < task.made and _parts(task, index, Look(match[3], form, expires), dice) == (place, dict(query)):
            return Found(task, index, expires)
    return None


def _parts(task: SandboxTask, index: int, look: Look, dice: SeededRandom) -> tuple[str, dict[str, str]]:
    date = datetime.fromtimestamp(task.ends_at, UTC)
    salt = dice.number("picture", task.id, index) & 0xFFFFFFFFFFFF
    picture = f"{index:02x}{salt:012x}"
    name = f"{task.ordinal:08x}{picture if look.form == 'path' else ''}_0.{look.extension}"
    query = {"image": picture} if look.form == "query" else {}
    if look.expires:
        query["expires"] = look.expires
    query["sig"] = f"{dice.number('signature', task.ordinal, picture, look.expires):016x}"
    return f"/files/{task.account.name}/images/{date:%Y/%m/%d}/{name}", query
