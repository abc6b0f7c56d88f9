import asyncio
import gc
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import pairwise
from random import Random

import pytest
from support.fakes import (
    EDITION,
    MODEL,
    PRICE,
    Crash,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_fact,
    a_ledger,
    a_row,
    a_world,
    accepted,
    completed,
    settle,
    until,
)

from adloom.collect.collector import Collector
from adloom.collect.completion import Unreachable
from adloom.collect.poller import Poller
from adloom.core.callbacks import inbox
from adloom.core.campaign import Pace
from adloom.core.errors import (
    AccountStopped,
    FileRefused,
    ModelUnavailable,
    ModerationRefused,
    NotSent,
    OutcomeUnknown,
    ReferenceTooSlow,
    RequestRefused,
    StoreUnavailable,
    Throttled,
)
from adloom.core.exits import Stop, StopReason
from adloom.core.facts import Stage, money_of
from adloom.core.fallback import Fallback
from adloom.core.identity import call_id
from adloom.core.order import Order, idempotency_key
from adloom.core.outcomes import outcomes
from adloom.core.planned import Variant
from adloom.core.pricing import Kind
from adloom.guards.forecast import Forecast
from adloom.guards.gate import Gate
from adloom.guards.pace import Throttle
from adloom.guards.prices import PriceWatch
from adloom.ledger.capabilities import Capabilities
from adloom.ledger.edition import to_json, utc
from adloom.ledger.heartbeats import Heartbeat
from adloom.ledger.ledger import Ledger
from adloom.spend.held import adopt
from adloom.spend.purchase import Buyer, Sender
from adloom.spend.spender import Spender
from adloom.spend.unknown import EvidenceSources, UnknownPurchases

INTERRUPTION = Stop(StopReason.INTERRUPTED, "stop")


NEXT = "doubao-seedream-4.5"


def an_order(name: str = "mug", n: int = 2, **row: object) -> Order:
    variants = tuple(Variant(f"{name}-{number}", number, 1) for number in range(1, n + 1))
    return Order(call_id(variant.key for variant in variants), a_row(name, **row), variants, PRICE * n)


@dataclass
class SpendRig:
    """One run's parts that buy, over a store and an API that all runs share."""

    store: MemoryStore
    clock: ManualClock
    api: ScriptedApi
    writer: str
    cap: Decimal = Decimal(1000)
    planned: Decimal = Decimal(100)
    left: Mapping[Kind, int] = field(default_factory=dict)
    models: tuple[str, ...] = ()
    pace: Pace = field(default_factory=Pace)
    gate: Gate = field(default_factory=Gate)
    ledger: Ledger = field(init=False)
    sender: Sender = field(init=False)
    spender: Spender = field(init=False)
    throttle: Throttle = field(init=False)

    async def open(self) -> "SpendRig":
        self.ledger = await a_ledger(self.store, self.clock, self.writer)
        self.throttle = Throttle(self.pace, self.gate, self.clock)
        world = a_world(self.store, self.clock, self.api)
        poller = Poller(api=self.api, gate=self.gate, clock=self.clock, random=world.random, interval_s=3)
        prices = PriceWatch(self.gate, self.cap, Forecast(self.planned, self.left, {}), most=self.pace.in_flight)
        fallback = Fallback(self.models, {NEXT: PRICE}, self.writer)
        beats = Heartbeat(self.store, EDITION, self.clock, self.writer, world.process, self.ledger.facts_ever)
        self.sender = Sender(
            world, self.ledger, gate=self.gate, throttle=self.throttle, prices=prices,
            buyer=Buyer("token", 1, self.api.account), heartbeat=beats, fallback=fallback,
            failures=Collector(self.ledger, poller).failures,
        )  # fmt: skip
        unknowns = UnknownPurchases(
            world, self.ledger, self.gate, sender=self.sender,
            sources=EvidenceSources(Capabilities({}), dedicated_key=False), calls=100,
        )  # fmt: skip
        self.spender = Spender(
            world, self.ledger, gate=self.gate, throttle=self.throttle, prices=prices, sender=self.sender,
            unknowns=unknowns, fallback=fallback,
        )  # fmt: skip
        return self

    async def buy(self, *orders: Order) -> None:
        await asyncio.gather(*(self.spender.buy(order) for order in orders))

    def stage(self, order: Order) -> Stage:
        return self.ledger.facts(order.call).stage

    def reserved(self) -> Decimal:
        return sum((money_of(self.ledger.facts(call)).reserved for call in self.ledger.calls()), start=Decimal(0))

    @property
    def stops(self) -> list[StopReason]:
        return [stop.reason for stop in self.gate.stops]


@pytest.fixture
def shared():
    clock = ManualClock()
    return {"store": MemoryStore(), "clock": clock, "api": ScriptedApi(clock)}


@pytest.fixture
async def till(shared) -> SpendRig:
    return await SpendRig(**shared, writer="run-a").open()


@pytest.fixture
async def other(shared) -> SpendRig:
    return await SpendRig(**shared, writer="run-b").open()


def facts_of(till: SpendRig, order: Order) -> set[str]:
    return till.store.names(f"ledger/{order.call}/")


async def die_behind(till: SpendRig, order: Order, fact: str) -> None:
    """Buy, and die when this fact has been written."""

    def die(operation: str, key: str) -> None:
        if operation == "created" and key.endswith(f"{fact}.json"):
            raise Crash

    till.store.fault = die
    with pytest.raises(Crash):
        await till.buy(order)
    till.store.fault = lambda *_: None


async def test_a_call_is_bought_with_its_own_key_and_recorded(till):
    order = an_order()
    await till.buy(order)
    (post,) = till.api.posts
    assert post.key == idempotency_key("token", order.call, 1)
    assert post.body["n"] == 2
    assert facts_of(till, order) == {"a1-intent", "a1-accepted.task-001"}
    assert till.stage(order) is Stage.ACCEPTED
    assert till.reserved() == 2 * PRICE


async def test_the_intent_is_durable_before_the_post_leaves(till):
    order, seen = an_order(), []
    till.api.answers = [lambda _: seen.append(facts_of(till, order)) or accepted("t")]
    await till.buy(order)
    assert seen == [{"a1-intent"}]


TOO_LARGE = FileRefused("the file is too large", remedy="Make it smaller.")


@pytest.mark.parametrize("begin", [Spender.buy, partial(Spender.give_up, refusal=TOO_LARGE)], ids=["buy", "give up"])
async def test_that_the_edition_may_owe_something_is_on_record_before_the_first_intent(till, begin):
    await begin(till.spender, an_order())
    index, intent = till.store.writes[:2]
    assert index.startswith("index/open/")
    assert intent.endswith("a1-intent.json")


async def test_an_answer_with_the_task_of_another_purchase_leaves_the_purchase_unknown_at_once(till):
    first, second = an_order("first"), an_order("second")
    till.api.answers = [accepted("t"), accepted("t")]
    await till.buy(first)
    await till.buy(second)
    assert [till.stage(order) for order in (first, second)] == [Stage.ACCEPTED, Stage.UNKNOWN]


async def test_nothing_is_sent_when_the_intent_cannot_be_written(till):
    def outage(operation, key):
        if operation == "create" and key.endswith("a1-intent.json"):
            raise StoreUnavailable("away")

    till.store.fault = outage
    with pytest.raises(StoreUnavailable):
        await till.buy(an_order())
    assert till.api.posts == []


async def test_nothing_is_sent_when_the_last_look_fails(till):
    def outage(operation, key):
        if operation == "list" and "/ledger/" in key:
            raise StoreUnavailable("away")

    till.store.fault = outage
    with pytest.raises(StoreUnavailable):
        await till.buy(an_order())
    assert till.api.posts == []


async def test_another_runs_intent_is_not_sent(till, other):
    order = an_order()
    await other.ledger.decide(
        order.call, "a1-intent", order.intent(edition_token="t", attempt=1, account="a", revision=1)
    )
    await till.buy(order)
    assert till.api.posts == []
    assert till.stage(order) is Stage.SENDING
    assert till.ledger.facts(order.call).latest.owner == "run-b"


async def test_a_withdrawn_call_is_not_sent(till, other):
    order = an_order()
    await other.ledger.decide(order.call, "a1-intent", {"outcome": "withdrawn", "reason": "r2"})
    await till.buy(order)
    assert till.api.posts == []


async def test_a_call_that_a_newer_plan_has_withdrawn_is_not_bought_with_another_attempt(till, other):
    """Another call of that plan may ask for its images; this run began before it and was paused."""
    order = an_order()
    await other.ledger.decide(order.call, "a1-intent", {"outcome": "withdrawn", "reason": "r2", "revision": 2})
    for _ in range(2):
        await till.buy(order)
    assert till.api.posts == []
    assert [stop.reason for stop in till.gate.stops] == [StopReason.NEWER_PLAN]
    assert facts_of(till, order) == {"a1-intent"}


async def test_two_runs_buy_each_call_once(till, other):
    orders = [an_order(f"row-{n}") for n in range(12)]
    await asyncio.gather(till.buy(*orders), other.buy(*reversed(orders)))
    assert len(till.api.posts) == len({post.key for post in till.api.posts}) == 12


async def test_one_run_buys_a_call_once_though_it_is_asked_for_twice_at_once(till):
    order = an_order()
    await till.buy(order, order, order)
    assert len(till.api.posts) == 1
    assert facts_of(till, order) == {"a1-intent", "a1-accepted.task-001"}


async def test_a_zombie_whose_call_was_noted_unknown_does_not_send_and_it_is_bought_later(till, shared):
    """Only the zombie can say that it sent nothing; without its word the call would be held for a person."""
    order = an_order()

    def take_over(operation, key):
        if operation == "created" and key.endswith("a1-intent.json"):
            till.store.objects[EDITION.key(f"ledger/{order.call}/a1-unknown-1.json")] = to_json(
                a_fact(reason="its run died", writer="run-b")
            )

    till.store.fault = take_over
    await till.buy(order)
    assert (till.api.posts, till.stage(order)) == ([], Stage.WAITING)
    assert money_of(till.ledger.facts(order.call)).at_risk == 0
    later = await SpendRig(**shared, writer="run-c").open()
    await later.buy(order)
    assert [post.key for post in later.api.posts] == [idempotency_key("token", order.call, 1)]
    assert later.stage(order) is Stage.ACCEPTED


async def test_what_was_decided_while_the_archive_was_away_waits_for_what_holds_purchases_since(till):
    """The intent takes as long as the archive does; a charge that was read meanwhile may not even be written down."""
    order, holder = an_order(), object()

    def hold(operation, key):
        if operation == "created" and key.endswith("a1-intent.json"):
            till.gate.hold(holder)

    till.store.fault = hold
    buying = asyncio.create_task(till.buy(order))
    await until(lambda: till.stage(order) is Stage.WAITING)
    assert till.api.posts == []
    till.gate.lift(holder)
    await buying
    assert [post.key for post in till.api.posts] == [idempotency_key("token", order.call, 1)]
    assert till.stage(order) is Stage.ACCEPTED


async def test_what_was_decided_and_then_stopped_is_left_to_a_later_run(till, shared):
    order = an_order()

    def close(operation, key):
        if operation == "created" and key.endswith("a1-intent.json"):
            till.gate.close(Stop(StopReason.PRICE, "dearer"))

    till.store.fault = close
    await till.buy(order)
    assert (till.api.posts, till.stage(order)) == ([], Stage.UNBOUGHT)
    later = await SpendRig(**shared, writer="run-b").open()
    await later.buy(order)
    assert later.stage(order) is Stage.ACCEPTED


async def test_a_zombie_whose_call_was_released_meanwhile_does_not_send(till):
    order = an_order()

    def release(operation, key):
        if operation == "created" and key.endswith("a1-intent.json"):
            till.store.objects[EDITION.key(f"ledger/{order.call}/a1-settled.json")] = to_json(
                a_fact(outcome="released", kind="", reason="a person", writer="person")
            )

    till.store.fault = release
    await till.buy(order)
    assert till.api.posts == []
    assert facts_of(till, order) == {"a1-intent", "a1-settled", "a1-refused-1"}


async def test_a_zombie_whose_purchase_another_run_sends_again_meanwhile_does_not_send(till):
    order = an_order()

    def take_over(operation, key):
        if operation == "created" and key.endswith("a1-intent.json"):
            folder, stamp = key.removesuffix("a1-intent.json"), {"writer": "run-b", "written": 9}
            unknown = a_fact(reason="taken over", conflict=False, **stamp)
            till.store.objects[f"{folder}a1-unknown-1.json"] = to_json(unknown)
            till.store.objects[f"{folder}a1-send-2.json"] = to_json(a_fact(outcome="bought", **stamp))

    till.store.fault = take_over
    await till.buy(order)
    assert till.api.posts == []


async def test_a_released_call_whose_task_turned_up_after_all_is_not_bought_again(till, shared):
    order = an_order()
    till.api.answers = [OutcomeUnknown("reset")]
    await till.buy(order)
    await till.ledger.decide(order.call, "a1-settled", {"outcome": "released", "kind": "", "reason": "a person"})
    later = await SpendRig(**shared, writer="run-b").open()
    assert later.stage(order) is Stage.UNBOUGHT
    await till.ledger.accept(order.call, 1, "late", "3.06")
    await later.buy(order)
    assert len(till.api.posts) == 1


async def test_a_released_call_is_not_bought_again_once_a_callback_has_named_its_task(till, shared, caplog):
    order = an_order()
    till.api.answers = [OutcomeUnknown("reset")]
    await till.buy(order)
    await till.ledger.decide(order.call, "a1-settled", {"outcome": "released", "kind": "", "reason": "a person"})
    till.store.objects[f"{inbox(EDITION.prefix, order.call, 1)}late.json"] = b"{}"
    later = await SpendRig(**shared, writer="run-b").open()
    await later.buy(order)
    assert len(till.api.posts) == 1
    assert f"`adloom resolve … {order.call} --adopt late` adopts it" in caplog.text
    await adopt(later.ledger, later.store, later.api, order.call, "late", "somebody")
    assert later.stage(order) is Stage.ACCEPTED


async def test_a_purchase_is_not_sent_while_a_former_task_for_its_images_cannot_be_read(till, shared, monkeypatch):
    async def came_back(*_given):
        raise Unreachable("503")

    order = an_order()
    monkeypatch.setattr(till.sender._failures, "came_back", came_back)
    await till.buy(order)
    assert (till.api.posts, till.stage(order), till.reserved()) == ([], Stage.UNBOUGHT, 0)
    later = await SpendRig(**shared, writer="run-b").open()
    await later.buy(order)
    assert later.stage(order) is Stage.ACCEPTED


async def test_the_charge_of_a_former_task_that_completed_after_all_stops_the_buying_at_once(shared, monkeypatch):
    till = await SpendRig(**shared, writer="run-a", planned=PRICE * 2, cap=PRICE * 20).open()
    order = an_order()
    await till.buy(order)
    await till.ledger.note(order.call, "a1-failed", {"task": "task-001", "code": "", "reason": "oops"})
    await till.ledger.decide(
        order.call, "a1-settled", {"outcome": "free", "kind": "task", "reason": "", "final": False}
    )

    async def look_again(task_id, *_wait, **_how):
        return completed(task_id, "u1", "u2", credits_used=PRICE * 20)

    monkeypatch.setattr(till.sender._failures._reader, "look_again", look_again)
    await till.buy(order)
    (stop,) = till.gate.stops
    assert (stop.reason, len(till.api.posts)) == (StopReason.PRICE, 1)
    assert "30.60 credits were charged" in stop.message
    till.sender._prices.read_charge(order.call, till.ledger.facts(order.call).attempt(1))
    assert list(till.gate.stops) == [stop]  # what it charged above its reserve counts once


async def test_what_another_run_sends_again_while_a_callback_forbids_it_here_does_not_look_unbought(till, shared):
    order = an_order()
    till.api.answers = [OutcomeUnknown("reset")]
    await till.buy(order)
    await till.ledger.decide(order.call, "a1-settled", {"outcome": "released", "kind": "", "reason": "a person"})
    till.store.objects[f"{inbox(EDITION.prefix, order.call, 1)}late.json"] = b"{}"

    def send_again(operation, key):
        if operation == "created" and key.endswith("a2-refused-1.json"):
            sent = key.replace("refused-1", "send-2")
            till.store.objects[sent] = to_json(a_fact(outcome="bought", writer="run-c", written=1))

    till.store.fault = send_again
    later = await SpendRig(**shared, writer="run-b").open()
    await later.buy(order)
    assert facts_of(later, order) >= {"a2-intent", "a2-refused-1", "a2-send-2"}
    assert later.stage(order) is Stage.SENDING


async def test_a_released_call_is_bought_again_under_a_new_key(till, shared):
    order = an_order()
    till.api.answers = [OutcomeUnknown("reset")]
    await till.buy(order)
    await till.ledger.decide(order.call, "a1-settled", {"outcome": "released", "kind": "", "reason": "a person"})
    later = await SpendRig(**shared, writer="run-b").open()
    await later.buy(order)
    assert [post.key for post in till.api.posts] == [idempotency_key("token", order.call, n) for n in (1, 2)]


async def test_a_call_of_a_dead_run_that_never_answered_is_not_sent_again(till, other):
    order = an_order()
    till.api.answers = [Crash()]
    with pytest.raises(Crash):
        await till.buy(order)
    assert facts_of(till, order) == {"a1-intent"}
    await other.ledger.load()
    assert other.stage(order) is Stage.SENDING
    await other.ledger.note(order.call, "a1-unknown-1", {"reason": "dead"})
    assert other.stage(order) is Stage.UNKNOWN


@pytest.mark.parametrize("moment", ["a1-intent", "a1-accepted"])
@pytest.mark.parametrize("when", ["create", "created"])
async def test_wherever_a_run_dies_the_next_one_never_sends_what_may_have_been_bought(till, shared, moment, when):
    order = an_order()

    def die(operation, key):
        if operation == when and moment in key:
            raise Crash

    till.store.fault = die
    with pytest.raises(Crash):
        await till.buy(order)
    till.store.fault = lambda *_: None
    sent = len(till.api.posts)
    later = await SpendRig(**shared, writer="run-c").open()
    stage = later.stage(order)
    assert (stage is Stage.UNBOUGHT) == (not till.store.names("ledger/"))
    if stage is Stage.UNBOUGHT:
        assert sent == 0
        await later.buy(order)
    assert len(till.api.posts) <= 1


async def test_an_unknown_outcome_is_recorded_and_never_sent_again(till, other):
    order = an_order()
    till.api.answers = [OutcomeUnknown("the connection was reset")]
    await till.buy(order)
    assert till.stage(order) is Stage.UNKNOWN
    assert facts_of(till, order) == {"a1-intent", "a1-unknown-1"}
    assert len(till.api.posts) == 1
    assert money_of(till.ledger.facts(order.call)).at_risk == 2 * PRICE


async def test_three_unknowns_close_the_gate(till):
    till.api.answers = [OutcomeUnknown("reset")] * 10
    for number in range(5):
        await till.buy(an_order(f"row-{number}"))
    assert len(till.api.posts) == 3
    assert till.stops == [StopReason.OUTAGE]


async def test_three_unknowns_that_were_in_flight_at_once_are_an_outage_though_nothing_is_sent_after_them(till):
    await till.buy(*(an_order(f"warm-{n}") for n in range(4)))
    till.api.answers, till.api.submit_takes_s = [OutcomeUnknown("reset")] * 3, 1
    orders = [an_order(f"row-{number}") for number in range(3)]
    await till.buy(*orders)
    assert [till.stage(order) for order in orders] == [Stage.UNKNOWN] * 3
    assert till.stops == [StopReason.OUTAGE]


async def test_after_the_first_unknown_those_in_flight_are_waited_for(till):
    await till.buy(*(an_order(f"warm-{n}") for n in range(4)))
    began, till.api.submit_takes_s = till.clock.monotonic(), 10
    slow = asyncio.create_task(till.buy(an_order("slow")))
    await until(lambda: len(till.api.posts) == 5)
    till.api.submit_takes_s = 1
    till.api.answers = [OutcomeUnknown("reset")]
    await till.buy(an_order("unlucky"))
    await till.buy(an_order("next"))
    await slow
    assert till.api.posts[-1].at == began + 10


async def test_after_the_first_unknown_calls_are_sent_one_at_a_time(till):
    till.api.submit_takes_s = 1
    await till.buy(*(an_order(f"warm-{n}") for n in range(4)))
    assert till.api.most_at_once == 2
    till.api.answers = [OutcomeUnknown("reset")]
    await till.buy(an_order("unlucky"))
    till.api.most_at_once = 0
    await till.buy(*(an_order(f"row-{n}") for n in range(6)))
    assert till.api.most_at_once == 1
    assert len(till.api.posts) == 11


async def test_a_429_is_sent_again_under_the_same_key_after_a_while(till):
    order = an_order()
    till.api.answers = [Throttled("429", status=429), Throttled("429", status=429)]
    await till.buy(order)
    assert len({post.key for post in till.api.posts}) == 1
    assert len(till.api.posts) == 3
    assert till.clock.elapsed > 0
    assert facts_of(till, order) == {
        "a1-intent", "a1-refused-1", "a1-send-2", "a1-refused-2", "a1-send-3", "a1-accepted.task-003",
    }  # fmt: skip
    assert till.reserved() == 2 * PRICE


async def test_the_wait_after_a_429_without_advice_doubles_from_two_seconds(till, monkeypatch):
    monkeypatch.setattr(Random, "random", lambda _self: 1.0)
    till.api.answers = [Throttled("429", status=429)] * 4
    await till.buy(an_order())
    times = [post.at for post in till.api.posts]
    assert [after - before for before, after in pairwise(times)] == pytest.approx([2, 4, 8, 16], rel=0.01)


async def test_the_same_bytes_are_sent_again(till):
    till.api.answers = [Throttled("429", status=429)]
    await till.buy(an_order())
    first, second = till.api.posts
    assert first.body == second.body


@pytest.mark.parametrize("advised_s", [7.0, 60.0])
async def test_a_servers_advice_is_waited_out(till, advised_s):
    till.api.answers = [Throttled("429", status=429, retry_after_s=advised_s)]
    await till.buy(an_order())
    first, second = till.api.posts
    assert advised_s <= second.at - first.at <= 1.5 * advised_s


async def test_a_servers_advice_holds_everybody_back(till):
    await till.buy(an_order("first"))
    till.api.answers = [Throttled("429", status=429, retry_after_s=60)]
    await till.buy(an_order("told"))
    posts = len(till.api.posts)
    till.api.answers = [
        Throttled("429", status=429, retry_after_s=1),
        Throttled("429", status=429, retry_after_s=60),
    ]
    start = till.clock.monotonic()
    await till.buy(*(an_order(f"row-{n}") for n in range(2)))
    again = [post.at - start for post in till.api.posts[posts:]]
    assert again[:2] == [0, 0]
    assert min(again[2:]) >= 60


async def test_purchases_that_are_accepted_after_a_429_let_more_tasks_run_again(shared):
    till = await SpendRig(**shared, writer="run-a", pace=Pace(in_flight=4)).open()
    till.throttle.slow_down(0)
    for number in range(2):
        await till.buy(an_order(f"row-{number}"))
    async with asyncio.timeout(5), till.throttle.place(), till.throttle.place(), till.throttle.place():
        assert till.throttle.in_flight == 3


async def test_calls_that_are_sent_again_keep_the_campaigns_distance(shared):
    till = await SpendRig(**shared, writer="run-a", pace=Pace(submits_per_minute=6)).open()
    till.api.answers = [Throttled("429", status=429, retry_after_s=1)] * 4
    await till.buy(*(an_order(f"row-{n}") for n in range(4)))
    times = [post.at for post in till.api.posts]
    assert len(times) == 8
    assert min(later - earlier for earlier, later in pairwise(times)) >= 9.99


async def test_a_call_that_hears_nothing_but_429_for_an_hour_ends_the_buying(till):
    order = an_order()
    till.api.answers = [Throttled("429", status=429, retry_after_s=60)] * 200
    await till.buy(order)
    assert till.stops == [StopReason.OUTAGE]
    assert 3600 < till.clock.elapsed < 4000
    assert till.stage(order) is Stage.UNBOUGHT
    assert till.reserved() == 0


@pytest.mark.parametrize(
    ("answers", "left", "moved"),
    [
        ([NotSent("refused")] * 5, False, False),
        ([RequestRefused("no", status=400)], True, False),
        ([RequestRefused("no", status=400), accepted("t")], True, True),
        ([OutcomeUnknown("reset")], True, True),
        ([OutcomeUnknown("reset"), RequestRefused("no", status=400)], True, True),
    ],
)
async def test_it_is_told_whether_a_request_left_and_whether_money_may_have_moved(till, answers, left, moved):
    till.api.answers = list(answers)
    while till.api.answers:
        await till.buy(an_order(f"row-{len(till.api.answers)}"))
    assert till.sender.sent.told() == {"request_left": left, "money_may_have_moved": moved}


async def test_a_connection_that_never_comes_is_an_outage_and_provably_free(till, shared):
    order = an_order()
    till.api.answers = [NotSent("refused", remedy="Look at the network.")] * 5
    await till.buy(order)
    assert len(till.api.posts) == 5
    assert len({post.key for post in till.api.posts}) == 1
    assert till.stops == [StopReason.OUTAGE]
    assert till.gate.stops[0].remedy
    assert till.stage(order) is Stage.UNBOUGHT
    assert till.reserved() == 0
    later = await SpendRig(**shared, writer="run-b").open()
    await later.buy(order)
    assert later.stage(order) is Stage.ACCEPTED
    assert len(till.api.posts) == 6


async def test_four_lost_connections_are_survived(till):
    order = an_order()
    till.api.answers = [NotSent("refused")] * 4
    await till.buy(order)
    assert till.stage(order) is Stage.ACCEPTED
    assert till.stops == []


async def test_a_call_that_waits_when_buying_stops_is_withdrawn(till):
    order = an_order()
    till.api.answers = [Throttled("429", status=429, retry_after_s=300)]
    buying = asyncio.create_task(till.buy(order))
    await until(lambda: till.stage(order) is Stage.WAITING)
    till.gate.close(INTERRUPTION)
    await buying
    assert till.stage(order) is Stage.UNBOUGHT
    assert till.reserved() == 0
    assert len(till.api.posts) == 1


async def test_a_call_that_another_run_left_waiting_goes_on_under_its_key(till, shared):
    order = an_order()
    till.api.answers = [Throttled("429", status=429), Crash()]
    with pytest.raises(Crash):
        await till.buy(order)
    del till.store.objects[EDITION.key(f"ledger/{order.call}/a1-send-2.json")]  # as if it had died while it waited
    later = await SpendRig(**shared, writer="run-b").open()
    assert later.stage(order) is Stage.WAITING
    await later.buy(order)
    assert till.api.posts[0].key == till.api.posts[-1].key
    assert facts_of(till, order) >= {"a1-send-2", "a1-accepted.task-003"}


@pytest.mark.parametrize("error", [RequestRefused, ModerationRefused])
async def test_a_refused_request_is_settled_as_free_and_the_others_go_on(till, error):
    bad, good = an_order("bad"), an_order("good")
    till.api.answers = [error("no", status=400, code="invalid_parameters", request_id="r-1")]
    await till.buy(bad)
    await till.buy(good)
    assert (till.stage(bad), till.stage(good)) == (Stage.REFUSED, Stage.ACCEPTED)
    assert till.stops == []
    refused = till.ledger.records(bad.call)["a1-refused-1"]["record"]
    assert (refused["status"], refused["code"], refused["request_id"], refused["reason"]) == (
        400, "invalid_parameters", "r-1", "no",
    )  # fmt: skip
    assert till.ledger.records(bad.call)["a1-settled"]["record"]["final"] is True


SLOW = ReferenceTooSlow("Timeout while downloading url", status=400)


async def test_a_reference_that_was_too_slow_in_one_run_is_tried_once_more_by_the_next(till, shared):
    order = an_order()
    till.api.answers = [SLOW, Crash()]
    with pytest.raises(Crash):
        await till.buy(order)
    del till.store.objects[EDITION.key(f"ledger/{order.call}/a2-intent.json")]  # as if it had died while it waited
    later = await SpendRig(**shared, writer="run-b").open()
    assert (later.stage(order), later.reserved()) == (Stage.UNBOUGHT, 0)
    later.api.answers = [SLOW, SLOW]
    await later.buy(order)
    assert (later.stage(order), later.stops, len(later.api.posts)) == (Stage.REFUSED, [], 3)


async def test_a_reference_that_was_too_slow_is_tried_once_more_a_little_later(till, monkeypatch):
    monkeypatch.setattr(Random, "random", lambda _self: 0.9)
    order = an_order()
    till.api.answers = [SLOW]
    await till.buy(order)
    first, second = till.api.posts
    assert (till.stage(order), first.at < second.at < first.at + 0.5) == (Stage.ACCEPTED, True)


GONE = ModelUnavailable("the model is gone", status=404, remedy="later")


def models_sent(till) -> list[str]:
    return [post.body["model"] for post in till.api.posts]


async def test_a_model_that_is_unavailable_gives_way_under_a_key_of_its_own(shared):
    till = await SpendRig(**shared, writer="run-a", models=(NEXT,)).open()
    order = an_order()
    till.api.answers = [GONE]
    await till.buy(order)
    assert models_sent(till) == [order.row.model, NEXT]
    assert [post.key for post in till.api.posts] == [idempotency_key("token", order.call, n) for n in (1, 2)]
    assert (till.stage(order), till.stops, till.reserved()) == (Stage.ACCEPTED, [], order.credits)
    assert till.clock.elapsed == 0


@pytest.mark.parametrize("models", [(), (NEXT,)])
async def test_where_no_model_is_left_buying_stops_and_the_call_stays_free(shared, models):
    till = await SpendRig(**shared, writer="run-a", models=models).open()
    order = an_order()
    till.api.answers = [GONE] * 9
    await till.buy(order)
    await till.buy(an_order("next"))
    assert models_sent(till) == [order.row.model, *models]
    assert (till.stage(order), till.stops, till.reserved()) == (Stage.UNBOUGHT, [StopReason.OUTAGE], 0)


async def test_what_only_a_broken_model_could_make_is_left_open_and_the_run_says_why(till):
    order = an_order()
    till.spender._fallback.broken[order.row.model] = "8 of the last 10 tasks failed"
    async with asyncio.timeout(5):
        await till.buy(order)
    assert (till.api.posts, till.stage(order), till.gate.is_open) == ([], Stage.UNBOUGHT, True)
    assert [stop.message for stop in till.gate.stops] == ["8 of the last 10 tasks failed"]


async def test_a_purchase_whose_model_broke_while_it_waited_for_its_turn_goes_to_the_next(shared):
    till = await SpendRig(**shared, writer="run-a", models=(NEXT,)).open()
    first, order = an_order("first"), an_order("second")

    def meanwhile(_post):
        till.spender._fallback.broken[order.row.model] = "8 of the last 10 tasks failed"
        return accepted("task-001", PRICE)

    till.api.answers = [meanwhile, accepted("task-002", PRICE)]
    await till.buy(first, order)
    assert models_sent(till) == [order.row.model, NEXT]
    assert (till.stage(order), till.stops) == (Stage.ACCEPTED, [])


async def test_a_purchase_that_was_refused_is_not_sent_again_to_a_model_that_broke_meanwhile(till):
    order = an_order()

    def meanwhile(_post):
        till.spender._fallback.broken[order.row.model] = "8 of the last 10 tasks failed"
        return Throttled("429", status=429)

    till.api.answers = [meanwhile]
    await till.buy(order)
    assert (len(till.api.posts), till.stage(order), till.stops) == (1, Stage.WAITING, [StopReason.OUTAGE])


async def test_a_call_that_another_run_sends_again_gets_no_attempt_beside_it(till, shared):
    """This run cannot go on with the bytes of another account, and has not heard that they were sent again."""
    order = an_order()
    till.api.answers = [Throttled("429", status=429), Crash()]
    with pytest.raises(Crash):
        await till.buy(order)
    sent_again = EDITION.key(f"ledger/{order.call}/a1-send-2.json")
    del till.store.objects[sent_again]
    later = await SpendRig(**shared, writer="run-c").open()
    assert later.stage(order) is Stage.WAITING
    till.store.objects[sent_again] = to_json(a_fact(outcome="bought", writer="run-b", written=9))
    later.spender._account = "another"
    await later.buy(order)
    assert facts_of(later, order) == {"a1-intent", "a1-refused-1", "a1-send-2"}


async def test_an_answer_that_got_lost_is_never_followed_by_another_model(shared):
    till = await SpendRig(**shared, writer="run-a", models=(NEXT,)).open()
    order = an_order()
    till.api.answers = [OutcomeUnknown("503 model_unavailable", status=503, code="model_unavailable")]
    await till.buy(order)
    assert (len(till.api.posts), till.stage(order)) == (1, Stage.UNKNOWN)


async def test_a_later_run_does_not_go_on_with_bytes_that_name_another_model(shared):
    till = await SpendRig(**shared, writer="run-a", models=(NEXT,)).open()
    order = an_order()
    till.api.answers = [GONE, Throttled("429", status=429), Crash()]
    with pytest.raises(Crash):
        await till.buy(order)
    del till.store.objects[EDITION.key(f"ledger/{order.call}/a2-send-2.json")]  # as if it had died while it waited
    later = await SpendRig(**shared, writer="run-b", models=(NEXT,)).open()
    assert later.stage(order) is Stage.WAITING
    await later.buy(order)
    assert (models_sent(later)[-1], later.stage(order), later.stops) == (order.row.model, Stage.ACCEPTED, [])
    assert later.api.posts[-1].key == idempotency_key("token", order.call, 3)


async def test_a_stopped_account_ends_the_buying_and_leaves_the_call_free(till, shared):
    order = an_order()
    till.api.answers = [AccountStopped("402: no credits", status=402)]
    await till.buy(order)
    await till.buy(an_order("next"))
    assert len(till.api.posts) == 1
    assert till.stops == [StopReason.ACCOUNT]
    assert till.ledger.records(order.call)["a1-settled"]["record"]["final"] is False
    assert till.stage(order) is Stage.UNBOUGHT
    assert till.reserved() == 0
    later = await SpendRig(**shared, writer="run-b").open()
    await later.buy(order)
    assert later.stage(order) is Stage.ACCEPTED
    assert till.api.posts[-1].key == idempotency_key("token", order.call, 2)


async def test_a_refusal_after_a_wrong_take_over_still_proves_the_call_free(till, other):
    order = an_order()

    def meanwhile(_post):
        key = EDITION.key(f"ledger/{order.call}/a1-unknown-1.json")
        till.store.objects[key] = to_json(a_fact(reason="taken for dead", writer="run-b"))
        return RequestRefused("no", status=400)

    till.api.answers = [meanwhile]
    await till.buy(order)
    await other.ledger.load()
    assert other.stage(order) is Stage.REFUSED
    assert money_of(other.ledger.facts(order.call)).at_risk == 0


async def test_a_refusal_that_is_recorded_late_does_not_end_what_another_run_sent_again_meanwhile(till, other):
    """Its run was taken for dead; the second purchase, whose answer was lost, may have made a task."""
    order = an_order()

    def meanwhile(_post):
        for name, fields in (
            ("a1-unknown-1", {"reason": "taken for dead"}),
            ("a1-send-2", {"outcome": "bought"}),
            ("a1-unknown-2", {"reason": "no answer"}),
        ):
            key = EDITION.key(f"ledger/{order.call}/{name}.json")
            till.store.objects[key] = to_json(a_fact(**fields, writer="run-b", written=1))
        return AccountStopped("no credits", status=402)

    till.api.answers = [meanwhile]
    await till.buy(order)
    await other.ledger.load()
    assert other.stage(order) is Stage.UNKNOWN
    await other.buy(order)
    assert len(till.api.posts) == 1


async def test_a_refusal_whose_run_died_before_it_settled_it_counts_for_every_later_run(till, shared):
    order = an_order()
    till.api.answers = [ModerationRefused("no such words", status=400)]
    await die_behind(till, order, "a1-send-2")
    later = await SpendRig(**shared, writer="run-c").open()
    await later.buy(order)
    assert (len(later.api.posts), later.stage(order)) == (1, Stage.REFUSED)
    assert [end.reason for end in outcomes([later.ledger.facts(order.call)]).values()] == ["no such words"] * 2


async def test_a_refusal_that_cannot_be_sent_again_is_not_bought_with_another_attempt_either(till, other):
    """Its run died before it decided anything; the next one has another account, so that its bytes are others'."""
    order = an_order()
    till.api.answers = [RequestRefused("no", status=400)]
    await die_behind(till, order, "a1-refused-1")
    await other.ledger.load()
    other.spender._account = "another"
    await other.buy(order)
    assert (len(other.api.posts), other.stage(order)) == (1, Stage.REFUSED)
    assert "a2-intent" not in facts_of(other, order)


async def test_a_cancelled_run_records_that_it_does_not_know(till):
    order = an_order()
    till.api.submit_takes_s = 60
    buying = asyncio.create_task(till.buy(order))
    await until(lambda: bool(till.api.posts))
    buying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await buying
    assert till.stage(order) is Stage.UNKNOWN


async def test_a_purchase_whose_run_was_stopped_is_sent_again_where_the_api_remembers_keys(till, shared):
    """To be stopped is no word of the API's: nothing of it says that the key has another body."""
    order = an_order()
    till.api.submit_takes_s = 60
    buying = asyncio.create_task(till.buy(order))
    await until(lambda: bool(till.api.posts))
    buying.cancel()
    await asyncio.gather(buying, return_exceptions=True)
    proven = {"fingerprint": {"replays_keys": True, "probed": utc(shared["clock"].now())}}
    facts = till.ledger.facts(order.call)
    assert EvidenceSources(Capabilities(proven), dedicated_key=False).may_resend(
        facts, "fingerprint", shared["clock"].now() + 60
    )


async def test_the_first_call_of_each_model_and_quality_goes_alone(till):
    till.api.submit_takes_s = 5
    orders = [an_order(f"row-{quality}-{n}", quality=quality) for quality in ("1K", "2K") for n in range(4)]
    await till.buy(*orders)
    starts = sorted(post.at for post in till.api.posts)
    assert starts[:2] == [0, 0]
    assert starts[2:] == [5] * 4 + [10] * 2  # then two of each, then four


async def test_while_no_reserve_was_read_the_next_one_goes_alone_too(till):
    till.api.submit_takes_s = 5
    till.api.answers = [RequestRefused("no", status=400)] * 2
    await till.buy(*(an_order(f"row-{n}") for n in range(5)))
    assert sorted(post.at for post in till.api.posts) == [0, 5, 10, 15, 15]


async def test_the_next_ones_go_as_soon_as_an_answer_has_told_the_price_also_before_that_is_on_record(till):
    first, recorded, create = an_order("first"), asyncio.Event(), till.store.create

    async def create_late(key, *given, **more):
        if f"{first.call}/a1-accepted" in key:
            await recorded.wait()
        return await create(key, *given, **more)

    till.store.create = create_late
    buying = asyncio.create_task(till.buy(first, an_order("second")))
    async with asyncio.timeout(5):
        await until(lambda: len(till.api.posts) == 2)
    recorded.set()
    await buying


@pytest.mark.parametrize(("per_image", "goes_on"), [("1.53", True), ("1.60", True), ("1.62", False), ("1.40", True)])
async def test_a_price_that_moved_closes_the_gate_after_the_first_call(till, per_image, goes_on):
    till.api.reserved_per_image = Decimal(per_image)
    await till.buy(*(an_order(f"row-{n}") for n in range(5)))
    assert len(till.api.posts) == (5 if goes_on else 1)
    assert till.stops == ([] if goes_on else [StopReason.PRICE])
    if not goes_on:
        assert f"prices: {{{MODEL}: {{1K: {per_image}}}}}" in till.gate.stops[0].remedy


@pytest.mark.parametrize(("cap", "stops", "posts"), [("98.49", [StopReason.BUDGET], 1), ("98.5", [], 5)])
async def test_a_small_rise_that_passes_the_budget_closes_the_gate(shared, cap, stops, posts):
    orders = [an_order(f"row-{n}") for n in range(5)]
    left = {orders[0].kind: 10}
    till = await SpendRig(**shared, writer="run-a", cap=Decimal(cap), planned=Decimal(98), left=left).open()
    till.api.reserved_per_image = Decimal("1.58")
    await till.buy(*orders)
    assert (till.stops, len(till.api.posts)) == (stops, posts)


async def test_what_was_paid_for_is_recorded_even_when_its_price_moved(till):
    till.api.reserved_per_image = Decimal(9)
    order = an_order()
    await till.buy(order)
    assert till.stage(order) is Stage.ACCEPTED
    assert till.reserved() == 18


@pytest.mark.parametrize("told", [None, Decimal(0)])
async def test_without_a_told_reserve_the_quote_is_reserved(till, told):
    """A reserve of 0 for what costs something is a placeholder."""
    till.api.reserved_per_image = None
    till.api.answers = [accepted("t", told)]
    order = an_order()
    await till.buy(order)
    assert till.reserved() == order.credits
    assert till.ledger.facts(order.call).latest.accepted.credits_told is False


async def test_a_closed_gate_buys_nothing_and_writes_nothing(till):
    till.gate.close(INTERRUPTION)
    await till.buy(an_order())
    assert till.api.posts == []
    assert not till.store.objects


def _takes_no_acceptance(till: SpendRig) -> None:
    def outage(operation: str, key: str) -> None:
        if operation == "create" and "a1-accepted" in key:
            raise StoreUnavailable("the disk is gone", remedy="Bring it back.")

    till.store.fault = outage


async def test_a_task_that_the_archive_does_not_take_stops_the_buying_with_the_archives_own_words(till):
    _takes_no_acceptance(till)
    buying = asyncio.create_task(till.buy(an_order()))
    await until(till.gate.closed.is_set)
    (stop,) = till.gate.stops
    assert (stop.reason, stop.message, stop.remedy) == (StopReason.OUTAGE, "the disk is gone", "Bring it back.")
    till.store.fault = lambda _operation, _key: None
    await buying
    assert till.ledger.facts(an_order().call).latest.tasks == ("task-001",)


async def test_when_the_runs_time_is_over_the_task_is_told_and_not_waited_with_for_ever(till, caplog):
    _takes_no_acceptance(till)
    till.gate.over.set()
    async with asyncio.timeout(5):
        with pytest.raises(StoreUnavailable):
            await till.buy(an_order())
    told = [record.getMessage() for record in caplog.records if "--adopt" in record.getMessage()]
    assert told == [f"write it down: `adloom resolve … {an_order().call} --adopt task-001` adopts it later"]
    assert len(till.api.posts) == 1


async def test_a_run_that_is_stopped_while_the_archive_takes_nothing_leaves_no_error_that_nobody_heard(till):
    _takes_no_acceptance(till)
    unheard = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: unheard.append(context))
    buying = asyncio.create_task(till.buy(an_order()))
    await until(till.gate.closed.is_set)
    buying.cancel()
    await asyncio.gather(buying, return_exceptions=True)
    till.gate.over.set()
    await till.clock.sleep(600)
    await settle()
    del buying
    gc.collect()
    assert unheard == []


async def test_a_purchase_whose_run_was_stopped_while_it_waited_is_no_conflict(till):
    till.api.submit_takes_s = 50
    order = an_order()
    buying = asyncio.create_task(till.buy(order))
    await until(lambda: bool(till.api.posts))
    buying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await buying
    (unknown,) = till.ledger.facts(order.call).latest.unknown.values()
    assert unknown.conflict is False  # else an API that remembers its keys is not asked with this one again


async def test_a_price_that_stopped_the_buying_stops_the_sending_again_too(till):
    till.api.answers = [OutcomeUnknown("reset")]
    order = an_order()
    await till.buy(order)
    till.gate.close(Stop(StopReason.PRICE, "dearer"))
    await till.sender.resend(order)
    assert len(till.api.posts) == 1


async def test_a_purchase_that_is_sent_again_and_lost_again_is_unknown_still(till):
    till.api.answers = [OutcomeUnknown("reset"), OutcomeUnknown("reset again")]
    order = an_order()
    await till.buy(order)
    await till.sender.resend(order)
    assert len({post.key for post in till.api.posts}) == 1
    assert facts_of(till, order) == {"a1-intent", "a1-unknown-1", "a1-send-2", "a1-unknown-2"}
    assert till.stage(order) is Stage.UNKNOWN


async def test_a_purchase_that_settles_another_one_before_its_own_keeps_its_place_for_itself(till):
    """Else the run takes the other's task for its own, and waits for that one's end before it sends again."""
    lost = an_order("lost")
    till.api.answers = [OutcomeUnknown("reset"), accepted("task-lost")]
    await till.buy(lost)
    async with asyncio.timeout(5), till.throttle.place():
        await till.throttle.turn()
        await till.sender.resend(lost)
        till.throttle.slow_down(100)
        await till.throttle.turn()
    assert till.stage(lost) is Stage.ACCEPTED
    assert till.clock.elapsed < 200


async def test_a_purchase_that_lacks_a_file_is_free_and_over_without_a_post(till):
    order = an_order()
    await till.spender.give_up(order, TOO_LARGE)
    assert facts_of(till, order) == {"a1-intent", "a1-refused-1", "a1-send-2", "a1-settled"}
    assert (till.api.posts, till.stage(order), till.reserved()) == ([], Stage.REFUSED, 0)
    reasons = [end.reason for end in outcomes([till.ledger.facts(order.call)]).values()]
    assert reasons == ["the file is too large. Make it smaller."] * 2


async def test_a_run_that_dies_while_it_records_that_a_file_is_refused_leaves_nothing_at_risk(till, other):
    order = an_order()

    def die(operation, key):
        if operation == "create" and key.endswith("a1-send-2.json"):
            raise Crash

    till.store.fault = die
    with pytest.raises(Crash):
        await till.spender.give_up(order, TOO_LARGE)
    till.store.fault = lambda *_: None
    await other.ledger.load()
    assert (other.stage(order), money_of(other.ledger.facts(order.call)).at_risk) == (Stage.WAITING, 0)
    await other.spender.give_up(order, TOO_LARGE)
    assert (other.api.posts, other.stage(order)) == ([], Stage.REFUSED)


async def test_those_who_were_held_back_after_their_turn_keep_the_campaigns_distance(shared):
    till = await SpendRig(**shared, writer="run-a", pace=Pace(submits_per_minute=6)).open()
    holder, first = object(), an_order("first")
    await till.buy(an_order("warm"))

    def hold(operation, key):
        if operation == "created" and key.endswith(f"{first.call}/a1-intent.json"):
            till.gate.hold(holder)

    till.store.fault = hold
    buying = asyncio.create_task(till.buy(first, an_order("second")))
    await until(lambda: till.stage(first) is Stage.WAITING)
    await till.clock.sleep(60)
    till.gate.lift(holder)
    await buying
    times = [post.at for post in till.api.posts]
    assert len(times) == 3
    assert min(later - earlier for earlier, later in pairwise(times)) >= 9.99


async def test_a_purchase_that_waits_behind_an_unknown_one_when_buying_stops_leaves_no_trace(till):
    await till.buy(an_order("warm"))
    till.api.answers = [OutcomeUnknown("reset")]
    await till.buy(an_order("unlucky"))
    till.api.submit_takes_s, order = 10, an_order()
    buying = asyncio.create_task(till.buy(an_order("first"), order))
    await until(lambda: len(till.api.posts) == 3)
    till.gate.close(INTERRUPTION)
    await buying
    assert (till.stage(order), facts_of(till, order)) == (Stage.UNBOUGHT, set())


MOVED = PRICE * 2 * Decimal("1.02")


def answer_each(till: SpendRig, answers: dict[str, list[tuple[float, object]]]) -> dict[str, list[float]]:
    """Answer the purchases of each row in turn, each so long after it was sent; when they were sent, by row."""
    sent: dict[str, list[float]] = {row: [] for row in answers}

    async def submit(body: bytes, _key: str) -> object:
        row = next(row for row in answers if row in body.decode())
        sent[row].append(till.clock.monotonic())
        takes_s, answer = answers[row].pop(0)
        await till.clock.sleep(takes_s)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    till.api.submit = submit
    return sent


@pytest.mark.parametrize("second", [accepted("task-b", MOVED), NotSent("no connection")])
async def test_when_the_price_moves_what_was_refused_goes_again_behind_what_is_out(till, second):
    await till.buy(*(an_order(f"warm-{n}") for n in range(4)))
    refused, slow, told = (an_order(name) for name in ("refused", "slow", "told"))
    answers = {
        "refused": [(0, NotSent("no connection")), (0, accepted("task-a", MOVED))],
        "slow": [(10, second), (0, accepted("task-d", MOVED))],
        "told": [(0, accepted("task-c", MOVED))],
    }
    sent = answer_each(till, answers)
    async with asyncio.timeout(5):
        await till.buy(refused, slow, told)
    assert sent["refused"][1] >= 10
    assert [till.stage(order) for order in (refused, slow, told)] == [Stage.ACCEPTED] * 3


async def test_when_the_price_moves_what_was_held_back_goes_behind_what_is_out(till):
    await till.buy(*(an_order(f"warm-{n}") for n in range(4)))
    held, slow, told = (an_order(name) for name in ("held", "slow", "told"))
    answers = {
        "held": [(0, accepted("task-a", MOVED))],
        "slow": [(10, accepted("task-b", MOVED))],
        "told": [(0, accepted("task-c", MOVED))],
    }
    sent = answer_each(till, answers)
    holder, decides, create = object(), asyncio.Event(), till.store.create

    async def create_late(key, *given, **more):
        if key.endswith(f"{held.call}/a1-intent.json"):
            await decides.wait()
        return await create(key, *given, **more)

    till.store.create = create_late
    buying = asyncio.create_task(till.buy(held, slow, told))
    await until(lambda: till.stage(told) is Stage.ACCEPTED)
    till.gate.hold(holder)
    decides.set()
    await until(lambda: till.stage(held) is Stage.WAITING)
    till.gate.lift(holder)
    await buying
    (at,) = sent["held"]
    assert at >= 10


async def test_a_purchase_that_another_run_has_made_holds_nobody_back_while_its_task_is_followed(till, other):
    taken, over = [an_order(f"taken-{n}") for n in range(4)], asyncio.Event()
    for order in taken:
        intent = order.intent(edition_token="t", attempt=1, account="a", revision=1)
        await other.ledger.decide(order.call, "a1-intent", intent)

    async def follow(order: Order) -> None:
        async with till.throttle.place():
            await till.spender.buy(order)
            await over.wait()

    following = [asyncio.create_task(follow(order)) for order in taken]
    await settle()
    async with asyncio.timeout(5), till.throttle.place():
        await till.spender.buy(an_order())
    assert len(till.api.posts) == 1
    over.set()
    await asyncio.gather(*following)


async def test_a_turn_that_a_moved_price_makes_useless_is_given_back_to_other_qualities(till):
    await till.buy(*(an_order(f"warm-{n}") for n in range(4)))
    again, slow, told = [an_order(f"again-{n}") for n in range(4)], an_order("slow"), an_order("told")
    answers: dict[str, list[tuple[float, object]]] = {
        order.row.name: [(0, NotSent("no connection")), (0, accepted(f"task-{order.row.name}", MOVED))]
        for order in again
    }
    answers |= {"slow": [(10, accepted("task-b", MOVED))], "told": [(5, accepted("task-c", MOVED))]}
    began, sent = till.clock.monotonic(), answer_each(till, {**answers, "other": [(0, accepted("task-o", PRICE * 2))]})

    async def buy_in_place(order: Order) -> None:
        async with till.throttle.place():
            await till.spender.buy(order)

    buying = [asyncio.create_task(till.buy(slow, told)), *(asyncio.create_task(buy_in_place(order)) for order in again)]
    await until(lambda: all(till.stage(order) is Stage.WAITING for order in again))
    holder = object()
    till.gate.hold(holder)
    await till.clock.sleep(6)
    till.gate.lift(holder)
    for _ in range(5):  # they take their turns
        await asyncio.sleep(0)
    await buy_in_place(an_order("other", quality="4K"))
    assert sent["other"][0] < began + 10
    await asyncio.gather(*buying)
    assert min(sent[order.row.name][1] for order in again) >= began + 10
