"""The status of editions: one from its ledger, a whole archive from its index and manifests.

For an edition that owes nothing, the manifest is enough. An open one is read in full: its manifest is as old as its
last run's end.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adloom.core.errors import RecordUnreadable
from adloom.core.origin import Origin
from adloom.ledger.edition import Edition, from_json
from adloom.ledger.index import indexed_editions
from adloom.ledger.ledger import Ledger
from adloom.plan.revision import read_newest
from adloom.ports import Clock, Store
from adloom.publish.manifest import derive
from adloom.spend.held import Held, held_calls

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """One edition: its manifest as it is or would be written now, and the purchases that a person must settle."""

    manifest: Mapping[str, Any]
    origin: Origin
    held: tuple[Held, ...] = ()


async def standing_of(store: Store, edition: Edition, clock: Clock) -> Standing | None:
    """An edition by its plan and its ledger; None when it has no plan yet.

    Only its manifest knows how its last run stopped, so its word counts while nothing else in it has changed.
    """
    revision = await read_newest(store, edition)
    if revision is None:
        return None
    ledger = Ledger(store, edition, clock, writer=secrets.token_hex(8))
    await ledger.load()
    manifest = (await derive(store, edition, ledger, revision)).manifest
    published = await _manifest(store, edition)
    if published == from_json(json.dumps({**manifest, "status": (published or {}).get("status")}).encode(), "manifest"):
        manifest = published
    return Standing(manifest, revision.origin, tuple(held_calls(ledger, clock.now())))


async def standings(store: Store, clock: Clock) -> list[Standing]:
    """Every edition of an archive that has a plan."""
    editions, are_open = await indexed_editions(store, clock.now())
    found = []
    for edition in editions:
        standing = None if edition in are_open else await _published(store, edition)
        found.append(standing or await standing_of(store, edition, clock))
    return [standing for standing in found if standing is not None]


async def _published(store: Store, edition: Edition) -> Standing | None:
    """An edition by its manifest; None where that is missing or cannot be read."""
    manifest = await _manifest(store, edition)
    if manifest is None:
        return None
    return Standing(manifest, Origin(str(manifest.get("origin", "")), bool(manifest.get("sandbox"))))


async def _manifest(store: Store, edition: Edition) -> Mapping[str, Any] | None:
    key = edition.key("manifest.json")
    content = await store.read(key)
    if content is None:
        return None
    try:
        return from_json(content, key)
    except RecordUnreadable as error:
        log.warning("%s", error.message)
        return None
