"""Makes missing thumbnails. Most are made when an image is checked; these are for older archives and lost ones.

Only bytes that match the ledger's SHA-256 are shown: anything else gets no thumbnail. They are made where images are
decoded, in the decoder's own processes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Iterable, Mapping
from typing import Any

from adloom.core.errors import DecoderBroken, PictureUnjudged
from adloom.core.identity import thumb_key
from adloom.ledger.edition import Edition
from adloom.ports import Decoder, Store

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Images in memory at once; more than the decoder's processes only hides the store's latency."""


async def existing_thumbs(store: Store, edition: Edition) -> set[str]:
    """The keys of an edition's thumbnails, relative to the edition."""
    return {listed.key.removeprefix(edition.prefix) async for listed in store.list(edition.key("thumbs/"))}


async def make_thumbs(store: Store, edition: Edition, lines: Iterable[Mapping[str, Any]], decoder: Decoder) -> set[str]:
    """Make the thumbnail of each archived image; the keys of those that there are now."""
    waiting = iter(lines)
    made: set[str] = set()

    async def work() -> None:
        for line in waiting:
            if await _make_one(store, edition, line, decoder):
                made.add(thumb_key(line["key"]))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
    except ExceptionGroup as errors:  # the first one says what is wrong with the store
        raise errors.exceptions[0] from None
    return made


async def _make_one(store: Store, edition: Edition, line: Mapping[str, Any], decoder: Decoder) -> bool:
    key = line["key"]
    content = await store.read(edition.key(key))
    if content is None or hashlib.sha256(content).hexdigest() != line["sha256"]:
        log.warning("%s is missing or damaged and gets no thumbnail; `adloom verify` shows details", edition.key(key))
        return False
    if not (small := await shrink(content, decoder)):
        log.warning("%s gets no thumbnail: it cannot be scaled down", edition.key(key))
        return False
    await store.create(edition.key(thumb_key(key)), small, media_type="image/jpeg")
    return True


async def shrink(content: bytes, decoder: Decoder) -> bytes:
    """An image's thumbnail; empty where none can be made."""
    try:
        picture = await decoder.decode(content)
    except (PictureUnjudged, DecoderBroken):
        return b""
    return picture.thumbnail if picture else b""
