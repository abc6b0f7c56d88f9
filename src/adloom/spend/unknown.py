"""Unknown purchases: the evidence that can resolve them, and how a run behaves while they are open.

From its first unknown purchase on, a run sends one purchase at a time, and tries these steps for each before the next:

1. a callback: the API called the address that only this attempt has, a receiver recorded which task, and the API knows
   that task. A receiver needs ``ADLOOM_CALLBACK_SECRET`` and the campaign's ``callback_url``, a run that reads what it
   recorded needs neither;
2. the same key and the same bytes again, only where ``doctor --probe`` has proven that the API then answers with the
   first task (``capabilities.json`` at the archive's root, for this account, at most 30 days old), and only within 12 h
   of the first send: half of the shortest retention that such keys usually have. An answer that does not look like the
   probe's replay withdraws the proof;
3. the account's task list by elimination, only for a key that nobody else uses (``ADLOOM_DEDICATED_KEY=1``): one
   unclaimed task and one unanswered purchase in the window belong together; anything else proves nothing.

What none of them settles is held for a person. Nothing here ever sends an unknown purchase under a new key.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Self

from adloom.core.callbacks import inbox
from adloom.core.errors import AccountStopped, ReadFailed
from adloom.core.exits import Stop, StopReason
from adloom.core.facts import Attempt, CallFacts, Stage, fold, task_name
from adloom.core.limits import is_another_model
from adloom.core.order import Order
from adloom.core.task import ListedTask, Task
from adloom.guards.gate import Gate
from adloom.ledger.capabilities import Capabilities, withdraw_capability
from adloom.ledger.claims import claim_task, claimant, claims_of, is_claimed_for
from adloom.ledger.edition import Edition, from_json, utc
from adloom.ledger.index import open_editions
from adloom.ledger.ledger import Ledger, record_place
from adloom.spend.purchase import Sender
from adloom.world import DEFAULT_INTERVAL_S, World

log = logging.getLogger(__name__)

RESEND_WITHIN_S = 12 * 3600
RESEND_GAP_INTERVALS = 5
"""A key that was sent again without an answer rests this long (15 s) before the next time, then twice as long each."""
LONGEST_GAP_S = 3600
"""It rests no longer than this. An outage of hours must not use up the hours for which the API knows the key."""
WINDOW_S = 120
"""Clocks of the API and of this machine may differ by this much."""

CALLBACK_SKEW_S = 3600
"""A callback has proved by its token which purchase it is for, so the API's clock may differ by this much."""

LATE_S = 15 * 60
"""A purchase that was sent may reach the API this late, through queues and proxies that outlive both sides."""

LEAST_TO_STOP = 3
SHARE_TO_STOP = Decimal("0.01")
PURSUED_INTERVALS = 20
"""After a run's last other call an unknown is pursued for this many poll intervals (60 s), then it is held."""


@dataclass(frozen=True, slots=True)
class SendTimes:
    """When a purchase may have been sent at first and at last, in seconds since 1970: hours may lie between.

    A process that is paused between its decision and its POST sends later than the decision says, but no later than it
    wrote down what it heard.
    """

    first_s: float
    last_s: float

    @classmethod
    def of(cls, facts: CallFacts) -> Self:
        """Those of a call's latest attempt, which has an intent."""
        return cls.of_attempt(facts.latest)

    @classmethod
    def of_attempt(cls, attempt: Attempt) -> Self:
        """Those of an attempt that has an intent. A clock that was set back widens them."""
        assert attempt.intent is not None  # noqa: S101 - what has none was never sent
        intent = attempt.intent
        heard = (fact for fact in (attempt.accepted, *attempt.unknown.values()) if fact is not None)
        own = (fact.unix_s for fact in heard if fact.writer in (intent.writer, attempt.owner))
        times = intent.unix_s, attempt.last_sent_s, *own
        return cls(min(times), max(times))

    def may_have_made(self, created_s: float, *, skew_s: float = 0) -> bool:
        """Whether a task that the API created then, by a clock that may be so wrong, may be this purchase's."""
        return self.first_s - max(WINDOW_S, skew_s) <= created_s <= self.last_s + LATE_S + skew_s

    def meets(self, other: SendTimes) -> bool:
        """Whether one task may be either purchase's. Two machines wrote the times, so that clocks differ twice."""
        reach_s = LATE_S + 2 * WINDOW_S
        return other.first_s <= self.last_s + reach_s and self.first_s <= other.last_s + reach_s


@dataclass(frozen=True, slots=True)
class EvidenceSources:
    """Which evidence is available for this account in this run."""

    capabilities: Capabilities
    dedicated_key: bool
    hears_callbacks: bool = False
    interval_s: float = DEFAULT_INTERVAL_S

    def any_for(self, facts: CallFacts, account: str, now: float) -> bool:
        return self.dedicated_key or self.hears_callbacks or self.can_ask_again(facts, account, now)

    def may_resend(self, facts: CallFacts, account: str, now: float) -> bool:
        """Whether the same key may be sent again for an unknown call now."""
        again, since_s = facts.latest.sends - 1, now - facts.latest.last_sent_s
        gap_s = RESEND_GAP_INTERVALS * self.interval_s
        is_due = not again or since_s >= min(gap_s * 2 ** (again - 1), LONGEST_GAP_S)
        return is_due and self.can_ask_again(facts, account, now)

    def can_ask_again(self, facts: CallFacts, account: str, now: float) -> bool:
        """Whether the API proved that it honours keys, still knows an unknown call's, and has not refused its request.

        What is refused once is refused again, and proves nothing about the send before it.
        """
        attempt = facts.latest
        if attempt.is_refused_for_good:
            return False
        if attempt.intent is None or attempt.intent.account != account:
            return False
        if any(unknown.conflict for unknown in attempt.unknown.values()):
            return False
        age_s = now - attempt.intent.unix_s
        young = -WINDOW_S <= age_s < RESEND_WITHIN_S  # an intent of the future: the clock was set back, who knows when
        return young and self.capabilities.replays_keys(account, now)


class UnknownPurchases:
    """The unknown purchases of one run. ``settled`` receives every order that is not unknown any more."""

    def __init__(
        self,
        world: World,
        ledger: Ledger,
        gate: Gate,
        *,
        sender: Sender,
        sources: EvidenceSources,
        calls: int,
    ) -> None:
        self._ledger = ledger
        self._api = world.api
        self._store = world.store
        self._gate = gate
        self._clock = world.clock
        self._sources = sources
        self._most = max(LEAST_TO_STOP, int(calls * SHARE_TO_STOP))
        self._sender = sender
        self.settled: asyncio.Queue[Order] = asyncio.Queue()
        self._one_at_a_time = asyncio.Lock()
        self._sending = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._seen_unknown = False
        self._open: list[Order] = []
        self._unsettled: set[str] = set()
        self._inherited: set[str] = set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Permission to send: unrestricted while all is known, one at a time afterwards. Raises GateClosed.

        While an unknown purchase may be sent again nobody else sends: it may be the first to arrive, at a price that
        nobody has read.
        """
        if not (self._seen_unknown or self._one_at_a_time.locked()):
            async with self._send():
                yield
            return
        async with self._one_at_a_time:
            await self._quiet.wait()
            await self.try_settle()
            self._gate.check()
            async with self._send():
                yield

    def inherit(self, order: Order) -> None:
        """Note an unknown purchase of an earlier run: pursued too, but no evidence about the API's present state."""
        if order.call not in {known.call for known in self._open}:
            self._open.append(order)
            self._inherited.add(order.call)

    def note(self, order: Order) -> None:
        """Take note of a purchase that this run has just sent, if its outcome is unknown."""
        if self._ledger.facts(order.call).stage is not Stage.UNKNOWN:
            return
        self._seen_unknown = True
        self._open.append(order)
        if not self._sources.any_for(self._ledger.facts(order.call), self._api.account, self._clock.now()):
            self._count_unsettled(order)

    async def try_settle(self) -> None:
        """Try every step for every open purchase, once."""
        for order in tuple(self._open):
            if await self._is_settled(order):
                self._open.remove(order)
                self._unsettled.discard(order.call)
                self.settled.put_nowait(order)
            else:
                self._count_unsettled(order)

    async def keep_trying(self, interval_s: float) -> None:
        """Continue for a while after the run's other calls; what is still open is recorded as held.

        Once at least, whatever evidence there is: a callback may have come to the archive while another run waited.
        """
        for _ in range(PURSUED_INTERVALS):
            if self._gate.is_interrupted:
                break
            async with self._one_at_a_time:
                await self._quiet.wait()
                await self.try_settle()
            now = self._clock.now()
            facts = [self._ledger.facts(order.call) for order in self._open]
            if not any(self._sources.any_for(each, self._api.account, now) for each in facts):
                break
            await self._clock.sleep(interval_s)
        for order in self._open:
            number = self._ledger.facts(order.call).latest.number
            await self._ledger.note_held(order.call, number, "nothing could tell whether it was bought")

    @asynccontextmanager
    async def _send(self) -> AsyncIterator[None]:
        self._sending += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._sending -= 1
            if not self._sending:
                self._quiet.set()

    def _count_unsettled(self, order: Order) -> None:
        """Count a purchase of this run that nothing settles now; too many stop the buying."""
        if order.call in self._inherited:
            return
        self._unsettled.add(order.call)
        if len(self._unsettled) >= self._most:
            message = f"{len(self._unsettled)} purchases have an unknown outcome; more would put more money at risk"
            remedy = "Check the API's status, then run the campaign again; `adloom resolve` shows what is held."
            self._gate.close(Stop(StopReason.OUTAGE, message, remedy))

    async def _is_settled(self, order: Order) -> bool:
        """Whether a purchase is no longer unknown, after every step that may be tried for it."""
        facts = await self._ledger.refresh(order.call)
        if facts.stage is Stage.UNKNOWN:
            await self._heed_callbacks(order, facts)
            facts = self._ledger.facts(order.call)
        may_resend = facts.former_are_free and self._sources.may_resend(facts, self._api.account, self._clock.now())
        if facts.stage is Stage.UNKNOWN and may_resend and not order.is_stray:  # it may be the first to arrive
            await self._resend(order)
            facts = self._ledger.facts(order.call)
            self._seen_unknown |= facts.stage is Stage.UNKNOWN
        if facts.stage is Stage.UNKNOWN and self._sources.dedicated_key:
            await self._eliminate(order, facts)
            facts = self._ledger.facts(order.call)
        return facts.stage is not Stage.UNKNOWN

    async def _resend(self, order: Order) -> None:
        """Send a purchase again under its key. If that is no replay, where the probe's was one, nothing is proven."""
        account = self._api.account
        await self._sender.resend(order)
        accepted = self._ledger.facts(order.call).latest.accepted
        if accepted is None or accepted.via or accepted.writer != self._ledger.writer:  # not the answer to this
            return
        if accepted.replayed or not self._sources.capabilities.says_replayed(account):
            return
        log.error(
            "call %s was sent again under its key, and the answer is no replay: the first request never arrived, or "
            "the API has forgotten the key and made it twice. Compare its tasks in EvoLink's console. Keys are not "
            "sent again until `adloom doctor --probe` shows that the API remembers them",
            order.call,
        )
        self._sources = replace(self._sources, capabilities=self._sources.capabilities.without(account))
        await withdraw_capability(self._store, account, now=self._clock.now())

    async def _heed_callbacks(self, order: Order, facts: CallFacts) -> None:
        """Adopt the task that a callback named, if the API knows it as one of this call's and no other attempt has it.

        Anyone who has the address can name any task: more tasks than were sent for prove nothing.
        """
        prefix = inbox(self._ledger.edition.prefix, order.call, facts.latest.number)
        keys = [listed.key async for listed in self._store.list(prefix)]
        told = [key.removeprefix(prefix).removesuffix(".json") for key in sorted(keys)]
        if not told:
            return
        try:
            known = await self._api.tasks(told)
        except (ReadFailed, AccountStopped) as error:
            log.warning("a task that a callback named cannot be read: %s", error.message)
            return
        claims = await claims_of(self._store, await self._open_editions(), {task_name(task_id) for task_id in told})
        mine = claimant(self._ledger, facts)
        fitting = [
            task_id
            for task_id in told
            if task_id in known
            and (task_name(task_id) not in claims.tasks or claims.dangling.get(task_name(task_id)) == mine)
            and _fits(known[task_id], order, facts)
        ]
        if len(fitting) > max(facts.latest.sends, 1):
            log.warning(
                "call %s: callbacks named %d tasks for one purchase, so none of them counts", order.call, len(fitting)
            )
            return
        for task_id in fitting:
            await self._adopt(order, facts, task_id, via="callback")

    async def _eliminate(self, order: Order, facts: CallFacts) -> None:
        """Adopt the one task of the list that can only belong to this purchase."""
        intent = facts.latest.intent
        if intent is None or intent.account != self._api.account:
            return
        sent = SendTimes.of(facts)
        try:
            listed = await self._api.list_tasks(int(sent.first_s - WINDOW_S))
        except (ReadFailed, AccountStopped) as error:
            log.warning("the task list cannot be read: %s", error.message)
            return
        # after the list: whoever has a task in it opened its edition before, and is a rival by now or has its answer
        editions = await self._open_editions()
        rivals = await self._rivals(sent, editions)
        # after the rivals: an answer that one of them wrote meanwhile is seen
        claims = await claims_of(self._store, editions, {task_name(task.task_id) for task in listed or ()})
        for task in listed or ():
            if claims.dangling.get(task_name(task.task_id)) == claimant(self._ledger, facts):
                await self._adopt(order, facts, task.task_id, via="task list")
                return
        candidates = [task for task in listed or () if self._could_be(task, order, sent, claims.tasks)]
        if rivals == {order.call} and len(candidates) == 1 and await self._is_shown(candidates[0], order, facts):
            await self._adopt(order, facts, candidates[0].task_id, via="task list")

    async def _is_shown(self, listed: ListedTask, order: Order, facts: CallFacts) -> bool:
        """Whether the API shows a listed task when asked for it, and it fits there too: else no run could fetch it."""
        try:
            known = await self._api.tasks([listed.task_id])
        except (ReadFailed, AccountStopped) as error:
            log.warning("task %s of the list cannot be read: %s", listed.task_id, error.message)
            return False
        return listed.task_id in known and _fits(known[listed.task_id], order, facts)

    def _could_be(self, task: ListedTask, order: Order, sent: SendTimes, claimed: Collection[str]) -> bool:
        return (
            sent.may_have_made(task.created_at)
            and task_name(task.task_id) not in claimed
            and not is_another_model(task.model, order.model)
        )

    async def _open_editions(self) -> list[Edition]:
        """The editions that may have a purchase out there; this run's own in any case."""
        return sorted(
            {self._ledger.edition, *await open_editions(self._store, self._clock.now())}, key=lambda one: one.prefix
        )

    async def _rivals(self, sent: SendTimes, editions: Sequence[Edition]) -> set[str]:
        """The calls of these editions that had no answer around these times, or none that is theirs for certain."""
        found = set()
        for edition in editions:
            facts: dict[str, list[str]] = {}
            async for listed in self._store.list(edition.key("ledger/")):
                call, name = record_place(listed.key)
                if name:
                    facts.setdefault(call, []).append(name)
            found |= {call for call, names in facts.items() if await self._is_rival(edition, call, names, sent)}
        return found

    async def _is_rival(self, edition: Edition, call: str, names: Sequence[str], sent: SendTimes) -> bool:
        latest = max(int(name[1 : name.index("-")]) for name in names)
        accepted = [name for name in names if name.startswith(f"a{latest}-accepted.")]
        answers = [name for name in accepted if name.replace("-accepted.", "-disowned.") not in names]
        is_answered = f"a{latest}-settled" in names or (answers and f"a{latest}-completed" in names)
        if not is_answered and answers:
            is_answered = all([await self._is_its_own(edition, call, latest, answer) for answer in answers])
        if is_answered and not _may_be_in_doubt(names):
            return False
        folder = edition.key(f"ledger/{call}")
        records = {name: from_json(await self._store.read(f"{folder}/{name}.json") or b"", folder) for name in names}
        facts = fold(call, records)
        is_waiting = not is_answered and facts.stage in (Stage.SENDING, Stage.UNKNOWN, Stage.ACCEPTED)
        if is_waiting and facts.latest.intent is not None and sent.meets(SendTimes.of(facts)):
            return True
        doubtful = facts.doubtful  # a task besides its own
        return doubtful is not None and doubtful.intent is not None and sent.meets(SendTimes.of_attempt(doubtful))

    async def _is_its_own(self, edition: Edition, call: str, attempt: int, answer: str) -> bool:
        """Whether the task of an answer is claimed for it. Until then the API may have answered with another's id."""
        name = answer.split("-accepted.", 1)[1]
        return await is_claimed_for(self._store, (edition.prefix, call, attempt), name)

    async def _adopt(self, order: Order, facts: CallFacts, task_id: str, *, via: str) -> None:
        mine = claimant(self._ledger, facts)
        if await claim_task(self._store, self._ledger, mine, task_id, time=utc(self._clock.now())):
            await self._ledger.accept(order.call, facts.latest.number, task_id, str(order.credits), via=via)
            log.warning("call %s: its task %s was found by the %s", order.call, task_id, via)


def _may_be_in_doubt(names: Collection[str]) -> bool:
    """Whether a call was sent again and has an unknown send that is not proven free, by the names of its facts."""
    open_unknown = (
        name for name in names if "-unknown-" in name and name.replace("-unknown-", "-refused-") not in names
    )
    return any("-send-" in name for name in names) and any(open_unknown)


def _fits(task: Task, order: Order, facts: CallFacts) -> bool:
    """Whether nothing that the API says of a task speaks against its having been made for the latest attempt."""
    if is_another_model(task.model, order.model):
        return False
    if facts.latest.intent is None or task.created_at is None:
        return True
    return SendTimes.of(facts).may_have_made(task.created_at, skew_s=CALLBACK_SKEW_S)
