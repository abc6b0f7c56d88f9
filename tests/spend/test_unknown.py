"""What an unknown purchase is settled by, over a store and an API in memory."""

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest
from support.fakes import (
    EDITION,
    MODEL,
    PRICE,
    FakeSource,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_fact,
    a_ledger,
    a_row,
    a_world,
    accepted,
    an_intent,
    bought,
    completed,
    look_at,
    run_all,
)

from adloom.core.callbacks import Secret, inbox
from adloom.core.campaign import Budget
from adloom.core.errors import OutcomeUnknown, ReadFailed, RequestRefused
from adloom.core.facts import CallFacts, Stage, fold
from adloom.core.limits import MODELS
from adloom.core.order import Order
from adloom.core.planned import Variant
from adloom.core.task import ListedTask, Task, TaskState
from adloom.guards.gate import Gate
from adloom.ledger.capabilities import Capabilities, read_capabilities, record_capability
from adloom.ledger.edition import to_json, utc
from adloom.plan.planner import Planner
from adloom.run.run import Run
from adloom.spend.held import RELEASE_AFTER_S, release
from adloom.spend.unknown import LATE_S, EvidenceSources, SendTimes, UnknownPurchases

ANOTHER_MODEL = next(name for name in MODELS if name != MODEL)


class Listing(ScriptedApi):
    """An API that shows its tasks: one was made by the purchase whose answer was lost."""

    listed_after_s = 0

    async def list_tasks(self, created_after):
        made = int(self.clock.now())
        is_listed = self.clock.elapsed >= self.listed_after_s and created_after <= made
        return [ListedTask("task-lost", TaskState.PROCESSING, MODEL, made)] if is_listed else []


class ListedLate(ScriptedApi):
    """An API that shows a task only to those that ask for a second time."""

    def __init__(self, clock):
        super().__init__(clock)
        self.lost = {}

    def lose(self, _post):
        self.lost[f"task-lost-{len(self.lost)}"] = 0
        return OutcomeUnknown("the answer was lost")

    async def list_tasks(self, _created_after):
        shown = [task for task, times in self.lost.items() if times]
        self.lost = {task: times + 1 for task, times in self.lost.items()}
        return [ListedTask(task, TaskState.PROCESSING, MODEL, int(self.clock.now())) for task in shown]


class AnotherKey(Listing):
    account = "another fingerprint"


@pytest.mark.parametrize(("claimed_by", "exit_code"), [(None, 0), ("itself", 0), ("another", 6)])
async def test_the_one_task_of_the_list_is_adopted_even_after_a_death_between_claim_and_adoption(claimed_by, exit_code):
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    source = FakeSource([a_row()])
    call = next(Planner({}, {}).plan(source.rows())).calls[0].id
    if claimed_by:
        owner = call if claimed_by == "itself" else "another"
        claim = {"edition": EDITION.prefix, "call": owner, "attempt": 1, "writer": "run-dead"}
        store.objects["tasks/task-lost.json"] = to_json(claim)
    world = a_world(store, clock, api, dedicated_key=True)
    result = await run_all(world, await look_at(world, source))
    assert result.exit_code == exit_code
    assert len(api.posts) == 1
    assert result.published.manifest["totals"]["archived"] == (exit_code == 0)


@pytest.mark.parametrize("shown", [None, Task("task-lost", TaskState.COMPLETED, ("l",), model=ANOTHER_MODEL)])
async def test_a_listed_task_that_the_api_does_not_show_or_shows_as_another_is_not_taken_for_the_purchase(shown):
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    api.states["task-lost"] = shown
    world, source = a_world(store, clock, api, dedicated_key=True), FakeSource([a_row()])
    assert (await run_all(world, await look_at(world, source))).exit_code == 6
    ledger = await a_ledger(store, clock)
    (call,) = ledger.calls()
    assert ledger.facts(call).stage is Stage.UNKNOWN
    clock.advance(RELEASE_AFTER_S)
    await release(ledger, clock, call, "the console shows none", by="somebody")
    assert ledger.facts(call).stage is Stage.UNBOUGHT


async def test_a_listed_task_that_cannot_be_read_now_is_left_for_a_later_run():
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers, api.read_faults = [OutcomeUnknown("the answer was lost")], [ReadFailed("503")] * 1000
    world, source = a_world(store, clock, api, dedicated_key=True), FakeSource([a_row()])
    assert (await run_all(world, await look_at(world, source))).exit_code == 6
    assert "tasks/task-lost.json" not in store.objects
    api.read_faults = []
    assert (await run_all(world, await look_at(world, source))).exit_code == 0


async def test_a_task_in_the_list_of_another_key_is_not_taken_for_the_purchase():
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    source = FakeSource([a_row()])
    world = a_world(store, clock, api)
    await run_all(world, await look_at(world, source))
    world = a_world(store, clock, AnotherKey(clock), dedicated_key=True)
    assert (await run_all(world, await look_at(world, source))).exit_code == 6
    assert "tasks/task-lost.json" not in store.objects


async def test_a_run_looks_for_a_task_for_a_minute_after_its_last_purchase():
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers, api.listed_after_s = [OutcomeUnknown("the answer was lost")], 50
    world = a_world(store, clock, api, dedicated_key=True)
    assert (await run_all(world, await look_at(world, FakeSource([a_row()])))).exit_code == 0


async def test_once_the_task_has_turned_up_the_purchase_is_neither_looked_for_nor_held():
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    world = a_world(store, clock, api, dedicated_key=True)
    assert (await run_all(world, await look_at(world, FakeSource([a_row()])))).exit_code == 0
    assert clock.elapsed < 30
    assert not [name for name in store.names("ledger/") if "-held" in name]


async def test_where_nothing_can_tell_a_run_does_not_wait_for_the_task_of_a_lost_answer():
    clock, store = ManualClock(), MemoryStore()
    api = ScriptedApi(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    world = a_world(store, clock, api)
    assert (await run_all(world, await look_at(world, FakeSource([a_row()])))).exit_code == 6
    assert clock.elapsed == 0


async def test_an_interrupted_run_does_not_go_on_looking_for_a_task():
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers, api.listed_after_s = [OutcomeUnknown("the answer was lost")], 10**6
    world = a_world(store, clock, api, dedicated_key=True)
    run = await Run.start(world, await look_at(world, FakeSource([a_row()])))
    await run.work()
    run.interrupt()
    assert (await run.finish()).exit_code == 130
    assert clock.elapsed == 0


async def test_purchases_whose_tasks_turned_up_are_no_reason_to_stop():
    clock, store = ManualClock(), MemoryStore()
    api = ListedLate(clock)
    rows = [a_row(f"row-{number}") for number in range(10)]
    api.answers = [api.lose if number % 2 else accepted(f"task-{number}") for number in range(10)]
    world = a_world(store, clock, api, dedicated_key=True)
    result = await run_all(world, await look_at(world, FakeSource(rows), in_flight=1))
    assert (result.exit_code, result.published.manifest["totals"]["archived"]) == (0, 10)
    assert len(api.lost) == 5


async def test_unknown_purchases_of_an_earlier_run_say_nothing_of_the_apis_present_state():
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers, api.listed_after_s = [OutcomeUnknown("the answer was lost")] * 2, 10**6
    first = [a_row("a"), a_row("b")]
    world = a_world(store, clock, api)
    assert (await run_all(world, await look_at(world, FakeSource(first)))).exit_code == 6
    api.answers = [OutcomeUnknown("the answer was lost")]
    world = a_world(store, clock, api, dedicated_key=True)
    result = await run_all(world, await look_at(world, FakeSource([*first, a_row("c"), a_row("d")]), in_flight=1))
    assert (result.exit_code, result.published.manifest["totals"]["archived"]) == (6, 1)
    assert len(api.posts) == 4


async def test_a_later_run_finds_the_task_of_a_purchase_that_an_earlier_one_held():
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    source = FakeSource([a_row()])
    world = a_world(store, clock, api)
    assert (await run_all(world, await look_at(world, source))).exit_code == 6
    later = a_world(store, clock, api, dedicated_key=True)
    assert (await run_all(later, await look_at(later, source))).exit_code == 0
    assert len(api.posts) == 1


@pytest.mark.parametrize(
    ("source", "posts"),
    [
        (FakeSource([a_row("row-1"), a_row("row-2")]), 3),
        (FakeSource([a_row("row-2")]), 2),  # nobody wants row-1 any more
        (FakeSource([a_row("row-1"), a_row("row-2")], budget=Budget(images=1)), 2),  # one image may be paid, not two
    ],
)
async def test_what_nobody_wants_or_may_pay_any_more_is_not_sent_again(source, posts):
    clock, store = ManualClock(), MemoryStore()
    api = ScriptedApi(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    first = FakeSource([a_row("row-1"), a_row("row-2")])
    world = a_world(store, clock, api)
    assert (await run_all(world, await look_at(world, first))).exit_code == 6
    await record_capability(store, api.account, replays_keys=True, now=clock.now())
    await run_all(world, await look_at(world, source))
    assert len(api.posts) == posts


async def test_three_purchases_that_the_task_list_cannot_tell_stop_the_buying():
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers = [OutcomeUnknown("the answer was lost")] * 20

    async def nothing(_created_after):
        return []

    api.list_tasks = nothing
    world = a_world(store, clock, api, dedicated_key=True)
    rows = [a_row(f"row-{number}") for number in range(12)]
    result = await run_all(world, await look_at(world, FakeSource(rows)))
    assert (result.exit_code, len(api.posts)) == (7, 3)
    assert sum(key.endswith("-intent.json") for key in store.objects) == 3  # nothing is even begun


async def test_what_another_purchase_has_for_its_answer_is_not_read_once_it_is_over():
    """Beside an archive of many calls, most are over, bought or refused: their records' names tell."""
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers = [RequestRefused("no such size", status=400)]
    source = FakeSource([a_row(f"row-{number}", variants=2) for number in range(5)])
    world = a_world(store, clock, api, dedicated_key=True)
    await run_all(world, await look_at(world, source))
    over = {key for key in store.objects if "/ledger/c-" in key or key.startswith("tasks/")}
    api.answers, reads = [OutcomeUnknown("the answer was lost")], []
    store.fault = lambda operation, key: reads.append(key) if operation == "read" else None
    more = FakeSource([*source.rows(), a_row("row-6")])
    assert (await run_all(world, await look_at(world, more))).published.manifest["totals"]["held"] == 0
    assert reads
    assert not over & set(reads)


async def test_a_campaign_called_like_the_folder_of_claims_is_not_taken_for_claims():
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    store.objects["tasks/main/plan-r1.json"] = b"{}"
    world = a_world(store, clock, api, dedicated_key=True)
    assert (await run_all(world, await look_at(world, FakeSource([a_row()])))).exit_code == 0


def of_a_rival(api: ScriptedApi, records: dict[str, dict[str, object]], *, ago_s: float = 0) -> dict[str, bytes]:
    """A purchase of another edition: its intent, made so long ago, and what else is recorded of it, by name."""
    fact = {"schema": "adloom.fact/1", "time": utc(api.clock.now() - ago_s), "writer": "another", "written": 1}
    intent = bought([Variant("k1", 1, 1)], account=api.account)
    facts = {"a1-intent": intent, **records}
    return {f"other/main/ledger/c-rival/{name}.json": to_json({**fact, **fields}) for name, fields in facts.items()}


class AnsweredMeanwhile(MemoryStore):
    """An archive in which a rival's answer is written down right after somebody listed all of it."""

    def __init__(self):
        super().__init__()
        self.answer = {}

    async def list(self, prefix):
        async for listed in super().list(prefix):
            yield listed
        if prefix == "":
            self.objects.update(self.answer)


async def test_the_task_of_a_rival_whose_answer_is_written_meanwhile_is_left_to_it():
    clock, store = ManualClock(), AnsweredMeanwhile()
    api = Listing(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    store.objects |= of_a_rival(api, {})
    store.answer = of_a_rival(api, {"a1-accepted.task-lost": {"task": "task-lost", "credits": "1.53"}})
    world = a_world(store, clock, api, dedicated_key=True)
    result = await run_all(world, await look_at(world, FakeSource([a_row()])))
    assert result.published.manifest["totals"]["held"] == 1


@pytest.mark.parametrize(("claimed_by", "exit_code"), [(None, 6), ("another", 6), ("rival", 0)])
async def test_a_purchase_whose_answer_nobody_has_claimed_yet_may_have_made_the_task(claimed_by, exit_code):
    """The API may have answered it with another's id; then the task that nobody has is its own."""
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    store.objects |= of_a_rival(api, {"a1-accepted.task-told": {"task": "task-told", "credits": "1.53"}})
    if claimed_by:
        claim = {"edition": "other/main/", "call": f"c-{claimed_by}", "attempt": 1, "writer": "another"}
        store.objects["tasks/task-told.json"] = to_json(claim)
    world = a_world(store, clock, api, dedicated_key=True)
    result = await run_all(world, await look_at(world, FakeSource([a_row()])))
    assert result.exit_code == exit_code
    assert result.published.manifest["totals"]["held"] == (exit_code == 6)


async def test_a_purchase_that_was_refused_each_time_has_made_no_task():
    """It waits for its next turn in another run, and has no end yet."""
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    store.objects |= of_a_rival(api, {"a1-refused-1": {"kind": "throttled", "reason": "429"}})
    world = a_world(store, clock, api, dedicated_key=True)
    assert (await run_all(world, await look_at(world, FakeSource([a_row()])))).exit_code == 0


@pytest.mark.parametrize(("sent_again_s", "exit_code"), [(None, 0), (2000, 0), (2600, 6), (3600, 6)])
async def test_a_purchase_whose_key_was_sent_again_lately_may_have_made_the_task(sent_again_s, exit_code):
    """However long ago its intent is: here an hour."""
    clock, store = ManualClock(), MemoryStore()
    api = Listing(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    records = {"a1-unknown-1": {"reason": "lost", "conflict": False}}
    if sent_again_s is not None:
        records["a1-send-2"] = {"outcome": "bought", "time": utc(clock.now() - 3600 + sent_again_s)}
    store.objects |= of_a_rival(api, records, ago_s=3600)
    world = a_world(store, clock, api, dedicated_key=True)
    result = await run_all(world, await look_at(world, FakeSource([a_row()])))
    assert result.exit_code == exit_code


def test_times_of_purchases_that_one_task_may_belong_to():
    """Fifteen minutes late at most, and two clocks that differ by two minutes each from the API's."""
    mine = SendTimes(10_000, 20_000)
    assert [mine.may_have_made(at) for at in (9_879, 9_880, 20_900, 20_901)] == [False, True, True, False]
    others = (SendTimes(0, 8_859), SendTimes(0, 8_860), SendTimes(15_000, 15_000), SendTimes(21_140, 9e9))
    assert [mine.meets(other) for other in others] == [False, True, True, True]
    assert not mine.meets(SendTimes(21_141, 9e9))


@pytest.mark.parametrize(("writer", "last_s"), [("run-a", 2000), ("run-b", 0)], ids=["its owner", "who took over"])
def test_a_paused_process_sends_later_than_its_intent_says(writer, last_s):
    """Whoever takes an unknown purchase over hears nothing: when it was sent is known no better than before."""
    fact = {"schema": "adloom.fact/1", "writer": "run-a", "written": 1}
    intent = {**fact, **bought([Variant("k1", 1, 1)]), "time": utc(0)}
    unknown = {**fact, "writer": writer, "time": utc(2000), "reason": "lost", "conflict": False}
    times = SendTimes.of(fold("c-1", {"a1-intent": intent, "a1-unknown-1": unknown}))
    assert (times.first_s, times.last_s) == (0, last_s)


SECRET = Secret(b"s" * 32)
SENT = 1_800_000_000.0


def told(call: str, *tasks: str) -> dict[str, bytes]:
    """What a receiver has written down for a call's first attempt."""
    return {f"{inbox(EDITION.prefix, call, 1)}{task}.json": b"{}" for task in tasks}


def made(task: str, *, model: str = MODEL, after_s: float | None = 1.0) -> Task:
    """A finished task as the API tells it, made so long after the purchase was sent."""
    created = None if after_s is None else int(SENT + after_s)
    return replace(completed(task, f"https://results.example/{task}/0"), model=model, created_at=created)


@pytest.mark.parametrize(
    ("tasks", "adopted"),
    [
        ([made("task-1")], "task-1"),
        ([made("task-1", model="", after_s=None)], "task-1"),
        ([made("task-1", model="an internal name")], "task-1"),
        ([made("task-1", after_s=-1200)], "task-1"),  # the API's clock is slow
        ([made("task-1", after_s=1200)], "task-1"),  # … or fast
        ([made("task-1", model=ANOTHER_MODEL)], None),
        ([made("task-1", after_s=-2 * 3600)], None),
        ([made("task-1", after_s=2 * 3600)], None),
        ([made("task-0", model=ANOTHER_MODEL), made("task-1"), made("task-2", after_s=-86_400)], "task-1"),
        ([made("task-1"), made("task-2")], None),
    ],
)
async def test_a_task_that_a_callback_names_must_fit_the_purchase(tasks: list[Task], adopted: str | None):
    clock, store = ManualClock(SENT), MemoryStore()
    api = ScriptedApi(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    api.states = {task.task_id: task for task in tasks}
    source = FakeSource([a_row()], callback_url="https://hooks.example/x")
    call = next(Planner({}, {}).plan(source.rows())).calls[0].id
    store.objects |= told(call, *api.states)
    world = a_world(store, clock, api, callback_secret=SECRET)
    result = await run_all(world, await look_at(world, source))
    assert result.exit_code == (0 if adopted else 6)
    names = {name.split("-accepted.")[1] for name in store.names("ledger/") if "-accepted." in name}
    assert names == ({adopted} if adopted else set())
    assert len(api.posts) == 1


@pytest.mark.parametrize("callback_url", ["https://hooks.example/x", None])
async def test_a_callback_in_the_archive_counts_for_a_later_run_without_the_secret(callback_url):
    """It was received where the secret is; this run is on another machine, or the address has left the file since."""
    clock, store = ManualClock(SENT), MemoryStore()
    api = ScriptedApi(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    source = FakeSource([a_row()], callback_url="https://hooks.example/x")
    call = next(Planner({}, {}).plan(source.rows())).calls[0].id
    world = a_world(store, clock, api, callback_secret=SECRET)
    assert (await run_all(world, await look_at(world, source))).exit_code == 6
    api.states = {"task-1": made("task-1")}
    store.objects |= told(call, "task-1")
    later = a_world(store, clock, api)
    result = await run_all(later, await look_at(later, FakeSource([a_row()], callback_url=callback_url)))
    assert (result.exit_code, len(api.posts)) == (0, 1)


@pytest.mark.parametrize(("claimed_by", "exit_code"), [("itself", 0), ("another", 6)])
async def test_a_task_that_a_callback_names_and_somebody_claimed_before_is_its_claimants(claimed_by, exit_code):
    """Its own claim is that of a run that died before it adopted the task."""
    clock, store = ManualClock(), MemoryStore()
    api = ScriptedApi(clock)
    api.answers = [OutcomeUnknown("the answer was lost")]
    source = FakeSource([a_row()], callback_url="https://hooks.example/x")
    call = next(Planner({}, {}).plan(source.rows())).calls[0].id
    claim = {"edition": EDITION.prefix, "call": call, "attempt": 1, "writer": "run-dead"}
    store.objects["tasks/task-1.json"] = to_json(claim if claimed_by == "itself" else {**claim, "call": "c-another"})
    store.objects |= told(call, "task-1")
    world = a_world(store, clock, api, callback_secret=SECRET)
    assert (await run_all(world, await look_at(world, source))).exit_code == exit_code
    assert len(api.posts) == 1


HALF_A_DAY_S = 12 * 3600
"""Half of 24 h, the shortest time for which services that remember keys usually do."""


def unknown_call(*, sends: int = 1, conflict: bool = False) -> CallFacts:
    sent = {f"a1-send-{number}": a_fact({"outcome": "bought"}) for number in range(2, sends + 1)}
    unknown = {f"a1-unknown-{number}": a_fact(reason="lost", conflict=conflict) for number in range(1, sends + 1)}
    return fold("c-1", {"a1-intent": an_intent(2), **sent, **unknown})


@pytest.mark.parametrize(
    ("age_s", "sends", "conflict", "may"),
    [
        (0, 1, False, True),
        (HALF_A_DAY_S - 1, 1, False, True),
        (HALF_A_DAY_S, 1, False, False),  # the API may have forgotten the key: it would buy once more
        (-60, 1, False, True),  # another machine's clock is a minute behind
        (-HALF_A_DAY_S, 1, False, False),  # the clock was set back: how old the key is, nobody knows
        (14, 2, False, False),  # it was sent again just now
        (15, 2, False, True),
        (119, 5, False, False),
        (120, 5, False, True),
        (3600, 20, False, True),  # an outage of hours
        (3599, 20, False, False),
        (60, 1, True, False),  # the API knows the key with another body
    ],
)
def test_a_key_is_sent_again_for_half_a_day_and_less_and_less_often(age_s, sends, conflict, may):
    sent = datetime.fromisoformat("2026-11-01T00:00:00+00:00").timestamp()
    probed = {"replays_keys": True, "probed": utc(sent - 24 * 3600)}
    proven = Capabilities({"fingerprint": probed, "another key": probed})
    facts = unknown_call(sends=sends, conflict=conflict)
    assert EvidenceSources(proven, dedicated_key=False).may_resend(facts, "fingerprint", sent + age_s) is may
    assert not EvidenceSources(proven, dedicated_key=False).may_resend(facts, "another key", sent + age_s)
    assert not EvidenceSources(Capabilities({}), dedicated_key=False).may_resend(facts, "fingerprint", sent + age_s)


@pytest.mark.parametrize(("kind", "may"), [("throttled", True), ("request", False), ("moderation", False)])
def test_a_key_whose_request_the_api_refuses_for_good_is_not_sent_again(kind, may):
    sent = datetime.fromisoformat("2026-11-01T00:00:00+00:00").timestamp()
    proven = Capabilities({"fingerprint": {"replays_keys": True, "probed": utc(sent)}})
    asked_again = {"a1-send-2": a_fact({"outcome": "bought"}), "a1-refused-2": a_fact(kind=kind, reason="no")}
    facts = fold("c-1", {"a1-intent": an_intent(2), "a1-unknown-1": a_fact(reason="lost"), **asked_again})
    sources = EvidenceSources(proven, dedicated_key=False)
    assert facts.stage is Stage.UNKNOWN
    assert sources.may_resend(facts, "fingerprint", sent + 600) is may
    assert sources.any_for(facts, "fingerprint", sent + 600) is may


def test_nobody_calls_a_purchase_free_before_a_late_answer_could_have_come():
    """Queues and proxies outlive both ends by a quarter of an hour; what arrives then is bought."""
    assert RELEASE_AFTER_S == LATE_S == 15 * 60


@pytest.mark.parametrize(
    ("says_replayed", "replayed", "posts"), [(True, False, 3), (True, True, 4), (False, False, 4), (None, False, 4)]
)
async def test_a_resend_that_is_answered_otherwise_than_the_probes_withdraws_the_proof(
    says_replayed, replayed, posts, caplog
):
    """Two answers are lost. Once one resend was no replay, the other purchase is not sent again, now or later."""
    clock, store = ManualClock(), MemoryStore()
    api = ScriptedApi(clock)
    await record_capability(store, api.account, replays_keys=True, now=clock.now(), says_replayed=says_replayed)
    lost = OutcomeUnknown("the answer was lost")
    api.answers = [answer for row in "ab" for answer in (lost, replace(accepted(f"task-{row}"), replayed=replayed))]
    source = FakeSource([a_row("a"), a_row("b")])
    world = a_world(store, clock, api)
    is_proven = posts == 4
    assert (await run_all(world, await look_at(world, source))).exit_code == (0 if is_proven else 6)
    assert ("is no replay" in caplog.text) is not is_proven
    assert (await read_capabilities(store)).replays_keys(api.account, clock.now()) is is_proven
    await run_all(world, await look_at(world, source))
    assert len(api.posts) == posts


class AnsweredLate(MemoryStore):
    """A store in which a run that was paused records its answer as soon as another one decides to send again."""

    async def create(self, key, content, **how):
        is_new = await super().create(key, content, **how)
        if key.endswith("/a1-send-2.json"):
            answer = a_fact(task="task-late", credits=str(PRICE), credits_told=True, writer="paused")
            self.objects[key.replace("a1-send-2", "a1-accepted.task-late")] = to_json(answer)
        return is_new


async def test_an_answer_that_another_run_had_is_no_word_about_keys():
    clock, store = ManualClock(), AnsweredLate()
    api = ScriptedApi(clock)
    await record_capability(store, api.account, replays_keys=True, now=clock.now(), says_replayed=True)
    api.answers = [OutcomeUnknown("the answer was lost")]
    world = a_world(store, clock, api)
    assert (await run_all(world, await look_at(world, FakeSource([a_row()])))).exit_code == 0
    assert len(api.posts) == 1
    assert (await read_capabilities(store)).replays_keys(api.account, clock.now())


class Unheard:
    """Sends purchases again, and hears nothing."""

    async def resend(self, order):
        """Nobody answers."""


async def test_a_purchase_that_nobody_answers_again_lets_a_run_buy_one_at_a_time(store, clock):
    """From its first unknown purchase on, whichever run sent it first."""
    api, ledger, variants = ScriptedApi(clock), await a_ledger(store, clock), (Variant("k1", 1, 1),)
    await ledger.decide("c-1", "a1-intent", bought(variants))
    await ledger.note("c-1", "a1-unknown-1", {"reason": "lost", "conflict": False})
    proven = Capabilities({api.account: {"replays_keys": True, "probed": utc(clock.now())}})
    world, sources = a_world(store, clock, api), EvidenceSources(proven, dedicated_key=False)
    unknowns = UnknownPurchases(world, ledger, Gate(), sender=Unheard(), sources=sources, calls=9)
    unknowns.inherit(Order("c-1", a_row(), variants, PRICE))
    await unknowns.try_settle()
    sends = []

    async def send():
        async with unknowns.turn():
            sends.append(clock.elapsed)
            await clock.sleep(1)

    await asyncio.wait_for(asyncio.gather(send(), send(), send()), 5)
    assert sends == [0, 1, 2]


class AnsweredSlowly:
    """Sends purchases again, and waits a minute for the answer."""

    def __init__(self, clock):
        self.clock, self.out, self.most_out = clock, 0, 0

    async def resend(self, _order):
        await self.send()

    async def send(self):
        self.out += 1
        self.most_out = max(self.most_out, self.out)
        await self.clock.sleep(60)
        self.out -= 1


@pytest.mark.parametrize("purchase_first", [True, False])
async def test_nobody_else_sends_while_an_unknown_purchase_of_an_earlier_run_is_sent_again(
    store, clock, purchase_first
):
    """It may be the first to arrive, and then two are out at a price that nobody has read."""
    api, ledger, variants = ScriptedApi(clock), await a_ledger(store, clock), (Variant("k1", 1, 1),)
    await ledger.decide("c-1", "a1-intent", bought(variants))
    await ledger.note("c-1", "a1-unknown-1", {"reason": "lost", "conflict": False})
    proven = Capabilities({api.account: {"replays_keys": True, "probed": utc(clock.now())}})
    world, sources = a_world(store, clock, api), EvidenceSources(proven, dedicated_key=False)
    sender = AnsweredSlowly(clock)
    unknowns = UnknownPurchases(world, ledger, Gate(), sender=sender, sources=sources, calls=9)
    unknowns.inherit(Order("c-1", a_row(), variants, PRICE))

    async def buy():
        async with unknowns.turn():
            await sender.send()

    loops = (buy(), unknowns.keep_trying(3)) if purchase_first else (unknowns.keep_trying(3), buy())
    await asyncio.wait_for(asyncio.gather(*loops), 5)
    assert sender.most_out == 1


class Counted:
    """Counts what is sent again, and hears nothing."""

    def __init__(self):
        self.sent = 0

    async def resend(self, _order):
        self.sent += 1


@pytest.mark.parametrize("former_came_back", [True, False])
async def test_what_a_former_task_made_after_all_is_not_sent_again(store, clock, former_came_back):
    """It would be turned down each time, and leave two records each time."""
    api, ledger, variants = ScriptedApi(clock), await a_ledger(store, clock), (Variant("k1", 1, 1),)
    await ledger.decide("c-1", "a1-intent", bought(variants))
    await ledger.accept("c-1", 1, "task-1", str(PRICE))
    await ledger.decide("c-1", "a1-settled", {"outcome": "free", "kind": "task", "reason": "no", "final": False})
    if former_came_back:
        shown = {"task": "task-1", "links": ["l"], "reported": 1, "credits": str(PRICE), "told": True}
        await ledger.note("c-1", "a1-completed", shown)
    await ledger.decide("c-1", "a2-intent", bought(variants))
    await ledger.note("c-1", "a2-unknown-1", {"reason": "lost", "conflict": False})
    proven = Capabilities({api.account: {"replays_keys": True, "probed": utc(clock.now())}})
    world, sources = a_world(store, clock, api), EvidenceSources(proven, dedicated_key=False)
    sender = Counted()
    unknowns = UnknownPurchases(world, ledger, Gate(), sender=sender, sources=sources, calls=9)
    unknowns.inherit(Order("c-1", a_row(), variants, PRICE))
    await unknowns.try_settle()
    assert sender.sent == (0 if former_came_back else 1)
