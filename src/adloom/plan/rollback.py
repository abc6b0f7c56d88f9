"""What an edition has recorded about its ledger. A ledger that knows less than that was rolled back.

A ledger restored from yesterday's backup, a lagging replica or a deleted folder looks as if nothing had been bought
yet. Next to it are later records of its own: the newest revision of the plan, which says how many calls it found; the
heartbeats of runs, which count its records; ``manifest.json``; ``assets.jsonl``, which names calls and their tasks; and
the images under ``assets/``. Outside the edition's folder, which may have been restored as a whole, the archive's index
names the runs that were about to buy. They are read *before* the ledger is listed, so that what another run writes
meanwhile can only make the ledger know more than they do.

``loss-<n>.json``, created once, is a person's declaration that what the ledger is missing is lost: ``schema``
(``adloom.loss/1``), ``time``, ``writer``, ``by``, ``reason``, the ``totals`` of the manifest that the ledger is
missing, how many ``facts``, which ``tasks``, ``assets`` and ``runs`` it does not know, and ``plan_revision``, the
newest revision of the plan that is lost (0 for none). What was charged stays charged.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from adloom.core.counting import counted
from adloom.core.ended import Ended
from adloom.core.errors import InputError
from adloom.core.facts import CallFacts
from adloom.core.manifest import LOSABLE, Tally, number
from adloom.ledger.edition import Edition, parse_json, to_json, utc
from adloom.ledger.heartbeats import read_heartbeat, run_of
from adloom.ledger.index import OLDER, entries_of
from adloom.ledger.ledger import Ledger
from adloom.plan.revision import newest_plan
from adloom.ports import Clock, Spool, Store

SCHEMA = "adloom.loss/1"

DAMAGES_SHOWN = 3
"""Messages name so many damaged records."""

_NAMED = re.compile(r'"call":"([^"]+)","attempt":\d+,"task":(?:"([^"]+)"|null)')
_ASSET = re.compile(r"-(?P<number>\d+)-(?P<key>[0-9a-f]{6}|[0-9a-f]{12}|[0-9a-f]{64})\.[a-z0-9]+")
_DIGITS = (6, 12, 64)
"""The most characters of a variant's key in the name of its asset."""


@dataclass(frozen=True, slots=True)
class Lack:
    """What a ledger is missing compared with its edition's earlier records; false if nothing."""

    totals: Mapping[str, Decimal]
    """By the names of the manifest's totals."""
    facts: int = 0
    tasks: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    revisions: int = 0
    plan_revision: int = 0
    """The newest revision of the plan that is missing, 0 for none."""
    runs: tuple[str, ...] = ()
    """Runs that the archive's index names and that have left no heartbeat in the edition's folder."""
    damaged: tuple[str, ...] = ()
    """Records that cannot be read, a sentence each: what else is missing may be in the calls that they belong to."""

    def __bool__(self) -> bool:
        return self.purchases or bool(self.damaged or self.facts or self.totals)

    @property
    def purchases(self) -> bool:
        """Whether there are purchases that the ledger does not know, or plans that may name some."""
        return bool(self.totals.get("calls") or self.tasks or self.assets or self.revisions or self.runs)

    @property
    def problem(self) -> str:
        """What is wrong with the ledger, as the rest of a sentence about it."""
        if self.damaged:
            more = f"; and {len(self.damaged) - DAMAGES_SHOWN} more" if len(self.damaged) > DAMAGES_SHOWN else ""
            return f"cannot be read in full: {'; '.join(self.damaged[:DAMAGES_SHOWN])}{more}"
        return f"is older than its manifest, the files next to it or the archive's index; missing: {self}"

    def __str__(self) -> str:
        calls, charged = int(self.totals.get("calls", 0)), self.totals.get("credits_charged")
        told = (
            (calls, counted(calls, "purchase")),
            (charged, f"{charged:f} credits charged" if charged else ""),
            (self.tasks, counted(len(self.tasks), "task")),
            (self.assets, counted(len(self.assets), "image") + " in assets/"),
            (self.revisions, counted(self.revisions, "revision") + " of the plan"),
            (self.facts, counted(self.facts, "record")),
            (self.runs, "all of " + counted(len(self.runs), "run") + " in the archive's index"),
        )
        return ", ".join(words for is_lacking, words in told if is_lacking)


NOTHING = Lack({})


@dataclass(frozen=True, slots=True)
class Past:
    """What an edition said about its ledger when it was read."""

    manifest: Mapping[str, Any]
    found_calls: int
    """The purchases that the maker of the newest revision found in the ledger."""
    revision: int
    facts: int
    """The most records that a run's heartbeat has counted."""
    lines: Spool
    """``assets.jsonl``; empty if it is not as it was written."""
    assets: tuple[str, ...]
    gone: tuple[str, ...]
    """Runs of the archive's index without a heartbeat."""

    @property
    def assets_jsonl(self) -> Iterator[bytes]:
        """Its lines."""
        self.lines.seek(0)
        return iter(self.lines)

    def without(self, damaged: Container[str]) -> Past:
        """The same without the word of documents that are not as they were written."""
        past = replace(self, manifest={}) if "manifest.json" in damaged else self
        return replace(past, lines=Spool()) if "assets.jsonl" in damaged else past

    def heard(self) -> Heard:
        """The recorder that sees every call, so that ``lack_of`` can find what is missing."""
        return Heard({beginning for _, beginning in _named(self.assets)})

    def lacking(self, ledger: Ledger) -> Lack:
        """What a ledger that was read afterwards is missing."""
        return self.lack_of(self._heard_of(ledger), ledger)

    def _heard_of(self, ledger: Ledger) -> Heard:
        heard = self.heard()
        for call in ledger.calls():
            heard.add(ledger.ended(call) or ledger.facts(call))
        return heard

    def lack_of(self, known: Heard, ledger: Ledger) -> Lack:
        """What a ledger is missing, once all of its calls have been seen."""
        lost = ledger.losses
        revision = max(self.revision, *(_count(loss.get("plan_revision")) for loss in lost), 0)
        facts = max(0, max(self.facts, _count(self.manifest.get("facts"))) - ledger.facts_ever())
        return Lack(
            totals=self._totals(known, lost, has_all_facts="facts" in self.manifest and not facts),
            facts=facts,
            tasks=self._tasks(known, {task for loss in lost for task in loss["tasks"]}),
            assets=self._assets(known, {key for loss in lost for key in loss["assets"]}),
            revisions=max(0, self.plan_revision - revision),
            plan_revision=self.plan_revision if self.plan_revision > revision else 0,
            runs=tuple(sorted(set(self.gone) - {run for loss in lost for run in loss.get("runs", ())})),
            damaged=tuple(sorted(ledger.damaged.values())),
        )

    def _totals(self, known: Heard, lost: Sequence[Mapping[str, Any]], *, has_all_facts: bool) -> dict[str, Decimal]:
        """The totals that are lower than they were. A charge may be corrected, where every fact is still there."""
        before = self.manifest.get("totals")
        told = {name: _sum(before.get(name)) if isinstance(before, dict) else Decimal(0) for name in LOSABLE}
        told["calls"] = max(told["calls"], Decimal(self.found_calls))
        given_up = {name: sum(Decimal(str(loss["totals"].get(name, 0))) for loss in lost) for name in LOSABLE}
        short = {name: told[name] - given_up[name] - known.totals[name] for name in LOSABLE}
        short = {name: lack for name, lack in short.items() if lack > 0}
        is_less = "calls" in short or ("credits_charged" in short and not has_all_facts)
        return short if is_less else {}

    def _tasks(self, known: Heard, lost: set[str]) -> tuple[str, ...]:
        found = (found for line in self.assets_jsonl for found in _NAMED.finditer(line.decode(errors="replace")))
        lacking = {
            task or call
            for call, task in (each.groups() for each in found)
            if call not in known.calls or (task and task not in known.tasks)
        }
        return tuple(sorted((lacking | known.without_intent) - lost))

    def _assets(self, known: Heard, lost: set[str]) -> tuple[str, ...]:
        return tuple(key for key, beginning in _named(self.assets) if beginning in known.missing and key not in lost)

    def unknown_assets(self, ledger: Ledger) -> list[tuple[str, str]]:
        """The images of variants that a ledger does not know, each with the beginning of its variant's key."""
        missing = self._heard_of(ledger).missing
        return [(key, beginning) for key, beginning in _named(self.assets) if beginning in missing]

    @property
    def plan_revision(self) -> int:
        """The revision that manifest and ``assets.jsonl`` belong to; 0 if unknown."""
        return _count(self.manifest.get("plan_revision"))


async def read_past(store: Store, edition: Edition) -> Past:
    """Read what an edition has recorded about its ledger; must be read before the ledger.

    Within it the manifest is read before the plan that it names, so that a run that ends meanwhile is no sign either.
    """
    manifest = _mapping(await store.read(edition.key("manifest.json")))
    opened = {entry.run for entry in await entries_of(store, "open", edition)} - {OLDER}
    facts = [0]
    async for listed in store.list(edition.key("runs/")):  # a run shows a heartbeat before it has an entry
        if token := run_of(listed.key.removeprefix(edition.prefix)):
            opened.discard(token)
            beat = read_heartbeat(await store.read(listed.key) or b"", token) or {}
            facts.append(_count(beat.get("facts")))
    lines = _intact(await store.open(edition.key("assets.jsonl")) or Spool(), manifest.get("files"))
    assets = tuple([listed.key.removeprefix(edition.prefix) async for listed in store.list(edition.key("assets/"))])
    newest = await newest_plan(store, edition) or {}
    found = newest.get("found", {}).get("calls", 0)
    return Past(manifest, found, newest.get("revision", 0), max(facts), lines, assets, tuple(opened))


async def accept_loss(ledger: Ledger, clock: Clock, lack: Lack, *, reason: str, by: str) -> None:
    """Record a person's declaration that what a ledger is missing is lost.

    What was charged counts against the budget for good; the images of the lost purchases may be bought again. Raises
    InputError when nothing is missing, or when someone else has settled it meanwhile.
    """
    if not lack:
        raise InputError("nothing is missing from the ledger", remedy="Leave --accept-loss out.")
    key = ledger.edition.key(f"loss-{len(ledger.losses) + 1}.json")
    record = {
        "schema": SCHEMA,
        "time": utc(clock.now()),
        "writer": ledger.writer,
        "by": by,
        "reason": reason,
        "totals": {name: number(count) for name, count in lack.totals.items()},
        "facts": lack.facts,
        "tasks": list(lack.tasks),
        "assets": list(lack.assets),
        "runs": list(lack.runs),
        "plan_revision": lack.plan_revision,
    }
    if not await ledger.store.create(key, to_json(record)):
        raise InputError("somebody else has just accepted a loss", remedy="Run `adloom verify` again.")


def _intact(assets_jsonl: Spool, files: object) -> Spool:
    """``assets.jsonl``; empty if it is damaged, or written by a run that came no further."""
    written = files.get("assets.jsonl") if isinstance(files, dict) else None
    sha256 = hashlib.file_digest(assets_jsonl, "sha256").hexdigest()
    return assets_jsonl if isinstance(written, dict) and written.get("sha256") == sha256 else Spool()


def _mapping(content: bytes | None) -> dict[str, Any]:
    """A manifest as written; a damaged one is ignored here and reported by `verify`."""
    try:
        found = parse_json(content or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _count(told: object) -> int:
    return told if isinstance(told, int) else 0


def _sum(told: object) -> Decimal:
    return Decimal(str(told)) if isinstance(told, int | float) else Decimal(0)


class Heard:
    """What a ledger says about its calls, as far as it is compared with its edition's records."""

    def __init__(self, beginnings: set[str]) -> None:
        self.calls: set[str] = set()
        self.tasks: set[str] = set()
        self.missing = beginnings
        """The beginnings of variants' keys in the names of assets for which no purchase has been seen so far."""
        self.without_intent: set[str] = set()
        """The calls that something answered, and whose intents are lost."""
        self._tally = Tally()

    def add(self, facts: CallFacts | Ended) -> None:
        """See the next call."""
        self._tally.add_call(facts)
        if isinstance(facts, Ended):
            self.calls.add(facts.call)
            self.tasks.add(facts.task)
            for key in facts.variants:
                self.missing.difference_update([key[:digits] for digits in _DIGITS])
            return
        if facts.intent is not None:
            self.calls.add(facts.call)
        elif any(attempt.tasks or attempt.unknown for attempt in facts.attempts):
            self.without_intent.add(facts.call)
        for attempt in facts.attempts:
            self.tasks.update(attempt.tasks, (attempt.task,), (disowned.task for disowned in attempt.disowned))
            for variant in attempt.intent.variants if attempt.intent else ():
                self.missing.difference_update(variant.key[:digits] for digits in _DIGITS)

    @property
    def totals(self) -> Mapping[str, Decimal]:
        """By the names of the manifest's totals."""
        totals = self._tally.totals(0)
        return {name: Decimal(str(totals[name])) for name in LOSABLE}


def _named(assets: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The keys of assets, each with the beginning of its variant's key."""
    for key in assets:
        if match := _ASSET.search(key):
            yield key, match["key"]
