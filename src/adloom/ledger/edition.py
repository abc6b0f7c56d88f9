"""Where one edition of a campaign lives in its archive, and how records become bytes and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from adloom.core.errors import RecordDamaged


@dataclass(frozen=True, slots=True)
class Edition:
    """Where one edition of a campaign lives in its archive."""

    campaign: str
    edition: str

    @property
    def prefix(self) -> str:
        return f"{self.campaign}/{self.edition}/"

    def key(self, name: str) -> str:
        """The store's key for an object of this edition."""
        return self.prefix + name


_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def to_json(record: Mapping[str, Any]) -> bytes:
    """A record as it is stored: one line of UTF-8 with sorted keys."""
    return _ENCODER.encode(record).encode() + b"\n"


def parse_json(content: bytes) -> object:
    """Parse JSON. Raises ValueError if it is invalid or nested too deeply."""
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def from_json(content: bytes, key: str, parse: Callable[[bytes], object] = parse_json) -> dict[str, Any]:
    """A stored record. Raises RecordDamaged when it is not a JSON object."""
    try:
        record = parse(content)
    except ValueError as error:
        raise RecordDamaged(
            f"{key} is damaged", remedy="Run `adloom verify` on the edition; restore this object from a backup."
        ) from error
    if not isinstance(record, dict):
        raise RecordDamaged(f"{key} is not a record", remedy="Run `adloom verify` on the edition.")
    return record


def utc(unix_seconds: float) -> str:
    """A time in the format of records."""
    return datetime.fromtimestamp(unix_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
