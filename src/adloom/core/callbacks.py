"""Callback addresses: one for each attempt of a call, which only the holder of the secret can compute.

An address is the campaign's ``callback_url`` with ``/<campaign>/<edition>/<call>/<attempt>/<token>`` behind it. It is a
pure function of the attempt, so that a purchase that is sent again is the same to the byte. Secrets have versions, and
a token names its own, so that a new secret can be introduced while addresses made with the old one are still in use.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field

from adloom.core.errors import InputError

LONGEST_ADDRESS = 2048
"""EvoLink's OpenAPI text, 2026-10."""

FOLDER = "_callbacks"
"""Where a receiver stores what arrived, at the archive's root:
``_callbacks/<campaign>/<edition>/<call>/a1.<task>.json``. No campaign can have this name."""


SECRET_LETTERS = 32
"""128 bits, if they are hexadecimal digits."""

_SECRET = re.compile(r"(?:v([1-9][0-9]{0,2}):)?(\S+)")


@dataclass(frozen=True, slots=True)
class Secret:
    """The secret that callback addresses are signed with. Version 0 is one that was given without a version."""

    key: bytes = field(repr=False)
    version: int = 0


def read_secrets(text: str) -> tuple[Secret, ...]:
    """The secrets in a text like ``v2:<secret> v1:<secret>``: the first makes addresses, all are recognised.

    Raises ValueError, which repeats none of them.
    """
    found = [(int(match[1] or 0), match[2]) for match in map(_SECRET.fullmatch, text.split()) if match]
    if any(len(secret) < SECRET_LETTERS for _, secret in found):
        raise ValueError(f"this is too short; use at least {SECRET_LETTERS} random characters")
    if len({version for version, _ in found}) < len(found):
        raise ValueError("two secrets have the same version; write them like v2:… v1:…, the newest first")
    return tuple(Secret(secret.encode(), version) for version, secret in found)


@dataclass(frozen=True, slots=True)
class CallbackAddresses:
    """The addresses of one edition's calls. Without a secret, every call has the address that the campaign names."""

    url: str
    prefix: str
    """``<campaign>/<edition>/``."""
    secret: Secret | None = None

    def of(self, call: str, attempt: int) -> str:
        """The address of an attempt. Raises InputError when it gets too long for the API."""
        if self.secret is None:
            return self.url
        sealed = token(self.secret, self.prefix, call, attempt)
        address = f"{self.url.rstrip('/')}/{self.prefix}{call}/{attempt}/{sealed}"
        if len(address) > LONGEST_ADDRESS:
            raise InputError(
                f"callback_url has {len(address)} characters with what adloom appends; {LONGEST_ADDRESS} are allowed",
                remedy="Use a shorter address.",
            )
        return address


def token(secret: Secret, prefix: str, call: str, attempt: int) -> str:
    """The proof that we made an address: HMAC-SHA256 in hexadecimal, prefixed with its secret's version."""
    seal = hmac.new(secret.key, f"{prefix}{call}/{attempt}".encode(), hashlib.sha256).hexdigest()
    return f"{secret.version}-{seal}" if secret.version else seal


def inbox(prefix: str, call: str, attempt: int) -> str:
    """The key prefix of what arrived for an attempt; the task's name and ``.json`` follow."""
    return f"{FOLDER}/{prefix}{call}/a{attempt}."
