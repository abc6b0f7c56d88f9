"""Whether a run would change nothing: then a finished edition of any size is left as it is.

The ledger has the say: every purchase that it lists is over for good, nothing of the plan is left to buy, and it holds
as many records as the manifest counts. Only then is the manifest believed, and only if all that it names is there as it
was written, and the checksums, which a run writes last, know it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

from adloom.core.decision import FOLDER as DECISIONS
from adloom.core.errors import RecordUnreadable
from adloom.core.outcomes import Status
from adloom.core.selection import EVERYTHING
from adloom.gallery.chooser.write import NAME as REVIEW_PAGE
from adloom.gallery.view import page_name
from adloom.ledger.edition import Edition, from_json
from adloom.ledger.index import entries_of
from adloom.plan.assessment import Assessment
from adloom.plan.reserve import wanted_of
from adloom.plan.revision import Revision, read_newest
from adloom.ports import Store
from adloom.publish.checksums import NAME as CHECKSUMS
from adloom.publish.manifest import Published

MANIFEST = "manifest.json"
COMPLETE = "complete"
PAGES = (page_name(1), REVIEW_PAGE)


async def unchanged(store: Store, assessment: Assessment) -> Published | None:
    """What the run that finished an edition has published, if another run would publish the same; else None."""
    edition, ledger = assessment.edition, assessment.ledger
    if not _has_nothing_to_do(assessment):
        return None
    newest = await read_newest(store, edition)
    if newest is None or not wanted_of(assessment).is_said_by(newest):
        return None
    content = await store.read(edition.key(MANIFEST)) or b""
    manifest = _read(content)
    is_current = manifest.get("facts") == ledger.fact_count() and _is_of(manifest, newest)
    if not is_current or not await _is_whole(store, edition, manifest) or not await _is_proven(store, edition, content):
        return None
    if await entries_of(store, "open", edition) - await entries_of(store, "closed", edition):
        return None
    asked = Counter({Status.ARCHIVED: newest.wanted})
    return Published(manifest, store.link(edition.key(MANIFEST)), asked, waiting=newest.wanted)


def _has_nothing_to_do(assessment: Assessment) -> bool:
    wish, ledger, campaign = assessment.wish, assessment.ledger, assessment.source.campaign
    asks_for_more = wish.only or wish.refresh or wish.replace or assessment.choice is not EVERYTHING
    left = assessment.to_buy or assessment.surveyed.totals.images or assessment.waiting
    doubts = assessment.lack or ledger.losses or assessment.bad_references
    follows = campaign.delivery.after_run or campaign.sheet_after_run
    if asks_for_more or left or doubts or follows:
        return False
    calls = ledger.calls()
    return bool(calls) and all(map(ledger.ended, calls))


def _read(manifest: bytes) -> Mapping[str, Any]:
    try:
        return from_json(manifest, MANIFEST)
    except RecordUnreadable:
        return {}


def _is_of(manifest: Mapping[str, Any], newest: Revision) -> bool:
    """Whether a manifest says that all of a plan is archived."""
    plan = (manifest.get("plan_revision"), manifest.get("plan_sha256"))
    return manifest.get("status") == COMPLETE and plan == (newest.number, newest.sha256)


async def _is_whole(store: Store, edition: Edition, manifest: Mapping[str, Any]) -> bool:
    """Whether the files of a manifest are as it says, the pages are there, and nobody has decided anything."""
    files = manifest.get("files")
    for name in ("assets.csv", "assets.jsonl"):
        file = await store.open(edition.key(name))
        written = files.get(name) if isinstance(files, dict) else None
        sha256 = written.get("sha256") if isinstance(written, dict) else None
        if file is None or hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            return False
    for name in PAGES:
        if edition.key(name) not in [listed.key async for listed in store.list(edition.key(name))]:
            return False
    return not [listed async for listed in store.list(edition.key(DECISIONS))]


async def _is_proven(store: Store, edition: Edition, manifest: bytes) -> bool:
    """Whether the checksums hold this manifest: the run that wrote it then came to its end."""
    line = f"{hashlib.sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()
    return line in (await store.open(edition.key(CHECKSUMS)) or ())
