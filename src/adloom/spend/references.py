"""Gives reference files an address from which the API can fetch them, before the purchase that needs it.

An upload is one create-once record of the edition, ``ledger/uploads/<sha256>-<writer>-<number>.json``: ``schema``
(``adloom.upload/1``), ``time`` and ``expires_at`` (UTC, by this machine's clock), ``account`` (whose upload it is, and
where), ``name`` (the file's path next to the campaign) and ``url``. It is in the ledger because only the ledger holds
addresses. The records save uploads and prove nothing: one that cannot be read, or that another run made meanwhile,
costs one more upload of the same bytes under the same name.

A file is uploaded when the first call that needs it is about to be bought, once for all calls of a process, and again
when two thirds of its time are over: 48 of the 72 hours that EvoLink keeps a file, which leaves the API a day to fetch
it. The identity of a variant or call depends on the content alone.

A file that the service refuses, at a second try too, ends the calls that need it; the others go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn, TypeVar

from adloom.core.backoff import READ, advised_wait_s
from adloom.core.errors import (
    AccountStopped,
    AdloomError,
    ApiError,
    FileRefused,
    InputError,
    ReadFailed,
    RecordUnreadable,
)
from adloom.core.exits import Stop, StopReason
from adloom.core.order import Order
from adloom.core.reference import Reference
from adloom.core.retrying import retried
from adloom.guards.gate import Gate, GateClosed
from adloom.ledger.edition import Edition, from_json, to_json, utc
from adloom.ledger.ledger import UPLOADS
from adloom.ports import FileHost
from adloom.world import World

log = logging.getLogger(__name__)

SCHEMA = "adloom.upload/1"
TRIES = 6
REFUSALS = 2
"""So many in a row are believed: the second reading of a decision that gives images up."""
UPLOADS_AT_ONCE = 4
"""A file of 10 MB is held some four times in memory while it is sent."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Upload:
    """Where a file is hosted, since when, and until when; Unix times."""

    url: str
    since: float
    until: float

    def is_fresh(self, now: float) -> bool:
        """Whether a call bought now may use it."""
        return self.since <= now < self.since + (self.until - self.since) * 2 / 3

    def is_hosted(self, now: float) -> bool:
        """Whether the service still counts it as a file of the account."""
        return now < self.until


class Hosting:
    """Hosts the files of one run. ``planned`` are those of all that it has to buy."""

    def __init__(
        self, world: World, edition: Edition, gate: Gate, *, planned: Sequence[Reference], writer: str
    ) -> None:
        self._files = world.files
        self._account = world.files.host.account if world.files else ""
        self._planned = {reference.content for reference in planned}
        self._store = world.store
        self._edition = edition
        self._gate = gate
        self._clock = world.clock
        self._random = world.random
        self._writer = writer
        self._scale = world.scale
        self._uploads: dict[str, Upload | None] = {}
        """The newest upload of each content that was looked for."""
        self._refused: dict[str, FileRefused] = {}
        """The contents that the service does not take."""
        self._recorded: dict[str, list[str]] | None = None
        self._locks: dict[str, asyncio.Lock] = {}
        self._listing = asyncio.Lock()
        self._measuring = asyncio.Lock()
        self._has_room = False
        self._places = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._written = 0

    async def hosted(self, order: Order) -> Order:
        """The order with an address for each of its files.

        Raises FileRefused when the service does not take one, and GateClosed when a file cannot be hosted for another
        reason: then nothing more is bought.
        """
        wanted = [reference for reference in order.row.references if reference.url is None]
        if not wanted:
            return order
        return order.with_addresses({reference.content: await self._url(reference) for reference in wanted})

    async def _url(self, reference: Reference) -> str:
        async with self._locks.setdefault(reference.content, asyncio.Lock()):
            self._gate.check()
            if reference.content in self._refused:
                raise self._refused[reference.content]
            upload = await self._newest(reference.content)
            if upload is None or not upload.is_fresh(self._clock.now()):
                upload = await self._upload_or_stop(reference)
            return upload.url

    async def _upload_or_stop(self, reference: Reference) -> Upload:
        try:
            return await self._upload(reference)
        except FileRefused as error:
            told = FileRefused(f"{reference.shown} is not hosted: {error.message}", remedy=error.remedy)
            self._refused[reference.content] = told
            log.warning("%s", told.message)
            raise told from error
        except AccountStopped as error:
            self._stop(StopReason.ACCOUNT, reference, error)
        except ApiError as error:
            self._stop(StopReason.OUTAGE, reference, error)
        except InputError as error:
            self._stop(StopReason.INPUT_CHANGED, reference, error)

    def _stop(self, reason: StopReason, reference: Reference, error: AdloomError) -> NoReturn:
        message = f"{reference.shown} is not hosted: {error.message}"
        self._gate.close(Stop(reason, message, error.remedy))
        raise GateClosed from error

    async def _upload(self, reference: Reference) -> Upload:
        if self._files is None:
            raise InputError(
                f"{reference.shown}: this run cannot host files", remedy="Give an address instead of the file."
            )
        host, content = self._files.host, await self._files.to_host(reference)
        async with self._places:
            await self._make_sure_of_room(host, reference.content)
            since = self._clock.now()
            file = await self._tried(lambda: host.upload(content, _sha256(reference.content)))
        upload = Upload(file.url, since, since + file.life_s)
        await self._record(reference, upload)
        self._uploads[reference.content] = upload
        return upload

    async def _make_sure_of_room(self, host: FileHost, content: str) -> None:
        """Before the first upload: whether everything planned fits. What is hosted already needs no more room."""
        async with self._measuring:
            if self._has_room:
                return
            self._gate.check()
            room = await self._tried(host.room)
            now = self._clock.now()
            uploads = [await self._newest(each) for each in sorted(self._planned | {content})]
            needed = sum(upload is None or not upload.is_hosted(now) for upload in uploads)
            if room is not None and room < needed:
                raise AccountStopped(
                    f"EvoLink's file service has room for {room} more files, and this campaign needs {needed}",
                    remedy="Delete hosted files, or wait: each is deleted 72 h after its upload. Then run it again.",
                )
            self._has_room = True

    async def _tried(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Ask until it works, ``TRIES`` times at most. Raises GateClosed once buying has stopped."""
        refusals = 0

        def again(error: BaseException) -> bool:
            nonlocal refusals
            refusals = refusals + 1 if isinstance(error, FileRefused) else 0
            return isinstance(error, ReadFailed) or 0 < refusals < REFUSALS

        return await retried(
            ask,
            again=again,
            wait_s=self._wait_s,
            sleep=lambda seconds: self._gate.sleep(seconds, self._clock),
            ends=lambda tries: tries >= TRIES,
            failed=lambda error: log.info("the file service: %s", error),
        )

    def _wait_s(self, error: BaseException, failures: int) -> float:
        chance = self._random.random()
        if isinstance(error, ReadFailed) and error.retry_after_s is not None:
            return advised_wait_s(error.retry_after_s, chance)
        return READ.wait_s(failures, chance) * self._scale

    async def _newest(self, content: str) -> Upload | None:
        """The newest upload of a content that is known, None without one."""
        if content not in self._uploads:
            found = [upload async for upload in self._read(content)]
            self._uploads.setdefault(content, max(found, key=lambda upload: upload.since, default=None))
        return self._uploads[content]

    async def _read(self, content: str) -> AsyncIterator[Upload]:
        for key in (await self._list()).get(_sha256(content), ()):
            upload = _upload_of(await self._store.read(key) or b"", key, self._account)
            if upload is not None:
                yield upload

    async def _list(self) -> dict[str, list[str]]:
        """The keys of all records by the hash of their file, as this run found them."""
        async with self._listing:
            if self._recorded is None:
                recorded: dict[str, list[str]] = {}
                async for listed in self._store.list(self._edition.key(f"ledger/{UPLOADS}/")):
                    sha256 = listed.key.rpartition("/")[2].partition("-")[0]
                    recorded.setdefault(sha256, []).append(listed.key)
                self._recorded = recorded
        return self._recorded

    async def _record(self, reference: Reference, upload: Upload) -> None:
        self._written += 1
        record = {
            "schema": SCHEMA,
            "time": utc(upload.since),
            "expires_at": utc(upload.until),
            "account": self._account,
            "name": reference.shown,
            "url": upload.url,
        }
        name = f"{_sha256(reference.content)}-{self._writer}-{self._written}"
        await self._store.create(self._edition.key(f"ledger/{UPLOADS}/{name}.json"), to_json(record))


def _sha256(content: str) -> str:
    return content.removeprefix("sha256:")


def _upload_of(content: bytes, key: str, account: str) -> Upload | None:
    """The upload in a record; None for another account's, and for one that cannot be read."""
    try:
        record = from_json(content, key)
        if record["schema"] != SCHEMA or record["account"] != account:
            return None
        since, until = (datetime.fromisoformat(record[name]).timestamp() for name in ("time", "expires_at"))
        return Upload(str(record["url"]), since, until)
    except (RecordUnreadable, KeyError, TypeError, ValueError):
        return None
