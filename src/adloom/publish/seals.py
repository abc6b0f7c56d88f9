"""Seals: the facts of finished calls in one object per shard, so that resuming reads few objects.

When every variant of a shard's rows has ended, ``ledger/sealed/<first 16 of the shard's sha256>.json`` is created once:
all records of all calls of those rows, and the SHA-256 of each as stored. A record that comes later is simply not in it
and is read by itself. The records themselves stay where they are and remain authoritative: ``verify`` reads those.

Links of images that are all archived are sealed without their signatures, so that a seal gives access to nothing; such
a record has no SHA-256, since its bytes differ.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

from adloom.core.facts import Attempt, CallFacts
from adloom.core.links import unsigned
from adloom.core.outcomes import Outcome, Outcomes, Status
from adloom.core.planned import PlannedRow
from adloom.core.records import ImageFate
from adloom.ledger.edition import Edition, to_json
from adloom.ledger.ledger import SEAL_SCHEMA, SEALED, Ledger
from adloom.plan.revision import Revision, Shard, read_shard
from adloom.ports import Store

_OVER = frozenset({Status.ARCHIVED, Status.SHORT, Status.REFUSED, Status.FAILED})


async def seal_finished(store: Store, edition: Edition, ledger: Ledger, revision: Revision) -> int:
    """Seal every shard of a revision that is finished and not sealed yet; how many were."""
    sealed = {listed.key async for listed in store.list(edition.key(f"ledger/{SEALED}/"))}
    left = [shard for shard in revision.shards if edition.key(_name(shard)) not in sealed]
    if not left:
        return 0
    count = 0
    async for name, content in finished_seals(store, edition, ledger, left):
        count += await store.create(edition.key(name), content)
    return count


async def finished_seals(
    store: Store, edition: Edition, ledger: Ledger, shards: Iterable[Shard]
) -> AsyncIterator[tuple[str, bytes]]:
    """The seal of each of these shards that is finished, by its name in the edition."""
    known = Outcomes(ledger.facts, ledger.calls(), ended=ledger.ended)
    for shard in shards:
        rows = await read_shard(store, edition, shard)
        if all(_is_over(planned, known) for planned in rows):
            calls = {call for p in rows for variant in p.variants for call in known.calls_of(variant.key)}
            seal = {"schema": SEAL_SCHEMA, "calls": {call: _sealed(ledger, call) for call in sorted(calls)}}
            yield _name(shard), to_json(seal)


def _sealed(ledger: Ledger, call: str) -> dict[str, Any]:
    """The records of a call as its seal holds them."""
    facts: CallFacts = ledger.facts(call)
    opened = tuple(f"a{attempt.number}-completed" for attempt in facts.attempts if _needs_no_link(attempt))
    records = ledger.records(call)
    for name, entry in records.items():
        if name.startswith(opened):
            links = [unsigned(link) for link in entry["record"]["links"]]
            records[name] = {"record": {**entry["record"], "links": links}, "sha256": ""}
    return records


def _needs_no_link(attempt: Attempt) -> bool:
    """Whether all images of an attempt are archived, and its links are distinct without their signatures."""
    kept = {image.index for image in attempt.images if image.fate in (ImageFate.ARCHIVED, ImageFate.EXTRA)}
    return kept.issuperset(range(len(attempt.links))) and len(set(map(unsigned, attempt.links))) == len(attempt.links)


def _name(shard: Shard) -> str:
    return f"ledger/{SEALED}/{shard.sha256[:16]}.json"


def _is_over(planned: PlannedRow, known: Mapping[str, Outcome]) -> bool:
    return all((end := known.get(variant.key)) is not None and end.status in _OVER for variant in planned.variants)
