"""The proof of an edition: ``checksums.txt``, and holding everything against it, against the ledger and the bytes.

``checksums.txt`` has one line ``<sha256>  <key relative to the edition>`` for every object of the edition, sorted by
key, as ``sha256sum`` writes and checks it, and a last line ``# <sha256>`` over the lines before. It is written after
everything else. Heartbeats of runs that have not ended are left out: they change. The ledger stays the truth: checksums
and manifest are derived from it, and ``verify`` derives both again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from adloom.core.errors import AdloomError, RecordUnreadable
from adloom.core.facts import Image, ImageFate, images_of
from adloom.freeze import planned_rows, read_newest
from adloom.ledger import Edition, Ledger
from adloom.ports import Store
from adloom.publish import derive

NAME = "checksums.txt"
_PAID = ("assets/", "extras/", "quarantine/")


class Damage(StrEnum):
    """What can be wrong with one object."""

    MISSING = "missing"
    CHANGED = "changed"
    ADDED = "added"
    UNREADABLE = "unreadable"
    CONTRADICTS = "contradicts the ledger"


@dataclass(frozen=True, slots=True)
class Finding:
    """One object that is not what it should be."""

    key: str
    damage: Damage
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.damage}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification found; ``hashed`` counts the objects whose bytes were read."""

    findings: tuple[Finding, ...]
    objects: int
    hashed: int


async def write_checksums(store: Store, edition: Edition, ledger: Ledger) -> None:
    """Write down the hash of every object of an edition. Only what nobody has hashed before is read."""
    known = {**await _former_sums(store, edition), **_certain_sums(ledger)}
    sums: dict[str, str] = {}
    async for name in _names(store, edition):
        if name in known and not _is_document(name):
            sums[name] = known[name]
        elif (content := await store.read(edition.key(name))) is not None and not _is_alive(name, content):
            sums[name] = hashlib.sha256(content).hexdigest()
    await store.replace(edition.key(NAME), _to_text(sums), media_type="text/plain; charset=utf-8")


async def verify(
    store: Store, edition: Edition, ledger: Ledger, *, share: float = 1.0, random: Random | None = None
) -> Verdict:
    """Hold an edition against its checksums, its ledger and its bytes.

    ``share`` of the images are hashed (all records always are), chosen by ``random``. ``ledger`` is loaded here.
    """
    sums, findings = await _read_sums(store, edition)
    present = {name async for name in _names(store, edition)}
    findings += await _against_the_ledger(store, edition, ledger, sums)
    if not sums:  # without them an addition cannot be told; the ledger still vouches for its records and its images
        sums = _certain_sums(ledger)
        present &= sums.keys()
    chosen = random or Random(0)
    findings += [Finding(name, Damage.MISSING) for name in sorted(sums.keys() - present)]
    hashed = 0
    for name in sorted(present):
        if share < 1 and name.startswith((*_PAID, "thumbs/")) and chosen.random() >= share:
            continue
        content = await store.read(edition.key(name))
        hashed += 1
        findings += _hold(name, content, sums)
    return Verdict(tuple(dict.fromkeys(findings)), len(present), hashed)


def _hold(name: str, content: bytes | None, sums: Mapping[str, str]) -> list[Finding]:
    if content is None:
        return [Finding(name, Damage.MISSING)]
    if name not in sums:
        return [] if _is_alive(name, content) else [Finding(name, Damage.ADDED)]
    return [] if hashlib.sha256(content).hexdigest() == sums[name] else [Finding(name, Damage.CHANGED)]


async def _against_the_ledger(store: Store, edition: Edition, ledger: Ledger, sums: Mapping[str, str]) -> list[Finding]:
    """What plan and ledger say must be there, and what they derive the manifest to."""
    try:
        await ledger.load(trust_seals=False)
        images = [image for call in ledger.calls() for image in _images(ledger, call)]
        revision = await read_newest(store, edition)
        if revision is None:
            return [Finding("plan-r1.json", Damage.MISSING)]
        async for _ in planned_rows(store, edition, revision):
            pass
        derived = await derive(store, edition, ledger, revision)
    except AdloomError as error:
        return [Finding("ledger/", Damage.UNREADABLE, error.message)]
    except (KeyError, TypeError, ValueError) as error:
        return [Finding("ledger/", Damage.UNREADABLE, f"a record has not the fields that it should have: {error!r}")]
    findings = [
        Finding(image.key, Damage.CONTRADICTS, "its bytes are not those that were archived")
        for image in images
        if sums.get(image.key, image.sha256) != image.sha256
    ]
    for name, content in derived.files.items():
        if await store.read(edition.key(name)) != content:
            findings.append(Finding(name, Damage.CONTRADICTS, "plan and ledger say otherwise"))
    manifest = await store.read(edition.key("manifest.json"))
    if manifest is None or not _same_facts(manifest, derived.manifest):
        findings.append(Finding("manifest.json", Damage.CONTRADICTS, "plan and ledger say otherwise"))
    return findings


def _same_facts(content: bytes, derived: Mapping[str, object]) -> bool:
    """Whether a manifest says what was derived; how its run stopped is its own word."""
    try:
        written = json.loads(content)
    except ValueError:
        return False
    return isinstance(written, dict) and {**written, "status": ""} == {**derived, "status": ""}


def _certain_sums(ledger: Ledger) -> dict[str, str]:
    """Hashes that the ledger vouches for: its own records as they were read, and every image that it names."""
    images = (image for call in ledger.calls() for image in _images(ledger, call))
    return {**ledger.sums(), **{image.key: image.sha256 for image in images}}


def _images(ledger: Ledger, call: str) -> Iterable[Image]:
    for attempt in ledger.facts(call).attempts:
        seconds = (image for record in attempt.seconds.values() for image in images_of(record))
        yield from (image for image in (*attempt.images, *seconds) if image.fate is not ImageFate.LOST)


async def _former_sums(store: Store, edition: Edition) -> dict[str, str]:
    sums, findings = await _read_sums(store, edition)
    return {} if findings else sums


async def _read_sums(store: Store, edition: Edition) -> tuple[dict[str, str], list[Finding]]:
    content = await store.read(edition.key(NAME))
    if content is None:
        return {}, [Finding(NAME, Damage.MISSING, "run the campaign again, or `adloom verify --repair`")]
    try:
        return _from_text(content), []
    except RecordUnreadable as error:
        return {}, [Finding(NAME, Damage.CHANGED, error.message)]


def _to_text(sums: Mapping[str, str]) -> bytes:
    text = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()
    return text + f"# {hashlib.sha256(text).hexdigest()}\n".encode()


def _from_text(content: bytes) -> dict[str, str]:
    text, _, last = content.removesuffix(b"\n").rpartition(b"\n")
    text += b"\n" if text else b""
    if last != f"# {hashlib.sha256(text).hexdigest()}".encode():
        raise RecordUnreadable(f"{NAME} does not agree with its own last line")
    lines = text.decode().splitlines()
    return {line[66:]: line[:64] for line in lines}


async def _names(store: Store, edition: Edition) -> AsyncIterator[str]:
    async for listed in store.list(edition.prefix):
        name = listed.key.removeprefix(edition.prefix)
        if name != NAME:
            yield name


def _is_document(name: str) -> bool:
    """Whether an object may be written anew under its name."""
    return not name.startswith(("ledger/", "plan/", "plan-r", "thumbs/", *_PAID))


def _is_alive(name: str, content: bytes) -> bool:
    """Whether this is the heartbeat of a run that has not ended."""
    if not name.startswith("runs/") or name.endswith(".probe.json"):
        return False
    try:
        return json.loads(content).get("ended") is False
    except (ValueError, AttributeError):
        return False


Fetch = Callable[[str], Awaitable[bytes | None]]
"""Fetches a result link: its bytes, None when it is dead."""


async def repair(store: Store, edition: Edition, ledger: Ledger, verdict: Verdict, fetch: Fetch) -> tuple[str, ...]:
    """Put right what can be: images from their links or from where they strayed to, and everything that is derived.

    Damaged bytes are kept under ``quarantine/`` before they are replaced. Returns the keys that were put right; records
    of the ledger and the plan cannot be made again, and what was added stays for a person to judge.
    """
    damaged = {finding.key for finding in verdict.findings if finding.damage is not Damage.ADDED}
    strayed = await _strayed(store, edition, verdict)
    mended = []
    for call in ledger.calls():
        for attempt in ledger.facts(call).attempts:
            for image in attempt.images:
                if image.key not in damaged or image.fate is ImageFate.LOST:
                    continue
                content = strayed.get(image.sha256) or await fetch(attempt.links[image.index])
                if content is not None and hashlib.sha256(content).hexdigest() == image.sha256:
                    await _replace(store, edition, image, content)
                    mended.append(image.key)
    return tuple(mended)


async def _strayed(store: Store, edition: Edition, verdict: Verdict) -> dict[str, bytes]:
    """The bytes of damaged and added images by their hash: two that were swapped mend each other."""
    names = {finding.key for finding in verdict.findings if finding.key.startswith(_PAID)}
    contents = [content for name in sorted(names) if (content := await store.read(edition.key(name))) is not None]
    return {hashlib.sha256(content).hexdigest(): content for content in contents}


async def _replace(store: Store, edition: Edition, image: Image, content: bytes) -> None:
    damaged = await store.read(edition.key(image.key))
    if damaged is not None:
        name = hashlib.sha256(damaged).hexdigest()[:16]
        await store.create(
            edition.key(f"quarantine/damaged-{name}.bin"), damaged, media_type="application/octet-stream"
        )
    await store.replace(edition.key(image.key), content, media_type=image.media_type)
