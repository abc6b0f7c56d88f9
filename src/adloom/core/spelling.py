"""Suggests a correction for a mistyped word, in a time that untrusted input cannot inflate.

difflib compares two words in a time that grows with the product of their lengths. Words and choices come from
strangers' files, so it is given few and short ones: the choices that share the most characters with the word.
"""

from __future__ import annotations

import difflib
import heapq
from collections.abc import Iterable

LONGEST_COMPARED = 60
"""Characters of a word or choice that are compared; a name is shorter, and messages cut it there too."""

MOST_COMPARED = 50
"""Choices that are compared closely. For all others only the characters are compared, half a microsecond each."""

ALIKE = 0.6
"""difflib's own measure of close matches."""


def nearest(word: str, choices: Iterable[str], count: int = 1, alike: float = ALIKE) -> list[str]:
    """Up to ``count`` of the choices, the nearest first; none that is less than ``alike`` (0 to 1) to the word."""
    word = word[:LONGEST_COMPARED]
    letters = frozenset(word)
    cut: dict[str, str] = {}
    for choice in heapq.nlargest(MOST_COMPARED, choices, key=lambda each: _shared(letters, each[:LONGEST_COMPARED])):
        cut.setdefault(choice[:LONGEST_COMPARED], choice)
    return [cut[near] for near in difflib.get_close_matches(word, cut, count, alike)]


def _shared(letters: frozenset[str], choice: str) -> float:
    """How similar the characters of two words are, 0 to 1, regardless of their order."""
    others = frozenset(choice)
    return 2 * len(letters & others) / (len(letters) + len(others) or 1)
