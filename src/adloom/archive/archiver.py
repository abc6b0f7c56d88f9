"""The only writer of assets: download, verify, put, and only then record it in the ledger.

An asset is ``assets/<job>/<label>-<variant>-<6 hex of its key>.<ext>``, created once and never overwritten, byte for
byte as received. Images above what was asked for go to ``extras/<call>-<index>.<ext>``. If runs that died, or read
another ledger, put other bytes there, the name gets 6 hex of its SHA-256. The first paid bytes of a link that are not a
whole image go to ``quarantine/<call>-<index>-<6 hex of their SHA-256>.bin`` as evidence (from the second attempt on
``<call>-a<attempt>-<index>-…``), and the image is fetched again, in this run and later ones, while its link lives.

What a run stored that died before it could say so may be an image of another task for the same variant. So it is
compared with what the link brings, and taken over by itself only when that link has died.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from adloom.archive.fetch import Fetcher, Siblings, Target
from adloom.core.crop import Pixels
from adloom.core.errors import DownloadFailed, LinkExpired, StoreError
from adloom.core.facts import CallFacts
from adloom.core.fit import is_wrong_size
from adloom.core.identity import asset_stems, thumb_key
from adloom.core.limits import LINKS_LIVE_S
from adloom.core.links import mark, others
from adloom.core.planned import Variant
from adloom.core.records import Image, ImageFate, Intent, images_record
from adloom.core.task import Download, Picture
from adloom.guards.backlog import Backlog
from adloom.guards.image_memory import ImageMemory
from adloom.ledger.edition import Edition
from adloom.ledger.ledger import Ledger
from adloom.world import World

log = logging.getLogger(__name__)

IMAGES_AT_ONCE = 32
"""Images between the first byte of a download and the last of its put, or between two tries, for the whole process.
``guards/image_memory`` says how many of them may hold their bytes.
"""

_EXTENSIONS = ("jpg", "png", "webp", "avif", "gif", "bmp")


class Archiver:
    """Archives the images of completed calls."""

    def __init__(self, world: World, edition: Edition, ledger: Ledger, backlog: Backlog) -> None:
        self._store = world.store
        self._edition = edition
        self._ledger = ledger
        self._decoder = world.decoder
        self._fetcher = Fetcher(world)
        self._backlog = backlog
        self._memory = ImageMemory(most_images=IMAGES_AT_ONCE)

    async def archive(self, call: str) -> None:
        """Archive every image of a completed call that is not archived yet, and record what became of each.

        An image that cannot be fetched now is left out: later runs retry it while its link lives.
        """
        facts = self._ledger.facts(call)
        reading = self._fetcher.reading(facts.latest.task)
        done = {image.index: image.sha256 for image in facts.latest.images}
        siblings = Siblings(self._fetcher, reading, facts.latest.readings, done)
        links = [(index, link) for index, link in enumerate(facts.latest.links) if index not in done]
        found = await asyncio.gather(*(self._image(facts, index, link, siblings) for index, link in links))
        images = [image for image in found if image is not None]
        recorded = await self._record(call, images, siblings)
        missing = [index for (index, _), image in zip(links, found, strict=True) if image is None]
        # a link too many may lead to an image that is there
        paid = [index for index in missing if index < facts.latest.asked]
        known = sum(siblings.is_bad(index) for index in paid)
        self._backlog.leave_for_later(len(images) - recorded + len(paid), known=known)
        if await self._note_others(call, reading.shown):
            await self.archive(call)

    async def _note_others(self, call: str, shown: Sequence[str]) -> bool:
        """Write down links of images that a fresh reading shows for the first time; whether there are any.

        As many as were asked for, and no more: an API may change the very paths at each reading.
        """
        while True:
            attempt = self._ledger.facts(call).latest
            completed, new = attempt.completed, others(attempt.links, shown)
            if completed is None or not new or len(attempt.links) + len(new) > 2 * attempt.asked:
                return False
            name = f"a{attempt.number}-completed-{len(attempt.completions) + 1}"
            record = replace(completed, links=tuple(shown), reported=len(shown)).record()
            if (await self._ledger.decide(call, name, record))[1]:
                return True

    async def _record(self, call: str, images: Sequence[Image], siblings: Siblings) -> int:
        """Record what became of images, even if another run has recorded something meanwhile.

        Returns how many images are now accounted for; one that another run has meanwhile taken for another index is
        not.
        """
        while True:
            latest = self._ledger.facts(call).latest
            said = {image.index: image for image in latest.images}
            mine = [image for image in images if siblings.is_own(image.index, image.sha256, said.values())]
            new = [image for image in mine if _is_news(image, said.get(image.index))]
            if not new and (latest.links or latest.archived_facts):
                return len(mine)
            name = f"a{latest.number}-archived-{latest.archived_facts + 1}"
            if (await self._ledger.decide(call, name, images_record(new)))[1]:
                return len(mine)

    async def _image(self, facts: CallFacts, index: int, link: str, siblings: Siblings) -> Image | None:
        intent = facts.intent
        assert intent is not None  # noqa: S101 - a completed call was bought
        variant = intent.variants[index] if index < len(intent.variants) else None
        fate = ImageFate.ARCHIVED if variant else ImageFate.EXTRA
        number = variant.number if variant else 0
        if variant is None:
            stems: tuple[str, ...] = (_extra_stem(facts, index),)
        else:
            job, label = variant.owner or (intent.job, intent.label)
            stems = asset_stems(job, label, number, variant.key)
        completed = facts.latest.completed
        assert completed is not None  # noqa: S101 - links come from this fact
        made = partial(_image, intent, index, number, fate, mark(link))
        inherited = completed.writer != self._ledger.writer
        ended = completed.unix_s
        share = self._memory.share()
        target = Target(
            link,
            dies=ended + LINKS_LIVE_S,
            fresh=partial(siblings.fresh, link),
            keep=partial(self._keep, facts, index, siblings),
            share=share,
        )

        async def left_behind() -> Image | None:
            existing = await self._existing(facts.call, stems) if inherited else None
            if existing is None or not siblings.note(index, existing[1]):
                return None
            await self._show(existing[0], existing[-1])
            return made(*existing)

        async with self._backlog.place(ended), share:
            try:
                if self._fetcher.is_over(target) and (left := await left_behind()) is not None:
                    return left
                download, picture = await siblings.image(index, target)
                names = (*stems, f"{stems[-1]}-{download.sha256[:6]}")  # the last is for this image alone
                keys = [f"{stem}.{picture.extension}" for stem in names]
                key = await self._put(keys, download, picture.media_type, facts, variant)
                await self._show(key, picture)
                return made(key, download.sha256, len(download.content), picture)
            except LinkExpired as error:
                return await left_behind() or await self._given_up(facts, index, number, error)
            except DownloadFailed as error:
                log.warning(
                    "image %d of call %s was not downloaded this time: %s", index + 1, facts.call, error.message
                )
                return None

    async def _existing(self, call: str, stems: Sequence[str]) -> tuple[str, str, int, Picture] | None:
        """An asset that a run stored before it died: key, hash, size and picture."""
        for key in (f"{stem}.{extension}" for stem in stems for extension in _EXTENSIONS):
            content = await self._store.read(self._edition.key(key))
            if content is None or self._is_anothers(key, call):
                continue
            if (picture := await self._decoder.decode(content)) is not None:
                return key, hashlib.sha256(content).hexdigest(), len(content), picture
        return None

    def _is_anothers(self, key: str, call: str) -> bool:
        if any(key in loss["assets"] for loss in self._ledger.losses):
            return True
        calls = (self._ledger.facts(known) for known in self._ledger.calls() if known != call)
        return any(image.key == key for facts in calls for attempt in facts.attempts for image in attempt.images)

    async def _put(
        self, keys: Sequence[str], download: Download, media_type: str, facts: CallFacts, variant: Variant | None
    ) -> str:
        """Store the bytes under the first of the keys that no other bytes have, and return it."""
        metadata = {
            "call": facts.call,
            "task": facts.latest.task,
            "variant": str(variant.number) if variant else "extra",
            "sha256": download.sha256,
        }
        for key in keys:
            full_key = self._edition.key(key)
            if await self._store.create(full_key, download.content, media_type=media_type, metadata=metadata):
                return key
            standing = await self._store.read(full_key)
            if standing is not None and hashlib.sha256(standing).hexdigest() == download.sha256:
                return key
        raise DownloadFailed(f"{keys[-1]} holds other bytes; `adloom verify` shows details")

    async def _show(self, key: str, picture: Picture) -> None:
        """Put an asset's thumbnail next to it. It can be made again, so nothing depends on it."""
        if not picture.thumbnail or not key.startswith("assets/"):
            return
        try:
            await self._store.create(self._edition.key(thumb_key(key)), picture.thumbnail, media_type="image/jpeg")
        except StoreError as error:
            log.info("the thumbnail of %s was not written: %s", key, error.message)

    async def _keep(self, facts: CallFacts, index: int, siblings: Siblings, download: Download) -> None:
        """Keep the first bytes that were not an image, as evidence."""
        if siblings.has_evidence(index):
            return
        is_old = await self._evidence(facts, index) is not None
        siblings.note_evidence(index, is_old=is_old)
        if not is_old:
            key = f"{_evidence_stem(facts, index)}{download.sha256[:6]}.bin"
            await self._put([key], download, "application/octet-stream", facts, None)
            log.error("image %d of call %s: its link brings no image; see %s", index + 1, facts.call, key)

    async def _evidence(self, facts: CallFacts, index: int) -> str | None:
        """Where bytes that were not an image are kept."""
        prefix = self._edition.key(_evidence_stem(facts, index))
        keys = sorted([listed.key async for listed in self._store.list(prefix)])
        return keys[0].removeprefix(self._edition.prefix) if keys else None

    async def _given_up(self, facts: CallFacts, index: int, number: int, error: LinkExpired) -> Image:
        """The recorded end of an image that can no longer be fetched."""
        key = await self._evidence(facts, index)
        content = None if key is None else await self._store.read(self._edition.key(key))
        if key is None or content is None:
            log.error("image %d of call %s is lost: %s", index + 1, facts.call, error.message)
            return Image(index, number, ImageFate.LOST, reason=f"lost: {error.message}")
        reason = f"no complete image came until its link had died; the bytes are kept in {key}"
        log.error("image %d of call %s: %s", index + 1, facts.call, reason)
        sha256 = hashlib.sha256(content).hexdigest()
        fate, media_type = ImageFate.QUARANTINED, "application/octet-stream"
        return Image(index, number, fate, key, sha256, len(content), media_type, reason=reason)


def _is_news(image: Image, said: Image | None) -> bool:
    return said is None or image.fate.weight > said.fate.weight


def _extra_stem(facts: CallFacts, index: int) -> str:
    return f"extras/{facts.call}-{index}"


def _evidence_stem(facts: CallFacts, index: int) -> str:
    """What evidence is named after: each attempt has a task of its own."""
    attempt = facts.latest.number
    return f"quarantine/{facts.call}-{f'a{attempt}-' if attempt > 1 else ''}{index}-"


def _image(  # noqa: PLR0913, PLR0917 - a record's fields
    intent: Intent,
    index: int,
    number: int,
    fate: ImageFate,
    link: str,
    key: str,
    sha256: str,
    size_bytes: int,
    picture: Picture,
) -> Image:
    made, asked = Pixels(picture.width_px, picture.height_px), json.loads(intent.body or "{}")
    is_wrong = is_wrong_size(made, asked.get("size", "auto"), asked.get("quality", ""))
    return Image(
        index,
        number,
        fate,
        key,
        sha256,
        size_bytes,
        picture.media_type,
        picture.width_px,
        picture.height_px,
        flags=(*picture.flags, *(("wrong_pixels",) if is_wrong else ())),
        likeness=picture.likeness,
        provenance=picture.provenance,
        link=link,
    )
