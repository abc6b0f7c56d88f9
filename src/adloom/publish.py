"""Writing what an edition came to: ``assets.jsonl``, ``assets.csv`` and, last of all, ``manifest.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adloom.core.exits import Stop
from adloom.core.manifest import SCHEMA, Tally, asset_lines, csv_lines, jsonl_line, overall_status
from adloom.core.outcomes import Outcome, Status, outcomes
from adloom.freeze import Revision, planned_rows
from adloom.ledger import Edition, Ledger
from adloom.ports import Store

LEDGER_READINGS = 3
"""A ledger that grows while the manifest is written is read again; after this many the other writers have the word."""


@dataclass(frozen=True, slots=True)
class Published:
    """A written manifest: its content and where it is."""

    manifest: Mapping[str, Any]
    address: str

    def found(self) -> dict[Status, int]:
        """Wanted variants by their end."""
        return {status: self.manifest["totals"][status.value] for status in Status}


async def publish(
    store: Store, edition: Edition, ledger: Ledger, revision: Revision, stops: tuple[Stop, ...]
) -> Published:
    """Write the manifest and its files; when the ledger grew meanwhile, read it and write them again."""
    for reading in range(1, LEDGER_READINGS + 1):
        published = await _publish_once(store, edition, ledger, revision, stops)
        if reading == LEDGER_READINGS or not await ledger.grew():
            break
        await ledger.load()
    return published


async def _publish_once(
    store: Store, edition: Edition, ledger: Ledger, revision: Revision, stops: tuple[Stop, ...]
) -> Published:
    calls = [ledger.facts(call) for call in ledger.calls()]
    tally = Tally()
    for facts in calls:
        tally.add_call(facts)
    known = outcomes(calls)
    files: dict[str, Any] = {}
    for name, content in (await _asset_files(store, edition, revision, known, tally)).items():
        await store.replace(edition.key(name), content, media_type=_MEDIA_TYPES[name])
        lines = content.count(b"\n") if name == "assets.jsonl" else tally.found.total()
        files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content), "lines": lines}
    manifest = {
        "schema": SCHEMA,
        "campaign": edition.campaign,
        "edition": edition.edition,
        "status": overall_status(tally.found, stops),
        "plan_revision": revision.number,
        "plan_sha256": revision.sha256,
        "totals": tally.totals(revision.wanted),
        "files": files,
    }
    content = json.dumps(manifest, ensure_ascii=False, indent=2).encode() + b"\n"
    await store.replace(edition.key("manifest.json"), content)
    return Published(manifest, store.link(edition.key("manifest.json")))


_MEDIA_TYPES = {"assets.jsonl": "application/x-ndjson", "assets.csv": "text/csv; charset=utf-8"}


async def _asset_files(
    store: Store, edition: Edition, revision: Revision, known: Mapping[str, Outcome], tally: Tally
) -> dict[str, bytes]:
    jsonl: list[bytes] = []
    table: list[bytes] = [csv_lines((), header=True).encode("utf-8-sig")]
    async for planned in planned_rows(store, edition, revision):
        lines = list(asset_lines(planned, known))
        tally.found.update(Status(line["status"]) for line in lines)
        jsonl.append("".join(map(jsonl_line, lines)).encode())
        table.append(csv_lines(lines, header=False).encode())
    return {"assets.jsonl": b"".join(jsonl), "assets.csv": b"".join(table)}
