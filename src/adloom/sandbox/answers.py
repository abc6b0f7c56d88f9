"""The answers of the sandbox: replies, the documented error envelope, and proxy pages that are not JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from email.utils import formatdate

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota_error",
    403: "permission_error",
    404: "not_found_error",
    409: "invalid_request_error",
    413: "request_too_large_error",
    429: "rate_limit_error",
    500: "internal_server_error",
    502: "upstream_error",
    503: "service_unavailable_error",
}
SUGGESTIONS = {
    402: "add credits at https://evolink.ai/dashboard/billing",
    413: "keep each picture below 4 MB",
    429: "retry after 60 seconds",
    502: "try another model",
    503: "retry after 30 seconds",
}


def number(amount: Decimal) -> float:
    """A money amount for JSON: its shortest text is the exact decimal up to 15 digits (1.53, never 1.5299999)."""
    return float(amount)


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer, before a fault may change it."""

    body: bytes
    status: int = 200
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def json_reply(content: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """An answer in JSON."""
    return Reply(json.dumps(content, ensure_ascii=False).encode(), status, headers=headers or {})


def html_reply(status: int, title: str) -> Reply:
    """The answer of a proxy in front of the gateway: an HTML page instead of JSON."""
    page = f"<!doctype html><html><head><title>{title}</title></head><body><h1>{status} {title}</h1></body></html>"
    return Reply(page.encode(), status, "text/html")


class Refusal(Exception):
    """A request that ends in the documented error envelope.

    ``code`` is a string code instead of the integer status; ``more`` are further fields of the envelope.
    """

    def __init__(
        self, status: int, message: str, *, code: str = "", param: str = "", more: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.more = more or {}

    def reply(self, *, headers: Mapping[str, str] | None = None, string_code: bool = False) -> Reply:
        """The envelope."""
        kind = TYPES.get(self.status, "invalid_request_error")
        error: dict[str, object] = {
            "code": self.code or (kind if string_code else self.status),
            "message": self.message,
            "type": kind,
        }
        if self.param:
            error["param"] = self.param
        if self.status in SUGGESTIONS:
            error["fallback_suggestion"] = SUGGESTIONS[self.status]
        return json_reply({"error": {**error, **self.more}}, status=self.status, headers=headers)


def retry_after(wish: str, now: float) -> dict[str, str]:
    """The header that the settings ask for: none, seconds, or ``date:SECONDS`` as an HTTP date."""
    if not wish:
        return {}
    kind, _, seconds = wish.partition(":")
    return {"Retry-After": formatdate(now + float(seconds), usegmt=True) if kind == "date" else wish}
