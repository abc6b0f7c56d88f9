"""Writes ``review.html`` next to the images, at the end of a run and during it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from adloom.core.identity import thumb_key
from adloom.gallery.chooser import Live, Page, render
from adloom.gallery.choosing import Choosing, Reading
from adloom.gallery.thumbs import existing_thumbs
from adloom.ledger.edition import Edition
from adloom.ledger.ledger import Ledger
from adloom.ports import Store

NAME = "review.html"
_RUNNING = b'"running":"2'
_MEDIA_TYPE = "text/html; charset=utf-8"


_FINISHED = Live()


async def write_review_page(store: Store, edition: Edition, ledger: Ledger, live: Live = _FINISHED) -> str:
    """Write the page that people decide on; its address. ``live`` says how far a run is that is still in progress.

    ``ledger`` is loaded already. Raises InputError when the edition has no plan yet.
    """
    reading = await Reading.begin(store, edition, ledger)
    page = Page(reading.frame, await existing_thumbs(store, edition), live)
    async for each in reading.candidates():
        page.add(each)
    proposed = await reading.proposed()
    return await _replace(store, edition, await asyncio.to_thread(page.finish, proposed))


async def write_latest_page(store: Store, choosing: Choosing, live: Live) -> str:
    """Write the same page with a run's latest images alone; its address. They are taken to have thumbnails."""
    thumbs = {thumb_key(each.line["key"]) for each in choosing.candidates}
    content = await asyncio.to_thread(render, choosing, thumbs, replace(live, excerpt=True))
    return await _replace(store, choosing.edition, content)


async def _replace(store: Store, edition: Edition, content: bytes) -> str:
    await store.replace(edition.key(NAME), content, media_type=_MEDIA_TYPE)
    return store.link(edition.key(NAME))


def tells_of_a_run(content: bytes) -> bool:
    """Whether a page was written during a run: such a page differs from the checksums only until the run ends."""
    return _RUNNING in content  # a quote in the page's own data is escaped with a backslash
