"""The checksums of an edition, and its verification against them, the ledger and the bytes.

``checksums.txt`` has one line ``<sha256>  <key relative to the edition>`` for every object of the edition, sorted by
key, as ``sha256sum`` writes and checks it, and a last line ``# <sha256>`` over the lines before. It is written after
everything else. Entries stay in it for good, so that a loss is found however many runs follow. Heartbeats change while
their run lives, so each is compared with its own hash instead. The ledger stays the truth: checksums and manifest are
derived from it, and ``verify`` derives both again.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from adloom.core.errors import AdloomError, RecordUnreadable, StoreRefused, StoreUnavailable
from adloom.core.records import Image, ImageFate
from adloom.gallery.chooser.write import NAME as REVIEW_PAGE
from adloom.gallery.chooser.write import tells_of_a_run
from adloom.ledger.decisions import holds_decision
from adloom.ledger.edition import Edition, parse_json
from adloom.ledger.heartbeats import is_probe, read_heartbeat, run_of
from adloom.ledger.ledger import Ledger
from adloom.plan.revision import read_newest
from adloom.plan.rollback import Lack, read_past
from adloom.ports import Store
from adloom.publish.document import Document
from adloom.publish.manifest import Derived, derive
from adloom.publish.sums import FormerSums, Sums

NAME = "checksums.txt"
LEDGER = "ledger/"
DELIVERY = "delivery/"
"""A delivery has a record of its own, which is checked separately: see ``deliver.check``."""
SHEET = "images.xlsx"
"""The workbook that runs maintain: a team edits it too, so its hash is not fixed."""
PAID = ("assets/", "extras/", "quarantine/")
DERIVED = ("manifest.json", "assets.jsonl", "assets.csv", "gallery", REVIEW_PAGE, NAME)
NOT_FINISHED = "the last run did not finish: run the campaign again"
READINGS = 3
"""Runs that end together overwrite each other's checksums, so each checks again; after this many times the others
do."""

UNREADABLE = (AdloomError, LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What reading a damaged record may raise: its fields may be anything."""


class Damage(StrEnum):
    """What can be wrong with one object."""

    MISSING = "missing"
    CHANGED = "changed"
    ADDED = "added"
    UNREADABLE = "unreadable"
    CONTRADICTS = "contradicts the ledger"
    OLDER = "older than its manifest"


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


async def write_checksums(
    store: Store,
    edition: Edition,
    ledger: Ledger,
    *,
    leave_out: frozenset[str] = frozenset(),
    forget: Callable[[str], bool] = lambda _: False,
) -> None:
    """Write down the hash of every object of an edition. Only what nobody has hashed before is read.

    What is in ``leave_out`` is known to be wrong and keeps its former hash, if any. What is gone stays listed, except
    what ``forget`` accepts.
    """
    written = ""
    for _ in range(READINGS):
        document = await _measure(store, edition, ledger, leave_out, forget)
        if document.sha256 == written:
            return
        await store.replace(edition.key(NAME), document.file(), media_type="text/plain; charset=utf-8")
        if await _is_alone(store, edition, ledger.writer):
            return
        written = document.sha256


async def are_noted(store: Store, edition: Edition, names: Iterable[str]) -> bool:
    """Whether the checksums have these objects, by their names in the edition, as they are."""
    wanted = set(names)
    sums = FormerSums(await store.open(edition.key(NAME)))
    noted = {name: sha256 for name, sha256 in sums if name in wanted}
    for name in wanted:
        content = await store.read(edition.key(name)) or b""
        if noted.get(name) != hashlib.sha256(content).hexdigest():
            return False
    return True


async def _measure(
    store: Store, edition: Edition, ledger: Ledger, leave_out: frozenset[str], forget: Callable[[str], bool]
) -> Document:
    with closing(Sums()) as sums:
        former = FormerSums(await store.open(edition.key(NAME)))
        sums.learn(pair for pair in former if not forget(pair[0]))
        sums.keep(pair for pair in former if _stays(pair[0], leave_out) and not forget(pair[0]))
        sums.keep(ledger.hashes())  # also what the store lost while a run still knows it
        async for name in _names(store, edition):
            if name in leave_out or (not _is_document(name) and sums.see(name)):
                continue
            if (content := await store.read(edition.key(name))) is not None:
                sums.keep([(name, hashlib.sha256(content).hexdigest())])
        return sums.written()


def _stays(name: str, leave_out: frozenset[str]) -> bool:
    """Whether an object stays in the checksums also when it is gone."""
    return name in leave_out or not name.startswith(DERIVED)


async def _is_alone(store: Store, edition: Edition, writer: str) -> bool:
    """Whether no other run was at work on the edition since this one began."""
    beats = {}
    async for listed in store.list(edition.key("runs/")):
        token = run_of(listed.key.removeprefix(edition.prefix))
        if token and (content := await store.read(listed.key)) is not None:
            beats[token] = read_heartbeat(content, token)
    mine = beats.pop(writer, None)
    since = mine["since"] if mine else ""
    return all(beat is not None and beat["ended"] and beat["time"] < since for beat in beats.values())


async def verify(
    store: Store, edition: Edition, ledger: Ledger, *, share: float = 1.0, random: Random | None = None
) -> Verdict:
    """Compare an edition with its checksums, its ledger and its bytes.

    ``share`` of the images are hashed (all records always are), chosen by ``random``. ``ledger`` is loaded here.
    """
    sums, findings = await read_sums(store, edition)
    present = {name async for name in _names(store, edition)}
    findings += await _against_the_ledger(store, edition, ledger, sums)
    expected = expected_sums(ledger, sums)
    if not sums:  # without them an addition cannot be detected; the ledger still vouches for its records and its images
        present &= expected.keys()
    chosen = random or Random(0)
    findings += [Finding(name, Damage.MISSING) for name in sorted(expected.keys() - present)]
    hashed = 0
    for name in sorted(present):
        if name.startswith((*PAID, "thumbs/")) and chosen.random() >= share:
            continue
        content = await read_plain(store, edition.key(name))
        hashed += 1
        findings += _hold(name, content, expected)
    return Verdict(tuple(dict.fromkeys(findings)), len(present), hashed)


def expected_sums(ledger: Ledger, sums: Mapping[str, str]) -> dict[str, str]:
    """The hash that each object should have, according to the checksums or else the ledger."""
    try:
        return {**(_image_sums(ledger) if sums else _certain_sums(ledger)), **sums}
    except UNREADABLE:
        return dict(sums)


def _hold(name: str, content: bytes | None, expected: Mapping[str, str]) -> list[Finding]:
    if content is None:
        return [Finding(name, Damage.UNREADABLE)]
    if token := run_of(name):
        damage = Damage.CHANGED if name in expected else Damage.ADDED
        return [] if read_heartbeat(content, token) else [Finding(name, damage)]
    if name == REVIEW_PAGE and tells_of_a_run(content):
        return []
    if name not in expected:
        if is_probe(name, content):  # of a run that was refused, or has only begun
            return []
        return [] if holds_decision(name, content) else [Finding(name, Damage.ADDED)]
    return [] if hashlib.sha256(content).hexdigest() == expected[name] else [Finding(name, Damage.CHANGED)]


async def _against_the_ledger(store: Store, edition: Edition, ledger: Ledger, sums: Mapping[str, str]) -> list[Finding]:
    """What plan and ledger say must be there, and what they derive the manifest to."""
    try:
        past = (await read_past(store, edition)).without(await _changed(store, edition, sums))
        await ledger.load(trust_seals=False)
        lack = past.lacking(ledger)
        images = [image for call in ledger.calls() for image in _images(ledger, call)]
        others = [image.key for image in images if sums.get(image.key, image.sha256) != image.sha256]
        revision = await read_newest(store, edition)
        if revision is None:
            return [Finding("plan-r1.json", Damage.MISSING), *_older(lack)]
        derived = await derive(store, edition, ledger, revision)
        if sums and not derived.files["assets.jsonl"].is_equal(await read_plain(store, edition.key("assets.jsonl"))):
            # somebody may have decided since: such facts are in no checksums yet
            derived = await derive(store, edition, ledger, revision, without=lambda name: name not in sums)
    except (StoreRefused, StoreUnavailable):
        raise
    except UNREADABLE as error:
        cause = error.message if isinstance(error, AdloomError) else f"a record is incomplete: {error!r}"
        return [Finding(LEDGER, Damage.UNREADABLE, cause)]
    findings = [Finding(key, Damage.CONTRADICTS, "its bytes are not those that were archived") for key in others]
    findings += _older(lack)
    for name in (*derived.files, "manifest.json"):
        content = await read_plain(store, edition.key(name))
        if content is None:
            # what is in the checksums was written once: that it is gone is found with all that they name
            findings += [] if name in sums else [Finding(name, Damage.MISSING, NOT_FINISHED)]
        elif not _follows(name, content, derived):
            findings.append(Finding(name, Damage.CONTRADICTS, "differs from plan and ledger"))
    return findings


def _follows(name: str, content: bytes, derived: Derived) -> bool:
    """Whether a document says what plan and ledger come to."""
    if name in derived.files:
        return derived.files[name].is_equal(content)
    return same_facts(content, derived.manifest)


def _older(lack: Lack) -> list[Finding]:
    return [Finding(LEDGER, Damage.OLDER, f"missing: {lack}; see --repair and --accept-loss")] if lack else []


async def _changed(store: Store, edition: Edition, sums: Mapping[str, str]) -> set[str]:
    """The documents that differ from the checksums."""
    names = [name for name in ("manifest.json", "assets.jsonl") if name in sums]
    found = {name: hashlib.sha256(await read_plain(store, edition.key(name)) or b"").hexdigest() for name in names}
    return {name for name in names if found[name] != sums[name]}


def same_facts(content: bytes, derived: Mapping[str, object]) -> bool:
    """Whether a manifest says what was derived, except how its run stopped and how much it had read."""
    try:
        written = parse_json(content)
    except ValueError:
        return False
    leave_out = {"status": "", "facts": 0}
    return isinstance(written, dict) and {**written, **leave_out} == {**derived, **leave_out}


def _certain_sums(ledger: Ledger) -> dict[str, str]:
    """Hashes that the ledger vouches for: its own records as they were read, and every image that it names."""
    return {**dict(ledger.sums()), **_image_sums(ledger)}


def _image_sums(ledger: Ledger) -> dict[str, str]:
    return {image.key: image.sha256 for call in ledger.calls() for image in _images(ledger, call) if image.key}


def _images(ledger: Ledger, call: str) -> Iterable[Image]:
    for attempt in ledger.facts(call).attempts:
        seconds = (image for second in attempt.seconds.values() for image in second.images)
        yield from (image for image in (*attempt.images, *seconds) if image.fate is not ImageFate.LOST)


async def read_sums(store: Store, edition: Edition) -> tuple[dict[str, str], list[Finding]]:
    """The edition's checksums by object, or what is wrong with them."""
    try:
        content = await store.read(edition.key(NAME))
        if content is None:
            return {}, [Finding(NAME, Damage.MISSING, "run the campaign again, or `adloom verify --repair`")]
        return _from_text(content), []
    except RecordUnreadable as error:
        return {}, [Finding(NAME, Damage.CHANGED, error.message)]


async def read_plain(store: Store, key: str) -> bytes | None:
    """The object's bytes; None where there is none, or no plain file: a pipe or a link that somebody put there."""
    try:
        return await store.read(key)
    except RecordUnreadable:
        return None


def _to_text(sums: Mapping[str, str]) -> bytes:
    text = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()
    return text + f"# {hashlib.sha256(text).hexdigest()}\n".encode()


def _from_text(content: bytes) -> dict[str, str]:
    text, _, last = content.removesuffix(b"\n").rpartition(b"\n")
    text += b"\n" if text else b""
    if last != f"# {hashlib.sha256(text).hexdigest()}".encode():
        raise RecordUnreadable(f"{NAME} does not agree with its own last line")
    sums = {line[66:]: line[:64] for line in text.decode(errors="replace").splitlines()}
    if _to_text(sums) != content:
        raise RecordUnreadable(f"{NAME} was changed after it was written")
    return sums


async def _names(store: Store, edition: Edition) -> AsyncIterator[str]:
    async for listed in store.list(edition.prefix):
        name = listed.key.removeprefix(edition.prefix)
        if name not in (NAME, SHEET) and not name.startswith(DELIVERY):
            yield name


def _is_document(name: str) -> bool:
    """Whether an object may be rewritten under its name."""
    return not name.startswith(("ledger/", "plan/", "plan-r", "references/", "thumbs/", *PAID))
