"""Callback addresses: one for each attempt of a call, which only who has the secret can compute.

An address is the campaign's ``callback_url`` with ``/<campaign>/<edition>/<call>/<attempt>/<token>`` behind it. It is a
pure function of the attempt, so that a purchase that is sent again is the same to the byte.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

from adloom.core.errors import InputError

LONGEST_ADDRESS = 2048
"""EvoLink's OpenAPI text, 2026-10."""

FOLDER = "_callbacks"
"""Where a receiver leaves what came, at the archive's root: ``_callbacks/<campaign>/<edition>/<call>/a1.<task>.json``.
No campaign has such a name."""


@dataclass(frozen=True, slots=True)
class CallbackAddresses:
    """The addresses of one edition's calls. Without a secret every call has the one that the campaign names."""

    url: str
    prefix: str
    """``<campaign>/<edition>/``."""
    secret: bytes = field(default=b"", repr=False)

    def of(self, call: str, attempt: int) -> str:
        """The address of an attempt. Raises InputError when it gets too long for the API."""
        if not self.secret:
            return self.url
        sealed = token(self.secret, self.prefix, call, attempt)
        address = f"{self.url.rstrip('/')}/{self.prefix}{call}/{attempt}/{sealed}"
        if len(address) > LONGEST_ADDRESS:
            raise InputError(
                f"callback_url has {len(address)} letters with what is put behind it; {LONGEST_ADDRESS} are allowed",
                remedy="Use a shorter address.",
            )
        return address


def token(secret: bytes, prefix: str, call: str, attempt: int) -> str:
    """What proves that an address was made by us: HMAC-SHA256 in hexadecimal."""
    return hmac.new(secret, f"{prefix}{call}/{attempt}".encode(), hashlib.sha256).hexdigest()


def inbox(prefix: str, call: str, attempt: int) -> str:
    """The beginning of the keys of what came for an attempt; the task's name and ``.json`` follow."""
    return f"{FOLDER}/{prefix}{call}/a{attempt}."
