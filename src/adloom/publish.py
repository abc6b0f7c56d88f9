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


_MEDIA_TYPES = {"assets.jsonl": "application/x-ndjson", "assets.csv": "text/csv; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Derived:
    """What plan and ledger come to: the manifest, and the content of the files that it names."""

    manifest: Mapping[str, Any]
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Published:
    """A written manifest: its content and where it is."""

    manifest: Mapping[str, Any]
    address: str

    def found(self) -> dict[Status, int]:
        """Wanted variants by their end."""
        return {status: self.manifest["totals"][status.value] for status in Status}


async def publish(
    store: Store, edition: Edition, ledger: Ledger, revision: Revision, stops: tuple[Stop, ...] = ()
) -> Published:
    """Write the manifest and its files; when the ledger grew meanwhile, read it and write them again."""
    for reading in range(1, LEDGER_READINGS + 1):
        derived = await derive(store, edition, ledger, revision, stops)
        for name, content in derived.files.items():
            await store.replace(edition.key(name), content, media_type=_MEDIA_TYPES[name])
        content = json.dumps(derived.manifest, ensure_ascii=False, indent=2).encode() + b"\n"
        await store.replace(edition.key("manifest.json"), content)
        if reading == LEDGER_READINGS or not await ledger.grew():
            break
        await ledger.load()
    return Published(derived.manifest, store.link(edition.key("manifest.json")))


async def derive(
    store: Store, edition: Edition, ledger: Ledger, revision: Revision, stops: tuple[Stop, ...] = ()
) -> Derived:
    """Derive the manifest and its files from a plan and the ledger as it was last read; nothing is written."""
    calls = [ledger.facts(call) for call in ledger.calls()]
    tally = Tally()
    for facts in calls:
        tally.add_call(facts)
    files = await _asset_files(store, edition, revision, outcomes(calls), tally)
    manifest = {
        "schema": SCHEMA,
        "campaign": edition.campaign,
        "edition": edition.edition,
        "status": overall_status(tally.found, stops),
        "plan_revision": revision.number,
        "plan_sha256": revision.sha256,
        "totals": tally.totals(revision.wanted),
        "files": {name: _described(content, tally.found.total()) for name, content in files.items()},
    }
    return Derived(manifest, files)


def _described(content: bytes, lines: int) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content), "lines": lines}


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
