"""Writes the result of an edition: ``assets.jsonl``, ``assets.csv`` and, last, ``manifest.json``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from adloom.core.decision import Decision, standing
from adloom.core.exits import Stop
from adloom.core.manifest import (
    CHOICE_COLUMNS,
    COLUMNS,
    SCHEMA,
    Tally,
    asset_jsonl,
    csv_lines,
    lines_of_takes,
    overall_status,
)
from adloom.core.outcomes import Outcome, Outcomes, Status
from adloom.core.planned import PlannedRow
from adloom.core.selection import EVERYTHING, Choice
from adloom.ledger.decisions import read_facts
from adloom.ledger.edition import Edition
from adloom.ledger.ledger import Ledger
from adloom.plan.revision import Revision, planned_rows
from adloom.ports import Store
from adloom.publish.document import Document

LEDGER_READINGS = 3
"""A ledger that grows while the manifest is written is read again, at most this often; then it is left to the other
writers."""


Blocked: TypeAlias = Mapping[tuple[str, str], int]
"""Images that wait for approvals, by their job and the one whose images have to be approved."""

_MEDIA_TYPES = {"assets.jsonl": "application/x-ndjson", "assets.csv": "text/csv; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Derived:
    """What follows from plan and ledger: the manifest, and the content of the files that it names."""

    manifest: Mapping[str, Any]
    files: Mapping[str, Document]
    asked: Mapping[Status, int]
    """The variants of the rows that a run was for, by their end."""
    waiting: int = 0
    """As in ``Published``."""
    blocked: Blocked = field(default_factory=dict)
    """As in ``Published``."""


@dataclass(frozen=True, slots=True)
class Published:
    """A written manifest: its content and where it is, and the ends of what a run was for."""

    manifest: Mapping[str, Any]
    address: str
    asked: Mapping[Status, int]
    selection: str = ""
    waiting: int = 0
    """Archived images, of each variant the latest take, that nobody has approved or rejected."""
    blocked: Blocked = field(default_factory=dict)
    """Wanted images that are not bought yet because they wait for approvals."""


async def publish(
    store: Store,
    edition: Edition,
    ledger: Ledger,
    revision: Revision,
    stops: tuple[Stop, ...] = (),
    choice: Choice = EVERYTHING,
) -> Published:
    """Write the manifest and its files; when the ledger grew meanwhile, read it and write them again."""
    for reading in range(1, LEDGER_READINGS + 1):
        derived = await derive(store, edition, ledger, revision, stops, choice)
        for name, document in derived.files.items():
            await store.replace(edition.key(name), document.file(), media_type=_MEDIA_TYPES[name])
        content = json.dumps(derived.manifest, ensure_ascii=False, indent=2).encode() + b"\n"
        await store.replace(edition.key("manifest.json"), content)
        if reading == LEDGER_READINGS or not await ledger.grew():
            break
        await ledger.catch_up()
    address = store.link(edition.key("manifest.json"))
    return Published(derived.manifest, address, derived.asked, choice.selection.words, derived.waiting, derived.blocked)


async def unpublished(
    store: Store,
    edition: Edition,
    ledger: Ledger,
    revision: Revision,
    stops: tuple[Stop, ...] = (),
    choice: Choice = EVERYTHING,
) -> Published:
    """What ``publish`` would write, with the address of the manifest that stays."""
    derived = await derive(store, edition, ledger, revision, stops, choice)
    address = store.link(edition.key("manifest.json"))
    return Published(derived.manifest, address, derived.asked, choice.selection.words, derived.waiting, derived.blocked)


async def derive(  # noqa: PLR0913 - all that a manifest depends on
    store: Store,
    edition: Edition,
    ledger: Ledger,
    revision: Revision,
    stops: tuple[Stop, ...] = (),
    choice: Choice = EVERYTHING,
    *,
    without: Callable[[str], bool] = lambda _: False,
) -> Derived:
    """Derive the manifest and its files from a plan, the ledger as it was last read and the decisions; writes nothing.

    Decisions whose fact ``without`` takes, by its name in the edition, are left out, as are those that cannot be read.
    """
    tally = Tally()
    known = Outcomes(ledger.facts, ledger.calls(), tally.add_call, ledger.ended)
    for loss in ledger.losses:
        tally.add_loss(loss["totals"])
    facts_of_choice = (await read_facts(store, edition)).facts
    decisions = standing(fact for name, fact in facts_of_choice.items() if not without(name))
    assets = _Assets(known, choice, decisions)
    async for planned in planned_rows(store, edition, revision):
        assets.add(planned)
    tally.found.update(assets.found)
    files = assets.files()
    manifest = {
        "schema": SCHEMA,
        "campaign": edition.campaign,
        "edition": edition.edition,
        **_origin_of(revision),
        "status": overall_status(tally.found, stops, doubtful=tally.doubtful),
        "plan_revision": revision.number,
        "plan_sha256": revision.sha256,
        "totals": tally.totals(revision.wanted),
        **({"waits": _waits(assets.blocked)} if assets.blocked else {}),
        "facts": ledger.facts_ever(),
        "files": {name: _described(document, assets.lines) for name, document in files.items()},
    }
    return Derived(manifest, files, assets.asked, assets.waiting, assets.blocked)


def _waits(blocked: Blocked) -> list[dict[str, Any]]:
    return [{"job": job, "for": name, "images": images} for (job, name), images in blocked.items()]


def _origin_of(revision: Revision) -> dict[str, Any]:
    """Whose images they are; empty if the plan is of a version that did not record it."""
    origin = revision.origin
    return {"origin": origin.address, "sandbox": origin.is_stand_in} if origin.address else {}


def _described(document: Document, lines: int) -> dict[str, Any]:
    return {"sha256": document.sha256, "size_bytes": document.size_bytes, "lines": lines}


class _Assets:
    """The lines of all rows, of which none stays in memory, and their ends counted."""

    def __init__(self, known: Mapping[str, Outcome], choice: Choice, decisions: Mapping[str, Decision]) -> None:
        self.lines = 0
        self.waiting = 0
        self.found: Counter[Status] = Counter()
        self.asked: Counter[Status] = Counter()
        self.blocked: Counter[tuple[str, str]] = Counter()
        self._known = known
        self._decisions = decisions
        self._picker = choice.picker()
        self._retakes_only = choice.retakes_only
        self._jsonl = Document()
        self._table = Document()
        self._columns = (*COLUMNS, *CHOICE_COLUMNS) if decisions else COLUMNS
        self._table.write(csv_lines((), header=True, columns=self._columns).encode("utf-8-sig"))

    def add(self, planned: PlannedRow) -> None:
        """Add the next row of the plan."""
        takes = list(lines_of_takes(planned, self._known, self._decisions))
        wanted = {variant.key for variant in planned.variants}
        latest = [line for variant, line in takes if variant.key in wanted]
        self.found.update(Status(line["status"]) for line in latest)
        self.waiting += sum(line["status"] == Status.ARCHIVED and not line.get("decision") for line in latest)
        waits_for = planned.row.waits_for
        if waits_for:
            self.blocked[planned.row.job, waits_for] += len(latest)
        if self._picker.takes(planned.row) and not waits_for:
            self.asked.update(Status(line["status"]) for line in latest if self._is_asked_for(line))
        lines = [line for _, line in takes]
        self.lines += len(lines)
        self._jsonl.write(b"".join(map(asset_jsonl, lines)))
        self._table.write(csv_lines(lines, header=False, columns=self._columns).encode())

    def _is_asked_for(self, line: Mapping[str, Any]) -> bool:
        """A run for new takes alone leaves what it finds open to others."""
        return not (self._retakes_only and line["status"] == Status.OPEN and line["take"] == 1)

    def files(self) -> dict[str, Document]:
        """The two files by name."""
        return {"assets.jsonl": self._jsonl, "assets.csv": self._table}
