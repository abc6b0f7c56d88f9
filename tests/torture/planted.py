"""Bugs planted in the product on purpose: each is a mistake that somebody could make, and each must be caught.

A plant is a function that is given ``put(owner, name, replacement)``; ``planted`` applies one and takes it back. With
it stands the invariant of the simulation that it breaks:

====  ==============================================  =====  ==================================================
I1    an image is bought once                         I7     an unchanged run sends nothing
I2    no paid image is lost                           I9     a POST has a durable decision with its bytes
I3    one task for an attempt, one attempt for a task I10    what is unknown is shown, with its money
I4    what is written once is never replaced          I11    every run ends
I5    the manifest tells the truth                    I12    every variant ends
I6    reserved and charged stay under the cap         I13    short only after two calls that brought nothing
I14   what does not come is not hammered              I15    a whole ledger is not taken for an older one
I16   few purchases are out at a price unread        I17    nothing is bought after a charge above its reserve
====  ==============================================  =====  ==================================================
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from adloom.archive import archiver, fetch
from adloom.collect import collector, completion, failure
from adloom.core import facts as facts_module
from adloom.core import order as order_module
from adloom.core import outcomes as outcomes_module
from adloom.core import results
from adloom.core.errors import DownloadError, LinkExpired, NotSent, OutcomeUnknown
from adloom.core.facts import Money, Stage
from adloom.core.outcomes import Status, TopUp
from adloom.core.records import Decided, Image, ImageFate, RefusalKind
from adloom.core.results import Verdict
from adloom.core.task import Picture, Task, TaskState
from adloom.guards import prices
from adloom.ledger import claims
from adloom.ledger.claims import Claims
from adloom.ledger.heartbeats import Liveness
from adloom.ledger.ledger import Ledger
from adloom.ledger.packing import Entry
from adloom.plan import assessment, freeze, orders, reserve, rollback
from adloom.plan.assessment import Assessment
from adloom.run import fulfilment
from adloom.spend import purchase, unknown

Put = Callable[[Any, str, Any], None]
PLANTS: dict[str, Callable[[Put], None]] = {}
BREAKS: dict[str, str] = {}
"""The invariant that each plant must be seen to break: a plant that merely fails would prove nothing."""


def plant(invariant: str) -> Callable[[Callable[[Put], None]], Callable[[Put], None]]:
    def register(function: Callable[[Put], None]) -> Callable[[Put], None]:
        PLANTS[function.__name__] = function
        BREAKS[function.__name__] = invariant
        return function

    return register


@contextmanager
def planted(name: str) -> Iterator[None]:
    """The product with one bug in it."""
    before: list[tuple[Any, str, Any]] = []

    def put(owner: Any, attribute: str, replacement: Any) -> None:
        before.append((owner, attribute, vars(owner)[attribute]))
        setattr(owner, attribute, replacement)

    PLANTS[name](put)
    try:
        yield
    finally:
        for owner, attribute, original in reversed(before):
            setattr(owner, attribute, original)


def _remembers_intents_only(original: Any) -> Any:
    async def decide(self: Ledger, call: str, name: str, fields: Any) -> Any:
        if name.endswith("-intent") and fields["outcome"] == Decided.BOUGHT:
            record = self._record(fields)
            self._keep(call, name, Entry(record, ""))
            return record, True
        return await original(self, call, name, fields)

    return decide


@plant("I9")
def the_intent_is_not_written(put: Put) -> None:
    put(Ledger, "decide", _remembers_intents_only(Ledger.decide))


@plant("I9")
def the_intent_is_written_after_the_post(put: Put) -> None:
    decide, send = Ledger.decide, purchase.Sender.send

    async def send_then_write(self: Any, order: Any, attempt: int, number: int) -> Any:
        answer = await send(self, order, attempt, number)
        name = f"a{attempt}-intent"
        await decide(self._ledger, order.call, name, self._ledger.records(order.call)[name]["record"])
        return answer

    put(Ledger, "decide", _remembers_intents_only(decide))
    put(purchase.Sender, "send", send_then_write)


@plant("I9")
def every_send_has_a_new_key(put: Put) -> None:
    send = purchase.Sender.send

    async def send_anew(self: Any, order: Any, attempt: int, number: int) -> Any:
        submit = self._api.submit
        self._api.submit = lambda body, key: submit(body, f"{key}-{number}" if number > 1 else key)
        try:
            return await send(self, order, attempt, number)
        finally:
            self._api.submit = submit

    put(purchase.Sender, "send", send_anew)


@plant("I9")
def whoever_asks_has_decided(put: Put) -> None:
    original = Ledger.decide

    async def decide(self: Ledger, call: str, name: str, fields: Any) -> Any:
        return (await original(self, call, name, fields))[0], True

    put(Ledger, "decide", decide)
    put(purchase.Sender, "decide_to_send", _sends_if_it_decided(purchase.Sender.decide_to_send))


def _sends_if_it_decided(original: Any) -> Any:
    async def decide_to_send(self: Any, order: Any, attempt: int, send: int) -> bool:
        await original(self, order, attempt, send)
        return True

    return decide_to_send


def _takes_for_free(unknown: Callable[[str], bool]) -> Callable[[Put], None]:
    def apply(put: Put) -> None:
        record, send = purchase.Sender._record_unknown, purchase.Sender.send

        async def record_unknown(self: Any, order: Any, attempt: int, number: int, reason: str, **more: Any) -> None:
            if unknown(reason):
                await self._record_refusal(order, attempt, number, NotSent(reason))
            else:
                await record(self, order, attempt, number, reason, **more)

        async def send_and_say_free(self: Any, order: Any, attempt: int, number: int) -> Any:
            answer = await send(self, order, attempt, number)
            if isinstance(answer, OutcomeUnknown) and unknown(answer.message):
                return NotSent(answer.message)
            return answer

        put(purchase.Sender, "_record_unknown", record_unknown)
        put(purchase.Sender, "send", send_and_say_free)

    return apply


@plant("I1")
def a_5xx_is_free(put: Put) -> None:
    _takes_for_free(lambda reason: reason.startswith("a "))(put)


@plant("I1")
def a_time_out_was_not_sent(put: Put) -> None:
    _takes_for_free(lambda reason: reason == "no answer")(put)


@plant("I1")
def an_unknown_is_sent_again_without_proof(put: Put) -> None:
    put(unknown.EvidenceSources, "may_resend", lambda _self, facts, _account, _now: facts.latest.intent is not None)


@plant("I1")
def an_unknown_is_bought_again(put: Put) -> None:
    original = facts_module._stage

    def stage(attempt: Any) -> Stage:
        found = original(attempt)
        return Stage.UNBOUGHT if found is Stage.UNKNOWN else found

    put(facts_module, "_stage", stage)


@plant("I1")
def the_purchase_of_a_dead_owner_is_free(put: Put) -> None:
    original = fulfilment.Fulfilment._collect

    async def collect_(self: Any, order: Any) -> None:
        facts = self._ledger.facts(order.call)
        if facts.stage is Stage.SENDING and await self._steps.owners.is_dead(facts.latest.owner):
            free = {"outcome": Decided.FREE, "kind": RefusalKind.TASK, "reason": "dead", "final": False}
            await self._ledger.decide(order.call, f"a{facts.latest.number}-settled", free)
            return
        await original(self, order)

    put(fulfilment.Fulfilment, "_collect", collect_)


@plant("I10")
def held_money_is_free(put: Put) -> None:
    original = facts_module._attempt_money
    put(facts_module, "_attempt_money", lambda attempt: Money() if attempt.unknown else original(attempt))


@plant("I1")
def a_kept_charge_is_taken_for_free(put: Put) -> None:
    put(failure, "_was_charged", lambda _task: False)


def _with_missing(put: Put, missing: Callable[[Any], TopUp | None]) -> None:
    for module in (outcomes_module, orders, fulfilment):
        put(module, "missing", missing)


@plant("I1")
def a_top_up_asks_for_everything_again(put: Put) -> None:
    original = outcomes_module.missing

    def missing(facts: Any) -> TopUp | None:
        top_up = original(facts)
        return replace(top_up, variants=tuple(facts.intent.variants)) if top_up else None

    _with_missing(put, missing)


@plant("I1")
def every_run_makes_its_own_top_up(put: Put) -> None:
    original = orders.top_up_order
    count = iter(range(10**6))
    put(fulfilment, "top_up_order", lambda order, top_up: original(order, replace(top_up, round=next(count) + 10)))


@plant("I13")
def a_top_up_stops_after_one_fruitless_call(put: Put) -> None:
    put(outcomes_module, "FRUITLESS_CALLS", 1)


@plant("I5")
def bytes_are_trusted_without_decoding(put: Put) -> None:
    async def try_(self: Any, link: str, _target: Any) -> Any:
        try:
            return await self._api.download(link), Picture("image/png", "png", 1024, 1024)
        except DownloadError as error:
            return error

    put(fetch.Fetcher, "_try", try_)


@plant("I2")
def images_above_n_are_dropped(put: Put) -> None:
    original = archiver.Archiver._image

    async def image(self: Any, facts: Any, index: int, *more: Any) -> Any:
        if index >= len(facts.intent.variants):
            return Image(index, 0, ImageFate.EXTRA)
        return await original(self, facts, index, *more)

    put(archiver.Archiver, "_image", image)


@plant("I2")
def bytes_that_do_not_decode_are_dropped(put: Put) -> None:
    async def keep(*_everything: Any) -> None:
        """Nothing."""

    put(archiver.Archiver, "_keep", keep)


@plant("I4")
def assets_are_overwritten(put: Put) -> None:
    async def put_(self: Any, keys: Any, download: Any, *_more: Any) -> str:
        await self._store.replace(self._edition.key(keys[0]), download.content)
        return str(keys[0])

    put(archiver.Archiver, "_put", put_)


@plant("I2")
def the_last_image_is_forgotten(put: Put) -> None:
    original = archiver.Archiver._image

    async def image(self: Any, facts: Any, index: int, *more: Any) -> Any:
        if index == len(facts.latest.links) - 1 > 0:
            return Image(index, 0, ImageFate.LOST, reason="forgotten")
        return await original(self, facts, index, *more)

    put(archiver.Archiver, "_image", image)


@plant("I6")
def the_cap_is_ignored(put: Put) -> None:
    put(Assessment, "fits", property(lambda _self: True))


@plant("I1")
def an_absent_task_has_failed(put: Put) -> None:
    original = collector.Poller._judge

    def judge(self: Any, watched: Any, task: Task | None) -> None:
        failed = Task(watched.task_id, TaskState.FAILED, (), None, "released", "service_error")
        original(self, watched, failed if task is None else task)

    put(collector.Poller, "_judge", judge)


@plant("I1")
def nothing_is_withdrawn(put: Put) -> None:
    async def withdraw(*_everything: Any) -> None:
        """Leave the old plan's calls to whoever still wants to buy them."""

    put(freeze, "_withdraw", withdraw)


@plant("I3")
def any_task_of_the_list_will_do(put: Put) -> None:
    async def nobody(_self: Any, *_what: Any) -> set[str]:
        return set()

    async def eliminate(self: Any, order: Any, facts: Any) -> None:
        listed = await self._api.list_tasks(0)
        names = {unknown.task_name(task.task_id) for task in listed or ()}
        claimed = (await unknown.claims_of(self._store, await self._open_editions(), names)).tasks
        for task in listed or ():
            if unknown.task_name(task.task_id) not in claimed:
                await self._adopt(order, facts, task.task_id, via="task list")
                return

    put(unknown.UnknownPurchases, "_rivals", nobody)
    put(unknown.UnknownPurchases, "_eliminate", eliminate)


@plant("I3")
def tasks_are_not_claimed(put: Put) -> None:
    async def nothing(*_what: Any) -> Claims:
        return Claims(frozenset(), {})

    async def claim(_store: Any, _ledger: Any, mine: Any, *_more: Any, **_stamp: Any) -> Any:
        return mine

    put(unknown, "claims_of", nothing)
    put(claims, "_claim", claim)


@plant("I3")
def an_id_that_another_has_will_do(put: Put) -> None:
    original = claims._claim

    async def claim(store: Any, ledger: Any, mine: Any, *more: Any, **stamp: Any) -> Any:
        await original(store, ledger, mine, *more, **stamp)
        return mine

    put(claims, "_claim", claim)


@plant("I5")
def a_task_is_claimed_after_its_use(put: Put) -> None:
    hold, collect_ = claims.hold, collector.Collector.collect

    async def later(*_what: Any) -> bool:
        return True

    async def use_then_claim(self: Any, call: str, started: float) -> None:
        await collect_(self, call, started)
        attempt = self._ledger.facts(call).latest
        if attempt.task:
            await hold(self._ledger, call, attempt.number, attempt.task)

    put(purchase, "hold", later)
    put(collector, "hold", later)
    put(collector.Collector, "collect", use_then_claim)


@plant("I3")
def rivals_are_overlooked(put: Put) -> None:
    async def is_rival(_self: Any, *_what: Any) -> bool:
        return False

    original = unknown.UnknownPurchases._rivals

    async def rivals(self: Any, *what: Any) -> set[str]:
        del what
        return {order.call for order in self._open[:1]}

    del original
    put(unknown.UnknownPurchases, "_is_rival", is_rival)
    put(unknown.UnknownPurchases, "_rivals", rivals)


@plant("I10")
def the_manifest_ignores_what_is_held(put: Put) -> None:
    original = outcomes_module._without_images

    def without_images(stage: Stage, attempt: Any) -> Any:
        status, covered, reason = original(stage, attempt)
        return (Status.OPEN if status is Status.HELD else status), covered, reason

    put(outcomes_module, "_without_images", without_images)


@plant("I11")
def nobody_ever_dies(put: Put) -> None:
    async def is_dead(_self: Any, _token: str) -> bool:
        return False

    put(Liveness, "is_dead", is_dead)
    put(fulfilment, "OTHERS_INTERVALS", 10**9)


@plant("I9")
def every_attempt_has_the_same_key(put: Put) -> None:
    original = order_module.idempotency_key
    put(order_module, "idempotency_key", lambda token, call, _attempt: original(token, call, 1))


@plant("I1")
def a_newer_plan_is_not_looked_for(put: Put) -> None:
    put(freeze, "_is_sound", _always_sound)
    put(freeze, "_withdraw", _always_sound)


async def _always_sound(*_everything: Any) -> bool:
    return True


def _believes_what_is_given_up_early(put: Put) -> None:
    put(facts_module, "_may_have_lived", lambda _attempt, _record: False)


@plant("I2")
def a_young_link_that_is_refused_is_dead(put: Put) -> None:
    _believes_what_is_given_up_early(put)
    original = fetch.Fetcher._try

    async def try_(self: Any, link: str, target: Any) -> Any:
        got = await original(self, link, target)
        if isinstance(got, LinkExpired):
            raise got
        return got

    put(fetch.Fetcher, "_try", try_)


@plant("I2")
def bytes_are_given_up_after_three_tries(put: Put) -> None:
    _believes_what_is_given_up_early(put)
    original = fetch.Fetcher._try
    tries: Counter[int] = Counter()

    async def try_(self: Any, link: str, target: Any) -> Any:
        got = await original(self, link, target)
        if isinstance(got, LinkExpired) and "no complete image" in got.message:
            tries[id(target)] += 1
            if tries[id(target)] == 3:
                raise got
        return got

    put(fetch.Fetcher, "_try", try_)


@plant("I2")
def fresh_links_are_taken_by_their_place(put: Put) -> None:
    put(fetch, "renewals", lambda asked, known, shown: tuple(shown)[list(known).index(asked) :][:1])


@plant("I2")
def a_picture_may_fill_two_variants(put: Put) -> None:
    put(fetch.Siblings, "_others", lambda _self, _index: Counter[str]())


@plant("I2")
def only_look_alikes_are_told_apart_by_their_bytes(put: Put) -> None:
    original = fetch.Siblings._others

    def others(self: fetch.Siblings, index: int) -> Counter[str]:
        return original(self, index) if fetch.are_alike(self._links[index], self._links) else Counter()

    put(fetch.Siblings, "_others", others)


@plant("I2")
def a_dead_runs_asset_is_taken_for_any_task(put: Put) -> None:
    original = archiver.Archiver.__init__

    class Hasty:
        """A fetcher that says of every link that its time is over, and fetches all the same."""

        def __init__(self, fetcher: fetch.Fetcher) -> None:
            self._fetcher = fetcher

        def is_over(self, _: fetch.Target) -> bool:
            return True

        def __getattr__(self, name: str) -> Any:
            return getattr(self._fetcher, name)

    def init(self: Any, *everything: Any) -> None:
        original(self, *everything)
        self._fetcher = Hasty(self._fetcher)

    put(archiver.Archiver, "__init__", init)


@plant("I1")
def a_plan_follows_any_other(put: Put) -> None:
    class Everything(int):
        __hash__ = None  # type: ignore[assignment]

        def __ne__(self, _other: object) -> bool:
            return False

    original = reserve.wanted_of
    put(reserve, "wanted_of", lambda assessment: replace(original(assessment), seen=Everything()))


@plant("I14")
def links_are_renewed_without_a_wait(put: Put) -> None:
    async def wait(*_everything: Any, **_more: Any) -> None:
        """Not at all."""

    put(fetch.Fetcher, "_wait", wait)
    put(fetch, "SHARED_READING_S", 0.0)


@plant("I1")
def a_shorter_ledger_is_trusted(put: Put) -> None:
    put(rollback.Past, "lack_of", lambda _self, _heard, _ledger: rollback.NOTHING)


@plant("I15")
def the_ledger_is_read_before_the_manifest(put: Put) -> None:
    load = Ledger.load

    class Later:
        def heard(self) -> Any:
            return rollback.Heard(set())

        def lack_of(self, _heard: Any, ledger: Any) -> Any:
            return ledger.read_later.lacking(ledger)

    async def read_past(_store: Any, _edition: Any) -> Any:
        return Later()

    async def first_the_ledger(self: Any, **how: Any) -> None:
        await load(self, **how)
        self.read_later = await rollback.read_past(self.store, self.edition)

    put(assessment, "read_past", read_past)
    put(Ledger, "load", first_the_ledger)


@plant("I1")
def the_first_reading_of_the_results_is_believed(put: Put) -> None:
    put(completion, "judge", lambda *_readings, **_more: Verdict.FINAL)


@plant("I1")
def the_bill_is_ignored(put: Put) -> None:
    put(completion, "images_billed", lambda *_charge: None)


@plant("I1")
def a_line_of_a_batch_is_about_its_task_alone(put: Put) -> None:
    original = completion.Completions._reading
    put(completion.Completions, "_reading", lambda *of, **_: original(*of, is_own=True))


@plant("I1")
def two_readings_that_show_nothing_are_a_shortfall(put: Put) -> None:
    original = completion.judge

    def judge(readings: Any, **more: Any) -> Verdict:
        empty = more["billed"] is None and not any(reading.links for reading in readings)
        late = readings[-1].at_s - readings[0].at_s >= results.SECOND_READING_S
        return Verdict.FINAL if empty and late else original(readings, **more)

    put(completion, "judge", judge)


@plant("I2")
def links_that_come_later_are_dropped(put: Put) -> None:
    original = facts_module._all_shown
    put(
        facts_module,
        "_all_shown",
        lambda completions: replace(original(completions), links=completions[min(completions)].links),
    )


@plant("I2")
def what_is_not_shown_in_five_minutes_is_given_up(put: Put) -> None:
    for module in (results, facts_module, completion):
        put(module, "LINKS_LIVE_S", results.READ_ON_INTERVALS * 3)


@plant("I16")
def the_first_price_is_not_waited_for(put: Put) -> None:
    async def enter(self: Any, call: str) -> None:
        self._gate.check()
        self._unread[call] = None

    put(prices.Window, "enter", enter)
    put(prices.Window, "holds", lambda _self, _call: True)


@plant("I17")
def a_charge_above_its_reserve_is_paid_and_forgotten(put: Put) -> None:
    put(prices.PriceWatch, "_stop_for_charge", lambda *_everything: None)
