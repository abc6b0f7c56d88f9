"""How many images are held in memory at once, by the size of those that came before.

An image is held from its download to its put, mostly waiting to be decoded. Small ones cost little and a slow line
needs many at once; of large ones a few keep the decoders busy.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Self

MIB = 1024 * 1024
HELD_BYTES = 40 * MIB
"""For all images together: 8 pictures of 4096 x 4096 pixels as JPEG (4.5 MB), more than two decoders need."""
LEAST_IMAGES = 4
FIRST_IMAGES = 8
"""Before the size of any is known."""
REMEMBERED = 32
"""The largest of so many images decides."""


class ImageMemory:
    """The memory that the images of one process share."""

    def __init__(self, *, most_images: int) -> None:
        self._most = most_images
        self._held = 0
        self._sizes: deque[int] = deque(maxlen=REMEMBERED)
        self._waiting: deque[asyncio.Future[None]] = deque()

    def share(self) -> Share:
        """A share for one image, not yet taken."""
        return Share(self)

    @property
    def images(self) -> int:
        """How many images may be held now."""
        if not self._sizes:
            return min(FIRST_IMAGES, self._most)
        return max(LEAST_IMAGES, min(HELD_BYTES // max(self._sizes), self._most))

    def note(self, size_bytes: int) -> None:
        """An image of this size has come."""
        self._sizes.append(max(size_bytes, 1))
        self._serve()

    async def take(self) -> None:
        """Wait until one more image may be held."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._serve()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the turn came at the moment of the cancellation
                self.give_back()
            raise

    def give_back(self) -> None:
        """An image is held no more."""
        self._held -= 1
        self._serve()

    def _serve(self) -> None:
        while self._waiting and (self._waiting[0].done() or self._held < self.images):
            turn = self._waiting.popleft()
            if not turn.done():
                self._held += 1
                turn.set_result(None)


class Share:
    """One image's part of the memory: taken for each try, given back while the next try is waited for."""

    def __init__(self, memory: ImageMemory) -> None:
        self._memory = memory
        self._is_taken = False

    async def take(self) -> None:
        """Wait for the share, unless it is taken already."""
        if not self._is_taken:
            await self._memory.take()
            self._is_taken = True

    def give_back(self) -> None:
        """Give the share back, if it is taken."""
        if self._is_taken:
            self._is_taken = False
            self._memory.give_back()

    def note(self, size_bytes: int) -> None:
        """The image has come, with so many bytes."""
        self._memory.note(size_bytes)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()
