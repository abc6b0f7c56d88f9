"""Makes foreign text and JSON safe to store, print and calculate with."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn

TEXT_LENGTH = 200  # enough for an API's sentence, too short to flood a log
_SCANNED = 4000  # what is scanned before truncation: redaction comes first, so that a cut cannot expose half a secret
_QUERY = re.compile(r"(https?://[^\s?#\"'<>]*)[?#][^\s\"'<>]*")
_USERINFO = re.compile(r"(https?://)[^\s/@\"'<>]*@")
_KEYS = re.compile(r"\b(?:sk-[A-Za-z0-9._-]{4,}|Bearer\s+[A-Za-z0-9._~+/=-]{4,})")
_MOST = Decimal(10) ** 15  # no amount and no time in milliseconds exceeds it
_LEAST_EXPONENT = -30  # a float shows at most 17 digits; a longer tail is nonsense that would slow every sum


class Unreadable(ValueError):
    """Bytes that are not valid JSON."""


@dataclass(frozen=True, slots=True, repr=False)
class Cleaner:
    """Cleans foreign text; knows the one secret that must never be repeated."""

    secret: str = ""

    def __call__(self, value: object, limit: int = TEXT_LENGTH) -> str:
        """The text on one line, without control characters, secrets and query strings, at most ``limit`` long."""
        if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
            return ""
        text = str(value)[:_SCANNED].encode("utf-8", "replace").decode()
        text = " ".join("".join(" " if unicodedata.category(each)[0] in "CZ" else each for each in text).split())
        if self.secret:
            text = text.replace(self.secret, "***")
        text = _KEYS.sub("***", _USERINFO.sub(r"\1", _QUERY.sub(r"\1?***", text)))
        return text if len(text) <= limit else text[: limit - 1] + "…"


def read_json(content: bytes) -> object:
    """Parse JSON with fractions as Decimal. Raises Unreadable for anything else, NaN and endless nesting included."""
    try:
        return json.loads(content, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise Unreadable(type(error).__name__) from error


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(word)


def mapping(value: object) -> dict[str, object]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def amount(value: object) -> Decimal | None:
    """A plausible amount or time, from a JSON number or a string of one; None for anything else."""
    if isinstance(value, str):
        try:
            value = Decimal(value)
        except ArithmeticError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    number = Decimal(value)
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or exponent < _LEAST_EXPONENT or abs(number) >= _MOST:
        return None
    return number
