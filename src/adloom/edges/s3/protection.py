"""Request parameters that an operator can ask for: encryption, object lock, the bucket's owner.

``ADLOOM_S3_SSE`` is ``AES256`` or ``aws:kms`` (with ``ADLOOM_S3_SSE_KMS_KEY_ID``, else the account's own key). Without
it the bucket's default holds. ``ADLOOM_S3_OBJECT_LOCK_MODE`` is ``GOVERNANCE`` or ``COMPLIANCE`` and needs
``ADLOOM_S3_OBJECT_LOCK_DAYS``; it holds for what is created once (facts, plans, images), not for documents that are
rewritten (heartbeats, manifest, page), and the bucket must have been made with Object Lock.

``ADLOOM_S3_BUCKET_OWNER`` is the AWS account that the bucket belongs to: S3 then refuses a bucket of the same name that
belongs to someone else. ``ADLOOM_S3_CACHE`` is ``private`` (the default) or ``public``: whether caches between S3 and a
browser may keep images, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from adloom.core.errors import SettingInvalid

_ALGORITHMS = ("AES256", "aws:kms")
_MODES = ("GOVERNANCE", "COMPLIANCE")
_VARIABLES = ("SSE", "SSE_KMS_KEY_ID", "OBJECT_LOCK_MODE", "OBJECT_LOCK_DAYS", "BUCKET_OWNER", "CACHE")
_CACHES = ("private", "public")
_LONGEST_DAYS = 36_500  # S3's own: 100 years
_ACCOUNT = re.compile(r"[0-9]{12}")


@dataclass(frozen=True, slots=True)
class Protection:
    """Empty texts and 0 days mean that nothing is requested."""

    algorithm: str = ""
    kms_key: str = ""
    lock_mode: str = ""
    lock_days: int = 0
    owner: str = ""
    cache: str = "private"

    def for_requests(self) -> dict[str, Any]:
        """The parameters of every request to the archive's bucket."""
        return {"ExpectedBucketOwner": self.owner} if self.owner else {}

    def for_puts(self) -> dict[str, Any]:
        """The parameters of every PutObject, in addition to those of every request."""
        if not self.algorithm:
            return {}
        key = {"SSEKMSKeyId": self.kms_key} if self.kms_key else {}
        bucket_key = {"BucketKeyEnabled": True} if self.algorithm == "aws:kms" else {}  # else each object asks KMS
        return {"ServerSideEncryption": self.algorithm, **key, **bucket_key}

    def for_creates(self, now: datetime | None = None) -> dict[str, Any]:
        """The parameters of a PutObject for what is never rewritten."""
        if not self.lock_mode:
            return {}
        until = (now or datetime.now(UTC)) + timedelta(days=self.lock_days)
        return {"ObjectLockMode": self.lock_mode, "ObjectLockRetainUntilDate": until}


def read_protection(environ: Mapping[str, str]) -> Protection:
    """What the environment asks for. Raises SettingInvalid with all problems in one report."""
    sse, sse_key, lock, lock_days, owned, cached = (f"ADLOOM_S3_{name}" for name in _VARIABLES)
    asked = {name: environ.get(f"ADLOOM_S3_{name}", "").strip() for name in _VARIABLES}
    algorithm, key, mode, days, owner, cache = asked.values()
    is_period = days.isdecimal() and 0 < int(days) <= _LONGEST_DAYS
    checks = (
        (bool(algorithm) and algorithm not in _ALGORITHMS, f"{sse}: write {' or '.join(_ALGORITHMS)}"),
        (bool(key) and algorithm != "aws:kms", f"{sse_key}: it goes with {sse}=aws:kms"),
        (bool(mode) and mode not in _MODES, f"{lock}: write {' or '.join(_MODES)}"),
        (bool(mode) and not is_period, f"{lock_days}: write for how many days, 1 to {_LONGEST_DAYS}"),
        (bool(days) and not mode, f"{lock_days}: it goes with {lock}"),
        (bool(owner) and not _ACCOUNT.fullmatch(owner), f"{owned}: write the 12 digits of an AWS account"),
        (bool(cache) and cache not in _CACHES, f"{cached}: write {' or '.join(_CACHES)}"),
    )
    if problems := [problem for wrong, problem in checks if wrong]:
        raise SettingInvalid("\n".join(problems), remedy="Change or unset what is named above; nothing was sent.")
    return Protection(algorithm, key, mode, int(days) if mode else 0, owner, cache or "private")
