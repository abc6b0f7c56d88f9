"""Writes ``review.html`` next to the images, at the end of a run and during it."""

from __future__ import annotations

import asyncio

from adloom.gallery.chooser import Live, page_data, render
from adloom.gallery.choosing import read_choosing
from adloom.gallery.thumbs import existing_thumbs
from adloom.ledger.edition import Edition
from adloom.ledger.ledger import Ledger
from adloom.ports import Store

NAME = "review.html"
_RUNNING = b'"running":"2'
_MEDIA_TYPE = "text/html; charset=utf-8"


async def write_review_page(store: Store, edition: Edition, ledger: Ledger, running: str = "") -> str:
    """Write the page that people decide on; its address. ``running`` is the time if a run is still in progress.

    ``ledger`` is loaded already. Raises InputError when the edition has no plan yet.
    """
    choosing = await read_choosing(store, edition, ledger)
    thumbs = await existing_thumbs(store, edition)
    content = await asyncio.to_thread(lambda: render(choosing, page_data(choosing, thumbs, Live(running))))
    await store.replace(edition.key(NAME), content, media_type=_MEDIA_TYPE)
    return store.link(edition.key(NAME))


def tells_of_a_run(content: bytes) -> bool:
    """Whether a page was written during a run: such a page differs from the checksums only until the run ends."""
    return _RUNNING in content  # a quote in the page's own data is escaped with a backslash
