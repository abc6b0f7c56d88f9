"""What a process has of the world: its clock, store, API and image decoder."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal

from support.fakes import spooled, whole
from torture.simulated.api_tasks import EPOCH, LINK, LINKS_LIVE_S, MODEL, TOKEN, WRITTEN_ONCE, Made
from torture.simulated.world import Process, anonymous

from adloom.core.errors import (
    AccountStopped,
    DownloadError,
    DownloadFailed,
    LinkExpired,
    NotSent,
    OutcomeUnknown,
    ReadFailed,
    StoreUnavailable,
    Throttled,
)
from adloom.core.task import Accepted, Credits, Download, ListedTask, Picture, Task, TaskState
from adloom.ports import Content, Listed, Spool


class SimClock:
    """The virtual time as one process sees it."""

    def __init__(self, process: Process, skew_s: float = 0.0) -> None:
        self._process = process
        self._skew_s = skew_s

    def now(self) -> float:
        return self._process.world.now() + self._skew_s

    def monotonic(self) -> float:
        return self._process.world.loop.time()

    async def sleep(self, seconds: float) -> None:
        """Sleep; the dead do not wake up."""
        if not self._process.dead:
            await asyncio.sleep(max(seconds, 0.001))
        while self._process.paused and not self._process.dead:
            await self._process.resumed.wait()
        if self._process.dead:
            await self._process.world.loop.create_future()


class SimStore:
    """The store as one process sees it: create-once, listed page by page, with outages and lost replies."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world

    @property
    def address(self) -> str:
        return "memory"

    async def create(
        self,
        key: str,
        content: bytes,
        *,
        media_type: str = "application/json",
        metadata: Mapping[str, str] | None = None,
    ) -> bool:
        del media_type, metadata
        await self._enter(f"create {key}")
        world = self._world
        created = key not in world.objects
        if created:
            world.say(f"{self._process.name} creates {anonymous(key)}")
            world.put(key, content)
        await self._process.leave(f"create {key}")
        if world.chance(world.faults.store_down_after):
            world.note("store outage after the effect")
            raise StoreUnavailable("the store broke off")
        if world.chance(world.faults.store_lost_reply):
            world.note("store lost reply")
            return world.objects[key] == content
        return created

    async def replace(self, key: str, content: Content, *, media_type: str = "application/json") -> None:
        del media_type
        await self._enter(f"replace {key}")
        if any(part in f"/{key}" for part in WRITTEN_ONCE):
            self._world.problem(f"I4 {key} is replaced")
        self._world.put(key, whole(content))
        await self._process.leave(f"replace {key}")

    async def read(self, key: str) -> bytes | None:
        await self._enter(f"read {key}")
        content = self._world.objects.get(key)
        await self._process.leave(f"read {key}")
        return content

    async def open(self, key: str) -> Spool | None:
        return spooled(await self.read(key))

    async def metadata(self, key: str) -> Mapping[str, str]:
        await self._enter(f"metadata {key}")
        return {}

    async def list(self, prefix: str) -> AsyncIterator[Listed]:
        after = prefix
        while True:
            await self._enter(f"list {prefix}")
            keys = [key for key in self._world.under(prefix) if key > after or (key == prefix == after)]
            page = keys[: self._world.page_size]
            await self._process.leave(f"list {prefix}")
            for key in page:
                yield Listed(key)
            if len(keys) <= len(page):
                return
            after = page[-1]

    def link(self, key: str) -> str:
        return f"memory://{key}"

    async def has_room(self) -> bool:
        await self._process.here()
        full = self._world.within(self._world.faults.full_windows)
        if full:
            self._world.note("disk full")
        return not full

    async def aclose(self) -> None:
        """Nothing is held open."""

    async def _enter(self, what: str) -> None:
        await self._process.enter(what)
        if self._world.within(self._world.faults.store_windows):
            self._world.note("store outage")
            raise StoreUnavailable("the store is away")


class SimApi:
    """The image API as one process sees it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._world = process.world

    @property
    def account(self) -> str:
        return "account"

    async def submit(self, body: bytes, idempotency_key: str) -> Accepted:
        await self._process.enter("submit")
        if wrong := self._process.bets.send(idempotency_key, self._world.loop.time()):
            self._bets_wrong(wrong)
        try:
            accepted = await self._answer(body, idempotency_key)
        finally:
            self._process.bets.over(idempotency_key)
        if accepted.credits_reserved is not None:
            content = json.loads(body)
            price = accepted.credits_reserved / content["n"]
            self._process.bets.reads(len(content.get("image_urls", ())), price, self._world.loop.time())
        return accepted

    def _bets_wrong(self, wrong: str) -> None:
        """Only of a process that was told prices and was never stopped in the middle of reading one."""
        if self._world.tells_reserve and not self._process.was_paused:
            self._world.problem(f"{wrong.partition(' ')[0]} {self._process.name} {wrong.partition(' ')[2]}")

    async def _answer(self, body: bytes, idempotency_key: str) -> Accepted:
        world = self._world
        kind = world.pick(world.faults.submit)
        if kind:
            world.note(f"submit {kind}")
        world.say(f"{self._process.name} posts {TOKEN.search(body.decode())[1]} {kind}")  # type: ignore[index]
        world.note_post(body, idempotency_key, self._process)
        match kind:
            case "not-sent":
                raise NotSent("no connection")
            case "429" | "429-advised":
                advised = world.random.choice((1.0, 20.0, 90.0)) if kind == "429-advised" else None
                raise Throttled("too fast", status=429, retry_after_s=advised)
            case "dropped":
                await self._lose(60)
                raise OutcomeUnknown("no answer")
            case "5xx-before":
                raise OutcomeUnknown("a 503", status=503)
            case "late":
                delay = world.random.choice((2, 45, 150))
                world.loop.call_later(delay, self._arrive_late, body, idempotency_key)
                await self._lose(min(delay, 60))
                raise OutcomeUnknown("no answer")
        made, replayed = world.take(body, idempotency_key)
        await world.think()
        await self._process.leave("submit")
        if kind in ("5xx-after", "broken-200"):
            raise OutcomeUnknown(f"a {kind}", status=502)
        if kind == "lost-reply":
            await self._lose(60)
            raise OutcomeUnknown("no answer")
        if kind == "slow":
            await asyncio.sleep(world.random.choice((3, 30)))
            await self._process.here()
        reserve = made.price * made.n if world.tells_reserve else world.untold_reserve
        return Accepted(world.answered(made), MODEL, reserve, replayed, "")

    async def tasks(self, task_ids: Sequence[str]) -> Mapping[str, Task]:
        await self._process.enter("tasks")
        world = self._world
        if world.within(world.faults.account_windows) and world.chance(0.5):
            raise AccountStopped("the key is paused", status=403)
        if world.chance(world.faults.read_fails):
            world.note("read failed")
            error = ReadFailed("a 500", retry_after_s=world.random.choice((None, 5.0)))
            if world.chance(0.5):
                half = task_ids[: len(task_ids) // 2]
                error.read = {task_id: task for task_id in half if (task := world.read(task_id)) is not None}
            raise error
        found = {task_id: task for task_id in task_ids if (task := world.read(task_id)) is not None}
        if len(task_ids) > 1 and world.summarises and not world.is_calm:
            found = {task_id: world.summary(task) for task_id, task in found.items()}
        await self._process.leave("tasks")
        for task_id, task in found.items():
            made = world.tasks[task_id]
            mine = self._process.name in world.sent_by.get(made.key, ())
            if mine and made.overcharge > 1 and (task.credits_used or 0) > made.price:  # no summary
                self._process.bets.overcharged(world.loop.time())
        return found

    async def list_tasks(self, created_after: int) -> Sequence[ListedTask] | None:
        await self._process.enter("list tasks")
        world = self._world
        if world.chance(world.faults.read_fails):
            raise ReadFailed("a 500")
        if not world.list_open:
            return None
        now = world.loop.time()
        return [
            ListedTask(made.id, TaskState.PROCESSING, MODEL, int(EPOCH + made.created + world.list_skew_s))
            for made in reversed(world.tasks.values())
            if EPOCH + made.created + world.list_skew_s >= created_after and made.listed_from <= now
        ]

    async def credits(self) -> Credits:
        return Credits(None, Decimal(1000))

    async def download(self, url: str) -> Download:
        await self._process.enter("download")
        match = LINK.fullmatch(url)
        assert match
        made, index, generation = self._world.tasks[match[1]], int(match[2] or match[5]), int(match[3])
        try:
            download = await self._bytes(made, index, generation)
        except DownloadError:
            self._world.note_nothing_came(self._process, made, index)
            raise
        if download.content != made.images[index]:
            self._world.note_nothing_came(self._process, made, index)
        return download

    async def _bytes(self, made: Made, index: int, generation: int) -> Download:
        world = self._world
        if world.loop.time() > made.ends + LINKS_LIVE_S * (generation + 1):
            world.note("link expired")
            raise LinkExpired("404")
        if (instead := world.instead(made, index)) == "refused":
            world.note("young link refused")
            raise LinkExpired("403")
        kind = world.pick(world.faults.download)
        if kind:
            world.note(f"download {kind}")
        if kind == "fails":
            raise DownloadFailed("reset")
        content = made.images[index]
        if instead == "page":
            world.note("page instead of an image")
            content = b"PAGE|" + content
        elif kind == "damaged" or (made.outcome == "never-decodes" and index == 0):
            content = b"BAD|" + content
            if world.is_calm:
                world.damaged.setdefault((made.id, index), world.now())
        await self._process.leave("download")
        return Download(content, hashlib.sha256(content).hexdigest(), "image/png")

    async def aclose(self) -> None:
        """Nothing is held open."""

    async def _lose(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._process.leave("submit")

    def _arrive_late(self, body: bytes, key: str) -> None:
        try:
            self._world.take(body, key)
        except Exception as error:  # noqa: BLE001 - the answer to a request that nobody waits for any more
            self._world.say(f"a late request is answered {error}")


class SimDecoder:
    """Takes what the simulated API made for a whole picture."""

    async def decode(self, content: bytes) -> Picture | None:
        return Picture("image/png", "png", 1024, 1024) if content.startswith(b"IMG|") else None
