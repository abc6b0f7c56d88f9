"""What the end of a task means for its call: whether it is over, and whether and when to try again.

The codes are EvoLink's (task error codes, read 2026-11); the classes and their limits are adloom's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from adloom.core.records import RefusalKind

MODERATION_CODES = frozenset(
    {"content_policy_violation", "sensitive_content", "moderation_blocked", "input_moderation_failed"}
)
TRANSIENT_CODES = frozenset(
    {
        "generation_timeout",
        "model_unavailable",
        "quota_exceeded",
        "rate_limited",
        "resource_exhausted",
        "service_error",
        "service_unavailable",
        "unknown_error",
        "upstream_error",
    }
)
"""``quota_exceeded`` of a task is the provider's rate, not the account's balance (EvoLink CLI, 2026-10)."""

MODEL_UNAVAILABLE_CODES = frozenset({"model_unavailable"})
"""Of the transient ones, those that speak of the model itself: another model may do."""

REQUEST_CODES = MODERATION_CODES | {
    "image_dimension_mismatch",
    "image_processing_error",
    "invalid_parameters",
    "request_cancelled",
}
"""Failures that speak of the prompt, the references or the request, so that they say nothing of the model."""

TASK_ATTEMPTS = 3
"""A transient failure is tried at most twice more."""

NO_CONTENT_ATTEMPTS = 2
"""``generation_failed_no_content`` is disputed between EvoLink's own clients: once more, then it is final."""

SLOW_REFERENCE_ATTEMPTS = 2
"""A reference that was not fetched in time is tried once more: the provider gives a fetch some 10 s."""

_SLOW_REFERENCE = re.compile(
    r"\btime(?:d|s)?[ -]?out\b.*\b(?:download|fetch)|\b(?:download|fetch)\w*\b.*\btime(?:d|s)?[ -]?out\b", re.IGNORECASE
)
"""Seen: "Timeout while downloading url", with a code that also stands for references that never do (2026-11)."""

NEXT_ATTEMPT_INTERVALS = (20, 100)
"""A new attempt waits this many poll intervals: 60…300 s at the default of 3 s."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failed task means. ``final`` is false while another attempt may be bought, once the charge is back."""

    kind: RefusalKind
    final: bool


def is_slow_reference(message: str) -> bool:
    """Whether a refusal or failure says that a reference was not fetched in time, which may go well the next time."""
    return _SLOW_REFERENCE.search(message) is not None


def failed_task(code: str, message: str, *, attempts: int, of_model: int) -> Verdict:
    """Judge a task that failed; an unknown code is final.

    ``attempts`` counts the call's tasks so far, ``of_model`` those of the same model: a failure that speaks of the
    model leaves the call to the next one.
    """
    if code in MODERATION_CODES:
        return Verdict(RefusalKind.MODERATION, final=True)
    if code in MODEL_UNAVAILABLE_CODES:
        return Verdict(RefusalKind.TASK, final=of_model >= TASK_ATTEMPTS)
    if code in TRANSIENT_CODES:
        return Verdict(RefusalKind.TASK, final=attempts >= TASK_ATTEMPTS)
    if code == "generation_failed_no_content":
        return Verdict(RefusalKind.TASK, final=attempts >= NO_CONTENT_ATTEMPTS)
    if is_slow_reference(message):
        return Verdict(RefusalKind.TASK, final=attempts >= SLOW_REFERENCE_ATTEMPTS)
    return Verdict(RefusalKind.TASK, final=True)
