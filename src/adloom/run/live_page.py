"""The page of a run in progress: written from the first image on, and again as images arrive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adloom.gallery.chooser import Live
from adloom.gallery.chooser.write import write_latest_page, write_review_page
from adloom.gallery.choosing import choosing_of_latest
from adloom.ledger.edition import utc
from adloom.run.run import Run
from adloom.world import World

log = logging.getLogger(__name__)

LOOKS_EVERY_INTERVALS = 2
SHARE_OF_TIME = 100
"""A page that takes long is written rarely: at most a hundredth of the time."""
NEWS_EVERY_S = 60.0
"""A page is written again after this long even if nothing has come, so that it is known that the run lives."""
MOST_IMAGES = 2_000
"""Reading all of a larger edition would block the run for more than a second at a time.

Its page shows the latest images only and costs the same however large it is; the one with all is written at the end.
"""


@asynccontextmanager
async def live_page(world: World, run: Run) -> AsyncIterator[None]:
    """Keep the page up to date while the context is open. Of runs that share the work, the first one does."""
    if run.share.number:
        yield
        return
    writing = asyncio.create_task(_keep_up(world, run))
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


async def leave_excerpt(world: World, run: Run) -> str:
    """Write the page with the latest images of a run that has ended; its address, empty if none came."""
    return await _write_excerpt(world, run, Live(is_shared=run.share.of > 1)) if run.latest else ""


async def _keep_up(world: World, run: Run) -> None:
    shown, at, cost_s = 0, 0.0, 0.0
    while True:
        await world.clock.sleep(max(LOOKS_EVERY_INTERVALS * world.poll_interval_s, cost_s * SHARE_OF_TIME))
        archived, began = run.progress().archived, world.clock.monotonic()
        if archived == shown and (not shown or began - at < NEWS_EVERY_S):
            continue
        try:
            await _write(world, run)
        except Exception as error:  # noqa: BLE001 - a page that cannot be shown yet must not end what is being bought
            log.debug("the page of a run that goes on was not written: %s", type(error).__name__)
        shown, at = archived, world.clock.monotonic()
        cost_s = at - began


async def _write(world: World, run: Run) -> None:
    progress = run.progress()
    live = Live(utc(world.clock.now()), progress.archived, progress.wanted, is_shared=run.share.of > 1)
    if run.revision.wanted <= MOST_IMAGES:
        await write_review_page(world.store, run.edition, run.ledger, live)
    elif run.latest:
        await _write_excerpt(world, run, live)


async def _write_excerpt(world: World, run: Run, live: Live) -> str:
    choosing = await choosing_of_latest(world.store, run.ledger, run.revision, tuple(run.latest))
    return await write_latest_page(world.store, choosing, live)
