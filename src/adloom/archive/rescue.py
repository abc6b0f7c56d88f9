"""Rescues paid images that no variant waits for: second tasks of one attempt, and tasks that no ledger knows.

Two tasks for one attempt should not exist; where they do (a process that slept between its last look and its POST), the
images of the second go to ``extras/<call>-<task>-<index>.<ext>`` and a ``second`` fact carries the charge, once its end
is believed by the rules for any task (``core.results``); until then every run and sweep looks again. A finished
task of a key that nobody else uses (``ADLOOM_DEDICATED_KEY=1``) and that nothing in the archive claims is copied to
``orphans/<task>/`` at the archive's root before its links die, for a person to attribute.
"""

from __future__ import annotations

import hashlib
import logging
from decimal import Decimal
from functools import partial

from adloom.archive.fetch import Fetcher, Siblings, Target
from adloom.collect.poller import Poller
from adloom.core.backoff import POLL_FOR_S
from adloom.core.errors import AccountStopped, DownloadFailed, LinkExpired, ReadFailed
from adloom.core.facts import Attempt, task_name
from adloom.core.records import Image, ImageFate, images_record
from adloom.core.results import Reading, Verdict, images_billed, judge, second_reading_after_s, told_charge
from adloom.core.task import Download, Picture, Task, TaskState
from adloom.guards.image_memory import ImageMemory
from adloom.ledger.claims import claims_of, hold
from adloom.ledger.edition import Edition, to_json, utc
from adloom.ledger.index import open_editions
from adloom.ledger.ledger import Ledger
from adloom.world import World

log = logging.getLogger(__name__)

SCHEMA = "adloom.orphan/1"
LISTED_S = POLL_FOR_S + 4 * 3600
"""How far back the list is searched: an orphan's last links die ``POLL_FOR_S`` after its creation, and one more sweep
is the margin for reporting it."""


class Rescuer:
    """Rescues for one run, after everything else."""

    def __init__(self, world: World, edition: Edition, ledger: Ledger, poller: Poller) -> None:
        self._store = world.store
        self._edition = edition
        self._ledger = ledger
        self._api = world.api
        self._fetcher = Fetcher(world)
        self._poller = poller
        self._clock = world.clock

    async def second_tasks(self) -> None:
        """Collect every task other than the one that counts, and record its charge and images.

        That includes a task that failed and was completed after all, once another attempt had been bought and
        completed.
        """
        for facts in self._ledger.unended():
            for attempt in facts.attempts:
                is_late = attempt.completed is not None and attempt.number != facts.latest.number
                for task_id in attempt.tasks:
                    is_second = is_late or task_id != attempt.task
                    is_new = is_second and task_name(task_id) not in attempt.seconds
                    if is_new and await hold(self._ledger, facts.call, attempt.number, task_id):
                        await self._second_task(facts.call, attempt, task_id)

    async def orphans(self) -> None:
        """Copy tasks that no ledger of the archive claims."""
        now = self._clock.now()
        try:
            listed = await self._api.list_tasks(int(now - LISTED_S))
        except (ReadFailed, AccountStopped) as error:
            log.warning("the task list cannot be read, so orphans are not searched for: %s", error.message)
            return
        made = {one.task_id: one.created_at for one in listed or () if one.state is TaskState.COMPLETED}
        editions = {self._edition, *await open_editions(self._store, now)}
        claimed = (await claims_of(self._store, editions, {task_name(task_id) for task_id in made})).tasks
        lost = [task_id for task_id in made if task_name(task_id) not in claimed]
        tasks = await self._api.tasks(lost) if lost else {}
        for task in tasks.values():
            await self._orphan(task, made[task.task_id])

    async def _second_task(self, call: str, attempt: Attempt, task_id: str) -> None:
        sent = attempt.intent.unix_s if attempt.intent else self._clock.now()
        task = await self._ended(attempt, task_id, sent)
        if task is None:
            return
        log.error("call %s was bought twice: task %s is kept as extra images", call, task_id)
        images = await self._save(task, self._edition.key(f"extras/{call}-{task_name(task_id)}"), made=sent)
        if images is None:
            return
        charged = attempt.quoted if task.credits_used is None else task.credits_used
        if task_id == attempt.task:  # its charge is counted with what it showed
            charged = Decimal(0)
        await self._ledger.note(
            call,
            f"a{attempt.number}-second.{task_name(task_id)}",
            {
                "task": task_id,
                "credits": str(charged if task.state is TaskState.COMPLETED else 0),
                **images_record(images),
            },
        )

    async def _ended(self, attempt: Attempt, task_id: str, sent: float) -> Task | None:
        """A second task whose end is certain: it shows all that was requested or billed, or two readings agree.

        None while a later run has to read it again.
        """
        readings: list[Reading] = []
        first = await self._poller.watch(task_id, sent)
        task = first
        for _ in range(2):
            if task is None or first is None or task.state is not first.state:
                return None
            billed = _billed(attempt, task)
            readings.append(Reading(self._clock.monotonic(), task.results, is_own=bool(readings), billed=billed))
            if task.state is TaskState.COMPLETED:
                if self._judged(attempt, readings, sent) in (Verdict.FINAL, Verdict.NEVER_SHOWN):
                    return task
            elif len(readings) > 1:
                return task
            if len(readings) == 1:
                wait_s = second_reading_after_s(self._poller.interval_s)
                task = await self._poller.look_again(task_id, wait_s, alone=True)
        return None

    def _judged(self, attempt: Attempt, readings: list[Reading], sent: float) -> Verdict:
        return judge(
            readings,
            known=(),
            asked=attempt.asked,
            billed=readings[-1].billed,
            interval_s=self._poller.interval_s,
            now_s=self._clock.monotonic(),
            ended_ago_s=self._clock.now() - sent,
        )

    async def _orphan(self, task: Task, made: float) -> None:
        folder = f"orphans/{task_name(task.task_id)}"
        if await self._store.read(f"{folder}/task.json") is not None:
            return
        images = await self._save(task, f"{folder}/image", made=made)
        if images is None:
            return
        record = {
            "schema": SCHEMA,
            "task": task.task_id,
            "time": utc(self._clock.now()),
            **images_record(images),
        }
        await self._store.create(f"{folder}/task.json", to_json(record))
        log.error("task %s is claimed by nothing in the archive: its images are in %s", task.task_id, folder)

    async def _save(self, task: Task, stem: str, *, made: float) -> list[Image] | None:
        """Every image of a task created at a Unix time; None while one of them cannot be fetched."""
        images: list[Image] = []
        links = tuple(dict.fromkeys(task.results))
        siblings = Siblings(self._fetcher, self._fetcher.reading(task.task_id), (links,), {})
        for index, link in enumerate(links):
            target = Target(
                link,
                dies=made + POLL_FOR_S,  # when it ended is not known
                fresh=partial(siblings.fresh, link),
                keep=partial(self._keep, f"{stem}-{index}"),
                share=ImageMemory(most_images=1).share(),  # one image after the other
            )
            try:
                images.append(await self._save_one(siblings, index, target, f"{stem}-{index}"))
            except DownloadFailed as error:
                log.warning("%s was not downloaded this time: %s", stem, error.message)
                return None
        return images

    async def _save_one(self, siblings: Siblings, index: int, target: Target, stem: str) -> Image:
        try:
            download, picture = await siblings.image(index, target)
        except LinkExpired as error:
            return await self._given_up(index, stem, error)
        key = await self._put(stem, download, picture)
        return Image(
            index,
            0,
            ImageFate.EXTRA,
            key.removeprefix(self._edition.prefix),
            download.sha256,
            len(download.content),
            picture.media_type,
            picture.width_px,
            picture.height_px,
            flags=picture.flags,
            likeness=picture.likeness,
            provenance=picture.provenance,
        )

    async def _put(self, stem: str, download: Download, picture: Picture) -> str:
        """Store an image. Its name may already be taken by another image, from a reading in a different order."""
        for name in (stem, f"{stem}-{download.sha256[:16]}"):
            key = f"{name}.{picture.extension}"
            if await self._store.create(key, download.content, media_type=picture.media_type):
                return key
            standing = await self._store.read(key)
            if standing is not None and hashlib.sha256(standing).hexdigest() == download.sha256:
                return key
        raise DownloadFailed(f"{key} holds other bytes; `adloom verify` shows details")

    async def _keep(self, stem: str, download: Download) -> None:
        """Keep the first bytes that were not an image, as evidence."""
        await self._store.create(f"{stem}.bin", download.content, media_type=_BYTES)

    async def _given_up(self, index: int, stem: str, error: LinkExpired) -> Image:
        content = await self._store.read(f"{stem}.bin")
        log.error("%s is lost: %s", stem, error.message)
        if content is None:
            return Image(index, 0, ImageFate.LOST, reason=f"lost: {error.message}")
        key, sha256 = f"{stem}.bin".removeprefix(self._edition.prefix), hashlib.sha256(content).hexdigest()
        return Image(index, 0, ImageFate.QUARANTINED, key, sha256, len(content), _BYTES)


_BYTES = "application/octet-stream"


def _billed(attempt: Attempt, task: Task) -> int | None:
    """How many images a second task was charged for, by what the plan quoted; None if unknown."""
    if attempt.intent is None:
        return None
    used = told_charge(task, shows=bool(task.results))
    return images_billed(used, attempt.intent.credits, len(attempt.intent.variants))
