"""One process, virtual time: the store, the image API and the processes of the simulation.

Time jumps to the next timer whenever nobody has work to do, so a day passes in milliseconds. Everything random comes
from one seeded generator; nothing here shares code with the product but its ports and its error classes.

A *process* is what a machine would run: its handles to store, API and clock can be made to raise for ever (killed) or
to block (paused), so that nothing that it still tries to do reaches the world, as with SIGKILL and SIGSTOP.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from torture.price_bets import Bets

from adloom.core.errors import (
    AccountStopped,
    DownloadFailed,
    KeyConflict,
    LinkExpired,
    ModerationRefused,
    NotSent,
    OutcomeUnknown,
    ReadFailed,
    RequestRefused,
    StoreUnavailable,
    Throttled,
)
from adloom.core.process import Process as ProcessName
from adloom.core.task import Accepted, Credits, Download, ListedTask, Picture, Task, TaskState
from adloom.ports import Listed

EPOCH = 1_790_000_000.0
PRICE = Decimal("1.53")
MODEL = "doubao-seedream-4.0"
LINKS_LIVE_S = 24 * 3600
FAILS_AT_MOST_S = 8
"""A completed task that reads failed for no longer than this is never bought again: a second reading comes later."""
BELIEVED_AFTER_S = 8
"""A completed task that shows half of its images, and no bill, for no longer than this loses none of them."""
DOUBTFUL_AFTER_S = 250
"""The same where the ledger does not know what was reserved for it, and the charge pays for more than it shows."""
TOKEN = re.compile(r"<<(tok-\d+-\d+)>>")
LINK = re.compile(r"https://results\.example/([^/?]+)(?:/(\d+))?\?(?:sig|expires)=(\d+)-(\d+)(?:(?:-|&image=)(\d+))?")
PHRASE = re.compile(r"(?:Generate (\d+) different images: )?<<")
HAMMERS = 8
wavering_share = 0.3
"""Of the seeds: in these the ends of tasks waver. ``simulation.py --wavering`` makes it all of them."""
WRITTEN_ONCE = (
    "/ledger/",
    "/plan-r",
    "/plan/",
    "/assets/",
    "/extras/",
    "/quarantine/",
    "/tasks/",
    "/orphans/",
    "/index/",
)


class Deadlock(Exception):
    """Everybody waits for somebody else: no timer is left."""


class Killed(BaseException):  # no Exception: nothing may catch it, as nothing catches a kill
    """This process is dead: whatever it still tries comes to nothing."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time stands still while there is work and then jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = self
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> tuple[()]:
        if timeout is None:
            raise Deadlock
        self._now += timeout
        return ()

    def _process_events(self, events: object) -> None:
        """There are none: nothing here touches a real socket."""

    def _write_to_self(self) -> None:
        """Nobody calls from another thread."""


@dataclass
class Faults:
    """How often what goes wrong: probabilities for each occasion, and windows of virtual time."""

    submit: dict[str, float] = field(default_factory=dict)
    outcome: dict[str, float] = field(default_factory=dict)
    store_lost_reply: float = 0.0
    store_down_after: float = 0.0
    read_fails: float = 0.0
    download: dict[str, float] = field(default_factory=dict)
    slow: float = 0.0
    store_windows: list[tuple[float, float]] = field(default_factory=list)
    account_windows: list[tuple[float, float]] = field(default_factory=list)
    full_windows: list[tuple[float, float]] = field(default_factory=list)
    young: dict[str, float] = field(default_factory=dict)
    """Of images: their young links are refused, or bring a page."""
    refused_windows: list[tuple[float, float]] = field(default_factory=list)
    page_windows: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class Made:
    """A task as the API knows it, with what it really costs: a line of the oracle's charge log."""

    id: str
    key: str
    body: bytes
    token: str
    n: int
    price: Decimal
    created: float
    ends: float
    outcome: str
    images: list[bytes]
    charge_mode: str = "released"
    overcharge: int = 1
    """What is charged, as a multiple of what should be."""
    visible_from: float = 0.0
    listed_from: float = 0.0
    form: str = "path"
    """What tells its links apart: the path, the query, or the signature alone."""
    young: dict[int, tuple[str, float]] = field(default_factory=dict)
    """What the links of images show instead, until so long after the end."""
    waver: str = ""
    """How it reads between its end and ``steady_from``."""
    steady_from: float = 0.0
    is_answered: bool = False
    """Whether the ledger knows what it reserves: without that its charge is no bill."""

    @property
    def failed_for_long(self) -> bool:
        """Whether it read failed for so long that nobody can blame a run for a new attempt."""
        return self.waver == "failed" and self.steady_from > self.ends + FAILS_AT_MOST_S

    def is_over(self, now: float) -> bool:
        return now >= self.ends

    @property
    def completed(self) -> bool:
        return not self.outcome.startswith(("fail", "cancel", "stuck"))

    def charge(self, now: float) -> Decimal:
        """What this task holds of the budget at a time: reserved until it ends, then charged or given back."""
        if not self.is_over(now):
            return self.price * self.n
        if self.completed:
            return self.price * min(self.paid_images, self.n) * self.overcharge
        if self.charge_mode == "kept":
            return self.price * self.n
        if self.charge_mode == "reserved" and now < self.ends + 40:
            return self.price * self.n
        if self.charge_mode == "reserved-long" and now < self.ends + 900:
            return self.price * self.n
        return Decimal(0)

    @property
    def paid_images(self) -> int:
        return self.n if self.outcome == "short-charged-full" else len(dict.fromkeys(self.images))

    def slots(self) -> int:
        """Wanted images that this task has used up for good: those that it made, or all that it charged without any."""
        if self.completed:
            return min(self.n, len(self.links(0)))
        return self.n if self.charge_mode == "kept" else 0

    def links(self, generation: int, signature: int = 0) -> list[str]:
        """Links in the API's order without repetitions."""
        distinct = len(self.images) - (self.outcome == "dup-link")
        start, signed = f"https://results.example/{self.id}", f"{generation}-{signature}"
        if self.form == "query":
            return [f"{start}?expires={signed}&image={index}" for index in range(distinct)]
        if self.form == "signature":
            return [f"{start}?sig={signed}-{index}" for index in range(distinct)]
        return [f"{start}/{index}?sig={signed}" for index in range(distinct)]


class World:
    """Everything outside of all processes: objects, tasks, charges, faults and what was seen of them."""

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.seed = seed
        self.loop = loop
        self.random = Random(seed)
        self.wavers = Random(f"links of {seed}")
        """Chance of its own, so that what wavers changes no other seed's story."""
        self.link_form = "path"
        self.signs_each_reading = False
        self.turns_results = False
        self.readings: Counter[str] = Counter()
        self.downloads: dict[tuple[str, str], list[float]] = {}
        self.faults = Faults()
        self.objects: dict[str, bytes] = {}
        self.keys: list[str] = []
        self.tasks: dict[str, Made] = {}
        self.by_key: dict[str, Made] = {}
        self.seen: Counter[str] = Counter()
        self.problems: list[str] = []
        self.trace = hashlib.sha256()
        self.caps: list[Decimal] = []
        self.intents: dict[str, tuple[str, bytes]] = {}
        self.decisions: Counter[str] = Counter()
        self.posts_by_key: Counter[str] = Counter()
        self.sent_by: dict[str, set[str]] = {}
        self.posts = 0
        self.price = PRICE
        self.price_moved = False
        self.is_calm = False
        self.idempotent = True
        self.list_open = True
        self.fresh_links = False
        self.tells_credits = True
        self.tells_reserve = True
        self.list_skew_s = 0
        self.moderated: set[str] = set()
        self.refused: set[str] = set()
        self.page_size = 1000
        self.ids = Random(f"ids of {seed}")
        """Apart from all else, so that an API that mixes up no ids has the stories that it always had."""
        self.mixes_ids = 0.3 if self.ids.random() < 0.12 else 0.0
        self.steadiness = Random(f"wavering of {seed}")
        """Apart as well: how often and how the ends of tasks waver."""
        self.unsteady = self.steadiness.choice((0.3, 1.0)) if self.steadiness.random() < wavering_share else 0.0
        self.prices = Random(f"prices of {seed}")
        """Apart from all else, as above."""
        self.price_wavers = self.prices.random() < 0.1
        self.overcharges = self.prices.random() < 0.1
        self.log: list[str] | None = None

    # --- what everybody needs

    def now(self) -> float:
        return EPOCH + self.loop.time()

    def note(self, what: str) -> None:
        self.seen[what] += 1

    def say(self, text: str) -> None:
        """One event, for the trace hash and for a person who replays a seed."""
        if self.log is not None:
            self.log.append(f"{self.loop.time():10.2f} {text}")
        self.trace.update(f"{self.loop.time():.3f} {text}\n".encode())

    def problem(self, text: str) -> None:
        self.problems.append(text)
        self.say(f"VIOLATION {text}")

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    def pick(self, table: Mapping[str, float]) -> str:
        """One kind of a table of probabilities, empty for none."""
        if not table:
            return ""
        roll = self.random.random()
        for kind, probability in table.items():
            roll -= probability
            if roll < 0:
                return kind
        return ""

    def within(self, windows: Sequence[tuple[float, float]]) -> bool:
        now = self.loop.time()
        return any(start <= now < end for start, end in windows)

    # --- objects

    def put(self, key: str, content: bytes) -> None:
        if key not in self.objects:
            insort(self.keys, key)
        self.objects[key] = content
        if key.endswith(".json") and "/ledger/" in key:
            self._note_fact(key, content)
        elif "/plan-r" in key:
            self.caps.append(Decimal(json.loads(content)["cap_credits"]))

    def under(self, prefix: str) -> list[str]:
        start = bisect_left(self.keys, prefix)
        end = bisect_left(self.keys, prefix + "\uffff")
        return self.keys[start:end]

    def hide(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Take objects away, as a backup or a replica that lags shows the store."""
        hidden = {key: self.objects.pop(key) for key in keys}
        self.keys = sorted(self.objects)
        return hidden

    def show(self, hidden: Mapping[str, bytes]) -> None:
        """Bring back what was hidden; where somebody wrote in its place meanwhile, the first word stands."""
        self.objects |= hidden
        self.keys = sorted(self.objects)

    def _note_fact(self, key: str, content: bytes) -> None:
        call, name = key.rsplit("/", 2)[1:]
        if "-accepted." in name:
            record = json.loads(content)
            self.tasks[record["task"]].is_answered |= record.get("credits_told") is True
        if not re.fullmatch(r"a\d+-(intent|send-\d+)\.json", name):
            return
        record = json.loads(content)
        if record["outcome"] != "bought":
            return
        place = f"{call}/{name.split('-', 1)[0]}"
        self.decisions[place] += 1
        if "idempotency_key" in record:
            self.intents[record["idempotency_key"]] = (place, record["body"].encode())

    # --- purchases

    def exposure(self) -> Decimal:
        """Credits reserved and charged right now, by the oracle."""
        now = self.loop.time()
        return sum((task.charge(now) for task in self.tasks.values()), start=Decimal(0))

    def not_foreseen(self) -> Decimal:
        """The charges of tasks that read failed for so long, and for nothing, that their money was spent again."""
        now = self.loop.time()
        return sum((task.charge(now) for task in self.tasks.values() if task.failed_for_long), start=Decimal(0))

    def note_post(self, body: bytes, key: str, process: Process) -> None:
        """A POST left a process: there must be an intent with exactly these bytes, and one decision for each POST."""
        self.posts += 1
        self.posts_by_key[key] += 1
        place, intended = self.intents.get(key, ("", b""))
        if intended != body:
            self.problem(f"I9 a POST of {process.name} has no intent with its bytes (key {key[:16]})")
        elif self.posts_by_key[key] > self.decisions[place]:
            self.problem(f"I9 {place} was sent {self.posts_by_key[key]} times on {self.decisions[place]} decisions")
        content = json.loads(body)
        phrase = re.match(r"Generate (\d+) different images: ", content["prompt"])
        if (int(phrase[1]) if phrase else 1) != content["n"]:
            self.problem(f"the prompt's count is not n: {content['prompt'][:40]!r}, n {content['n']}")
        if self.sent_by.setdefault(key, set()) - {process.name}:
            self.note("sent by two processes")
        self.sent_by[key].add(process.name)
        if process.was_paused_at_submit:
            process.was_paused_at_submit = False
            if any(f"ledger/{place}-unknown" in name for name in self.objects):
                self.note("zombie POST after takeover")

    def refusal(self, token: str) -> Exception | None:
        """Why the API would not take a request now."""
        if self.within(self.faults.account_windows):
            self.note("account stop")
            return AccountStopped("the account is empty", status=402)
        if token in self.moderated:
            self.note("moderated at submit")
            return ModerationRefused("refused content", status=400)
        if token in self.refused:
            self.note("4xx")
            return RequestRefused("bad request", status=400)
        return None

    def take(self, body: bytes, key: str) -> tuple[Made, bool]:
        """The API takes a request: its task, and whether that was there before. Raises what the API would answer."""
        content = json.loads(body)
        found = TOKEN.search(content["prompt"])
        assert found
        if self.idempotent and key in self.by_key:
            if self.by_key[key].body != body:
                raise KeyConflict("another body under this key", status=409)
            self.note("replayed by key")
            return self.by_key[key], True
        if (refusal := self.refusal(found[1])) is not None:
            raise refusal
        made = self._make(body, key, found[1], content["n"])
        self.tasks[made.id] = made
        self.by_key.setdefault(key, made)
        self.say(f"api takes {made.id} n={made.n} {made.token} -> {made.outcome}/{made.charge_mode}")
        cap = max(self.caps, default=Decimal(0))
        if not self.price_moved and self.exposure() > cap + self.not_foreseen():
            self.problem(f"I6 {self.exposure()} credits reserved and charged, the cap is {cap}")
        return made, False

    def _price_now(self) -> Decimal:
        """What an image of the next purchase costs."""
        if self.is_calm or not self.price_wavers:
            return self.price
        factor = self.prices.choice(("1", "1", "1", "1.02", "0.98", "0.9", "0.7", "1.04", "2"))
        if factor != "1":
            self.note("price wavers")
            self.price_moved = True
        return self.price * Decimal(factor)

    async def think(self) -> None:
        """An API whose price wavers takes its time, so that several purchases are out at once."""
        if self.price_wavers and not self.is_calm:
            await asyncio.sleep(self.prices.choice((0, 2, 12)))

    def _overcharge_now(self) -> int:
        if self.is_calm or not self.overcharges or self.prices.random() > 0.6:
            return 1
        self.note("charge above its reserve")
        self.price_moved = True
        return self.prices.choice((2, 10))

    def answered(self, made: Made) -> str:
        """The id that a purchase is answered with: its own, or that of a task that its own purchase has claimed."""
        if self.is_calm or self.ids.random() >= self.mixes_ids:
            return made.id
        others = [key.removeprefix("tasks/").removesuffix(".json") for key in self.under("tasks/")]
        others = [task_id for task_id in others if task_id != made.id]
        if not others:
            return made.id
        self.note("answered with another task's id")
        return self.ids.choice(others)

    def _make(self, body: bytes, key: str, token: str, n: int) -> Made:
        number = len(self.tasks) + 1
        kind = self.pick(self.faults.outcome) or "ok"
        count = n
        if kind in ("short", "short-charged-full"):
            count = self.random.randrange(1, n) if n > 1 else 0
        if kind in ("zero", "fail-transient", "fail-final", "fail-moderation", "fail-no-content", "cancelled", "stuck"):
            count = 0
        if kind == "surplus":
            count = n + self.random.randrange(1, 3)
        self.note(f"outcome {kind}")
        now = self.loop.time()
        images = [f"IMG|{token}|task-{number}|{index}".encode() for index in range(count)]
        if kind == "dup-bytes" and n > 1:
            images[-1] = images[0]
        if kind == "dup-link":
            images.append(images[-1])
        made = Made(
            f"task-{number:04}-{hashlib.sha256(f'{self.seed}/{number}'.encode()).hexdigest()[:8]}",
            key,
            body,
            token,
            n,
            self._price_now(),
            now,
            now + self.random.choice((0.5, 2, 6, 20, 60)),
            kind,
            images,
        )
        if kind == "stuck":
            made.ends = float("inf")
        if kind == "ok":
            made.overcharge = self._overcharge_now()
        if kind.startswith("fail") or kind == "cancelled":
            made.charge_mode = self.random.choice(("released", "released", "reserved", "reserved-long", "kept"))
            self.note(f"charge {made.charge_mode}")
        if self.chance(self.faults.read_fails):
            made.visible_from = now + self.random.choice((5, 100, 700))
            self.note("404 for a while")
        made.listed_from = now + (self.random.choice((0, 1, 30)) if self.faults.slow else 0)
        self._waver(made)
        self._be_unsteady(made, kind)
        return made

    def _be_unsteady(self, made: Made, kind: str) -> None:
        """Draw how a task reads right after its end; nobody waits for a surplus."""
        is_unsteady = self.steadiness.random() < self.unsteady
        if not is_unsteady or not made.completed or kind == "surplus" or self.is_calm:
            return
        made.waver = self.steadiness.choice(("empty", "half", "half-untold", "none-untold", "failed", "flips"))
        has_no_bill = made.waver == "half-untold" or not (self.tells_credits and self.tells_reserve)
        is_believed = made.waver == "flips" or (made.waver.startswith("half") and has_no_bill)  # if it goes on so
        seconds = (
            (1, 4, BELIEVED_AFTER_S) if is_believed else (8, 8, 8, 60) if made.waver == "failed" else (3, 30, 200, 1000)
        )
        made.steady_from = made.ends + self.steadiness.choice(seconds)
        self.note(f"wavers {made.waver}")

    def _waver(self, made: Made) -> None:
        """Draw what the links of a task look like, and what they show while they are young."""
        made.form = self.link_form
        for index in range(len(made.images) if self.faults.young else 0):
            kinds = [kind for kind, rate in self.faults.young.items() if self.wavers.random() < rate]
            if kinds:
                made.young[index] = kinds[0], self.wavers.choice((0.5, 5, 60, 2000, 30_000))

    def instead(self, made: Made, index: int) -> str:
        """What a link brings now instead of its image."""
        kind, until = made.young.get(index, ("", 0.0))
        if self.within(self.faults.refused_windows) or (kind == "refused" and self.loop.time() < made.ends + until):
            return "refused"
        if self.within(self.faults.page_windows) or (kind == "page" and self.loop.time() < made.ends + until):
            return "page"
        return ""

    def note_download(self, process: Process, made: Made, index: int) -> None:
        """What does not come is not asked for again and again without a wait."""
        times = self.downloads.setdefault((process.name, f"{made.id}/{index}"), [])
        times.append(self.loop.time())
        if len(times) >= HAMMERS and times[-1] - times[-HAMMERS] < 1:
            self.problem(f"I14 {process.name} asks for {made.id}/{index} {HAMMERS} times in a second")

    def read(self, task_id: str) -> Task | None:
        """A task as the API shows it now."""
        made = self.tasks.get(task_id)
        now = self.loop.time()
        if made is None or now < made.visible_from:
            return None
        if not made.is_over(now):
            if self.faults.slow and self.chance(0.05):
                return Task(task_id, TaskState.OTHER, word="queueing")
            return Task(task_id, self.random.choice((TaskState.PENDING, TaskState.PROCESSING)))
        used = made.charge(now) if self.tells_credits else None
        if made.completed:
            generation = 0
            if now > made.ends + LINKS_LIVE_S and self.fresh_links:
                generation = int((now - made.ends) // LINKS_LIVE_S)
            self.readings[task_id] += 1
            links = made.links(generation, self.readings[task_id] if self.signs_each_reading else 0)
            if made.outcome == "dup-link":
                links.append(links[-1])
            if self.turns_results:
                turn = self.readings[task_id] % max(1, len(links))
                links = links[turn:] + links[:turn]
            is_believed = made.waver.startswith("half") and not made.is_answered and now >= made.ends + DOUBTFUL_AFTER_S
            if now < made.steady_from and not self.is_calm and not is_believed:
                return self._unsteady(made, links, used)
            return Task(task_id, TaskState.COMPLETED, tuple(links), used, "charged" if self.tells_credits else "")
        codes = {
            "fail-transient": "service_error",
            "fail-final": "invalid_image",
            "fail-moderation": "content_policy_violation",
            "fail-no-content": "generation_failed_no_content",
            "cancelled": "",
            "stuck": "service_error",
        }
        state = TaskState.CANCELLED if made.outcome == "cancelled" else TaskState.FAILED
        status = "charged" if made.charge_mode == "kept" else "reserved" if made.charge(now) else "released"
        return Task(task_id, state, (), None, status, codes[made.outcome])

    def _unsteady(self, made: Made, links: list[str], used: Decimal | None) -> Task:
        """How a completed task reads while it wavers."""
        kind = made.waver
        if kind == "flips":
            kind = self.steadiness.choice(("empty", "half", "failed", "running", "steady"))
        if kind == "failed":
            return Task(made.id, TaskState.FAILED, (), None, "released", "service_error")
        if kind == "running":
            return Task(made.id, TaskState.PROCESSING)
        shown = {"half": len(links) // 2, "half-untold": len(links) // 2, "steady": len(links)}.get(kind, 0)
        told = used if kind in ("empty", "half", "steady") else None
        return Task(made.id, TaskState.COMPLETED, tuple(links[:shown]), told, "charged" if told is not None else "")

    def calm(self) -> None:
        """All faults off: stuck tasks end, hidden ones show, the price is what it was."""
        self.faults = Faults()
        self.is_calm = True
        self.price = PRICE
        now = self.loop.time()
        for made in self.tasks.values():
            made.young.clear()
            made.visible_from = min(made.visible_from, now)
            made.listed_from = min(made.listed_from, now)
            if made.outcome == "stuck":
                made.ends = now


class Process:
    """One process: its handles to the world can be killed or paused. Operations are counted, so a kill has a place."""

    def __init__(self, world: World, name: str, seed: int) -> None:
        self.world = world
        self.name = name
        self.random = Random(seed)
        self.identity = ProcessName(f"host-{seed % 2}", seed, name)
        self.ops = 0
        self.dead = False
        self.paused = False
        self.crash_at = 0
        self.crash_after_effect = False
        self.pause_at = 0
        self.pause_s = 0.0
        self.was_paused_at_submit = False
        self.died = asyncio.Event()
        self.resumed = asyncio.Event()
        self.resumed.set()
        self.main: asyncio.Task[object] | None = None
        self.bets = Bets()
        self.was_paused = False

    def kill(self) -> None:
        """SIGKILL."""
        if self.dead:
            return
        self.dead = True
        self.died.set()
        self.resumed.set()
        self.world.say(f"{self.name} dies")
        if self.main is not None:
            self.world.loop.call_soon(self.main.cancel)

    def pause(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        self.paused = self.was_paused = True
        self.resumed.clear()
        self.world.note("pause")
        self.world.say(f"{self.name} is paused for {seconds} s")
        self.world.loop.call_later(seconds, self.resume)

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            self.resumed.set()
            self.world.say(f"{self.name} goes on")

    async def enter(self, what: str) -> None:
        """Before an operation takes effect."""
        self.ops += 1
        if self.dead:
            raise Killed
        if self.ops == self.crash_at and not self.crash_after_effect:
            self.world.note("crash before an effect")
            self.world.say(f"crash of {self.name} before {_anonymous(what)}")
            self.kill()
            raise Killed
        slow = self.world.faults.slow
        await asyncio.sleep(self.world.random.choice((0.01, 0.3, 2)) if self.world.chance(slow) else 0)
        if self.ops >= self.pause_at > 0:
            self.pause_at = 0
            self.was_paused_at_submit = what == "submit"
            self.pause(self.pause_s)
        await self.here()

    async def leave(self, what: str) -> None:
        """After the effect, before the caller hears of it."""
        if self.ops >= self.crash_at > 0 and self.crash_after_effect:
            self.world.note("crash after an effect")
            self.world.say(f"crash of {self.name} after {_anonymous(what)}")
            self.kill()
        await self.here()

    async def here(self) -> None:
        """Wait while this process is paused; a dead one comes no further."""
        while self.paused and not self.dead:
            await self.resumed.wait()
        if self.dead:
            raise Killed


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
        while self._process.paused:
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
            world.say(f"{self._process.name} creates {_anonymous(key)}")
            world.put(key, content)
        await self._process.leave(f"create {key}")
        if world.chance(world.faults.store_down_after):
            world.note("store outage after the effect")
            raise StoreUnavailable("the store broke off")
        if world.chance(world.faults.store_lost_reply):
            world.note("store lost reply")
            return world.objects[key] == content
        return created

    async def replace(self, key: str, content: bytes, *, media_type: str = "application/json") -> None:
        del media_type
        await self._enter(f"replace {key}")
        if any(part in f"/{key}" for part in WRITTEN_ONCE):
            self._world.problem(f"I4 {key} is replaced")
        self._world.put(key, content)
        await self._process.leave(f"replace {key}")

    async def read(self, key: str) -> bytes | None:
        await self._enter(f"read {key}")
        content = self._world.objects.get(key)
        await self._process.leave(f"read {key}")
        return content

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
                yield Listed(key, len(self._world.objects[key]))
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
        reserve = made.price * made.n if world.tells_reserve else None
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
        await self._process.leave("tasks")
        for task_id, task in found.items():
            mine = self._process.name in world.sent_by.get(world.tasks[task_id].key, ())
            if mine and task.credits_used and world.tasks[task_id].overcharge > 1:
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
        world = self._world
        match = LINK.fullmatch(url)
        assert match
        made, index, generation = world.tasks[match[1]], int(match[2] or match[5]), int(match[3])
        world.note_download(self._process, made, index)
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


def _anonymous(key: str) -> str:
    """A key without the random tokens of writers, so that equal seeds have equal traces."""
    return re.sub(r"(runs/|@)[0-9a-f]{16}", r"\1*", key)
