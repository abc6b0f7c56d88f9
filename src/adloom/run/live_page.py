"""The page of a run in progress: written from the first image on, and again as images arrive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adloom.gallery.chooser.write import write_review_page
from adloom.ledger.edition import utc
from adloom.ledger.ledger import Ledger
from adloom.run.run import Run
from adloom.world import World

log = logging.getLogger(__name__)

LOOKS_EVERY_INTERVALS = 2
SHARE_OF_TIME = 20
"""A page that takes long is written rarely: at most a twentieth of the time."""
MOST_IMAGES = 20_000
"""Writing a larger page would block the run for more than a second at a time, so it is written at the end.

An interrupted run of so many leaves all pages to the next run, or to ``adloom gallery``: whoever stops it waits.
"""


@asynccontextmanager
async def live_page(world: World, run: Run) -> AsyncIterator[None]:
    """Keep the page up to date while the context is open."""
    if run.revision.wanted > MOST_IMAGES:
        yield
        return
    writing = asyncio.create_task(_keep_up(world, run, run.ledger))
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


async def _keep_up(world: World, run: Run, ledger: Ledger) -> None:
    shown, cost_s = run.progress().archived, 0.0
    while True:
        await world.clock.sleep(max(LOOKS_EVERY_INTERVALS * world.poll_interval_s, cost_s * SHARE_OF_TIME))
        if (archived := run.progress().archived) == shown:
            continue
        began = world.clock.monotonic()
        try:
            await write_review_page(world.store, run.edition, ledger, running=utc(world.clock.now()))
        except Exception as error:  # noqa: BLE001 - a page that cannot be shown yet must not end what is being bought
            log.debug("the page of a run that goes on was not written: %s", type(error).__name__)
        shown, cost_s = archived, world.clock.monotonic() - began
