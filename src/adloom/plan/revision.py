"""A frozen plan as the archive holds it, written and read.

An edition holds ``plan-r<N>.json``, N from 1, each created once: campaign, edition, cap and total in credits, the
prices used, the API that is bought from (``origin``, ``stand_in``, and ``same_api`` if its address has changed), and
the shards. A shard is ``plan/<sha256>.jsonl``, up to 500 rows in plan order, one JSON line each with the row, its takes
if one is above 1, the changes that reviewers requested for them, and the calls that this revision buys for it;
``packed`` has the images of other rows, which ask for exactly the same, that these calls buy as well. A shard is
written before the revision that names it, so a revision that exists is whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any

import orjson

from adloom.core.campaign import Grouping, Prices, Row
from adloom.core.delivery import NOTHING_WANTED, wanted_from_json
from adloom.core.errors import RecordUnreadable
from adloom.core.identity import row_digest, variant_key
from adloom.core.origin import Origin
from adloom.core.planned import PlannedCall, PlannedRow, Variant
from adloom.core.reference import Reference
from adloom.ledger.edition import Edition, from_json, to_json
from adloom.ports import Store

SCHEMA = "adloom.plan/1"


ROWS_PER_SHARD = 500


async def newest_plan(store: Store, edition: Edition) -> dict[str, Any] | None:
    """The header of the edition's newest plan revision, None before the first."""
    newest = max([found async for found in revisions(store, edition)], default=None)
    if newest is None:
        return None
    _, key = newest
    return from_json(await store.read(key) or b"", key)


async def revisions(store: Store, edition: Edition) -> AsyncIterator[tuple[int, str]]:
    """Number and key of each plan revision."""
    async for listed in store.list(edition.key("plan-r")):
        number = listed.key.rsplit("/", 1)[1].removeprefix("plan-r").removesuffix(".json")
        if number.isdigit():
            yield int(number), listed.key


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a revision's rows."""

    sha256: str
    rows: int
    calls: int

    @property
    def name(self) -> str:
        return f"plan/{self.sha256}.jsonl"


@dataclass(frozen=True, slots=True)
class Revision:
    """A frozen plan as the archive holds it. ``sha256`` is that of ``plan-r<number>.json``."""

    number: int
    campaign: str
    edition_token: str
    origin: Origin
    """The API that its images are bought from."""
    cap_credits: Decimal
    rows_sha256: str
    prices: Prices
    wanted: int
    calls: int
    new_takes: int
    """Takes that this revision was the first to ask for: only a run that asks for them again takes it up."""
    selection: str
    """What a revision that reserves a part of the plan is for; empty where it reserves the whole."""
    fallback: tuple[str, ...]
    """The models that its runs may fall back on: its cap has room for all of it at the most expensive of them."""
    shards: tuple[Shard, ...]
    sha256: str
    delivery: Mapping[str, Any] = field(default_factory=dict)
    """What the campaign's head said about delivery, as ``DeliverySettings.to_json`` has it."""


async def read_newest(store: Store, edition: Edition) -> Revision | None:
    """The newest revision of an edition, None before the first."""
    header = await newest_plan(store, edition)
    return None if header is None else revision_of(header, to_json(header))


async def read_revision(store: Store, edition: Edition, number: int) -> Revision | None:
    """A revision by its number, None where there is none."""
    key = edition.key(f"plan-r{number}.json")
    content = await store.read(key)
    return None if content is None else revision_of(from_json(content, key), content)


async def planned_rows(store: Store, edition: Edition, revision: Revision) -> AsyncIterator[PlannedRow]:
    """Every row of a revision in plan order, one shard in memory at a time."""
    for shard in revision.shards:
        for planned in await read_shard(store, edition, shard):
            yield planned


async def read_shard(store: Store, edition: Edition, shard: Shard) -> tuple[PlannedRow, ...]:
    """The rows of one shard. Raises RecordUnreadable when the file is missing or is not what the revision names."""
    content = await store.read(edition.key(shard.name))
    if content is None or hashlib.sha256(content).hexdigest() != shard.sha256:
        raise RecordUnreadable(
            f"{edition.key(shard.name)} is missing or damaged",
            remedy="Restore it from a backup; nothing else in the archive has these rows.",
        )
    return tuple(planned_from_json(_from_line(line, shard.name)) for line in content.splitlines())


def _from_line(line: bytes, name: str) -> Mapping[str, Any]:
    try:
        record: Mapping[str, Any] = orjson.loads(line)
    except ValueError:
        record = from_json(line, name)
    return record


def row_to_json(row: Row) -> dict[str, Any]:
    """A row as a shard stores it."""
    return (
        {
            "job": row.job,
            "identity": row.identity,
            "name": row.name,
            "label": row.label,
            "prompt": row.prompt,
            "vars": row.variables,
            "model": row.model,
            "size": row.size,
            "quality": row.quality,
            "priority": row.priority,
            "references": [reference.to_json() for reference in row.references],
            "grouping": row.grouping,
            "variants": row.variants,
        }
        | ({"shared": row.shared} if row.shared else {})
        | ({"options": dict(row.options)} if row.options else {})
        | ({"deliver": wanted} if (wanted := row.delivery.to_json()) else {})
    )


def row_line(row: Row) -> bytes:
    """``row_to_json`` as a line, the same bytes as ``to_json`` makes, in a tenth of its time where that can be."""
    record = row_to_json(row)
    if isinstance(row.delivery.focus, tuple):  # orjson writes some fractions in other words
        return to_json(record)
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


def planned_from_json(record: Mapping[str, Any]) -> PlannedRow:
    """A planned row from its line of a shard."""
    row = Row(
        job=record["job"],
        identity=record["identity"],
        name=record["name"],
        label=record["label"],
        prompt=record["prompt"],
        variables=record["vars"],
        model=record["model"],
        size=record["size"],
        quality=record["quality"],
        priority=record["priority"],
        references=tuple(Reference(**reference) for reference in record["references"]),
        grouping=Grouping(record["grouping"]),
        variants=record["variants"],
        shared=record.get("shared", 0),
        delivery=wanted_from_json(record["deliver"]) if "deliver" in record else NOTHING_WANTED,
        options=tuple(sorted(record.get("options", {}).items())),
    )
    row_key = row_digest(row)
    takes, changes = record.get("takes", {}), record.get("changes", {})
    variants = tuple(
        Variant(variant_key(row_key, number, take), number, take, changes.get(str(number), ""))
        for number in range(1, row.variants + 1)
        for take in (takes.get(str(number), 1),)
    )
    packed = record.get("packed", {})
    calls = tuple(
        PlannedCall(call, (*map(_packed_from_json, packed.get(call, ())), *(variants[n - 1] for n in numbers)))
        for call, numbers in record["calls"]
    )
    return PlannedRow(row, variants, calls)


def _planned_to_json(planned: PlannedRow) -> dict[str, Any]:
    takes = {str(variant.number): variant.take for variant in planned.variants if variant.take > 1}
    calls = [[call.id, [each.number for each in call.variants if not each.owner]] for call in planned.calls]
    packed = {call.id: list(map(_packed_to_json, each)) for call in planned.calls if (each := _of_others(call))}
    changes = {str(variant.number): variant.change for variant in planned.variants if variant.change}
    more = {"takes": takes, "changes": changes, "packed": packed}
    return {**row_to_json(planned.row), "calls": calls} | {name: each for name, each in more.items() if each}


def _of_others(call: PlannedCall) -> tuple[Variant, ...]:
    return tuple(variant for variant in call.variants if variant.owner)


def _packed_to_json(variant: Variant) -> dict[str, Any]:
    return {"key": variant.key, "number": variant.number, "owner": variant.owner}


def _packed_from_json(record: Mapping[str, Any]) -> Variant:
    """A variant of another row that a row's call buys; such are first takes."""
    job, label = record["owner"]
    return Variant(record["key"], record["number"], 1, owner=(job, label))


async def write_shards(store: Store, edition: Edition, rows: Iterator[PlannedRow]) -> AsyncIterator[Shard]:
    """Write planned rows, ``ROWS_PER_SHARD`` to an object named by its content; yields each once it is written."""
    while batch := list(islice(rows, ROWS_PER_SHARD)):
        content = b"".join(to_json(_planned_to_json(planned)) for planned in batch)
        shard = Shard(hashlib.sha256(content).hexdigest(), len(batch), sum(len(planned.calls) for planned in batch))
        await store.create(edition.key(shard.name), content, media_type="application/x-ndjson")
        yield shard


def revision_of(header: Mapping[str, Any], content: bytes) -> Revision:
    """A plan's header, parsed. Raises RecordUnreadable for one that a newer adloom wrote."""
    if header.get("schema") != SCHEMA:
        raise RecordUnreadable(
            f"the plan has the schema {header.get('schema')!r}, this version knows {SCHEMA!r}",
            remedy="Use the version of adloom that wrote the archive, or a newer one.",
        )
    return Revision(
        number=header["revision"],
        campaign=header["campaign"],
        edition_token=header["edition_token"],
        origin=Origin(header.get("origin", ""), header.get("stand_in", header["sandbox"])),
        cap_credits=Decimal(header["cap_credits"]),
        rows_sha256=header["rows_sha256"],
        prices=_prices_from_json(header["prices"]),
        wanted=header["totals"]["wanted"],
        calls=header["totals"]["calls"],
        new_takes=header["totals"].get("new_takes", 0),
        selection=header.get("selection", ""),
        fallback=tuple(header.get("fallback", ())),
        shards=tuple(Shard(**shard) for shard in header["shards"]),
        sha256=hashlib.sha256(content).hexdigest(),
        delivery=header.get("delivery", {}),
    )


def prices_to_json(prices: Prices) -> dict[str, Any]:
    """Prices by model, and by quality where they differ, as text: JSON numbers are not decimals."""
    return {
        model: {quality: str(each) for quality, each in price.items()} if isinstance(price, Mapping) else str(price)
        for model, price in prices.items()
    }


def _prices_from_json(record: Mapping[str, Any]) -> Prices:
    return {
        model: {quality: Decimal(each) for quality, each in price.items()}
        if isinstance(price, dict)
        else Decimal(price)
        for model, price in record.items()
    }
