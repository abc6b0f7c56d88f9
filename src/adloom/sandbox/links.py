"""Result links: their text is all that is known of a picture, so that many tasks need no table of links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from adloom.sandbox.dice import Dice
from adloom.sandbox.outcomes import Ending
from adloom.sandbox.tasks import SandboxTask

_NAME = re.compile(r"([0-9a-f]{8})([0-9a-f]{2})([0-9a-f]{12})_0\.(?:jpg|png)")


@dataclass(frozen=True, slots=True)
class Numbered:
    """Which picture a link's name means: the task's ordinal and the picture's index."""

    ordinal: int
    index: int


def links(task: SandboxTask, base_url: str, extension: str, dice: Dice) -> list[str]:
    """Every result link of a completed task, in order; a duplicate repeats the first."""
    made = [f"{base_url}{path(task, index, extension, dice)}" for index in range(task.made)]
    return [*made, made[0]] if made and task.outcome.ending is Ending.DUPLICATE else made


def path(task: SandboxTask, index: int, extension: str, dice: Dice) -> str:
    """Path and query of one result."""
    date = datetime.fromtimestamp(task.ends_at, UTC)
    salt = dice.number("picture", task.id, index) & 0xFFFFFFFFFFFF
    name = f"{task.ordinal:08x}{index:02x}{salt:012x}_0.{extension}"
    return f"/files/{task.account.name}/images/{date:%Y/%m/%d}/{name}?sig={signature(name, dice)}"


def read_name(name: str) -> Numbered | None:
    """What a file name of a link means, None for any other name."""
    match = _NAME.fullmatch(name)
    return Numbered(int(match[1], 16), int(match[2], 16)) if match else None


def signature(name: str, dice: Dice) -> str:
    """What makes a link valid: a name alone is not enough."""
    return f"{dice.number('signature', name):016x}"
