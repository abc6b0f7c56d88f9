"""A delivery compared with its record, its masters and its own marks, for ``verify``.

``delivery.json`` has the hash of the table, and the table that of every file. That finds what changed since; whoever
changes files and table alike is found by making each file again from its master, which gives the bytes that the table
names before they were signed, and by the signature of those that are signed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from random import Random
from typing import Any

from adloom.core.errors import RecordUnreadable
from adloom.core.rendition import DELIVERED
from adloom.deliver.children import CannotBeDone, Child, ChildDied
from adloom.deliver.delivery import Place
from adloom.deliver.edition import FOLDER
from adloom.deliver.encode import MEDIA_TYPES
from adloom.deliver.marks.credentials import SIGNABLE, is_installed
from adloom.deliver.workshop import MAKER
from adloom.ledger.edition import Edition, from_json
from adloom.ports import Store
from adloom.publish.checksums import Damage, Finding, Verdict, read_plain

AGAIN = "`adloom deliver` makes it again"
_TABLES = ("delivery.jsonl", "delivery.csv")
_KINDS = {media_type: kind for kind, media_type in MEDIA_TYPES.items()}


async def check_delivery(
    store: Store, edition: Edition, *, share: float = 1.0, random: Random | None = None
) -> Verdict | None:
    """The problems of an edition's own delivery; None if there is no delivery.

    ``share`` of the files are read and made again, chosen by ``random``.
    """
    place = Place(store, edition.key(FOLDER))
    present = {listed.key.removeprefix(place.prefix) async for listed in store.list(place.prefix)}
    if not present & {"delivery.json", *_TABLES}:
        return None  # none was ever finished
    try:
        head, lines, findings = await _record(place)
    except (RecordUnreadable, ValueError, KeyError, TypeError) as error:
        told = error.message if isinstance(error, RecordUnreadable) else str(error)
        finding = Finding(f"{FOLDER}delivery.json", Damage.UNREADABLE, f"{told[:200]}; {AGAIN}")
        return Verdict((finding,), len(present), 0)
    files = {line["key"]: line for line in lines if line["status"] == DELIVERED}
    known = {*files, *_TABLES, "delivery.json", *head.get("former", ())}
    strangers = (name for name in sorted(present - known) if not name.startswith("records/") and "/" in name)
    findings += [Finding(FOLDER + name, Damage.ADDED) for name in strangers]
    findings += [Finding(FOLDER + name, Damage.MISSING, AGAIN) for name in files if name not in present]
    chosen = random or Random(0)
    wanted = [line for name, line in files.items() if name in present and (share >= 1 or chosen.random() < share)]
    async with Child() as child:
        check = _Check(store, edition, place, child, head.get("maker") == MAKER)
        for _, same in groupby(wanted, key=lambda line: line["master"]["key"]):
            findings += await check.files_of(list(same))
    return Verdict(tuple(findings), len(present), len(wanted))


async def _record(place: Place) -> tuple[Mapping[str, Any], list[Mapping[str, Any]], list[Finding]]:
    """The head, the lines and the problems of the tables."""
    findings = []
    content = await read_plain(place.store, place.key("delivery.json"))
    head = from_json(content, "delivery.json") if content is not None else {}
    if content is None:
        findings.append(Finding(f"{FOLDER}delivery.json", Damage.MISSING, AGAIN))
    lines: list[Mapping[str, Any]] = []
    for name in _TABLES:
        table = await read_plain(place.store, place.key(name))
        expected = head["files"][name]["sha256"] if head else None
        if table is None:
            findings.append(Finding(FOLDER + name, Damage.MISSING, AGAIN))
        elif expected is not None and hashlib.sha256(table).hexdigest() != expected:
            findings.append(Finding(FOLDER + name, Damage.CHANGED, AGAIN))
        if table is not None and name.endswith(".jsonl"):
            lines = [from_json(line, name) for line in table.splitlines()]
    return head, lines, findings


class _Check:
    """Files compared with their lines; a master is decoded once for all of its files."""

    def __init__(self, store: Store, edition: Edition, place: Place, child: Child, remakes: bool) -> None:  # noqa: FBT001
        self._store = store
        self._edition = edition
        self._place = place
        self._child = child
        self._remakes = remakes

    async def files_of(self, lines: Iterable[Mapping[str, Any]]) -> list[Finding]:
        """The problems of the files of one master."""
        findings = []
        is_open: bool | None = None
        for line in lines:
            content = await read_plain(self._store, self._place.key(line["key"]))
            if problem := await self._problem(line, content):
                findings.append(Finding(FOLDER + line["key"], *problem))
            elif content is not None and line["crop"] is not None and self._remakes:
                is_open = await self._open(line) if is_open is None else is_open
                if is_open and await self._made_again(line, content) != line["unsigned_sha256"]:
                    detail = f"its master does not make it; {AGAIN}"
                    findings.append(Finding(FOLDER + line["key"], Damage.CHANGED, detail))
        return findings

    async def _problem(self, line: Mapping[str, Any], content: bytes | None) -> tuple[Damage, str] | None:
        """What a file's own bytes reveal, without its master."""
        if content is None:
            return Damage.UNREADABLE, AGAIN
        if hashlib.sha256(content).hexdigest() != line["sha256"]:
            return Damage.CHANGED, AGAIN
        told = await self._inspected(content, line["media_type"])
        if line["marks"]["xmp"] and not told["carried"]["xmp"]:
            return Damage.CHANGED, f"its marks are gone; {AGAIN}"
        manifest = told["manifest"]
        if line["marks"]["c2pa"] == "signed" and line["crop"] is not None and manifest is not None:
            if not manifest["state"]:
                return Damage.CHANGED, f"its signature is gone; {AGAIN}"
            if manifest["state"] not in ("Valid", "Trusted"):
                return Damage.CHANGED, f"its signature is not valid ({', '.join(manifest['problems'])}); {AGAIN}"
        return None

    async def _inspected(self, content: bytes, media_type: str) -> Mapping[str, Any]:
        readable = media_type if is_installed() and media_type in SIGNABLE else ""
        _, told = await self._child.ask("inspect", content, media_type=readable, anchors="")
        found: Mapping[str, Any] = json.loads(told)
        return found

    async def _open(self, line: Mapping[str, Any]) -> bool:
        """Whether the master exists and can be cut; the archive's own check reports its problems."""
        master = await read_plain(self._store, self._edition.key(line["master"]["key"]))
        if master is None or hashlib.sha256(master).hexdigest() != line["master"]["sha256"]:
            return False
        try:
            await self._child.ask("open", master, focus=list(line["focus"]))
        except (CannotBeDone, ChildDied):
            return False
        return True

    async def _made_again(self, line: Mapping[str, Any], content: bytes) -> str:
        """The hash of what the master makes by the line's recipe, with the marks that the file has."""
        kind = _KINDS[line["media_type"]]
        needed = {name: line[name] for name in ("width_px", "height_px", "quality", "crop")}
        try:
            _, made = await self._child.ask("remake", content, kind=kind, **needed)
        except (CannotBeDone, ChildDied):
            return ""
        return hashlib.sha256(made).hexdigest()
