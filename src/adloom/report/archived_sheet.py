"""The workbook that runs maintain next to the manifest, if the campaign asks for one."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from adloom.core.errors import InputError
from adloom.gallery.choosing import read_choosing
from adloom.gallery.view import IMAGES_PER_PAGE
from adloom.ledger.edition import Edition
from adloom.ledger.ledger import Ledger
from adloom.ports import Store
from adloom.publish.checksums import SHEET
from adloom.report.sheet import Exported, export_sheet
from adloom.report.sheet_rows import sheet_rows

SHEET_NAME = "images"
MOST_ROWS = IMAGES_PER_PAGE
"""Our own: a workbook of 20,000 rows takes some 400 MB of memory while it is written."""
_MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@dataclass(frozen=True, slots=True)
class ArchivedSheet:
    """What was written, and where it is."""

    done: Exported
    address: str


async def write_sheet(store: Store, edition: Edition, ledger: Ledger) -> ArchivedSheet:
    """Fill the edition's ``images.xlsx`` in place, or make it; ``ledger`` is loaded already.

    Raises InputError for a workbook that cannot be filled, and for an edition that is too large.
    """
    choosing = await read_choosing(store, edition, ledger)
    if len(choosing.candidates) > MOST_ROWS:
        raise InputError(
            f"{len(choosing.candidates):,} images are more than the {MOST_ROWS:,} that a run puts into a sheet",
            remedy="Use `adloom export-sheet`.",
        )
    rows = [row async for row in sheet_rows(store, choosing)]
    former = await store.read(edition.key(SHEET))
    with tempfile.TemporaryDirectory(prefix="adloom-") as folder:
        book = Path(folder) / SHEET
        if former is not None:
            book.write_bytes(former)
        done = await asyncio.to_thread(export_sheet, book, SHEET_NAME, rows)
        await store.replace(edition.key(SHEET), book.read_bytes(), media_type=_MEDIA_TYPE)
    return ArchivedSheet(done, store.link(edition.key(SHEET)))
