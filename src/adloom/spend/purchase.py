"""The only caller of the paid POST: intent, send, record.

The intent is durable before the POST leaves. A POST is sent again only under the same key, only after an answer that
proves the former one free, and only if this run wins the decision to send again. Anything else makes the call
*unknown*, and only ``resend``, which ``unknown`` calls, ever sends an unknown call again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial

from adloom.collect.completion import Unreachable
from adloom.collect.failure import Failures
from adloom.core.backoff import READ, STORE, THROTTLE, advised_wait_s
from adloom.core.errors import (
    AccountStopped,
    ApiError,
    FileRefused,
    InputError,
    KeyConflict,
    ModelUnavailable,
    ModerationRefused,
    NotSent,
    OutcomeUnknown,
    ReferenceTooSlow,
    RequestRefused,
    StoreUnavailable,
    Throttled,
)
from adloom.core.exits import Sent, Stop, StopReason
from adloom.core.facts import Attempt, CallFacts, Stage
from adloom.core.fallback import Fallback
from adloom.core.order import Order
from adloom.core.records import Decided, RefusalKind
from adloom.core.retrying import retried
from adloom.core.task import Accepted
from adloom.core.triage import SLOW_REFERENCE_ATTEMPTS
from adloom.guards.gate import Gate
from adloom.guards.pace import Throttle
from adloom.guards.prices import PriceWatch
from adloom.ledger.claims import hold
from adloom.ledger.heartbeats import Heartbeat
from adloom.ledger.index import OLDER, Opening
from adloom.ledger.ledger import Ledger
from adloom.ports import Clock, ImageApi
from adloom.spend.held import told_of_released
from adloom.world import World

log = logging.getLogger(__name__)

_KINDS: tuple[tuple[type[ApiError], RefusalKind], ...] = (
    (NotSent, RefusalKind.NOT_SENT),
    (Throttled, RefusalKind.THROTTLED),
    (AccountStopped, RefusalKind.ACCOUNT),
    (ModerationRefused, RefusalKind.MODERATION),
    (ModelUnavailable, RefusalKind.MODEL),
    (ReferenceTooSlow, RefusalKind.REFERENCE),
    (RequestRefused, RefusalKind.REQUEST),
)


@dataclass(frozen=True, slots=True)
class Buyer:
    """The buyer: what every intent of this run records."""

    edition_token: str
    revision: int
    account: str


class Sender:
    """Sends the purchases of one run, each after its intent, and records their outcomes."""

    def __init__(  # noqa: PLR0913 - the parts of one run
        self,
        world: World,
        ledger: Ledger,
        *,
        gate: Gate,
        throttle: Throttle,
        prices: PriceWatch,
        buyer: Buyer,
        heartbeat: Heartbeat,
        fallback: Fallback,
        failures: Failures,
    ) -> None:
        self._ledger = ledger
        self._api = world.api
        self._store = world.store
        self._gate = gate
        self._throttle = throttle
        self._prices = prices
        self._buyer = buyer
        self._heartbeat = heartbeat
        self._fallback = fallback
        self._failures = failures
        self._opening = Opening(world.store, ledger.edition, ledger.writer, world.clock)
        self._clock = world.clock
        self._random = world.random
        self._scale = world.scale
        self.sent = Sent()

    async def decide_to_send(self, order: Order, attempt: int, send: int) -> bool:
        """Make the intent durable; then check once more whether anyone has recorded anything about the call since.

        Before anything, the archive's index says that this edition may owe something; and before the first purchase is
        sent, a heartbeat counts its intent. What a newer plan does not want, it may have put into another call: that
        ends the buying for this one.
        """
        if (newer := self._ledger.facts(order.call).withdrawn_by) > self._buyer.revision:
            self._gate.close(Stop.for_newer_plan(newer, self._buyer.revision))
            return False
        await self._opening.ensure()
        name = f"a{attempt}-intent" if send == 1 else f"a{attempt}-send-{send}"
        buyer = self._buyer
        fields = (
            order.intent(
                edition_token=buyer.edition_token, attempt=attempt, account=buyer.account, revision=buyer.revision
            )
            if send == 1
            else {"outcome": Decided.BOUGHT}
        )
        _, mine = await self._ledger.decide(order.call, name, fields)
        await self._heartbeat.count_first_purchase(self._store)
        forbidden = mine and await self._is_forbidden(order)
        facts = await self._ledger.refresh(order.call)  # last of all: someone may have recorded something meanwhile
        is_latest = facts.attempts[-1].number == attempt and facts.latest.sends == send
        outdated = forbidden or not facts.former_are_free
        if mine and is_latest and facts.stage is Stage.SENDING and not outdated:
            return True
        if mine:  # only this run can say that what it decided was not sent
            reason = "somebody else recorded something about the call before it was sent"
            if outdated:
                reason = (
                    "a former task for these images completed after all, runs again, was charged, or could not be read"
                )
            await self.take_back(order, attempt, send, reason)
            if outdated and not facts.attempts[-1].open_unknowns:
                await self.withdraw(order, attempt, send + 1)
        return False

    async def give_up(self, order: Order, attempt: int, refusal: FileRefused) -> None:
        """Record a purchase that is never sent: the file service does not take one of its files.

        The intent makes it this run's to decide. Its bytes lack the addresses, and it names no account, so that nobody
        would send it if this process died before it has recorded the end.
        """
        if self._ledger.facts(order.call).withdrawn_by > self._buyer.revision:
            return
        await self._opening.ensure()
        unhosted = order.with_addresses({each.content: each.content for each in order.row.references})
        fields = unhosted.intent(
            edition_token=self._buyer.edition_token, attempt=attempt, account="", revision=self._buyer.revision
        )
        _, mine = await self._ledger.decide(order.call, f"a{attempt}-intent", fields)
        if mine:
            reason = f"{refusal.message}. {refusal.remedy}"
            await self.take_back(order, attempt, 1, reason)
            await self._settle(order, attempt, 1, RefusalKind.REQUEST, reason)

    async def take_back(self, order: Order, attempt: int, send: int, reason: str) -> None:
        """Record that what this run decided was not sent, so that it is bought later."""
        not_sent = {"kind": RefusalKind.NOT_SENT, "reason": reason}
        await self._ledger.note(order.call, f"a{attempt}-refused-{send}", not_sent)

    async def send(self, order: Order, attempt: int, send: int) -> ApiError | None:
        """Send once and record the outcome; returns the refusal, if it was one, for the caller to judge."""
        intent = self._ledger.facts(order.call).latest.intent
        assert intent is not None  # noqa: S101 - decided just before
        self.sent.left += 1
        self.sent.may_have_cost += 1  # until an answer proves otherwise
        try:
            accepted = await self._api.submit(intent.body.encode(), intent.idempotency_key)
        except OutcomeUnknown as error:
            await self._record_unknown(order, attempt, send, error.message, conflict=isinstance(error, KeyConflict))
            return error
        except ApiError as error:
            self.sent.left -= isinstance(error, NotSent)
            self.sent.may_have_cost -= 1
            await self._record_refusal(order, attempt, send, error)
            return error
        except asyncio.CancelledError:
            await _to_its_end(self._record_unknown(order, attempt, send, "the run was stopped while it waited"))
            raise
        await _to_its_end(self._record_accepted(order, attempt, accepted))
        return None

    async def resend(self, order: Order) -> None:
        """Send an unknown purchase again under its own key. Only ``unknown`` calls this, where it is proven safe.

        It may be the first to arrive, and then buys: after a stop for a price it is left to a later run.
        """
        if any(stop.reason is StopReason.PRICE for stop in self._gate.stops):
            return
        latest = self._ledger.facts(order.call).latest
        if await self.decide_to_send(order, latest.number, latest.sends + 1):
            with self._throttle.without_place():  # a purchase that waits for its own turn may be the one that asks
                await self.send(order, latest.number, latest.sends + 1)

    async def withdraw(self, order: Order, attempt: int, send: int, reason: str = "stopped") -> bool:
        """Decide that an attempt is not sent (again), so that no other run does; whether that is what holds now."""
        wanted = {"outcome": Decided.WITHDRAWN, "reason": reason}
        decision, _ = await self._ledger.decide(order.call, f"a{attempt}-send-{send}", wanted)
        return bool(decision["outcome"] == Decided.WITHDRAWN)

    async def _is_forbidden(self, order: Order) -> bool:
        """Whether a failed task that was for one of these variants now reads differently, or cannot be read.

        So does a task that a callback has named for a purchase that a person released.
        """
        if told := await told_of_released(self._ledger, order.call):
            log.error(
                "call %s is not bought: a callback has named task %s for the purchase that was released; "
                "`adloom resolve … %s --adopt %s` adopts it", order.call, told[0], order.call, told[0],
            )  # fmt: skip
            return True
        try:
            forbidden = await self._failures.came_back(order.call, order.keys_of_all_takes())
        except Unreachable:
            return True
        for call in (order.call, *self._failures.adopted) if forbidden else ():
            for each in self._ledger.facts(call).attempts:
                self._prices.read_charge(call, each)
        return forbidden

    async def _record_accepted(self, order: Order, attempt: int, accepted: Accepted) -> None:
        # a reserve of 0 for what costs something is a placeholder, as such a charge is
        reserved = accepted.credits_reserved if accepted.credits_reserved or not order.credits else None
        fields = {
            "credits_told": reserved is not None,
            "model": accepted.model,
            "replayed": accepted.replayed,
            "request_id": accepted.request_id,
        }
        credits_ = str(order.credits if reserved is None else reserved)
        self._prices.read_reserve(order, reserved)  # at once: what waits for the archive may leave with it
        try:
            await retried(
                lambda: self._ledger.accept(order.call, attempt, accepted.task_id, credits_, **fields),
                again=lambda error: isinstance(error, StoreUnavailable),
                wait_s=lambda _, failures: STORE.wait_s(failures, self._random.random()) * self._scale,
                sleep=lambda seconds: self._gate.sleep_until_over(seconds, self._clock),
                ends=lambda _: self._gate.over.is_set(),
                failed=partial(self._stop_for_archive, order.call, accepted.task_id),
            )
        except StoreUnavailable:
            _tell_of(order.call, accepted.task_id)
            raise
        await hold(self._ledger, order.call, attempt, accepted.task_id)
        await self._throttle.speed_up()

    def _stop_for_archive(self, call: str, task_id: str, error: BaseException) -> None:
        """Stop buying: only this process knows of the task, and keeps trying to record it."""
        if not isinstance(error, StoreUnavailable):
            log.warning("call %s created task %s, and the archive does not accept that: %s", call, task_id, error)
            return
        log.warning(
            "call %s created task %s, and the archive does not accept that: %s. "
            "Leave this run running: only it knows the task, and it keeps trying",
            call,
            task_id,
            error.message,
        )
        self._gate.close(Stop.because(StopReason.OUTAGE, error))

    async def _record_unknown(
        self, order: Order, attempt: int, send: int, reason: str, *, conflict: bool = False
    ) -> None:
        log.warning("call %s of %s: %s", order.call, order.row.name, reason)
        await self._ledger.note(order.call, f"a{attempt}-unknown-{send}", {"reason": reason, "conflict": conflict})

    async def _record_refusal(self, order: Order, attempt: int, send: int, error: ApiError) -> None:
        kind = _kind_of(error)
        too_slow_before = _times_too_slow(self._ledger.facts(order.call))
        if kind == RefusalKind.REFERENCE and too_slow_before + 1 >= SLOW_REFERENCE_ATTEMPTS:
            kind = RefusalKind.REQUEST
        await self._ledger.note(order.call, f"a{attempt}-refused-{send}", {**_refused(error), "kind": kind})
        if isinstance(error, Throttled):
            self._throttle.slow_down(self.wait_s(error, 0))
        ends = isinstance(error, AccountStopped | RequestRefused)
        ended = ends and await self._settle(order, attempt, send, kind, error.message)
        is_exhausted = self._fallback.is_exhausted(order, self._ledger.facts(order.call))
        if ended and kind == RefusalKind.MODEL and is_exhausted:
            self._gate.close(Stop.because(StopReason.OUTAGE, error))
        if isinstance(error, AccountStopped):
            self._gate.close(Stop.because(StopReason.ACCOUNT, error))

    async def _settle(self, order: Order, attempt: int, send: int, kind: RefusalKind, reason: str) -> bool:
        """End an attempt that was free, unless somebody sends it again; whether it has ended."""
        if not await self._ends(order, attempt, send):
            return False
        final = kind not in (RefusalKind.ACCOUNT, RefusalKind.MODEL, RefusalKind.REFERENCE)
        free = {"outcome": Decided.FREE, "kind": kind, "reason": reason, "final": final}
        await self._ledger.decide(order.call, f"a{attempt}-settled", free)
        return True

    async def _ends(self, order: Order, attempt: int, send: int) -> bool:
        """Whether a refusal ends the attempt: no send before it is open, and nobody sends after it.

        This process may have been paused before it wrote the refusal down, and another run taken it for dead and sent
        again. So the next send is decided on, and only what nobody else has decided counts.
        """
        return not self._ledger.facts(order.call).attempt(attempt).open_unknowns and await self.withdraw(
            order, attempt, send + 1, "refused"
        )

    def wait_s(self, refusal: ApiError, tries: int) -> float:
        """Seconds before a purchase that was refused free of charge is sent again."""
        if isinstance(refusal, Throttled) and refusal.retry_after_s is not None:
            return advised_wait_s(refusal.retry_after_s, self._random.random())
        backoff = THROTTLE if isinstance(refusal, Throttled) else READ
        return backoff.wait_s(tries, self._random.random()) * self._scale


def _kind_of(error: ApiError) -> RefusalKind:
    return next(kind for foreign, kind in _KINDS if isinstance(error, foreign))


def _times_too_slow(facts: CallFacts) -> int:
    """How many of a call's attempts ended because a reference was not fetched in time."""
    refusals = (attempt.last_refusal for attempt in facts.attempts)
    return sum(refusal is not None and refusal.kind == RefusalKind.REFERENCE for refusal in refusals)


def _refused(error: ApiError) -> dict[str, object]:
    """What is recorded of a send that was free."""
    return {
        "kind": _kind_of(error),
        "status": error.status,
        "code": error.code,
        "reason": error.message,
        "request_id": error.request_id,
    }


def _tell_of(call: str, task_id: str) -> None:
    """Tell a person of a task that the archive does not accept: this process alone knows of it."""
    log.critical("write it down: `adloom resolve … %s --adopt %s` adopts it later", call, task_id)


async def repeat(ledger: Ledger, api: ImageApi, clock: Clock, call: str) -> Accepted:
    """Send a purchase that has its answer once more, same bytes and key: what the probe of the API's memory pays for.

    Raises what ``submit`` raises. Before the POST leaves, the send is in the ledger as unknown and the edition is open
    again; only an answer that says what it made ends that.
    """
    attempt = ledger.facts(call).latest
    intent = attempt.intent
    if intent is None or not attempt.tasks:
        raise InputError(f"call {call} has no answer to repeat", remedy="Run the probe again.")
    send = attempt.sends + 1
    await ledger.decide(call, f"a{attempt.number}-send-{send}", {"outcome": Decided.BOUGHT, "probe": True})
    unknown = {"reason": "the probe sent it again, and no answer to that is recorded", "conflict": False}
    await ledger.note(call, f"a{attempt.number}-unknown-{send}", unknown)
    opening = Opening(ledger.store, ledger.edition, OLDER, clock)  # a probe has no heartbeat, as older runs had none
    await opening.ensure()
    try:
        accepted = await api.submit(intent.body.encode(), intent.idempotency_key)
    except OutcomeUnknown:
        raise
    except ApiError as error:
        await ledger.note(call, f"a{attempt.number}-refused-{send}", _refused(error))
        raise
    await _to_its_end(_record_repeat(ledger, call, attempt, accepted))
    return accepted


async def _to_its_end(record: Coroutine[None, None, None]) -> None:
    """Write something down also while the run is being cancelled. Nobody waits to hear of a failure then."""
    writing = asyncio.create_task(record)
    writing.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.shield(writing)


async def _record_repeat(ledger: Ledger, call: str, attempt: Attempt, accepted: Accepted) -> None:
    """Record the answer to a purchase that was repeated: the first task again, or another one."""
    task = accepted.task_id
    try:
        if task in attempt.tasks:
            replayed = {"kind": RefusalKind.REPLAYED, "reason": f"answered with task {task} again"}
            await ledger.note(call, f"a{attempt.number}-refused-{attempt.sends + 1}", replayed)
            return
        await ledger.accept(call, attempt.number, task, str(attempt.quoted), replayed=accepted.replayed)
    except StoreUnavailable:
        _tell_of(call, task)
        raise
    await hold(ledger, call, attempt.number, task)
