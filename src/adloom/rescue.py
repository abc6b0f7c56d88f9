"""Paid images that no variant waits for: second tasks of one attempt, and tasks that no ledger knows.

Two tasks for one attempt should not exist; where they do (a process that slept between its last look and its POST), the
images of the second go to ``extras/<call>-<task>-<index>.<ext>`` and a ``second`` fact carries the charge. A finished
task of a key that nobody else uses (``ADLOOM_DEDICATED_KEY=1``) and that nothing in the archive claims is copied to
``orphans/<task>/`` at the archive's root before its links die, for a person to attribute.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from adloom.archive import DOWNLOAD_TRIES
from adloom.claims import claims_of, hold
from adloom.collect import Poller
from adloom.core.backoff import RESULT
from adloom.core.errors import AccountStopped, DownloadFailed, LinkExpired, ReadFailed
from adloom.core.facts import Attempt, Image, ImageFate, image_entry, task_name
from adloom.core.task import Task, TaskState
from adloom.ledger import Edition, Ledger, to_json, utc
from adloom.world import World

log = logging.getLogger(__name__)

SCHEMA = "adloom.orphan/1"
LINKS_LIVE_S = 24 * 3600


class Rescuer:
    """Rescues for one run, after everything else."""

    def __init__(self, world: World, edition: Edition, ledger: Ledger, poller: Poller) -> None:
        self._store = world.store
        self._edition = edition
        self._ledger = ledger
        self._api = world.api
        self._decoder = world.decoder
        self._poller = poller
        self._clock = world.clock
        self._random = world.random
        self._scale = world.scale

    async def second_tasks(self) -> None:
        """Collect every task beside the one that counts, and record its charge and its images."""
        for call in self._ledger.calls():
            for attempt in self._ledger.facts(call).attempts:
                for task_id in attempt.tasks:
                    is_new = task_id != attempt.task and task_name(task_id) not in attempt.seconds
                    if is_new and await hold(self._ledger, call, attempt.number, task_id):
                        await self._second_task(call, attempt, task_id)

    async def orphans(self) -> int:
        """Copy what no ledger of the archive claims; how many tasks were copied."""
        now = self._clock.now()
        try:
            listed = await self._api.list_tasks(int(now - LINKS_LIVE_S))
        except (ReadFailed, AccountStopped) as error:
            log.warning("the task list cannot be read, so no orphan is looked for: %s", error.message)
            return 0
        claimed = (await claims_of(self._store)).tasks
        ids = [one.task_id for one in listed or () if one.state is TaskState.COMPLETED]
        lost = [task_id for task_id in ids if task_name(task_id) not in claimed]
        tasks = await self._api.tasks(lost) if lost else {}
        for task in tasks.values():
            await self._orphan(task)
        return len(tasks)

    async def _second_task(self, call: str, attempt: Attempt, task_id: str) -> None:
        sent = attempt.intent["time"] if attempt.intent else utc(self._clock.now())
        task = await self._poller.watch(task_id, datetime.fromisoformat(sent).timestamp())
        if task is None:
            return
        log.error("call %s was bought twice: task %s is kept as extra images", call, task_id)
        images = await self._save(task.results, self._edition.key(f"extras/{call}-{task_name(task_id)}"))
        if images is None:
            return
        quoted = Decimal(attempt.intent["credits"]) if attempt.intent else Decimal(0)
        charged = quoted if task.credits_used is None else task.credits_used
        await self._ledger.note(
            call,
            f"a{attempt.number}-second.{task_name(task_id)}",
            {
                "task": task_id,
                "credits": str(charged if task.state is TaskState.COMPLETED else 0),
                "images": [image_entry(image) for image in images],
            },
        )

    async def _orphan(self, task: Task) -> None:
        folder = f"orphans/{task_name(task.task_id)}"
        if await self._store.read(f"{folder}/task.json") is not None:
            return
        images = await self._save(task.results, f"{folder}/image")
        if images is None:
            return
        record = {
            "schema": SCHEMA,
            "task": task.task_id,
            "time": utc(self._clock.now()),
            "images": [image_entry(image) for image in images],
        }
        await self._store.create(f"{folder}/task.json", to_json(record))
        log.error("task %s is claimed by nothing in the archive: its images are in %s", task.task_id, folder)

    async def _save(self, links: Sequence[str], stem: str) -> list[Image] | None:
        """Every image behind some links; None while one of them cannot be fetched now."""
        images = []
        for index, link in enumerate(dict.fromkeys(links)):
            try:
                images.append(await self._save_one(index, link, f"{stem}-{index}"))
            except DownloadFailed as error:
                log.warning("%s was not downloaded this time: %s", stem, error.message)
                return None
        return images

    async def _save_one(self, index: int, link: str, stem: str) -> Image:
        try:
            content = await self._download(link)
        except LinkExpired as error:
            log.error("%s is lost: %s", stem, error.message)  # noqa: TRY400 - the cause is told, its trace helps nobody
            return Image(index, 0, ImageFate.LOST, reason=f"lost: {error.message}")
        picture = await self._decoder.decode(content)
        key = f"{stem}.{picture.extension if picture else 'bin'}"
        media_type = picture.media_type if picture else "application/octet-stream"
        await self._store.create(key, content, media_type=media_type)
        return Image(
            index,
            0,
            ImageFate.EXTRA if picture else ImageFate.QUARANTINED,
            key.removeprefix(self._edition.prefix),
            hashlib.sha256(content).hexdigest(),
            len(content),
            media_type,
            picture.width_px if picture else 0,
            picture.height_px if picture else 0,
            flags=picture.flags if picture else (),
        )

    async def _download(self, link: str) -> bytes:
        for tried in range(DOWNLOAD_TRIES - 1):
            try:
                return (await self._api.download(link)).content
            except DownloadFailed:
                await self._clock.sleep(RESULT.wait_s(tried, self._random.random()) * self._scale)
        return (await self._api.download(link)).content
