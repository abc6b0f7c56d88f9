"""What EvoLink's HTTP answers mean: the one place where they become values and errors.

An answer is judged by its status and by the error's ``code`` and ``type``. Its message counts only where nothing else
tells a reference that was not fetched in time from one that never will be. An *intact envelope*
is a JSON object whose ``error`` is an object with a code, a type or a message: only EvoLink itself writes that, so on a
4xx it proves that no task was created. Without it the answer may come from any intermediary, and what happened behind
it is unknown. Shapes and codes: EvoLink's reference and its own clients, as of 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TypedDict

from adloom.core.backoff import ADVISED_S
from adloom.core.errors import (
    AccountStopped,
    ApiError,
    KeyConflict,
    ModelUnavailable,
    ModerationRefused,
    OutcomeUnknown,
    ReadFailed,
    ReferenceTooSlow,
    RequestRefused,
    Throttled,
)
from adloom.core.task import Accepted
from adloom.core.triage import is_slow_reference
from adloom.edges.evolink.text import Cleaner, Unreadable, amount, mapping, read_json

TASK_ID = re.compile(r"(?!\.{1,2}$)[!-.0-~]{1,200}")  # printable ASCII but the slash: it becomes part of a URL's path
_ADVICE = re.compile(r"\b(?:after|in|wait)\s+(\d{1,6}(?:\.\d{1,3})?)\s*s", re.IGNORECASE)

MODERATION = {"content_policy_violation", "sensitive_content", "moderation_blocked", "input_moderation_failed"}
MODEL_UNAVAILABLE = {"model_unavailable", "model_not_found", "no_available_channel"}
_AMBIGUOUS = {408, 409, 425}  # a gateway may answer with these while the request continues behind it
_RESUMABLE = "The API created no task for this call; run again afterwards to continue."
_LOOKED_FOR = "It may have been charged, so it is not sent again: adloom looks for its task first."
_STOPS: Mapping[str, tuple[str, str]] = {
    "insufficient_user_quota": ("the account has no credits left", "Top up the account."),
    "insufficient_token_quota": (
        "this key's total limit is used up",
        "Raise the key's limit in EvoLink's console, or use another key; the account itself may still have credits.",
    ),
    "token_daily_quota_exceeded": (
        "this key's daily limit is used up",
        "Wait for midnight{zone}, or raise the key's daily limit in EvoLink's console.",
    ),
    "key_disabled": ("this key is disabled", "Enable it in EvoLink's console, or set another in EVOLINK_API_KEY."),
    "key_expired": ("this key has expired", "Make a new one in EvoLink's console and set it in EVOLINK_API_KEY."),
    "key_model_not_allowed": (
        "this key may not use this model",
        "Allow the model for the key in EvoLink's console, or choose another model.",
    ),
    "ip_restricted": ("this key may not be used from this address", "Add this machine's public address to the key."),
    "user_disabled": ("the account is disabled", "Ask EvoLink's support."),
}
_STOPS_BY_STATUS: Mapping[int, tuple[str, str]] = {
    401: ("the key was not accepted", "Check EVOLINK_API_KEY."),
    402: ("there are not enough credits", "Top up the account, or raise the key's limit in EvoLink's console."),
    403: ("this key may not do this", "Check the key's permissions and models in EvoLink's console."),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, read whole. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """EvoLink's error object, cleaned. ``code`` is text even if the API sent a number."""

    code: str
    type: str
    message: str
    param: str
    suggestion: str
    reset_timezone: str


class _Ids(TypedDict):
    status: int
    code: str
    request_id: str


def accepted(answer: Answer, clean: Cleaner) -> Accepted:
    """Read a 2xx answer to a purchase. Raises OutcomeUnknown when it names no usable task."""
    try:
        data = mapping(read_json(answer.body))
    except Unreadable as error:
        raise _unknown(answer, clean, "the answer is not JSON") from error
    task_id = data.get("id")
    if not isinstance(task_id, str) or not TASK_ID.fullmatch(task_id):
        raise _unknown(answer, clean, "the answer does not name a task")
    reserved = amount(mapping(data.get("usage")).get("credits_reserved"))
    return Accepted(
        task_id=task_id,
        model=clean(data.get("model"), 100),
        credits_reserved=None if reserved is None or reserved < 0 else reserved,
        replayed=answer.headers.get("idempotency-replayed", "").strip().lower() == "true",
        request_id=request_id(answer, clean),
    )


def purchase_error(answer: Answer, clean: Cleaner, now: float) -> ApiError:
    """The error that any other answer to a purchase means. ``now`` is Unix time, for Retry-After dates."""
    envelope = read_envelope(answer, clean)
    if envelope is None:
        return _unknown(answer, clean, "this is not EvoLink's own error format")
    if envelope.code == "idempotency_conflict":
        return KeyConflict(
            _told(answer, clean, "EvoLink knows this idempotency key with another request", envelope),
            remedy="The call is held: see `adloom resolve`.",
            **_ids(answer, clean, envelope),
        )
    if not _is_refusal(answer.status) or envelope.code == "paid_outcome_unknown":
        return _unknown(answer, clean, "EvoLink does not say whether it accepted the request", envelope)
    return _refusal(answer, clean, now, envelope)


def _is_refusal(status: int) -> bool:
    return 400 <= status < 500 and status not in _AMBIGUOUS  # noqa: PLR2004 - HTTP's own numbers


def _refusal(answer: Answer, clean: Cleaner, now: float, envelope: Envelope) -> ApiError:
    """An intact 4xx: no task was created. Moderation is checked first, since several statuses can report it."""
    ids = _ids(answer, clean, envelope)
    if envelope.code in MODERATION:
        return ModerationRefused(
            _told(answer, clean, "EvoLink's moderation refused the prompt or a reference", envelope),
            remedy="Change the prompt or the reference; the same content would be refused again. No task was created.",
            **ids,
        )
    if envelope.code in _STOPS or answer.status in _STOPS_BY_STATUS or envelope.type == "insufficient_quota_error":
        return stopped(answer, clean, envelope)
    if answer.status == 429:  # noqa: PLR2004
        return Throttled(
            _told(answer, clean, "EvoLink limits the rate of requests", envelope),
            remedy="It is sent again later under the same key; no task was created.",
            retry_after_s=advised_s(answer, now, envelope),
            **ids,
        )
    if envelope.code in MODEL_UNAVAILABLE or envelope.type == "not_found_error":  # a purchase names nothing else
        return ModelUnavailable(
            _told(answer, clean, "EvoLink does not offer the model at the moment", envelope),
            remedy="Run again later, or name another model in `fallback:`. No task was created.",
            **ids,
        )
    if is_slow_reference(envelope.message):
        return ReferenceTooSlow(
            _told(answer, clean, "EvoLink did not get a reference in time", envelope),
            remedy="Use an address that answers faster, or a file. No task was created.",
            **ids,
        )
    named = f"EvoLink refused the request's {envelope.param}" if envelope.param else "EvoLink refused the request"
    return RequestRefused(
        _told(answer, clean, named, envelope),
        remedy="Change the row; the same request would be refused again. No task was created.",
        **ids,
    )


def stopped(answer: Answer, clean: Cleaner, envelope: Envelope | None) -> AccountStopped:
    """The error for a key or account that cannot continue, with what to do about it."""
    what, remedy = _STOPS_BY_STATUS.get(answer.status, _STOPS_BY_STATUS[402])
    if envelope is None:
        return AccountStopped(
            _told(answer, clean, what), remedy=f"{remedy} {_RESUMABLE}", **_ids(answer, clean, envelope)
        )
    what, remedy = _STOPS.get(envelope.code, (what, remedy))
    zone = f" ({envelope.reset_timezone})" if envelope.reset_timezone else ""
    advice = f"EvoLink's advice: {envelope.suggestion}. " if envelope.suggestion else ""
    return AccountStopped(
        _told(answer, clean, what, envelope),
        remedy=f"{remedy.replace('{zone}', zone)} {advice}{_RESUMABLE}",
        **_ids(answer, clean, envelope),
    )


def read_error(answer: Answer, clean: Cleaner, now: float) -> ApiError:
    """The error for an answer to a free read that is not what was asked for."""
    envelope = read_envelope(answer, clean)
    if answer.status in _STOPS_BY_STATUS:
        return stopped(answer, clean, envelope)
    return ReadFailed(
        _told(answer, clean, "a read failed", envelope),
        remedy="Reads are free and retried.",
        retry_after_s=advised_s(answer, now, envelope),
        **_ids(answer, clean, envelope),
    )


def read_envelope(answer: Answer, clean: Cleaner) -> Envelope | None:
    """EvoLink's error object, None when the body is not an intact envelope."""
    try:
        error = mapping(mapping(read_json(answer.body)).get("error"))
    except Unreadable:
        return None
    if not any(clean(error.get(name)) for name in ("code", "type", "message")):
        return None
    return Envelope(
        code=clean(error.get("code"), 100),
        type=clean(error.get("type"), 100),
        message=clean(error.get("message")),
        param=clean(error.get("param"), 100),
        suggestion=clean(error.get("fallback_suggestion")).rstrip("."),
        reset_timezone=clean(error.get("reset_timezone"), 50),
    )


def advised_s(answer: Answer, now: float, envelope: Envelope | None = None) -> float | None:
    """Seconds that the server asks to wait, within ADVISED_S: its Retry-After, else the advice in its text."""
    seconds = _retry_after_s(answer, now)
    if seconds is None and envelope is not None:
        found = _ADVICE.search(envelope.suggestion) or _ADVICE.search(envelope.message)
        seconds = float(found.group(1)) if found else None
    return None if seconds is None else min(max(seconds, ADVISED_S[0]), ADVISED_S[1])


def _retry_after_s(answer: Answer, now: float) -> float | None:
    """Retry-After in seconds or as a date; a date is relative to the answer's own clock, if it has one."""
    text = answer.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d{1,3})?", text):
        return float(text)
    until = _http_date(text)
    if until is None:
        return None
    return until - (_http_date(answer.headers.get("date", "")) or now)


def _http_date(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def request_id(answer: Answer, clean: Cleaner) -> str:
    """The id that EvoLink's support asks for."""
    return clean(answer.headers.get("x-request-id") or answer.headers.get("x-oneapi-request-id") or "", 100)


def _ids(answer: Answer, clean: Cleaner, envelope: Envelope | None) -> _Ids:
    return {
        "status": answer.status,
        "code": envelope.code if envelope else "",
        "request_id": request_id(answer, clean),
    }


def _unknown(answer: Answer, clean: Cleaner, what: str, envelope: Envelope | None = None) -> OutcomeUnknown:
    return OutcomeUnknown(_told(answer, clean, what, envelope), remedy=_LOOKED_FOR, **_ids(answer, clean, envelope))


def _told(answer: Answer, clean: Cleaner, what: str, envelope: Envelope | None = None) -> str:
    """What happened, for whoever reads the log: the sentence, the status, EvoLink's message, the request id."""
    code = f" {envelope.code}" if envelope and envelope.code != str(answer.status) else ""
    words = f": {envelope.message}" if envelope and envelope.message else ""
    request = request_id(answer, clean)
    return f"{what} (HTTP {answer.status}{code}{f', request {request}' if request else ''}){words}"
