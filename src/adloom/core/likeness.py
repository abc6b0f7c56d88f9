"""Which of a row's images are nearly the same: a hint for a person, never a reason to refuse one.

A likeness is a difference hash of 256 bits in hexadecimal, made beside the thumbnail.
"""

from __future__ import annotations

from collections.abc import Iterable

NEAR_BITS = 10
"""Of 256: the same picture encoded again in another size is some 3 away, other pictures of one prompt 40 and more."""


def near_duplicates(likenesses: Iterable[tuple[str, str]]) -> set[str]:
    """The names of those that are nearly like one before them. An empty likeness is like none."""
    before: list[int] = []
    found: set[str] = set()
    for name, likeness in likenesses:
        if not likeness:
            continue
        bits = int(likeness, 16)
        if any((bits ^ other).bit_count() <= NEAR_BITS for other in before):
            found.add(name)
        before.append(bits)
    return found
