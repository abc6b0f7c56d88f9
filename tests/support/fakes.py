"""The world in memory: a store, an image API, a decoder and a clock that tests can script, and rows to buy."""

import asyncio
import hashlib
import heapq
import io
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

from hypothesis import settings
from hypothesis import strategies as st

from adloom.core.campaign import Budget, Campaign, CampaignSource, Grouping, Pace, Row
from adloom.core.chain import Chains
from adloom.core.errors import PictureUnjudged
from adloom.core.facts import SCHEMA
from adloom.core.identity import explicit_identity
from adloom.core.planned import Variant
from adloom.core.process import Process
from adloom.core.records import Record
from adloom.core.reference import Reference
from adloom.core.task import Accepted, Credits, Download, ListedTask, Picture, Task, TaskState
from adloom.ledger.edition import Edition, utc
from adloom.ledger.ledger import Ledger
from adloom.plan.assessment import Assessment, Wish, assess
from adloom.ports import Content, ImageApi, Listed, Spool, Store
from adloom.run.run import Result, Run
from adloom.world import World

MODEL = "doubao-seedream-4.0"
PRICE = Decimal("1.53")
EDITION = Edition("test", "main")
SETTLING_STEPS = 200

few = settings(max_examples=60, deadline=None)
"""Enough examples to find what a person would not write down, few enough for a quick run."""


class Crash(BaseException):  # not an Exception: nothing may catch it, as nothing catches a kill
    """The process died here."""


def whole(content: Content) -> bytes:
    """What a store is given to write, as bytes."""
    if isinstance(content, Spool):
        content.seek(0)
        return content.read()
    return content


def spooled(content: bytes | None) -> Spool | None:
    """What a store has, as the file that ``open`` gives."""
    return None if content is None else Spool.of(io.BytesIO(content))


class ManualClock:
    """Time that stands still while anybody has work to do, and then jumps to the next sleeper's end."""

    def __init__(self, start: float = 1_790_000_000.0) -> None:
        self.elapsed = 0.0
        self.jumped = 0.0
        """How far the wall clock alone was moved."""
        self._start = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._driver: asyncio.Task[None] | None = None

    def now(self) -> float:
        return self._start + self.elapsed + self.jumped

    def monotonic(self) -> float:
        return self.elapsed

    def advance(self, seconds: float) -> None:
        """Let time pass while nobody sleeps."""
        self.elapsed += seconds

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.elapsed + max(seconds, 0), next(self._order), woken))
        if self._driver is None or self._driver.done():
            self._driver = asyncio.ensure_future(self._drive())
        await woken

    async def _drive(self) -> None:
        while self._sleepers:
            await settle()
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            if self._sleepers:
                end, _, woken = heapq.heappop(self._sleepers)
                self.elapsed = max(self.elapsed, end)
                woken.set_result(None)


async def settle() -> None:
    """Let everybody who can go on do so until all wait."""
    loop = asyncio.get_running_loop()
    for _ in range(SETTLING_STEPS):
        await asyncio.sleep(0)
        if not loop._ready:  # type: ignore[attr-defined]
            return


async def until(condition: Callable[[], bool]) -> None:
    """Let the others go on until something is so."""
    while not condition():  # noqa: ASYNC110 - nobody tells when it is so
        await asyncio.sleep(0)


class MemoryStore:
    """A store in a dictionary. ``fault`` is asked before each operation and may raise."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.writes: list[str] = []
        self.fault: Callable[[str, str], None] = lambda _operation, _key: None

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
        await self._before("create", key)
        if key in self.objects:
            return False
        self.objects[key] = content
        self.writes.append(key)
        self.fault("created", key)
        return True

    async def replace(self, key: str, content: Content, *, media_type: str = "application/json") -> None:
        del media_type
        await self._before("replace", key)
        self.objects[key] = whole(content)
        self.writes.append(key)

    async def read(self, key: str) -> bytes | None:
        await self._before("read", key)
        return self.objects.get(key)

    async def open(self, key: str) -> Spool | None:
        return spooled(await self.read(key))

    async def metadata(self, key: str) -> Mapping[str, str]:
        await self._before("metadata", key)
        return {}

    async def list(self, prefix: str) -> AsyncIterator[Listed]:
        await self._before("list", prefix)
        for key in [key for key in self.objects if key.startswith(prefix)]:
            yield Listed(key)

    def link(self, key: str) -> str:
        return f"memory://{key}"

    async def has_room(self) -> bool:
        return True

    async def aclose(self) -> None:
        """Nothing is held open."""

    async def _before(self, operation: str, key: str) -> None:
        await asyncio.sleep(0)  # where others may come in between
        self.fault(operation, key)

    def names(self, under: str) -> set[str]:
        """The names of the edition's objects under a folder, without it and without their ending."""
        start = EDITION.key(under)
        return {key.removeprefix(start).removesuffix(".json") for key in self.objects if key.startswith(start)}


@dataclass
class Post:
    """One POST that reached the API."""

    at: float
    body: dict[str, object]
    key: str


Answer = Accepted | BaseException | Callable[[Post], "Answer"]


class ScriptedApi:
    """An image API that answers as it is told: every list is used from its front, then everything goes well."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.posts: list[Post] = []
        self.answers: list[Answer] = []
        self.submit_takes_s = 0.0
        self.most_at_once = 0
        self.reads: list[tuple[float, tuple[str, ...]]] = []
        self.read_faults: list[BaseException] = []
        self.states: dict[str, Task | None] = {}
        self.state_of: Callable[[str], Task | None] = lambda task: completed(task, f"https://results.example/{task}/0")
        self.downloads: list[str] = []
        self.contents: dict[str, list[bytes | BaseException]] = {}
        self.reserved_per_image: Decimal | None = PRICE
        self._at_once = 0

    @property
    def account(self) -> str:
        return "fingerprint"

    async def submit(self, body: bytes, idempotency_key: str) -> Accepted:
        post = Post(self.clock.monotonic(), json.loads(body), idempotency_key)
        self.posts.append(post)
        number = len(self.posts)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await (self.clock.sleep(self.submit_takes_s) if self.submit_takes_s else asyncio.sleep(0))
        finally:
            self._at_once -= 1
        answer = self.answers.pop(0) if self.answers else accepted(f"task-{number:03}")
        while callable(answer):
            answer = answer(post)
        if isinstance(answer, BaseException):
            raise answer
        if answer.credits_reserved is None and self.reserved_per_image is not None:
            n = post.body["n"]
            assert isinstance(n, int)
            return Accepted(answer.task_id, answer.model, self.reserved_per_image * n, answer.replayed, "")
        return answer

    async def tasks(self, task_ids: Sequence[str]) -> Mapping[str, Task]:
        self.reads.append((self.clock.monotonic(), tuple(task_ids)))
        await asyncio.sleep(0)
        if self.read_faults:
            raise self.read_faults.pop(0)
        found = {task: self.states[task] if task in self.states else self.state_of(task) for task in task_ids}
        return {task_id: task for task_id, task in found.items() if task is not None}

    async def list_tasks(self, created_after: int) -> Sequence[ListedTask] | None:
        del created_after
        return None

    async def credits(self) -> Credits:
        return Credits(None, Decimal(1000))

    async def download(self, url: str) -> Download:
        self.downloads.append(url)
        await asyncio.sleep(0)
        left = self.contents.get(url)
        content = left.pop(0) if left else picture_bytes(url)
        if isinstance(content, BaseException):
            raise content
        return Download(content, hashlib.sha256(content).hexdigest(), "image/png")

    async def aclose(self) -> None:
        """Nothing is held open."""


def accepted(task_id: str, credits_: Decimal | None = None) -> Accepted:
    return Accepted(task_id, MODEL, credits_, replayed=False, request_id="")


def completed(task_id: str, *links: str, credits_used: Decimal | None = None) -> Task:
    used = PRICE * len(links) if credits_used is None else credits_used
    return Task(task_id, TaskState.COMPLETED, links, used, word="completed")


def picture_bytes(what: str) -> bytes:
    return b"image of " + what.encode()


class FakeDecoder:
    """Takes everything that begins with ``image`` for a whole picture, and can judge nothing that is ``hard``."""

    async def decode(self, content: bytes) -> Picture | None:
        await asyncio.sleep(0)
        if content.startswith(b"hard"):
            raise PictureUnjudged("the image could not be checked: it needs too much")
        return Picture("image/png", "png", 1024, 1024) if content.startswith(b"image") else None


@dataclass
class FakeSource:
    """A campaign of given rows."""

    given: Sequence[Row]
    budget: Budget | None = field(default_factory=lambda: Budget(usd=Decimal(50)))
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    name: str = "test"
    callback_url: str = ""

    @property
    def campaign(self) -> Campaign:
        source, url = f"{self.name}.yaml", self.callback_url or None
        return Campaign(self.name, source, self.budget, self.pace, "strict", url, self.prices)

    def rows(self) -> Iterator[Row]:
        yield from self.given

    def knows(self, is_bought: Callable[[str], bool]) -> None:
        """Its rows are given."""

    @property
    def chained(self) -> Mapping[str, tuple[str, ...]]:
        return {}

    def refer(self, chains: Chains) -> None:
        """No job of it names another."""

    @property
    def warnings(self) -> tuple[str, ...]:
        return ()


def a_row(identity: str = "mug", **changes: object) -> Row:
    """A row of one variant, told from others by its id."""
    fields: dict[str, object] = {
        "job": "hero",
        "name": identity,
        "label": identity,
        "prompt": f"{identity} on an oak table",
        "variables": {},
        "model": MODEL,
        "size": "1:1",
        "quality": "1K",
        "priority": "standard",
        "references": (),
        "grouping": Grouping.SET,
        "variants": 1,
        **changes,
    }
    return Row(identity=explicit_identity(str(fields["job"]), identity), **fields)  # type: ignore[arg-type]


def references(count: int) -> tuple[Reference, ...]:
    return tuple(Reference(f"sha256:{n:064x}", f"https://files.example/{n}.png", f"{n}.png") for n in range(count))


@st.composite
def rows(draw: st.DrawFn, *, most: int = 6) -> tuple[Row, ...]:
    """Rows with different ids, any number of references and variants, both groupings."""
    ids = draw(st.lists(st.integers(0, 99), unique=True, min_size=1, max_size=most))
    return tuple(
        a_row(
            f"row-{number}",
            references=references(draw(st.integers(0, 10))),
            variants=draw(st.integers(1, 60)),
            grouping=draw(st.sampled_from(Grouping)),
        )
        for number in ids
    )


def a_fact(
    what: Mapping[str, object] | None = None, *, time: float = 0, writer: str = "run-a", **fields: object
) -> Record:
    """A record as the ledger stores it."""
    stamp = utc(datetime(2026, 11, 1, tzinfo=UTC).timestamp() + time)
    return {**(what or {}), **fields, "schema": SCHEMA, "time": stamp, "writer": writer}


def an_intent(
    n: int = 2, *, round_number: int = 0, fruitless: int = 0, writer: str = "run-a", **fields: object
) -> Record:
    """An intent that bought ``n`` variants with the keys ``k1``, ``k2`` …"""
    variants = [Variant(f"k{number}", number, 1) for number in range(1, n + 1)]
    return a_fact({**bought(variants), "round": round_number, "fruitless": fruitless}, writer=writer, **fields)


def bought(variants: Iterable[Variant] = (), **fields: object) -> dict[str, object]:
    """The fields of an intent that bought these variants."""
    wanted = [variant.record() for variant in variants]
    return {
        "outcome": "bought",
        "body": "{}",
        "idempotency_key": "adloom-key",
        "account": "fingerprint",
        "credits": str(PRICE * len(wanted)),
        "revision": 1,
        "job": "hero",
        "row": "mug",
        "label": "mug",
        "model": MODEL,
        "quality": "1K",
        "variants": wanted,
        "parent": "",
        "round": 0,
        "fruitless": 0,
        **fields,
    }


def an_image(index: int, fate: str = "archived", **fields: object) -> dict[str, object]:
    """One entry of an ``archived`` record."""
    return {
        "index": index,
        "number": index + 1,
        "fate": fate,
        "key": f"assets/hero/mug-{index + 1}.png",
        "sha256": f"{index:064x}",
        "size_bytes": 100,
        "media_type": "image/png",
        "width_px": 1024,
        "height_px": 1024,
        "reason": "",
        **fields,
    }


def a_world(store: Store, clock: ManualClock, api: ImageApi, **more: object) -> World:
    """The world of one run. All runs of a test share store, clock and API."""
    fields: dict[str, object] = {
        "decoder": FakeDecoder(),
        "random": Random(1),
        "process": Process("host", 1, "1"),
        "is_gone": lambda _: False,
        **more,
    }
    return World(store=store, api=api, clock=clock, **fields)  # type: ignore[arg-type]


async def run_all(world: World, assessment: Assessment) -> Result:
    """Run what was looked at, from the reservation to the manifest."""
    run = await Run.start(world, assessment)
    await run.work()
    return await run.finish()


async def look_at(world: World, source: CampaignSource, **wish: object) -> Assessment:
    return await assess(world.store, world.clock, source, EDITION, Wish(**wish))  # type: ignore[arg-type]


async def a_ledger(store: MemoryStore, clock: ManualClock, writer: str = "run-a") -> Ledger:
    """The ledger as a run that starts now reads it."""
    ledger = Ledger(store, EDITION, clock, writer)
    await ledger.load()
    return ledger
