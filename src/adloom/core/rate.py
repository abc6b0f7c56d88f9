"""How fast images come in, from when they did, and how long the rest takes at that rate.

The rate is measured up to now, not up to the last image: when nothing comes any more it falls, and after a quiet window
it is unknown. So a time left is never an old run's.
"""

from __future__ import annotations

from collections.abc import Iterable

WINDOW_S = 600.0
"""Ten minutes: several tasks of the slowest kind, and short enough to notice that a run has stopped."""


def images_per_s(times: Iterable[tuple[float, int]], now: float, window_s: float = WINDOW_S) -> float | None:
    """Images a second within the window, from Unix times with how many images came at each; None where unknown.

    The first time in the window only begins the measurement: how long its images took nobody saw.
    """
    recent = sorted(each for each in times if now - window_s <= each[0] <= now)
    if len(recent) < 2 or now <= recent[0][0]:  # noqa: PLR2004 - two moments make a span
        return None
    return sum(images for _, images in recent[1:]) / (now - recent[0][0])


def seconds_left(images: int, rate: float | None) -> float | None:
    """How long so many images take at this rate; None where that is unknown."""
    return images / rate if rate else None
