"""A contact sheet: one small picture that shows what an edition came to, for places that cannot show its page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from adloom.gallery.view import thumb_key
from adloom.ledger import Edition
from adloom.ports import Store

if TYPE_CHECKING:
    from PIL import Image

COLUMNS = 6
MOST_IMAGES = 24
CELL_PX = 150
GAP_PX = 6
QUALITIES = (78, 60, 40)
LARGEST_BYTES = 90_000
"""It travels as a ``data:`` URL wherever a flow run's artifacts are listed, so it is kept small."""


async def contact_sheet(store: Store, edition: Edition, keys: Sequence[str]) -> str:
    """The thumbnails of images, given by their keys in the edition, as one JPEG in a ``data:`` URL.

    At most ``MOST_IMAGES``, spread evenly; empty when none has a thumbnail.
    """
    step = max(1, -(-len(keys) // MOST_IMAGES))
    thumbs = [await store.read(edition.key(thumb_key(key))) for key in keys[::step]]
    content = compose([thumb for thumb in thumbs if thumb])
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}" if content else ""


def compose(thumbs: Sequence[bytes]) -> bytes:
    """Thumbnails in rows on a white sheet, as a JPEG of at most ``LARGEST_BYTES``; empty for none."""
    from PIL import Image  # noqa: PLC0415 - a run without new images needs no Pillow

    if not thumbs:
        return b""
    columns, pitch = min(COLUMNS, len(thumbs)), CELL_PX + GAP_PX
    rows = -(-len(thumbs) // columns)
    sheet = Image.new("RGB", (columns * pitch + GAP_PX, rows * pitch + GAP_PX), "white")
    for number, thumb in enumerate(thumbs):
        with Image.open(BytesIO(thumb), formats=["JPEG"]) as opened:
            small = opened.convert("RGB")
        small.thumbnail((CELL_PX, CELL_PX))
        left, top = (GAP_PX + place * pitch for place in (number % columns, number // columns))
        sheet.paste(small, (left + (CELL_PX - small.width) // 2, top + (CELL_PX - small.height) // 2))
    return _smallest_enough(sheet)


def _smallest_enough(sheet: Image.Image) -> bytes:
    content = b""
    for quality in QUALITIES:
        out = BytesIO()
        sheet.save(out, "JPEG", quality=quality, optimize=True)
        content = out.getvalue()
        if len(content) <= LARGEST_BYTES:
            break
    return content
