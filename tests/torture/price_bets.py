"""What one process may bet on prices that it has not read, judged by the answers that it was given.

A judge of its own: it knows the answers before the process does, so that it allows a process to lag behind.
"""

from __future__ import annotations

from decimal import Decimal

LAGS_S = 10
"""A process may take this long to act on an answer: slow stores, second readings, purchases that are on their way."""

ROUNDING = Decimal("0.005")


class Bets:
    """The purchases of one process that are out without an answer, and how many may be."""

    def __init__(self) -> None:
        self._widths: list[tuple[float, int]] = [(0.0, 1)]
        self._out: set[str] = set()
        self._last: dict[int, Decimal] = {}
        self._overcharged_at = float("inf")

    def send(self, key: str, now: float) -> str:
        """A purchase leaves; what is wrong with that, empty if nothing."""
        self._out.add(key)
        if now > self._overcharged_at + LAGS_S:
            return "I17 buys on after a charge above its reserve"
        allowed = max(width for since, width in self._widths[self._first_in_force(now) :])
        return f"I16 has {len(self._out)} purchases out unread, not {allowed}" if len(self._out) > allowed else ""

    def over(self, key: str) -> None:
        """The purchase has its answer, or never will."""
        self._out.discard(key)

    def reads(self, references: int, price: Decimal, now: float) -> None:
        """An answer tells the price of an image."""
        last, self._last[references] = self._last.get(references), price
        same = last is None or abs(price - last) <= last * ROUNDING
        self._widths.append((now, 2 * self._widths[-1][1] if same else 1))

    def overcharged(self, now: float) -> None:
        """The process read of a task of its own that was charged above its reserve."""
        self._overcharged_at = min(self._overcharged_at, now)

    def _first_in_force(self, now: float) -> int:
        """The width that was in force ``LAGS_S`` ago."""
        return max(index for index, (since, _) in enumerate(self._widths) if index == 0 or since <= now - LAGS_S)
