"""Invisible characters that change the direction of the text around them.

A prompt that contains one looks different from what is sent, and so does a page or report that quotes it. Right-to-left
languages need none: their characters imply the direction.
"""

from __future__ import annotations

import re

_CONTROLS = re.compile("[\u202a-\u202e\u2066-\u2069]")
ALLOWED = "the text without it; Arabic and Hebrew need none"


def first_control(text: str, start: int = 0) -> int:
    """The index of the first such character at or after ``start``, or -1."""
    found = None if text.isascii() else _CONTROLS.search(text, start)
    return found.start() if found else -1


def said_of(character: str) -> str:
    """What is wrong with such a character."""
    return f"the invisible character U+{ord(character):04X} changes the direction of the text around it"
