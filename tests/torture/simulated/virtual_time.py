"""Virtual time: it jumps to the next timer whenever nobody has work to do, so that a day passes in milliseconds."""

from __future__ import annotations

import asyncio


class Deadlock(Exception):
    """Everybody waits for somebody else: no timer is left."""


class Killed(BaseException):  # no Exception: nothing may catch it, as nothing catches a kill
    """This process is dead: whatever it still tries comes to nothing."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time stands still while there is work and then jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = self
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> tuple[()]:
        if timeout is None:
            raise Deadlock
        self._now += timeout
        return ()

    def _process_events(self, events: object) -> None:
        """There are none: nothing here touches a real socket."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""
