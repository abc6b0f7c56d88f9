"""What every object is put with when an operator asks for it: encryption by the server, and a lock against deletion.

``ADLOOM_S3_SSE`` is ``AES256`` or ``aws:kms`` (with ``ADLOOM_S3_SSE_KMS_KEY_ID``, else the account's own key). Without
it the bucket's default holds. ``ADLOOM_S3_OBJECT_LOCK_MODE`` is ``GOVERNANCE`` or ``COMPLIANCE`` and needs
``ADLOOM_S3_OBJECT_LOCK_DAYS``; it holds for what is created once (facts, plans, images), not for documents that are
written anew (heartbeats, manifest, page), and the bucket must have been made with Object Lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from adloom.core.errors import SettingInvalid

_ALGORITHMS = ("AES256", "aws:kms")
_MODES = ("GOVERNANCE", "COMPLIANCE")
_LONGEST_DAYS = 36_500  # S3's own: 100 years


@dataclass(frozen=True, slots=True)
class Protection:
    """Empty texts and 0 days: nothing is asked for."""

    algorithm: str = ""
    kms_key: str = ""
    lock_mode: str = ""
    lock_days: int = 0

    def for_all(self) -> dict[str, Any]:
        """The parameters of every PutObject."""
        if not self.algorithm:
            return {}
        key = {"SSEKMSKeyId": self.kms_key} if self.kms_key else {}
        bucket_key = {"BucketKeyEnabled": True} if self.algorithm == "aws:kms" else {}  # else each object asks KMS
        return {"ServerSideEncryption": self.algorithm, **key, **bucket_key}

    def for_creates(self, now: datetime | None = None) -> dict[str, Any]:
        """The parameters of a PutObject of what is never written again."""
        if not self.lock_mode:
            return {}
        until = (now or datetime.now(UTC)) + timedelta(days=self.lock_days)
        return {"ObjectLockMode": self.lock_mode, "ObjectLockRetainUntilDate": until}


def read_protection(environ: Mapping[str, str]) -> Protection:
    """What the environment asks for. Raises SettingInvalid with all problems in one report."""
    names = ("ADLOOM_S3_SSE", "ADLOOM_S3_SSE_KMS_KEY_ID", "ADLOOM_S3_OBJECT_LOCK_MODE", "ADLOOM_S3_OBJECT_LOCK_DAYS")
    algorithm, key, mode, days = (environ.get(name, "").strip() for name in names)
    is_period = days.isdecimal() and 0 < int(days) <= _LONGEST_DAYS
    checks = (
        (bool(algorithm) and algorithm not in _ALGORITHMS, f"{names[0]}: write {' or '.join(_ALGORITHMS)}"),
        (bool(key) and algorithm != "aws:kms", f"{names[1]}: it goes with {names[0]}=aws:kms"),
        (bool(mode) and mode not in _MODES, f"{names[2]}: write {' or '.join(_MODES)}"),
        (bool(mode) and not is_period, f"{names[3]}: write for how many days, 1 to {_LONGEST_DAYS}"),
        (bool(days) and not mode, f"{names[3]}: it goes with {names[2]}"),
    )
    if problems := [problem for wrong, problem in checks if wrong]:
        raise SettingInvalid("\n".join(problems), remedy="Change or unset what is named above; nothing was sent.")
    return Protection(algorithm, key, mode, int(days) if mode else 0)
