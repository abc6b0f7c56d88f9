"""The outside services and settings that a run works with, as one value."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from random import Random

from adloom.core.callbacks import Secret
from adloom.core.errors import InputError
from adloom.core.process import Process
from adloom.core.reference import Reference
from adloom.ports import Clock, Decoder, FileHost, ImageApi, Store

DEFAULT_INTERVAL_S = 3.0
"""The poll interval on which all other waits are based; another interval scales them."""


@dataclass(frozen=True, slots=True)
class ReferenceFiles:
    """The reference files of one campaign: their bytes as planned, and the service that hosts them.

    ``read`` gives the bytes of a file by its path relative to the campaign's folder. It raises InputError.
    """

    host: FileHost
    read: Callable[[str], Awaitable[bytes]]
    hosted_form: Callable[[bytes], bytes] = bytes
    """What is hosted for a file's bytes: themselves, or a PNG made from them. It may take seconds."""
    read_asset: Callable[[str], Awaitable[bytes | None]] | None = None
    """Gives the bytes of an archived image by its key in the edition; None for a run without an archive."""

    async def to_host(self, reference: Reference) -> bytes:
        """The bytes to host for a planned reference. Raises InputError if the file has changed."""
        return await asyncio.to_thread(self.hosted_form, await self.content(reference))

    async def content(self, reference: Reference) -> bytes:
        """The planned bytes. Raises InputError if the file has changed."""
        content = await (self._asset(reference) if reference.asset else self.read(reference.shown))
        if f"sha256:{hashlib.sha256(content).hexdigest()}" != reference.content:
            raise InputError(
                f"the reference {reference.shown} changed after this run planned with it",
                remedy="Run the campaign again: the changed picture counts as new and buys new images."
                if not reference.asset
                else "Repair the archived image with `adloom verify TARGET --repair`.",
            )
        return content

    async def _asset(self, reference: Reference) -> bytes:
        content = await self.read_asset(reference.asset) if self.read_asset else None
        if content is None:
            raise InputError(
                f"the archived image {reference.asset}, which serves as a reference, is missing",
                remedy="Restore it: `adloom verify TARGET --repair` fetches it while its link lives.",
            )
        return content

    async def check(self, references: Iterable[Reference]) -> None:
        """Read the files needed for what is about to be bought. Raises InputError."""
        for reference in references:
            await self.content(reference)


@dataclass(frozen=True, slots=True)
class World:
    """Ports, randomness and the process itself."""

    store: Store
    api: ImageApi
    decoder: Decoder
    clock: Clock
    random: Random
    process: Process
    is_gone: Callable[[Process], bool]
    poll_interval_s: float = DEFAULT_INTERVAL_S
    dedicated_key: bool = False
    callback_secret: Secret | None = None
    """The secret of callback addresses; None if callbacks are not received."""
    files: ReferenceFiles | None = None
    """None if no reference is a file."""

    @property
    def scale(self) -> float:
        """The factor for waits between retries."""
        return self.poll_interval_s / DEFAULT_INTERVAL_S
