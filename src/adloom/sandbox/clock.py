"""The sandbox's clock: real time, which can be pushed forward."""

from __future__ import annotations

import time


class SandboxClock:
    """Unix time that never goes back and jumps ahead on request."""

    def __init__(self) -> None:
        self._wall_at_start = time.time()
        self._start = time.monotonic()
        self._ahead_s = 0.0

    def now(self) -> float:
        """Unix seconds."""
        return self._wall_at_start + (time.monotonic() - self._start) + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Push the clock forward; going back is refused with ValueError."""
        if seconds < 0:
            raise ValueError("the sandbox clock only moves forward")
        self._ahead_s += seconds
