"""The world outside of all processes, and the processes.

Everything random comes from one seeded generator; nothing here shares code with the product but its ports and its error
classes. A *process* is what a machine would run: its handles to store, API and clock can be made to raise for ever
(killed) or to block (paused), so that nothing that it still tries to do reaches the world, as with SIGKILL and SIGSTOP.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from random import Random

from torture.price_bets import Bets
from torture.simulated.api_tasks import (
    BELIEVED_AFTER_S,
    DOUBTFUL_AFTER_S,
    EPOCH,
    HAMMERS,
    LINKS_LIVE_S,
    PRICE,
    TOKEN,
    Faults,
    Made,
)
from torture.simulated.virtual_time import Killed, VirtualLoop

from adloom.core.errors import (
    AccountStopped,
    KeyConflict,
    ModerationRefused,
    RequestRefused,
)
from adloom.core.process import Process as ProcessName
from adloom.core.task import Task, TaskState

wavering_share = 0.3
"""Of the seeds: in these the ends of tasks waver. ``simulation.py --wavering`` makes it all of them."""


class World:
    """Everything outside of all processes: objects, tasks, charges, faults and what was seen of them."""

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.seed, self.loop = seed, loop
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
        self.damaged: dict[tuple[str, int], float] = {}
        """When damaged bytes of an image were first delivered after all faults had ended, by task and picture."""
        self.moderated: set[str] = set()
        self.refused: set[str] = set()
        self.page_size = 1000
        self.ids = Random(f"ids of {seed}")
        """Apart from all else, so that an API that mixes up no ids has the stories that it always had."""
        self.mixes_ids = 0.3 if self.ids.random() < 0.12 else 0.0
        self.steadiness = Random(f"wavering of {seed}")
        """Apart as well: how often and how the ends of tasks waver."""
        self.unsteady = self.steadiness.choice((0.3, 1.0)) if self.steadiness.random() < wavering_share else 0.0
        self.summarises, self.untold_reserve = _summaries(seed)
        self.prices = Random(f"prices of {seed}")
        """Apart from all else, as above."""
        self.price_wavers, self.overcharges = (self.prices.random() < 0.1 for _ in range(2))
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
            intent = json.loads(self.objects[key.replace(name, f"{name.partition('-')[0]}-intent.json")])
            made = self.tasks[record["task"]]
            made.is_answered |= record.get("credits_told") is True and intent["idempotency_key"] == made.key
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
        """What tasks may count for that read failed for so long that their money was spent again.

        If their charge is never told, they count as if all their images had been charged.
        """
        return sum((task.price * task.n for task in self.tasks.values() if task.failed_for_long), start=Decimal(0))

    def not_heard_of(self) -> Decimal:
        """The charges of the same tasks, which are looked at for a day only."""
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

    def note_nothing_came(self, process: Process, made: Made, index: int) -> None:
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
            is_other_price = bool((used or 0) % PRICE) or (used or 0) > PRICE * made.n
            is_no_bill = not made.is_answered and is_other_price
            is_believed = made.waver.startswith("half") and is_no_bill and now >= made.ends + DOUBTFUL_AFTER_S
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

    def summary(self, task: Task) -> Task:
        """A line of a batch for a task: the first of its links, and the charge for that one. Surplus is left whole."""
        made = self.tasks[task.task_id]
        if task.state is not TaskState.COMPLETED or len(set(task.results)) < 2 or len(made.images) > made.n:
            return task
        self.note("summary in a batch")
        used = task.credits_used and made.price
        return replace(task, results=task.results[:1], credits_used=used)

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


def _summaries(seed: int) -> tuple[bool, Decimal | None]:
    """Whether a line of a batch shows the first link of a task alone and the charge for it, and what an answer says in
    place of a reserve where the API tells none.
    """
    random = Random(f"summaries of {seed}")  # apart from all else, as above
    return random.random() < 0.3 and random.random() < wavering_share, random.choice((None, Decimal(0)))


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
            self.world.say(f"crash of {self.name} before {anonymous(what)}")
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
            self.world.say(f"crash of {self.name} after {anonymous(what)}")
            self.kill()
        await self.here()

    async def here(self) -> None:
        """Wait while this process is paused; a dead one comes no further."""
        while self.paused and not self.dead:
            await self.resumed.wait()
        if self.dead:
            raise Killed


def anonymous(key: str) -> str:
    """A key without the random tokens of writers, so that equal seeds have equal traces."""
    return re.sub(r"(runs/|@)[0-9a-f]{16}", r"\1*", key)
