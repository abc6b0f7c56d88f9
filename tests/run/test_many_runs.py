"""Several runs of one campaign, one after another or at once, edited, broken and killed in between.

The API keeps its own book of what it made and charged for; whatever happens, no image is in it twice.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random

import pytest
from support.fakes import (
    EDITION,
    PRICE,
    Crash,
    FakeSource,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_ledger,
    a_row,
    a_world,
    accepted,
    completed,
    look_at,
    picture_bytes,
    references,
    run_all,
    spooled,
)

from adloom.core.campaign import Budget, Pace
from adloom.core.errors import AccountStopped, InputError, NotSent, OutcomeUnknown, ReadFailed, StoreRefused, Throttled
from adloom.core.exits import StopReason
from adloom.core.facts import Stage
from adloom.core.order import Order
from adloom.core.outcomes import Status
from adloom.core.process import Process
from adloom.core.task import Accepted, Download, Task, TaskState
from adloom.ledger.edition import to_json
from adloom.ledger.heartbeats import Heartbeat
from adloom.ledger.ledger import Ledger
from adloom.plan.assessment import Share
from adloom.plan.planner import Planner
from adloom.ports import Listed, Spool
from adloom.run.run import Run


@dataclass
class Charge:
    """What the API's book says of one POST that it took."""

    prompt: str
    n: int
    made: int
    """Images that it made and keeps the money for."""


@dataclass
class Book(ScriptedApi):
    """An API that answers at random, with the faults that it is given, and keeps the book."""

    clock: ManualClock
    chance: Random = field(default_factory=lambda: Random(0))
    faults: Sequence[str] = ()
    charges: dict[str, Charge] = field(default_factory=dict)
    by_key: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__(self.clock)

    async def submit(self, body: bytes, idempotency_key: str) -> Accepted:
        await super().submit(body, idempotency_key)
        asked = json.loads(body)
        fault = self.chance.choice(self.faults) if self.faults else ""
        if fault == "not sent":
            raise NotSent("refused")
        if fault == "429":
            raise Throttled("429", status=429, retry_after_s=2)
        n = asked["n"]
        task = f"task-{len(self.charges)}"
        made = {"fewer": self.chance.randrange(n + 1), "failed": 0}.get(fault, n)
        prompt = asked["prompt"].removeprefix(f"Generate {n} different images: ")
        assert idempotency_key not in self.by_key, "one key was sent twice though it had made a task"
        self.by_key[idempotency_key] = task
        self.charges[task] = Charge(prompt, n, made)
        links = [f"https://r.example/{task}/{index}" for index in range(made)]
        self.states[task] = (
            Task(task, TaskState.FAILED, charge_status="released", error_code="service_error", word="failed")
            if fault == "failed"
            else completed(task, *links)
        )
        if fault == "unknown":
            raise OutcomeUnknown("reset")
        return accepted(task, PRICE * n)

    def made(self) -> Counter[str]:
        counted: Counter[str] = Counter()
        for charge in self.charges.values():
            counted[charge.prompt] += charge.made
        return counted


class Mortal:
    """One run's sight of store and API: from its last operation on nothing answers any more."""

    def __init__(self, store: MemoryStore, api: Book, operations: int) -> None:
        self.store, self.api, self.left = store, api, operations
        self.died = asyncio.Event()

    def _live(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.died.set()
            raise Crash

    address, account = "memory", "fingerprint"

    async def create(self, key: str, content: bytes, **_more: object) -> bool:
        self._live()
        created = await self.store.create(key, content)
        self._live()  # dead before it saw the answer
        return created

    async def replace(self, key: str, content: bytes, **_more: object) -> None:
        self._live()
        await self.store.replace(key, content)

    async def read(self, key: str) -> bytes | None:
        self._live()
        return await self.store.read(key)

    async def open(self, key: str) -> Spool | None:
        return spooled(await self.read(key))

    async def list(self, prefix: str) -> AsyncIterator[Listed]:
        self._live()
        async for listed in self.store.list(prefix):
            yield listed

    def link(self, key: str) -> str:
        return key

    async def has_room(self) -> bool:
        return True

    async def submit(self, body: bytes, idempotency_key: str) -> Accepted:
        self._live()
        answer = await self.api.submit(body, idempotency_key)
        self._live()
        return answer

    async def tasks(self, task_ids: Sequence[str]) -> Mapping[str, Task]:
        self._live()
        return await self.api.tasks(task_ids)

    async def list_tasks(self, created_after: int) -> None:
        del created_after

    async def download(self, url: str) -> Download:
        self._live()
        return await self.api.download(url)

    async def aclose(self) -> None:
        """Nothing is held open."""


@pytest.fixture(autouse=True)
async def crashes_in_the_background_are_expected():
    loop = asyncio.get_running_loop()

    def handle(_loop: object, context: dict[str, object]) -> None:
        if not isinstance(context.get("exception"), Crash):
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)


@pytest.fixture
def api(clock):
    return Book(clock)


async def _statuses(store, clock) -> Counter[str]:
    lines = store.objects["test/main/assets.jsonl"].decode().splitlines()
    return Counter(json.loads(line)["status"] for line in lines)


async def test_a_run_in_memory_buys_and_archives_all(store, clock, api):
    world = a_world(store, clock, api)
    result = await run_all(world, await look_at(world, FakeSource([a_row(variants=17), a_row("jug", variants=2)])))
    assert result.exit_code == 0
    assert api.made() == {"mug on an oak table": 17, "jug on an oak table": 2}
    assert result.published.manifest["totals"]["archived"] == 19


async def test_an_edited_campaign_that_was_looked_at_before_another_run_bought_buys_only_the_rest(store, clock, api):
    world = a_world(store, clock, api)
    old = await look_at(world, FakeSource([a_row(variants=4)]))
    new = await look_at(world, FakeSource([a_row(variants=9)]))
    await run_all(world, old)
    result = await run_all(world, new)
    assert result.exit_code == 0
    assert api.made() == {"mug on an oak table": 9}


async def test_a_run_whose_plan_was_replaced_before_it_bought_does_not_claim_to_be_done(store, clock, api):
    old, new = a_world(store, clock, api), a_world(store, clock, api)
    assessment = await look_at(old, FakeSource([a_row(variants=4)]))
    run = await Run.start(old, assessment)
    await run_all(new, await look_at(new, FakeSource([a_row(variants=9)])))
    posts = len(api.posts)
    await run.work()
    result = await run.finish()
    assert len(api.posts) == posts
    assert [stop.reason for stop in result.stops] == [StopReason.NEWER_PLAN]
    assert result.exit_code == 7


async def test_a_run_of_an_older_plan_that_ends_last_leaves_the_manifest_of_the_newest(store, clock, api):
    old, new = a_world(store, clock, api), a_world(store, clock, api)
    rows = [a_row(variants=2), a_row("jug", variants=1)]
    run = await Run.start(old, await look_at(old, FakeSource(rows)))
    await run_all(new, await look_at(new, FakeSource(rows[:1])))
    await run.work()
    await run.finish()
    assert json.loads(store.objects["test/main/manifest.json"])["plan_revision"] == 2
    assert await _statuses(store, clock) == {"archived": 2}


@pytest.mark.parametrize("seed", range(6))
async def test_two_runs_of_differing_campaigns_at_once_buy_no_image_twice(store, clock, seed):
    api, chance = Book(clock, Random(seed)), Random(seed)
    world = a_world(store, clock, api)
    wanted = {f"row-{n}": (chance.randint(1, 20), chance.randint(1, 20)) for n in range(4)}
    sources = [
        FakeSource([a_row(name, variants=both[index]) for name, both in wanted.items()], pace=Pace(in_flight=2))
        for index in (0, 1)
    ]
    outlooks = [await look_at(world, source) for source in sources]

    async def late(assessment):
        await clock.sleep(chance.random())
        return await run_all(world, assessment)

    await asyncio.gather(run_all(world, outlooks[0]), late(outlooks[1]))
    for name, both in wanted.items():
        assert api.made()[f"{name} on an oak table"] <= max(both)
    last = await run_all(world, await look_at(world, sources[1]))
    assert last.exit_code == 0
    assert (await _statuses(store, clock))["archived"] == sum(both[1] for both in wanted.values())


class Changing(FakeSource):
    """A campaign whose file somebody saves after its first reading."""

    def rows(self):
        yield from self.given
        self.given = [a_row(variants=4), a_row("sneaked-in")]


@pytest.mark.parametrize("somebody_bought_meanwhile", [False, True])
async def test_a_campaign_that_changes_between_its_two_readings_is_refused_and_nothing_is_sent(
    store, clock, api, somebody_bought_meanwhile
):
    world = a_world(store, clock, api)
    assessment = await look_at(world, Changing([a_row(variants=4)]))
    if somebody_bought_meanwhile:
        await run_all(world, await look_at(world, FakeSource([a_row(variants=4)])))
    posts = len(api.posts)
    with pytest.raises(InputError, match=r"test\.yaml: its rows changed while the run was starting"):
        await Run.start(world, assessment)
    assert len(api.posts) == posts
    assert ("test/main/plan-r1.json" in store.objects) is somebody_bought_meanwhile


async def test_a_budget_is_kept_against_what_another_run_spent_meanwhile(store, clock, api):
    world = a_world(store, clock, api)
    cap = Budget(images=12)
    first = await look_at(world, FakeSource([a_row(variants=10)], budget=cap))
    second = await look_at(world, FakeSource([a_row(variants=10), a_row("jug", variants=10)], budget=Budget(images=20)))
    third = await look_at(world, FakeSource([a_row(variants=10), a_row("pan", variants=10)], budget=cap))
    await run_all(world, first)
    await run_all(world, second)
    result = await run_all(world, third)
    assert [stop.reason for stop in result.stops] == [StopReason.BUDGET]
    assert api.made().total() == 20


async def test_takes_that_did_not_fit_the_budget_are_not_bought_by_a_plain_run(store, clock, api):
    world = a_world(store, clock, api)
    source = FakeSource([a_row(variants=4)], budget=Budget(images=5))
    api.faults = ["fewer"]
    api.chance = type("None made", (), {"choice": lambda _, options: options[0], "randrange": lambda *_: 0})()
    await run_all(world, await look_at(world, source))
    api.faults = ()
    posts = len(api.posts)
    wish = {"only": frozenset({Status.SHORT}), "budget": Budget(images=2)}
    assert (await run_all(world, await look_at(world, source, **wish))).exit_code == 4
    plain = await run_all(world, await look_at(world, source, budget=Budget(images=2)))
    assert len(api.posts) == posts
    assert plain.exit_code == 3


async def test_a_top_up_that_the_account_refused_is_bought_once_by_the_next_run_even_of_an_edited_campaign(
    store, clock, api
):
    world = a_world(store, clock, api)
    submit, sent = api.submit, []

    async def refusing(body, key):
        sent.append(body)
        if len(sent) == 2:
            raise AccountStopped("402", status=402)
        api.faults = ["fewer"] if len(sent) == 1 else ()
        return await submit(body, key)

    api.submit = refusing
    api.chance = type("Two made", (), {"choice": lambda _, options: options[0], "randrange": lambda *_: 2})()
    first = await run_all(world, await look_at(world, FakeSource([a_row(variants=6)])))
    assert first.exit_code == 5
    result = await run_all(world, await look_at(world, FakeSource([a_row(variants=6), a_row("jug")])))
    assert result.exit_code == 0
    assert api.made() == {"mug on an oak table": 6, "jug on an oak table": 1}


def _dead(_process: object) -> bool:
    return True


async def _begin(store, clock, row, tasks):
    """What a run left that died once its purchase was accepted: under every one of these tasks."""
    ledger = await a_ledger(store, clock, "run-dead")
    call = next(Planner({}, {}).plan([row])).calls[0]
    order = Order(call.id, row, call.variants, PRICE * len(call.variants))
    await ledger.decide(
        call.id, "a1-intent", order.intent(edition_token="t", attempt=1, account="fingerprint", revision=1)
    )
    for task in tasks:
        await ledger.accept(call.id, 1, task, str(order.credits))
    await Heartbeat(store, EDITION, clock, "run-dead", Process("host", 7, "1"), lambda: 0).beat(ended=True)
    return call


@pytest.mark.parametrize("is_lost", [True, False], ids=["another call was bought for it", "nobody asked again"])
async def test_a_failed_call_that_is_completed_after_all_tops_up_what_no_other_call_has(store, clock, api, is_lost):
    """While it counted as failed, an edited plan had bought its second image in a call whose answer was lost."""
    row = a_row(variants=2)
    call = await _begin(store, clock, row, ("t",))
    ledger = await a_ledger(store, clock, "run-dead-too")
    await ledger.note(call.id, "a1-failed", {"task": "t", "code": "service_error", "reason": "failed"})
    free = {"outcome": "free", "kind": "task", "credits": "0", "reason": "failed", "final": False}
    await ledger.decide(call.id, "a1-settled", free)
    if is_lost:
        other = Order("c-other", row, call.variants[1:], PRICE)
        intent = other.intent(edition_token="t", attempt=1, account="fingerprint", revision=2)
        await ledger.decide(other.call, "a1-intent", intent)
        await ledger.note(other.call, "a1-unknown-1", {"reason": "lost", "conflict": False})
    shown = {"task": "t", "links": ["https://r.example/t/0"], "reported": 1, "credits": str(PRICE)}
    await ledger.note(call.id, "a1-completed", {**shown, "told": True, "billed": 1, "final": True})
    world = a_world(store, clock, api, is_gone=_dead)
    result = await run_all(world, await look_at(world, FakeSource([row])))
    assert (len(api.posts), result.exit_code) == ((0, 6) if is_lost else (1, 0))


@pytest.mark.parametrize("tasks", [("t",), ("t", "t-second")])
@pytest.mark.parametrize("error", [ReadFailed("503"), AccountStopped("401")])
async def test_an_api_that_cannot_be_read_does_not_keep_a_run_from_its_manifest(store, clock, api, tasks, error):
    world = a_world(store, clock, api, is_gone=_dead)
    await _begin(store, clock, a_row(variants=2), tasks)
    api.read_faults = [error] * 100_000
    result = await run_all(world, await look_at(world, FakeSource([a_row("jug")]), replace=True))
    assert result.exit_code in (5, 7)
    assert result.published.manifest["totals"]["wanted"] == 1


async def test_what_was_bought_for_a_row_that_is_gone_is_archived_all_the_same(store, clock, api):
    world = a_world(store, clock, api, is_gone=_dead)
    await _begin(store, clock, a_row(variants=2), ["t"])
    api.states["t"] = completed("t", "https://r.example/t/0", "https://r.example/t/1")
    result = await run_all(world, await look_at(world, FakeSource([a_row("jug")]), replace=True))
    assert result.exit_code == 0
    assert len(api.posts) == 1
    assert {picture_bytes(f"https://r.example/t/{n}") for n in (0, 1)} <= set(store.objects.values())


async def test_the_last_words_of_a_dead_run_are_heard(store, clock, api):
    world = a_world(store, clock, api, is_gone=_dead)
    call = await _begin(store, clock, a_row(variants=2), [])
    api.states["t"] = completed("t", "https://r.example/t/0", "https://r.example/t/1")
    late = await a_ledger(store, clock, "run-dead")
    record = to_json(late._record({"task": "t", "credits": "3.06"}))

    def speak(operation, key):
        if operation == "read" and key.endswith("runs/run-dead.json"):
            store.objects[EDITION.key(f"ledger/{call.id}/a1-accepted.t.json")] = record

    store.fault = speak
    result = await run_all(world, await look_at(world, FakeSource([a_row(variants=2)])))
    assert result.exit_code == 0
    assert result.published.manifest["totals"]["archived"] == 2
    assert api.posts == []


async def test_a_call_of_a_dead_run_without_an_answer_is_held_and_the_rest_is_bought(store, clock, api):
    world = a_world(store, clock, api, is_gone=_dead)
    await _begin(store, clock, a_row(variants=2), [])
    result = await run_all(world, await look_at(world, FakeSource([a_row(variants=2), a_row("jug")])))
    assert result.exit_code == 6
    assert api.made() == {"jug on an oak table": 1}


async def _run_until_it_dies(mortal, clock, source):
    """One run, until it ends or is killed with everything that it has under way."""
    world, before = a_world(mortal, clock, mortal), asyncio.all_tasks()
    run = asyncio.create_task(_look_and_run(world, source))
    dead = asyncio.create_task(mortal.died.wait())
    await asyncio.wait({run, dead}, return_when=asyncio.FIRST_COMPLETED)
    result = run.result() if run.done() and not mortal.died.is_set() else None
    rest = asyncio.all_tasks() - before - {clock._driver}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
    return result


async def _look_and_run(world, source):
    return await run_all(world, await look_at(world, source))


FAULTS = ("", "", "", "fewer", "fewer", "failed", "429", "not sent", "unknown")


@pytest.mark.parametrize("seed", range(25))
async def test_whatever_happens_no_image_is_bought_twice_and_none_that_was_paid_for_is_lost(store, clock, seed):
    chance = Random(seed)
    api = Book(clock, Random(seed), FAULTS)
    rows = [
        a_row(f"row-{n}", variants=chance.randint(1, 20), references=references(chance.randint(0, 6))) for n in range(4)
    ]
    most = Counter({f"{row.name} on an oak table": row.variants for row in rows})
    budget = Budget(images=200)
    for turn in range(8):
        if turn == 7:
            api.faults = ()
        elif chance.random() < 0.4:
            index = chance.randrange(len(rows))
            rows[index] = replace(rows[index], variants=chance.randint(1, 20))
            chance.shuffle(rows)
        most |= Counter({f"{row.name} on an oak table": row.variants for row in rows})
        source = FakeSource(tuple(rows), budget=budget, pace=Pace(in_flight=chance.choice([1, 3, 16])))
        mortal = Mortal(store, api, 10**9 if turn == 7 else chance.randint(1, 250))
        result = await _run_until_it_dies(mortal, clock, source)
        assert all(api.made()[prompt] <= most[prompt] for prompt in api.made()), (seed, turn)
        clock.advance(120)
    assert result is not None
    totals = result.published.manifest["totals"]
    ledger = await a_ledger(store, clock, "reader")
    _check_that_nothing_is_lost(store, api, ledger)
    assert totals["wanted"] == sum(row.variants for row in rows)
    assert totals["open"] == 0
    assert Decimal(str(totals["credits_charged"])) + Decimal(str(totals["credits_reserved"])) <= 200 * PRICE
    assert result.exit_code in (0, 3, 6)


def _check_that_nothing_is_lost(store: MemoryStore, api: Book, ledger: Ledger) -> None:
    """Every image that the API made is in the archive, or its call is held as unknown."""
    contents = set(store.objects.values())
    known = {task for call in ledger.calls() for attempt in ledger.facts(call).attempts for task in attempt.tasks}
    unknown = sum(1 for call in ledger.calls() if ledger.facts(call).stage is Stage.UNKNOWN)
    missing = [task for task in api.charges if task not in known]
    assert len(missing) <= unknown
    for task in known:
        for link in api.states[task].results:
            assert picture_bytes(link) in contents, link


async def test_a_run_for_new_takes_alone_is_done_though_other_images_are_open(store, clock, api):
    world = a_world(store, clock, api)
    api.faults = ["fewer"]
    api.chance = type("None made", (), {"choice": lambda _, options: options[0], "randrange": lambda *_: 0})()
    assert (await run_all(world, await look_at(world, FakeSource([a_row()])))).exit_code == 3
    api.faults = ()
    both = FakeSource([a_row(), a_row("jug")])
    result = await run_all(world, await look_at(world, both, only=frozenset({Status.SHORT})))
    assert result.exit_code == 0
    assert await _statuses(store, clock) == {"archived": 1, "open": 1}
    assert (await run_all(world, await look_at(world, both))).exit_code == 0
    assert await _statuses(store, clock) == {"archived": 2}


async def test_runs_that_come_and_go_keep_to_the_pace_of_one_together(store, clock, api):
    api.submit_takes_s = 4
    source = FakeSource([a_row(f"row-{number}") for number in range(120)], pace=Pace(in_flight=8))

    async def run(start_s: float) -> int:
        await clock.sleep(start_s)
        world = a_world(store, clock, api)
        return (await run_all(world, await look_at(world, source, share=Share(int(start_s) % 2, 2)))).exit_code

    assert set(await asyncio.gather(*(run(start_s) for start_s in (0, 15, 31)))) == {0}
    assert len(api.posts) == 120
    assert api.most_at_once == 8


class Overwriting(MemoryStore):
    """A store that takes create for replace, as some S3 servers do with a condition that they do not know."""

    async def create(self, key, content, **more):
        self.objects.pop(key, None)
        return await super().create(key, content, **more)


class Boasting(MemoryStore):
    """A store that keeps the first bytes and says of each create that it made them."""

    async def create(self, key, content, **more):
        await super().create(key, content, **more)
        return True


@pytest.mark.parametrize("kind", [Overwriting, Boasting])
async def test_a_store_that_does_not_keep_create_once_buys_nothing(kind):
    """On it two runs would both hold the intent of one call: each would buy it."""
    clock, store = ManualClock(), kind()
    api = ScriptedApi(clock)
    world = a_world(store, clock, api)
    with pytest.raises(StoreRefused, match="only once"):
        await run_all(world, await look_at(world, FakeSource([a_row()])))
    assert api.posts == []
    assert not store.names("ledger/")
