"""The error tree, sorted by two questions: may money have left, and what does the run do about it?

AdloomError                      everything adloom raises on purpose and shows to a person
├── InputError                   nothing was sent; a person changes something and starts again (exit 2)
│   ├── CampaignInvalid          the campaign file: all its problems, each with file, line and column
│   ├── SettingInvalid           a missing key, or an environment variable or option that cannot be used
│   └── PlanRefused              the plan contradicts what the archive already holds
├── ApiError                     the image API refused, did not answer, or sent something unreadable
│   ├── NotSent                  no byte of the request left: free, same key again at once
│   ├── Throttled                intact 429: free, same key later
│   ├── RequestRefused           intact 4xx: free, final for this call; other calls go on
│   │   ├── ModerationRefused    the content was refused: never sent again unchanged
│   │   ├── ModelUnavailable     the model is unavailable: use another one, or try later
│   │   ├── ReferenceTooSlow     a reference was not fetched in time: once more may do
│   │   └── FileRefused          the file service will not take a reference file: rows without it go on
│   ├── AccountStopped           401, 402, 403: free, and every further purchase would end the same (exit 5)
│   ├── OutcomeUnknown           may have been accepted: money may have left, never send again
│   │   └── KeyConflict          the API knows this idempotency key with another body: held for a person
│   └── ReadFailed               a read (never a purchase) failed and may be tried again
├── DownloadError                a paid image could not be fetched
│   ├── DownloadFailed           this try failed; another may succeed
│   │   └── PictureUnjudged      the bytes came, but nobody can tell whether they are an image
│   └── LinkExpired              403, 404 or 410: read the task for a fresh link; only its age says it is dead
├── RunInterrupted               a person stopped a run whose archive was out of reach at its end (exit 130)
├── DecoderBroken                the image decoder does not start: nothing is known about any image
└── StoreError                   the archive could not be read or written
    ├── StoreUnavailable         an outage: buying stops, resumable (exit 7)
    ├── StoreRefused             it will not take our records at all: found before the first purchase (exit 2)
    └── RecordUnreadable         a record was written by a newer adloom, or is damaged (exit 2)
        └── RecordDamaged        it is damaged: a run leaves its call alone

What stops a whole run, such as the budget or a moved price, is a ``core.exits.Stop`` and not an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from adloom.core.task import Task


class AdloomError(Exception):
    """Base of all errors raised on purpose.

    ``message`` says what happened and where; ``remedy`` says in plain words what the reader can do next.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message


class InputError(AdloomError):
    """Nothing was sent: a person has to change something first."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a campaign's files.

    ``line`` and ``column`` count from 1; 0 means that the problem is not tied to a place. ``allowed`` says what would
    be right.
    """

    file: str
    line: int
    column: int
    message: str
    allowed: str = ""

    def __str__(self) -> str:
        place = (
            self.file
            + (f":{self.line}" if self.line else "")
            + (f":{self.column}" if self.line and self.column else "")
        )
        return f"{place}: {self.message}" + (f" ({self.allowed})" if self.allowed else "")


class CampaignInvalid(InputError):
    """All problems of a campaign in one report, in file order."""

    SHOWN = 50  # a person fixes these first; the count says how many more there are

    def __init__(self, problems: tuple[Problem, ...], *, outcome: str = "nothing was sent") -> None:
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        lines = [str(problem) for problem in problems[: self.SHOWN]]
        if len(problems) > self.SHOWN:
            lines.append(f"… and {len(problems) - self.SHOWN} more")
        super().__init__("\n".join(lines), remedy=f"{count}; {outcome}.")
        self.problems = problems


class SettingInvalid(InputError):
    """A missing key, or an environment variable or option that cannot be used."""


class PlanRefused(InputError):
    """The plan contradicts what the archive already holds for this campaign and edition."""


class ApiError(AdloomError):
    """An answer from the image API, or none.

    ``status`` is the HTTP status (None without an answer), ``code`` the API's own code as text, ``request_id`` what its
    support asks for, ``retry_after_s`` the server's advice in seconds (None without one).
    """

    def __init__(
        self,
        message: str,
        *,
        remedy: str = "",
        status: int | None = None,
        code: str = "",
        request_id: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class NotSent(ApiError):
    """No byte of the request left this machine."""


class Throttled(ApiError):
    """An intact 429: no task was made."""


class RequestRefused(ApiError):
    """An intact 4xx: no task was made, and the same request would be refused again."""


class ModerationRefused(RequestRefused):
    """The content was refused."""


class ModelUnavailable(RequestRefused):
    """The API says that it does not have the model, or not now."""


class ReferenceTooSlow(RequestRefused):
    """The provider did not get a reference in time: the same request may go well once more."""


class FileRefused(RequestRefused):
    """The file service will not take a file, for what the file is: calls without it go on."""


class AccountStopped(ApiError):
    """401, 402 or 403: the key or the account cannot buy now."""


class OutcomeUnknown(ApiError):
    """The request may have been accepted: it is never sent again without proof."""


class KeyConflict(OutcomeUnknown):
    """The API knows this idempotency key with another body."""


class ReadFailed(ApiError):
    """A free read failed in a way that may pass.

    ``read`` holds the tasks that could be read despite the failure.
    """

    read: Mapping[str, Task] = MappingProxyType({})


class DownloadError(AdloomError):
    """A paid image could not be fetched."""


class DownloadFailed(DownloadError):
    """This try failed; another may succeed."""


class PictureUnjudged(DownloadFailed):
    """The bytes came, but judging them takes more than the decoder may spend: they are neither an image nor none."""


class LinkExpired(DownloadError):
    """403, 404 or 410. Whether the link is dead is decided by its age, not by one answer."""


class DecoderBroken(AdloomError):
    """The image decoder's process cannot run at all, so nothing is known about any image."""


class StoreError(AdloomError):
    """The archive could not be read or written."""


class StoreUnavailable(StoreError):
    """An outage of the archive."""


class StoreRefused(StoreError):
    """The archive cannot be used as it is: wrong place, no permission, or a store without create-once."""


class RunInterrupted(AdloomError):
    """A person stopped a run, and the archive was out of reach when it was to say how it ended."""


class RecordUnreadable(StoreError):
    """A record was written by a newer version, or is damaged."""


class RecordDamaged(RecordUnreadable):
    """A record is not what it was when it was written."""
