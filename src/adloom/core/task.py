"""What the image API says about a purchase, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum


class TaskState(StrEnum):
    """States of a task. A word we do not know is OTHER: not an end state, and worth a warning."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    OTHER = "other"

    @property
    def is_final(self) -> bool:
        return self in (TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer to a paid POST.

    ``credits_reserved`` is what the API set aside, None when it did not say. ``replayed`` is true when the API
    recognised the idempotency key and answered with the task it already had.
    """

    task_id: str
    model: str
    credits_reserved: Decimal | None
    replayed: bool
    request_id: str


@dataclass(frozen=True, slots=True)
class Task:
    """One reading of a task.

    ``results`` are the links in the API's order, duplicates included; they die after 24 h. ``unreadable`` counts the
    results that it shows besides, in a form without a link that we can read: images that may have been made and paid
    for. ``credits_used`` is the final charge if the API reports it. ``charge_status`` is ``unknown``, ``reserved``,
    ``charged`` or ``released`` if the API reports one of these, in whatever case, else empty. ``word`` is the state
    exactly as the API wrote it. ``model`` and ``created_at`` (Unix time, in seconds) say what was made and when, if the
    API reports them.
    """

    task_id: str
    state: TaskState
    results: tuple[str, ...] = ()
    credits_used: Decimal | None = None
    charge_status: str = ""
    error_code: str = ""
    error_message: str = ""
    word: str = ""
    model: str = ""
    created_at: int | None = None
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class ListedTask:
    """One line of the account's task list: no prompt and no links, so it can only be matched by elimination."""

    task_id: str
    state: TaskState
    model: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Credits:
    """What is left to spend, in credits: on the key itself (None when unlimited) and on the account."""

    key_remaining: Decimal | None
    account_remaining: Decimal


@dataclass(frozen=True, slots=True)
class Download:
    """The bytes behind a result link, exactly as received; ``content`` may be a view of a temporary file."""

    content: bytes
    sha256: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Picture:
    """The result of decoding a whole image. ``media_type`` comes from its magic bytes.

    ``flags`` are words about it that a person should see, sorted: ``animated`` has more than one frame, ``blank``
    nearly one colour. ``thumbnail`` shows it as a small JPEG of pixels and nothing else; empty where none could be
    made. ``likeness`` is a hash for finding near duplicates: 256 bits in hexadecimal, or empty.
    """

    media_type: str
    extension: str
    width_px: int
    height_px: int
    flags: tuple[str, ...] = ()
    thumbnail: bytes = field(default=b"", compare=False, repr=False)
    likeness: str = field(default="", compare=False)
    provenance: tuple[str, ...] = ()
    """What the file says about its making: names of ``core.carried``."""
