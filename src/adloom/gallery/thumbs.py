"""Thumbnails of archived images, made off the event loop and created once.

Only bytes that match the ledger's SHA-256 are opened: those were decoded whole, in a process of their own, when they
were archived. Anything else gets no thumbnail.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Mapping
from io import BytesIO
from typing import Any

from adloom.gallery.view import thumb_key
from adloom.ledger import Edition
from adloom.ports import Store

log = logging.getLogger(__name__)

LONGER_SIDE_PX = 480
QUALITY = 82
AT_ONCE = 4
"""Images in memory at once, 4K PNGs of 50 MB decoded among them; beyond the cores only the store's latency gains."""


async def existing_thumbs(store: Store, edition: Edition) -> set[str]:
    """The keys of an edition's thumbnails, relative to the edition."""
    return {listed.key.removeprefix(edition.prefix) async for listed in store.list(edition.key("thumbs/"))}


async def make_thumbs(store: Store, edition: Edition, lines: Iterable[Mapping[str, Any]]) -> set[str]:
    """Make the thumbnail of each archived image; the keys of those that there are now."""
    waiting = iter(lines)
    made: set[str] = set()

    async def work() -> None:
        for line in waiting:
            if await _make_one(store, edition, line["key"], line["sha256"]):
                made.add(thumb_key(line["key"]))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
    except ExceptionGroup as errors:  # the first one says what is wrong with the store
        raise errors.exceptions[0] from None
    return made


async def _make_one(store: Store, edition: Edition, key: str, sha256: str) -> bool:
    content = await store.read(edition.key(key))
    small = None if content is None else await asyncio.to_thread(_shrink_if_sound, content, sha256)
    if small is None:
        log.warning("%s is missing or damaged and gets no thumbnail; `adloom verify` tells more", edition.key(key))
        return False
    await store.create(edition.key(thumb_key(key)), small, media_type="image/jpeg")
    return True


def _shrink_if_sound(content: bytes, sha256: str) -> bytes | None:
    return shrink(content) if hashlib.sha256(content).hexdigest() == sha256 else None


def shrink(content: bytes) -> bytes | None:
    """An image as a small JPEG, upright and on white where it was transparent; None when it cannot be opened."""
    from PIL import Image, ImageOps  # noqa: PLC0415 - a run without new images needs no Pillow

    try:
        with Image.open(BytesIO(content), formats=["JPEG", "PNG", "WEBP"]) as image:
            image.draft("RGB", (LONGER_SIDE_PX, LONGER_SIDE_PX))  # a JPEG is decoded at a half, a quarter or an eighth
            profile = image.info.get("icc_profile") if image.mode == "RGB" else None
            ImageOps.exif_transpose(image, in_place=True)
            opaque: Image.Image = image
            if image.has_transparency_data:
                layer = image.convert("RGBA")
                opaque = Image.new("RGBA", layer.size, "white")
                opaque.alpha_composite(layer)
            small = opaque if opaque.mode == "RGB" else opaque.convert("RGB")
            small.thumbnail((LONGER_SIDE_PX, LONGER_SIDE_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    out = BytesIO()
    small.save(out, "JPEG", quality=QUALITY, optimize=True, progressive=True, icc_profile=profile)
    return out.getvalue()
