"""Rebuilds the ledger of an edition whose records are lost, from the rest of its archive.

In this order: the records that seals hold; the calls that ``assets.jsonl`` names, with the plan that it follows; the
claims of tasks; the images under ``assets/`` that no call is known for, with the call and task that S3 keeps beside
them. A call all of whose images are archived comes back with them. One whose task is known comes back accepted, and the
next run collects it free of charge. Any other is held for a person. Nothing is bought on what is rebuilt: such an
intent names no account, so its key is never sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from adloom.core.campaign import Row
from adloom.core.identity import top_up_id
from adloom.core.order import idempotency_key
from adloom.core.outcomes import Status, missing
from adloom.core.planned import Variant
from adloom.core.pricing import kind_fields, kind_of, price_of
from adloom.core.records import Decided, Image, ImageFate, RefusalKind, images_record
from adloom.ledger.edition import Edition, from_json, parse_json, to_json
from adloom.ledger.ledger import SEALED, Ledger
from adloom.plan.revision import Revision, planned_rows, read_newest, read_revision
from adloom.plan.rollback import Past
from adloom.ports import Store

LOST = "its records were lost"


@dataclass
class _Lost:
    """What is known of a call without records."""

    row: Row
    variants: dict[str, Variant] = field(default_factory=dict)
    lines: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of ``assets.jsonl``, by the key of the variant: the first one, for rows may share an image."""
    tasks: dict[int, str] = field(default_factory=dict)
    """By attempt."""
    attempt: int = 1
    asset: str = ""


class Rebuilder:
    """One rebuilding of one ledger, which has been loaded."""

    def __init__(self, store: Store, edition: Edition, ledger: Ledger, past: Past) -> None:
        self._store = store
        self._edition = edition
        self._ledger = ledger
        self._past = past
        self._lost: dict[str, _Lost] = {}
        self.accepted = 0

    async def rebuild(self) -> int:
        """Write what can be recovered; how many calls and tasks came back."""
        newest = await read_newest(self._store, self._edition)
        if newest is None:
            return 0
        await self._take_from_seals()
        revision = await read_revision(self._store, self._edition, self._past.plan_revision) or newest
        await self._find_in_lines(revision)
        planned = await self._planned(newest)
        self._find_in_ledger(planned)
        await self._find_in_claims(planned)
        await self._find_in_assets(planned)
        parents = self._parents()
        for call, lost in sorted(self._lost.items()):
            await self._write(call, lost, newest, parents.get(call, ("", 0, 0)))
        return len(self._lost) + self.accepted

    def _is_lost(self, call: str) -> bool:
        return self._ledger.facts(call).intent is None

    async def _take_from_seals(self) -> None:
        async for listed in self._store.list(self._edition.key(f"ledger/{SEALED}/")):
            for call, records in from_json(await self._store.read(listed.key) or b"", listed.key)["calls"].items():
                for name, entry in records.items():
                    await self._store.create(self._edition.key(f"ledger/{call}/{name}.json"), to_json(entry["record"]))
        await self._ledger.load(trust_seals=False)

    async def _find_in_lines(self, revision: Revision) -> None:
        """The calls that ``assets.jsonl`` names: it has the variants of that plan in its order."""
        lines = iter([parse_json(line) for line in self._past.assets_jsonl])
        async for planned in planned_rows(self._store, self._edition, revision):
            for variant, line in zip(planned.variants, lines, strict=False):
                if not isinstance(line, dict) or not line["call"]:
                    continue
                if not self._is_lost(line["call"]):
                    await self._accept(line["call"], line["attempt"], line["task"])
                    continue
                lost = self._lost.setdefault(line["call"], _Lost(planned.row))
                lost.variants[variant.key] = variant
                lost.lines.setdefault(variant.key, line)
                lost.attempt = max(lost.attempt, line["attempt"])
                if line["task"]:
                    lost.tasks[line["attempt"]] = line["task"]

    async def _accept(self, call: str, attempt: int, task: str | None) -> None:
        """Record a task of a known purchase if its own record is lost."""
        facts = self._ledger.facts(call)
        for known in facts.attempts:
            disowned = {disowned.task for disowned in known.disowned}
            if known.number == attempt and known.intent is not None and task and task not in {*known.tasks, *disowned}:
                await self._ledger.accept(call, attempt, task, str(known.intent.credits), via="rebuilt")
                self.accepted += 1

    async def _planned(self, newest: Revision) -> dict[str, tuple[Row, tuple[Variant, ...]]]:
        """Every call that any revision planned."""
        found: dict[str, tuple[Row, tuple[Variant, ...]]] = {}
        for number in range(1, newest.number + 1):
            revision = await read_revision(self._store, self._edition, number)
            if revision is None:
                continue
            async for planned in planned_rows(self._store, self._edition, revision):
                found |= {call.id: (planned.row, call.variants) for call in planned.calls}
        return found

    def _find_in_ledger(self, planned: Mapping[str, tuple[Row, tuple[Variant, ...]]]) -> None:
        """The planned calls of which everything but the intent is there."""
        for call in self._ledger.calls():
            attempts = self._ledger.facts(call).attempts
            if self._is_lost(call) and call in planned and any(each.tasks or each.unknown for each in attempts):
                lost = self._lost.get(call) or self._add_planned(call, planned[call])
                lost.attempt = max(lost.attempt, *(each.number for each in attempts))
                for each in attempts:
                    if each.tasks:
                        lost.tasks.setdefault(each.number, each.tasks[0])

    async def _find_in_claims(self, planned: Mapping[str, tuple[Row, tuple[Variant, ...]]]) -> None:
        async for listed in self._store.list("tasks/"):
            name = listed.key.removeprefix("tasks/").removesuffix(".json")
            claim = parse_json(await self._store.read(listed.key) or b"null")
            if not isinstance(claim, dict) or claim.get("edition") != self._edition.prefix or name.startswith("h-"):
                continue
            call, attempt = str(claim["call"]), int(claim["attempt"])
            if not self._is_lost(call):
                await self._accept(call, attempt, name)
            if not self._is_lost(call) or (call not in planned and call not in self._lost):
                continue
            lost = self._lost.get(call) or self._add_planned(call, planned[call])
            lost.tasks.setdefault(attempt, name)
            lost.attempt = max(lost.attempt, attempt)

    def _add_planned(self, call: str, known: tuple[Row, tuple[Variant, ...]]) -> _Lost:
        row, variants = known
        self._lost[call] = _Lost(row, {variant.key: variant for variant in variants})
        return self._lost[call]

    async def _find_in_assets(self, planned: Mapping[str, tuple[Row, tuple[Variant, ...]]]) -> None:
        """The planned calls of images in ``assets/`` that are known from nowhere else."""
        known = {key for lost in self._lost.values() for key in lost.variants}
        for asset, beginning in self._past.unknown_assets(self._ledger):
            if any(key.startswith(beginning) for key in known):
                continue
            told = await self._store.metadata(self._edition.key(asset))
            for call, (row, variants) in planned.items():
                if self._is_lost(call) and any(variant.key.startswith(beginning) for variant in variants):
                    lost = self._add_planned(call, (row, variants))
                    lost.asset = asset
                    if told.get("call") == call and told.get("task"):
                        lost.tasks[lost.attempt] = told["task"]
                    known |= {variant.key for variant in variants}

    def _parents(self) -> dict[str, tuple[str, int, int]]:
        """Parent, round and fruitless calls of each top-up that a known call asks for."""
        asked = (missing(self._ledger.facts(call)) for call in self._ledger.calls())
        return {top_up_id(t.parent, t.round): (t.parent, t.round, t.fruitless) for t in asked if t is not None}

    async def _write(self, call: str, lost: _Lost, plan: Revision, place: tuple[str, int, int]) -> None:
        n = len(lost.variants)
        model = next((line["model"] for line in lost.lines.values()), lost.row.model)
        kind = kind_of(lost.row, model)
        quoted = str(price_of(kind, plan.prices) * n)
        parent, round_number, fruitless = place
        for attempt in range(1, lost.attempt + 1):
            intent = {
                "outcome": Decided.BOUGHT,
                "body": "",
                "idempotency_key": idempotency_key(plan.edition_token, call, attempt),
                "account": "",
                "credits": quoted,
                "revision": plan.number,
                "job": lost.row.job,
                "row": lost.row.name,
                "label": lost.row.label,
                "model": model,
                **kind_fields(kind),
                "variants": [{"key": v.key, "number": v.number, "take": v.take} for v in lost.variants.values()],
                "parent": parent,
                "round": round_number,
                "fruitless": fruitless,
                "rebuilt": True,
            }
            await self._ledger.decide(call, f"a{attempt}-intent", intent)
            if attempt in lost.tasks:
                await self._ledger.accept(call, attempt, lost.tasks[attempt], quoted, via="rebuilt")
            if attempt < lost.attempt:  # there is a next one only behind one that was free
                free = {"outcome": Decided.FREE, "kind": RefusalKind.TASK, "reason": LOST, "final": False}
                await self._ledger.decide(call, f"a{attempt}-settled", free)
        await self._end(call, lost)

    async def _end(self, call: str, lost: _Lost) -> None:
        """How the latest attempt ended, as far as it is known."""
        lines = list(lost.lines.values())
        attempt, ends = lost.attempt, {line["status"] for line in lines}
        if ends == {Status.ARCHIVED}:
            images = [_image(index, line) for index, line in enumerate(lines)]
            await self._ledger.note(call, f"a{attempt}-archived-1", images_record(images))
            charged = str(sum((Decimal(str(line["credits"])) for line in lines), start=Decimal(0)))
            links = [f"lost:{index}" for index in range(len(images))]
            completed = {"task": lost.tasks.get(attempt, ""), "links": links, "reported": len(links), "told": True}
            await self._ledger.note(call, f"a{attempt}-completed", {**completed, "credits": charged})
            charge = {"outcome": Decided.CHARGED, "credits": charged, "reason": "", "kind": "", "final": True}
            await self._ledger.decide(call, f"a{attempt}-settled", charge)
        elif ends == {Status.REFUSED}:
            reason = lines[0]["reason"] or LOST
            free = {"outcome": Decided.FREE, "kind": RefusalKind.REQUEST, "reason": reason, "final": True}
            await self._ledger.decide(call, f"a{attempt}-settled", free)
        elif attempt not in lost.tasks:
            reason = f"{LOST}; its image lies in {lost.asset}" if lost.asset else LOST
            await self._ledger.note(call, f"a{attempt}-unknown-1", {"reason": reason, "conflict": True})


def _image(index: int, line: Mapping[str, Any]) -> Image:
    same = ("key", "sha256", "size_bytes", "media_type", "width_px", "height_px")
    words = {name: tuple(line.get(name, ())) for name in ("flags", "provenance")}
    seen = {**{name: line[name] for name in same}, **words}
    return Image(index, line["variant"], ImageFate.ARCHIVED, **seen)
