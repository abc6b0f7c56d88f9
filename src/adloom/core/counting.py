"""Counts for people."""

from __future__ import annotations


def counted(count: int, word: str) -> str:
    """A count with what it counts: ``1 image``, ``1,000 images``."""
    return f"{count:,} {word}" + ("s" if count != 1 else "")
