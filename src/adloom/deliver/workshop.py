"""Makes the renditions of one master: one child decodes it once, cuts and encodes; another one signs.

The size limit applies to the final file. A signature's size is known only after signing, so a file that exceeds the
limit because of it is encoded again with that much less room.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

import PIL

from adloom.core.crop import DEFAULT_FOCUS, Focus
from adloom.core.errors import SettingInvalid
from adloom.core.rendition import RECIPE, Master, Order
from adloom.deliver.children import CannotBeDone, Child, ChildDied
from adloom.deliver.encode import MEDIA_TYPES
from adloom.deliver.marks.signing import CERTIFICATE, Signing

MAKER = f"pillow {PIL.__version__}, recipe {RECIPE}"
"""The encoder: another version may produce other bytes."""

TRIES = 2
"""Processes that one master may cost: the first may have been the victim of a machine short of memory."""

ROUNDS = 3
"""Encodings for one ceiling: the size of a signature is the same each time, so the second one fits."""

LOST = "making it ended or outlasted its process"


@dataclass(frozen=True, slots=True)
class Made:
    """A finished file. ``crop`` is in pixels of the master the right way up; ``warning`` may be empty."""

    content: bytes
    quality: int | None
    crop: tuple[int, ...]
    focus: Focus
    unsigned_sha256: str
    is_signed: bool
    warning: str


class Workshop:
    """One worker's processes, started when first needed. An asynchronous context."""

    def __init__(self, signing: Signing | None) -> None:
        self._signing = signing
        self._stack = AsyncExitStack()
        self._cutter: Child | None = None
        self._signer: Child | None = None
        self._focus = DEFAULT_FOCUS

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def prove_signing(self) -> None:
        """Sign something small. Raises SettingInvalid where certificate and key make no valid signature."""
        try:
            await self._ready_signer()
        except CannotBeDone as error:
            raise SettingInvalid(
                f"{CERTIFICATE}: it cannot be signed with: {error}",
                remedy="`adloom keys new my-keys` makes a pair that works; unset it to deliver unsigned.",
            ) from error

    async def open(self, master: Master, content: bytes) -> None:
        """Decode a master for what follows. Raises CannotBeDone, also for one that killed its processes."""
        focus = master.wanted.focus or DEFAULT_FOCUS
        for attempt in range(1, TRIES + 1):
            try:
                cutter = await self._ready_cutter()
                about, _ = await cutter.ask("open", content, focus=focus if isinstance(focus, str) else list(focus))
                self._focus = Focus(*about["focus"])
                if self._signing is not None:
                    signer = await self._ready_signer()
                    await signer.ask(
                        "parent", content, media_type=master.media_type, title=master.asset, system=master.model
                    )
            except ChildDied as error:
                await self._restart()
                if attempt == TRIES:
                    raise CannotBeDone(LOST, may_pass=True) from error
            else:
                return

    async def make(self, master: Master, order: Order, xmp: bytes) -> Made:
        """One rendition of the master that is open, its final bytes below the ceiling. Raises CannotBeDone."""
        if order.channel is None:
            raise ValueError("an original is copied, not made")
        try:
            return await self._make(master, order, xmp)
        except ChildDied as error:
            await self._restart()
            raise CannotBeDone(LOST, may_pass=True) from error

    async def _make(self, master: Master, order: Order, xmp: bytes) -> Made:
        channel = order.channel
        cutter = await self._ready_cutter()
        needed: dict[str, Any] = {
            "width_px": channel.width_px if channel else 0,
            "height_px": channel.height_px if channel else 0,
            "kind": order.kind,
            "focus": list(self._focus),
            "xmp": xmp.decode(),
            "gate": channel.gate.value if channel else "",
        }
        ceiling = channel.max_bytes if channel else None
        signature = 0
        for _ in range(ROUNDS):
            told, unsigned = await cutter.ask("make", **needed, most_bytes=ceiling, signature_bytes=signature)
            content = unsigned if self._signing is None else await self._signed(master, order, told, unsigned)
            if ceiling is None or len(content) <= ceiling:
                break
            if len(unsigned) + signature > ceiling:
                break  # no quality fits, and the gate only advises
            signature = len(content) - len(unsigned)
        else:
            raise CannotBeDone(f"signed it has {len(content):,} bytes, at most {ceiling:,} are allowed")
        return Made(
            content=content,
            quality=told["quality"],
            crop=tuple(told["crop"]),
            focus=self._focus,
            unsigned_sha256=hashlib.sha256(unsigned).hexdigest(),
            is_signed=self._signing is not None,
            warning=told["warning"],
        )

    async def _signed(self, master: Master, order: Order, told: Mapping[str, Any], unsigned: bytes) -> bytes:
        signer = await self._ready_signer()
        changes = ["c2pa.cropped"] if told["kept"] < 1 else []
        _, content = await signer.ask(
            "sign",
            unsigned,
            media_type=MEDIA_TYPES[order.kind],
            title=f"{master.creative} for {order.channel_id}",
            with_parent=True,
            changes=[*changes, "c2pa.resized"],
        )
        return content

    async def _ready_cutter(self) -> Child:
        if self._cutter is None:
            self._cutter = await self._stack.enter_async_context(Child(manifests=False))
        return self._cutter

    async def _ready_signer(self) -> Child:
        if self._signing is None:
            raise ValueError("nothing signs")
        if self._signer is None:
            signing = self._signing
            child = await self._stack.enter_async_context(Child(signing.sign if signing.command else None))
            key = signing.key.reveal() if signing.key else ""
            await child.ask("identity", certificate=signing.certificate, key=key)
            self._signer = child
        return self._signer

    async def _restart(self) -> None:
        """End both processes at once; the next use starts new ones."""
        await self._stack.aclose()
        self._cutter = self._signer = None
