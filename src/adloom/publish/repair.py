"""Repairs an edition: every damaged object whose bytes still exist somewhere.

An object comes back only with the bytes that the checksums (else the ledger) name: from where they strayed to (two that
were swapped, one that was renamed), from a seal or from the records that a seal was made of, from its living result
link. A record whose links a seal holds without their signatures comes back in that form, if the seal is whole. A
thumbnail is made again from its image. What is derived is rewritten only from a plan and a ledger that are whole, so
that damage never spreads. Nothing is deleted or bought: what was added stays for a person to judge, and damaged bytes
of a paid image are kept under ``quarantine/`` before they are replaced.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adloom.core.errors import StoreRefused, StoreUnavailable
from adloom.core.facts import Attempt
from adloom.core.identity import thumb_key
from adloom.core.records import ImageFate
from adloom.gallery import write_gallery
from adloom.gallery.chooser.write import write_review_page
from adloom.gallery.thumbs import shrink
from adloom.ledger.edition import Edition, from_json, to_json
from adloom.ledger.ledger import SEALED, Ledger
from adloom.plan.revision import read_newest
from adloom.ports import Decoder, Store
from adloom.publish.checksums import (
    DERIVED,
    PAID,
    UNREADABLE,
    Damage,
    Finding,
    Verdict,
    expected_sums,
    read_plain,
    read_sums,
    same_facts,
    write_checksums,
)
from adloom.publish.document import Document
from adloom.publish.manifest import derive
from adloom.publish.seals import finished_seals

log = logging.getLogger(__name__)

Fetch = Callable[[str], Awaitable[bytes | None]]
"""Fetches a result link: its bytes, None when it is dead."""


async def repair(
    store: Store, edition: Edition, ledger: Ledger, verdict: Verdict, fetch: Fetch, decoder: Decoder
) -> tuple[str, ...]:
    """Repair what can be repaired; the keys that were. ``ledger`` is loaded here."""
    sums, _ = await read_sums(store, edition)
    repairer = _Repairer(store, edition, expected_sums(ledger, sums), verdict, fetch, decoder)
    await repairer.bring_back(repairer.strayed())
    await repairer.bring_back(repairer.from_seals())
    await repairer.bring_back_unsigned()
    try:
        await ledger.load(trust_seals=False)
        await repairer.bring_back(repairer.from_records(ledger))
        await repairer.bring_back(repairer.from_links(ledger))
        await repairer.make_thumbnails(ledger)
        await repairer.write_derived(ledger)
    except (StoreRefused, StoreUnavailable):
        raise
    except UNREADABLE as error:
        log.warning("the ledger cannot be read, so nothing more is repaired: %r", error)
    return tuple(repairer.mended)


@dataclass
class _Repairer:
    """One repair. ``expected`` has the hash that each object should have."""

    store: Store
    edition: Edition
    expected: Mapping[str, str]
    verdict: Verdict
    fetch: Fetch
    decoder: Decoder
    mended: list[str] = field(default_factory=list)
    remade: set[str] = field(default_factory=set)
    """Thumbnails whose hash is that of what was made now."""

    @property
    def left(self) -> list[Finding]:
        """What is still damaged."""
        return [finding for finding in self.verdict.findings if finding.key not in self.mended]

    @property
    def damaged(self) -> set[str]:
        """What should have known bytes, except what is derived."""
        wrong = {finding.key for finding in self.left if finding.damage is not Damage.ADDED}
        return {key for key in wrong & self.expected.keys() if not key.startswith(DERIVED)}

    async def bring_back(self, found: AsyncIterator[tuple[str, bytes]]) -> None:
        """Put the right bytes in their place, from these candidates."""
        offers = [(key, content) async for key, content in found if _sha256(content) == self.expected[key]]
        await self._put_back(offers)

    async def _put_back(self, offers: Iterable[tuple[str, bytes]]) -> None:
        for key, content in offers:
            if key not in self.mended:
                await self._keep_paid_bytes(key)
                await self._put(key, content)
                self.mended.append(key)

    async def _put(self, key: str, content: bytes) -> None:
        """Write what is missing, or overwrite what is damaged; the latter needs a permission that few should have."""
        full_key, media_type = self.edition.key(key), _media_type(key)
        if not await self.store.create(full_key, content, media_type=media_type):
            await self.store.replace(full_key, content, media_type=media_type)

    async def _keep_paid_bytes(self, key: str) -> None:
        if not key.startswith(PAID) or (content := await self._read(key)) is None:
            return
        sha256 = _sha256(content)
        if sha256 not in self.expected.values():
            name = f"quarantine/damaged-{sha256[:16]}.bin"
            await self.store.create(self.edition.key(name), content, media_type="application/octet-stream")

    async def strayed(self) -> AsyncIterator[tuple[str, bytes]]:
        """Bytes that lie where others should, or where nothing should."""
        wanted: dict[str, list[str]] = {}
        for key in self.damaged:
            wanted.setdefault(self.expected[key], []).append(key)
        for name in sorted({finding.key for finding in self.verdict.findings}):
            if name.endswith("/") or (content := await self._read(name)) is None:
                continue
            for key in wanted.get(_sha256(content), ()):
                yield key, content

    async def from_seals(self) -> AsyncIterator[tuple[str, bytes]]:
        """Records of the ledger that a seal holds too."""
        async for _, entries in self._seals():
            for key in self.damaged & entries.keys():
                yield key, to_json(entries[key]["record"])

    async def bring_back_unsigned(self) -> None:
        """Restore records as an intact seal holds them, if it holds their links without signatures."""
        async for is_whole, entries in self._seals():
            if is_whole:
                lacking = [key for key in sorted(self.damaged & entries.keys()) if not entries[key]["sha256"]]
                await self._put_back([(key, to_json(entries[key]["record"])) for key in lacking])

    async def _seals(self) -> AsyncIterator[tuple[bool, dict[str, Mapping[str, Any]]]]:
        """The entries of each seal by their records' keys, and whether it is as it was written."""
        if not any(key.startswith("ledger/") for key in self.damaged):
            return
        async for listed in self.store.list(self.edition.key(f"ledger/{SEALED}/")):
            content = await read_plain(self.store, listed.key) or b""
            try:
                calls = from_json(content, listed.key)["calls"]
                entries = {f"ledger/{c}/{n}.json": e for c, named in calls.items() for n, e in named.items()}
                is_whole = _sha256(content) == self.expected.get(listed.key.removeprefix(self.edition.prefix))
                if not all(isinstance(e["record"], dict) and isinstance(e["sha256"], str) for e in entries.values()):
                    continue
            except UNREADABLE:
                continue
            yield is_whole, entries

    async def from_records(self, ledger: Ledger) -> AsyncIterator[tuple[str, bytes]]:
        """Seals, from the records that they were made of."""
        revision = await read_newest(self.store, self.edition)
        if revision is None or not any(key.startswith(f"ledger/{SEALED}/") for key in self.damaged):
            return
        async for key, content in finished_seals(self.store, self.edition, ledger, revision.shards):
            if key in self.damaged:
                yield key, content

    async def from_links(self, ledger: Ledger) -> AsyncIterator[tuple[str, bytes]]:
        """Images, from the API while their links live."""
        for attempt in _attempts(ledger):
            for image in attempt.images:
                if image.fate is ImageFate.LOST or image.key not in self.damaged:
                    continue
                if (content := await self.fetch(attempt.links[image.index])) is not None:
                    yield image.key, content

    async def make_thumbnails(self, ledger: Ledger) -> None:
        """Thumbnails, made from their images. Another version may have made others: the new ones count from now on."""
        for attempt in _attempts(ledger):
            for image in attempt.images:
                if image.fate is not ImageFate.ARCHIVED or (key := thumb_key(image.key)) not in self.damaged:
                    continue
                content = await self._read(image.key)
                if content is None or _sha256(content) != image.sha256:
                    continue
                if small := await shrink(content, self.decoder):
                    await self._put(key, small)
                    self.mended.append(key)
                    self.remade.add(key)

    async def write_derived(self, ledger: Ledger) -> None:
        """Rewrite what is derived and damaged, if all that it is derived from is intact; then the checksums."""
        if not any(_is_a_source(finding) for finding in self.left):
            known = {finding.key for finding in self.left if finding.damage is not Damage.ADDED}
            wrong = {key for key in known if key.startswith(DERIVED)}
            await self._write_manifest(ledger, wrong)
            if "review.html" in wrong:
                await write_review_page(self.store, self.edition, ledger)
            if any(key.startswith("gallery") for key in wrong):
                await write_gallery(self.store, self.edition, ledger, self.decoder)
            self.mended += sorted(wrong)
        if self.mended:
            leave_out = frozenset(finding.key for finding in self.left)
            await write_checksums(
                self.store, self.edition, ledger, leave_out=leave_out, forget=self.remade.__contains__
            )

    async def _write_manifest(self, ledger: Ledger, wrong: set[str]) -> None:
        revision = await read_newest(self.store, self.edition)
        if revision is None:
            return
        derived = await derive(self.store, self.edition, ledger, revision)
        manifest = Document(json.dumps(derived.manifest, ensure_ascii=False, indent=2).encode() + b"\n")
        for name, document in {**derived.files, "manifest.json": manifest}.items():
            if name in wrong and not await self._is_right(name, document, derived.manifest):
                await self.store.replace(self.edition.key(name), document.file(), media_type=_media_type(name))

    async def _is_right(self, name: str, derived: Document, manifest: Mapping[str, Any]) -> bool:
        """Whether a document contradicted only a ledger that has been repaired meanwhile."""
        content = await self._read(name)
        if content is None or _sha256(content) != self.expected.get(name):
            return False
        return derived.is_equal(content) or (name == "manifest.json" and same_facts(content, manifest))

    async def _read(self, name: str) -> bytes | None:
        return await read_plain(self.store, self.edition.key(name))


def _is_a_source(finding: Finding) -> bool:
    """Whether this is damage to a record that manifest and page are derived from; the ledger as a whole was read."""
    return finding.key.startswith(("ledger/", "plan")) and finding.damage is not Damage.UNREADABLE


def _attempts(ledger: Ledger) -> list[Attempt]:
    return [attempt for call in ledger.calls() for attempt in ledger.facts(call).attempts]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


_MEDIA_TYPES = {
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "gif": "image/gif",
    "bmp": "image/bmp",
}


def _media_type(key: str) -> str:
    return _MEDIA_TYPES.get(key.rpartition(".")[2], "application/octet-stream")
