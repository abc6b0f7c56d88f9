"""The sweep: on a schedule, fetch what is paid for and outstanding in every edition of the archive."""

import os
from collections.abc import Sequence
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from adloom.core.errors import AdloomError, SettingInvalid, StoreError
from adloom.core.origin import Buying, Origin
from adloom.edges.settings import read_settings
from adloom.ledger.edition import Edition
from adloom.ledger.index import open_editions
from adloom.orchestration.artifacts import show_table
from adloom.orchestration.states import bad_input
from adloom.plan.revision import read_newest
from adloom.ports import Store
from adloom.run.sweep import Swept, sweep_all
from adloom.targets import open_store
from adloom.wiring import open_world, publish_again


@flow(name="sweep", retries=0, persist_result=False)
async def sweep_archive() -> State[Any]:
    """Fetch what is paid for and not yet archived, and report what needs a person. Buys nothing."""
    try:
        found = await _sweep_all()
    except AdloomError as error:
        return bad_input(error)
    rows = [_row(swept) for swept in found if not swept.is_clean]
    if rows:
        await show_table(rows, "sweep", "What was in flight, unknown or near the end of its links")
    return _final_state(found)


async def _sweep_all() -> list[Swept]:
    settings = read_settings(os.environ)
    if settings.api_key is None:
        raise SettingInvalid("EVOLINK_API_KEY is not set", remedy="Set it where the worker is started.")
    store = open_store(settings.archive)
    async with open_world(settings, store) as world:
        are_open = await open_editions(store, world.clock.now())
        editions = [each for each in are_open if await _may_be_ours(store, each, settings.origin)]
        found = await sweep_all(world, editions, publish_again)
    for swept in found:
        if not swept.is_clean:
            get_run_logger().info("%s", _words(swept))
    return found


async def _may_be_ours(store: Store, edition: Edition, origin: Origin) -> bool:
    """Whether this API can know the tasks of an edition: one that was bought from another is not asked about."""
    try:
        newest = await read_newest(store, edition)
    except StoreError:
        return True  # the sweep says what is wrong with it
    return newest is None or not Buying(origin).refusal(newest.origin, has_bought=True)


def _final_state(found: Sequence[Swept]) -> State[Any]:
    words = " ".join(_words(swept) for swept in found if not swept.is_clean) or "Nothing is outstanding."
    message = f"{len(found)} open editions checked. {words}"
    if any(swept.needs_a_person for swept in found):
        return Failed(name="NeedsYou", message=f"{message} `adloom status` and `adloom resolve` show details.")
    return Completed(message=message)


def _words(swept: Swept) -> str:
    counts = {name.replace("_", " "): count for name, count in _counts(swept).items() if count}
    said = [f"{count} {name}" for name, count in counts.items()]
    if swept.broken:
        said.append(f"could not be processed: {swept.broken}")
    return f"{swept.edition.prefix.rstrip('/')}: {', '.join(said)}."


def _row(swept: Swept) -> dict[str, Any]:
    return {
        "campaign": swept.edition.campaign,
        "edition": swept.edition.edition,
        **_counts(swept),
        "broken": swept.broken,
    }


def _counts(swept: Swept) -> dict[str, int]:
    names = ("fetched", "in_flight", "to_download", "near_expiry", "unknown")
    return {name: getattr(swept, name) for name in names}
