"""The reference files of one campaign: their bytes as they were planned, and who hosts them."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from adloom.core.campaign import Reference
from adloom.core.errors import InputError
from adloom.ports import FileHost


@dataclass(frozen=True, slots=True)
class ReferenceFiles:
    """``read`` gives the bytes of a file by its path relative to the campaign's folder. It raises InputError."""

    host: FileHost
    read: Callable[[str], Awaitable[bytes]]

    async def content(self, reference: Reference) -> bytes:
        """The bytes that were planned. Raises InputError when the file has others now."""
        content = await self.read(reference.shown)
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != reference.content:
            raise InputError(
                f"the reference {reference.shown} was changed after this run had planned with it",
                remedy="Run the campaign again: the changed picture makes new images.",
            )
        return content

    async def check(self, references: Iterable[Reference]) -> None:
        """Read files that are about to be bought for. Raises InputError."""
        for reference in references:
            await self.content(reference)
