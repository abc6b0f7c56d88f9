"""A contact sheet: one small picture of an edition, for places that cannot show its page."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from adloom.core.identity import thumb_key
from adloom.ledger.edition import Edition
from adloom.ports import Decoder, Store

MOST_IMAGES = 24


async def contact_sheet(store: Store, edition: Edition, keys: Sequence[str], decoder: Decoder) -> str:
    """The thumbnails of images, given by their keys in the edition, as one JPEG in a ``data:`` URL.

    At most ``MOST_IMAGES``, spread evenly; empty when none has a thumbnail.
    """
    step = max(1, -(-len(keys) // MOST_IMAGES))
    thumbs = [await store.read(edition.key(thumb_key(key))) for key in keys[::step]]
    found = [thumb for thumb in thumbs if thumb]
    content = await decoder.sheet(found) if found else b""
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}" if content else ""
