"""Makes untrusted text safe to quote in a message."""

from __future__ import annotations

_TEXT_SHOWN = 60


def shown(text: str, limit: int = _TEXT_SHOWN) -> str:
    """A file's text, safe to quote in a message: in quotes, on one line, without control characters, truncated."""
    return f'"{printable(text if len(text) <= limit else text[: limit - 1] + "…")}"'


def printable(text: str) -> str:
    """Text that a terminal displays but does not interpret: a file's text may contain control characters."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
