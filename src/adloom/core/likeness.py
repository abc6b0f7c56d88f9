"""Finds near duplicates among a row's images: a hint for a person, never a reason to refuse an image.

A likeness is a difference hash of 256 bits in hexadecimal, made with the thumbnail.
"""

from __future__ import annotations

from collections.abc import Iterable

NEAR_BITS = 10
"""Of 256: the same picture encoded again in another size is some 3 away, other pictures of one prompt 40 and more."""


def near_duplicates(likenesses: Iterable[tuple[str, str]]) -> set[str]:
    """The names of images that nearly equal an earlier one. An empty likeness equals none."""
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
