"""One delivery: makes every file that is missing or outdated, then its record, ``delivery.json`` last.

A delivery's folder holds ``<channel>/<name>.<ext>``, and ``records/<variant key>-<row>.json``, written behind the
files of one master. However a delivery ends, the next one makes only what has no record yet. ``delivery.jsonl`` (one
line a file, in plan order), ``delivery.csv`` and ``delivery.json`` (counts, and the hashes of both) are derived at the
end; nothing in them depends on when or how often they were written.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count
from typing import Any

from adloom.core.carried import carried
from adloom.core.channel import Channel
from adloom.core.delivery import Marking
from adloom.core.errors import InputError, RecordDamaged
from adloom.core.identity import digest
from adloom.core.rendition import (
    DELIVERED,
    DESCRIPTIVE,
    REFUSED,
    SCHEMA,
    Master,
    MasterOrders,
    Order,
    jsonl,
    line_of,
    recipe,
    table,
)
from adloom.deliver.children import CannotBeDone
from adloom.deliver.encode import EXTENSIONS, MEDIA_TYPES
from adloom.deliver.lines import Lines
from adloom.deliver.marks.signing import Signing
from adloom.deliver.marks.xmp import Marks, packet, version_of
from adloom.deliver.page import pages
from adloom.deliver.workshop import MAKER, Workshop
from adloom.ledger.edition import Edition, from_json
from adloom.ports import Store

RECORD_SCHEMA = "adloom.delivery-record/1"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a delivery goes: a folder of a store."""

    store: Store
    prefix: str = ""

    def key(self, name: str) -> str:
        return self.prefix + name

    @property
    def address(self) -> str:
        return f"{self.store.address}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a delivery is made with. ``archive`` holds the masters of ``edition``."""

    archive: Store
    edition: Edition
    place: Place
    marking: Marking
    signing: Signing | None
    channels: Mapping[str, Channel]
    keep_others: bool = False
    """Whether files for channels not requested this time stay part of the delivery."""


@dataclass(slots=True)
class Result:
    """The result of a delivery: its lines in plan order, and how many files were made, kept and warned about."""

    lines: Lines = field(default_factory=Lines)
    made: int = 0
    kept: int = 0
    warnings: list[str] = field(default_factory=list)
    former: Mapping[str, str] = field(default_factory=dict)
    """Files of earlier deliveries that are not part of this one, with their hashes."""

    @property
    def refused(self) -> int:
        return self.lines.refused


async def deliver(
    delivery: Delivery,
    wanted: Sequence[MasterOrders],
    workers: int,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Result:
    """Make what is missing and write the record. ``progress`` is called with how many masters are done, of how many.

    Raises StoreError, DecoderBroken, or SettingInvalid for a signing command that fails.
    """
    result = Result()
    waiting, done = iter(enumerate(wanted)), count(1)

    async def work() -> None:
        async with Workshop(delivery.signing) as workshop:
            for number, each in waiting:
                result.lines.add(number, [line async for line in _deliver_one(delivery, workshop, each, result)])
                progress(next(done), len(wanted))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(work())
    except ExceptionGroup as errors:  # the first one says what is wrong
        raise errors.exceptions[0] from None
    await _write_record(delivery, result)
    return result


async def _deliver_one(
    delivery: Delivery, workshop: Workshop, wanted: MasterOrders, result: Result
) -> AsyncIterator[Mapping[str, Any]]:
    """The files of one master: those that are right stay, the others are made. Its lines without recipes."""
    master = wanted.master
    former = await _read_record(delivery.place, master)
    xmp = _xmp(delivery, master)
    signer = delivery.signing.fingerprint if delivery.signing else ""
    lines: dict[str, Mapping[str, Any]] = {}
    bench = _Bench(delivery, workshop, master)
    for order in wanted.orders:
        order_recipe = recipe(master, order, xmp, signer, MAKER)
        line = former.get(order.channel_id)
        if line is not None and await _is_right(delivery.place, line, master, order_recipe):
            now = line_of(master, order, delivery.marking)
            line = {**line, **{name: now[name] for name in DESCRIPTIVE}}
            result.kept += line["status"] == DELIVERED
        else:
            line = {"recipe": order_recipe, **await bench.make(order, xmp)}
            result.made += line["status"] == DELIVERED
        lines[order.channel_id] = line
        if line["warning"]:
            result.warnings.append(f"{line['key']}: {line['warning']}")
    others = {
        name: line
        for name, line in former.items()
        if name not in lines and delivery.keep_others and line["master"]["sha256"] == master.sha256
    }
    content = _record(master, {**lines, **others})
    if lines != {name: former.get(name) for name in lines}:
        await delivery.place.store.replace(_record_key(delivery.place, master), content)
    for line in (*lines.values(), *others.values()):
        yield {name: value for name, value in line.items() if name not in ("recipe", "warning")}


@dataclass(slots=True)
class _Bench:
    """One master at work: read and opened when its first file has to be made."""

    delivery: Delivery
    workshop: Workshop
    master: Master
    content: bytes = b""
    broken: str = ""
    is_open: bool = False

    async def make(self, order: Order, xmp: bytes) -> dict[str, Any]:
        """Make and write one file; its line."""
        line = line_of(self.master, order, self.delivery.marking) | {"warning": ""}
        if order.refusal:
            return line
        try:
            await self._prepare(order)
            if order.channel is None:
                return await self._copy(order, line)
            made = await self.workshop.make(self.master, order, xmp)
        except CannotBeDone as error:
            return {**line, "reason": str(error)} | ({"recipe": ""} if error.may_pass else {})
        key = f"{order.stem}.{EXTENSIONS[order.kind]}"
        await self.delivery.place.store.replace(
            self.delivery.place.key(key), made.content, media_type=MEDIA_TYPES[order.kind]
        )
        return line | {
            "key": key,
            "sha256": hashlib.sha256(made.content).hexdigest(),
            "size_bytes": len(made.content),
            "media_type": MEDIA_TYPES[order.kind],
            "width_px": order.channel.width_px,
            "height_px": order.channel.height_px,
            "quality": made.quality,
            "crop": list(made.crop),
            "focus": list(made.focus),
            "unsigned_sha256": made.unsigned_sha256,
            "marks": {"xmp": bool(xmp), "c2pa": "signed" if made.is_signed else "none"},
            "status": DELIVERED,
            "reason": made.warning or None,
            "warning": made.warning,
        }

    async def _prepare(self, order: Order) -> None:
        """Read the master's bytes and open it for cutting. Raises CannotBeDone."""
        if self.broken:
            raise CannotBeDone(self.broken)
        try:
            if not self.content:
                self.content = await _read_master(self.delivery, self.master)
            if order.channel is not None and not self.is_open:
                await self.workshop.open(self.master, self.content)
                self.is_open = True
        except CannotBeDone as error:
            self.broken = str(error)
            raise

    async def _copy(self, order: Order, line: dict[str, Any]) -> dict[str, Any]:
        key = f"{order.stem}.{self.master.asset.rpartition('.')[2]}"
        place, found = self.delivery.place, carried(self.content)
        await place.store.replace(place.key(key), self.content, media_type=self.master.media_type)
        return line | {
            "key": key,
            "sha256": self.master.sha256,
            "size_bytes": len(self.content),
            "media_type": self.master.media_type,
            "width_px": self.master.width_px,
            "height_px": self.master.height_px,
            "unsigned_sha256": self.master.sha256,
            "marks": {"xmp": found.xmp, "c2pa": "signed" if found.c2pa else "none"},
            "status": DELIVERED,
        }


async def _read_master(delivery: Delivery, master: Master) -> bytes:
    content = await delivery.archive.read(delivery.edition.key(master.asset))
    if content is None or hashlib.sha256(content).hexdigest() != master.sha256:
        raise CannotBeDone("the master is missing or damaged; `adloom verify` says more", may_pass=True)
    return content


def _xmp(delivery: Delivery, master: Master) -> bytes:
    """The packet of a master's renditions; empty where the campaign turned marks off."""
    marking = delivery.marking
    if not marking.on:
        return b""
    rights = master.wanted.rights[0] if master.wanted.rights else None
    return packet(
        Marks(
            system=marking.system or master.model,
            version="" if marking.system else version_of(master.model),
            creator=marking.creator,
            credit=marking.credit,
            prompt=master.prompt if marking.prompt else "",
            alt=master.wanted.alt,
            creative=master.creative,
            owner=rights.owner if rights else "",
            licence=rights.licence if rights else "",
            master=master.sha256,
        )
    )


async def _is_right(place: Place, line: Mapping[str, Any], master: Master, order_recipe: str) -> bool:
    """Whether a file was made of this master by this recipe and is still what was made, or was refused for good."""
    if line["recipe"] != order_recipe or line["master"]["sha256"] != master.sha256:
        return False
    if line["status"] == REFUSED:
        return True
    content = await place.store.read(place.key(line["key"]))
    return content is not None and hashlib.sha256(content).hexdigest() == line["sha256"]


def _record_key(place: Place, master: Master) -> str:
    row = digest(master.job, master.row)[:8]  # rows that are merged share their images, and may want other files
    return place.key(f"records/{master.variant_key}-{row}.json")


def _record(master: Master, lines: Mapping[str, Mapping[str, Any]]) -> bytes:
    record = {"schema": RECORD_SCHEMA, "variant_key": master.variant_key, "lines": lines}
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


async def _read_record(place: Place, master: Master) -> Mapping[str, Mapping[str, Any]]:
    key = _record_key(place, master)
    content = await place.store.read(key)
    if content is None:
        return {}
    try:
        record = from_json(content, key)
    except RecordDamaged:
        return {}  # the files are made again, and their record with them
    if record.get("schema") != RECORD_SCHEMA:
        raise InputError(f"{key} was written by another version of adloom", remedy="Deliver to a new folder with --to.")
    lines: Mapping[str, Mapping[str, Any]] = record["lines"]
    return lines


async def _write_record(delivery: Delivery, result: Result) -> None:
    """Write the tables of the delivery unless they are unchanged, ``delivery.json`` last.

    One table at a time is in memory, or the one that it replaces.
    """
    place, lines = delivery.place, result.lines
    result.former = await _former(place, lines)
    files = {}
    for name, (make, media_type) in _TABLES.items():
        there = await _hash_of(place, name)
        files[name] = await _replace(place, name, make(lines), media_type, there)
    head = _head(delivery, result, files)
    for name, content in pages(head, lines, delivery.channels):
        await _replace(place, name, content, "text/html; charset=utf-8", await _hash_of(place, name))
    content = json.dumps(head, ensure_ascii=False, indent=2).encode() + b"\n"
    name = "delivery.json"
    await _replace(place, name, content, "application/json", await _hash_of(place, name))


_TABLES = {"delivery.jsonl": (jsonl, "application/x-ndjson"), "delivery.csv": (table, "text/csv; charset=utf-8")}


def _head(delivery: Delivery, result: Result, files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    per_channel = Counter(line["channel"] for line in result.lines if line["status"] == DELIVERED)
    counts = {
        "files": len(result.lines) - result.refused,
        "refused": result.refused,
        "masters": len({line["master"]["key"] for line in result.lines}),
        "bytes": sum(line["size_bytes"] or 0 for line in result.lines),
        "channels": dict(sorted(per_channel.items())),
    }
    return {
        "schema": SCHEMA,
        "campaign": delivery.edition.campaign,
        "edition": delivery.edition.edition,
        "marking": "on" if delivery.marking.on else "off",
        "signed_by": delivery.signing.fingerprint if delivery.signing else None,
        "maker": MAKER,
        "counts": counts,
        "files": {name: {**about, "lines": len(result.lines)} for name, about in files.items()},
        "former": dict(sorted(result.former.items())),
    }


async def refuse_other_edition(place: Place, edition: Edition) -> None:
    """Raises InputError if a place holds the delivery of another edition, whose files of equal names would be lost."""
    content = await place.store.read(place.key("delivery.json"))
    with suppress(*_DAMAGED):
        head = from_json(content or b"{}", "delivery.json")
        theirs = head.get("campaign", edition.campaign), head.get("edition", edition.edition)
        if theirs != (edition.campaign, edition.edition):
            raise InputError(
                f"{place.address} holds the delivery of {theirs[0]}, edition {theirs[1]}",
                remedy="Deliver to a folder of its own.",
            )


async def _former(place: Place, lines: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The files of the delivery before this one that are not part of it any more, with their hashes.

    What is damaged in its record names none; all of the record is about to be written again.
    """
    now = {line["key"] for line in lines if line["key"]}
    before: dict[str, str] = {}
    with suppress(*_DAMAGED):
        if (head := await place.store.read(place.key("delivery.json"))) is not None:
            before |= from_json(head, "delivery.json").get("former", {})
    for content in BytesIO(await place.store.read(place.key("delivery.jsonl")) or b""):
        with suppress(*_DAMAGED):
            line = from_json(content, "delivery.jsonl")
            before |= {line["key"]: line["sha256"]} if line["key"] else {}
    return {key: sha256 for key, sha256 in before.items() if key not in now}


_DAMAGED = (RecordDamaged, ValueError, KeyError, TypeError)


async def _hash_of(place: Place, name: str) -> str:
    """The hash of a document as it is there; empty if there is none."""
    content = await place.store.read(place.key(name))
    return "" if content is None else hashlib.sha256(content).hexdigest()


async def _replace(place: Place, name: str, content: bytes, media_type: str, there: str) -> dict[str, Any]:
    """Write a document unless what is ``there`` has its hash; hash and size of it."""
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != there:
        await place.store.replace(place.key(name), content, media_type=media_type)
    return {"sha256": sha256, "size_bytes": len(content)}
