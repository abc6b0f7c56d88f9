"""Looks after an edition that nobody runs: fetches what is paid for and outstanding, reports the rest.

A sweep buys nothing and settles nothing. It waits for accepted tasks and downloads finished ones, as anyone may, even
alongside live runs; unknown outcomes and links about to die are counted for a person.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from adloom.archive.archiver import IMAGES_AT_ONCE, Archiver
from adloom.collect.collector import Collector
from adloom.collect.completion import Unreachable
from adloom.collect.poller import Poller
from adloom.core.errors import AdloomError, RecordUnreadable, StoreUnavailable
from adloom.core.facts import CallFacts, Stage
from adloom.core.limits import LINKS_LIVE_S
from adloom.guards.backlog import Backlog
from adloom.guards.gate import Gate
from adloom.ledger.edition import Edition
from adloom.ledger.heartbeats import has_failed_tasks
from adloom.ledger.index import entries_of
from adloom.ledger.ledger import Ledger
from adloom.plan.revision import read_newest
from adloom.ports import Store
from adloom.run.closing import close_if_over
from adloom.spend.held import held_calls
from adloom.world import World

log = logging.getLogger(__name__)

NEAR_EXPIRY_S = 6 * 3600
"""Our own: leaves time for four hourly sweeps, and for a person to act."""

PATIENCE_S = 600
"""A sweep waits this long for tasks of one edition; the next sweep finds them again."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep found in an edition, and what it fetched. All but ``fetched`` count calls in their present state."""

    edition: Edition
    fetched: int = 0
    in_flight: int = 0
    to_download: int = 0
    near_expiry: int = 0
    unknown: int = 0
    broken: str = ""
    """Why it could not be handled or published; empty if it could."""

    @property
    def needs_a_person(self) -> bool:
        return bool(self.unknown or self.near_expiry or self.broken)

    @property
    def is_clean(self) -> bool:
        return not (self.fetched or self.in_flight or self.to_download or self.unknown or self.broken)


async def is_at_rest(store: Store, edition: Edition, now: float) -> bool:
    """Whether manifest and heartbeats show that nothing is outstanding: then the ledger need not be read.

    A manifest or a plan that cannot be read shows nothing.
    """
    try:
        content, newest = await store.read(edition.key("manifest.json")), await read_newest(store, edition)
        if content is None or newest is None:
            return False
        manifest = json.loads(content)
        totals = manifest["totals"]
        is_settled = not (totals["credits_reserved"] or totals["credits_at_risk"] or totals["open"])
        if not is_settled or manifest["plan_sha256"] != newest.sha256:
            return False
    except (RecordUnreadable, ValueError, LookupError, TypeError, RecursionError):
        return False
    return not await has_failed_tasks(store, edition, now)


OUTAGES = 3
"""After this many unreadable editions in a row the store itself is away: the sweep ends."""

Publish = Callable[[Store, Edition], Awaitable[None]]


async def sweep_all(world: World, editions: Iterable[Edition], publish: Publish) -> list[Swept]:
    """Sweep one edition after another, and publish those for which something was fetched.

    A problem with one edition is named and does not affect the others.
    """
    found: list[Swept] = []
    outages = 0
    for edition in editions:
        swept, error = await _sweep_one(world, edition, publish)
        found.append(swept)
        outages = outages + 1 if isinstance(error, StoreUnavailable) else 0
        if outages == OUTAGES:
            raise error or StoreUnavailable("the archive is unreachable")
    return found


async def _sweep_one(world: World, edition: Edition, publish: Publish) -> tuple[Swept, Exception | None]:
    swept = Swept(edition)
    try:
        swept = await sweep(world, edition)
        if swept.fetched:
            await publish(world.store, edition)
    except Exception as error:  # noqa: BLE001 - links of other editions die while somebody looks at this one
        broken = error.message if isinstance(error, AdloomError) else type(error).__name__
        log.warning("%s could not be processed: %s", edition.prefix.rstrip("/"), broken)
        return replace(swept, broken=broken), error
    return swept, None


_UNFINISHED = (Stage.ACCEPTED, Stage.FAILING, Stage.UNSHOWN, Stage.COMPLETED)


async def sweep(world: World, edition: Edition) -> Swept:
    """Fetch what is paid for in an edition, as far as API and archive can be reached."""
    ledger = Ledger(world.store, edition, world.clock, writer=secrets.token_hex(8))
    if await is_at_rest(world.store, edition, world.clock.now()):
        if await entries_of(world.store, "open", edition):
            await ledger.load()
            await close_if_over(ledger, world.clock, world.is_gone)
        return Swept(edition)
    await ledger.load(sets_aside=True)
    ledger.set_odd_ones_aside()
    before = _of(ledger, *_UNFINISHED)
    adopted = await _fetch(world, ledger, edition, [facts.call for facts in before])
    await ledger.load(sets_aside=True)
    ledger.set_odd_ones_aside()
    left = _of(ledger, *_UNFINISHED)
    to_download = [facts for facts in left if facts.stage is Stage.COMPLETED]
    now = world.clock.now()
    await close_if_over(ledger, world.clock, world.is_gone)
    return Swept(
        edition,
        fetched=len(before) + adopted - len(left),
        in_flight=len(left) - len(to_download),
        to_download=len(to_download),
        near_expiry=sum(1 for facts in to_download if _link_age_s(facts, now) > LINKS_LIVE_S - NEAR_EXPIRY_S),
        unknown=len(held_calls(ledger, now)),
        broken="; ".join(sorted(ledger.damaged.values())),
    )


def _of(ledger: Ledger, *stages: Stage) -> list[CallFacts]:
    return [facts for facts in ledger.unended() if facts.stage in stages]


async def _fetch(world: World, ledger: Ledger, edition: Edition, calls: Sequence[str]) -> int:
    """Fetch for these calls, and for those whose task had failed and is completed after all; how many those are."""
    gate = Gate()
    poller = Poller(api=world.api, gate=gate, clock=world.clock, random=world.random, interval_s=world.poll_interval_s)
    collector, archiver = (
        Collector(ledger, poller),
        Archiver(world, edition, ledger, Backlog(gate, world.clock, places=IMAGES_AT_ONCE)),
    )
    polling = asyncio.create_task(poller.run())
    adopted: list[str] = []

    async def see_through(call: str) -> None:
        facts = ledger.facts(call)
        try:
            if facts.stage is Stage.ACCEPTED and facts.latest.accepted is not None:
                await collector.collect(call, facts.latest.accepted.unix_s)
            if ledger.facts(call).stage in (Stage.FAILING, Stage.UNSHOWN):
                await collector.read_on(call, archiver.archive)
            if ledger.facts(call).stage is Stage.COMPLETED:
                await archiver.archive(call)
        except Exception as error:  # noqa: BLE001 - a surprise in one call must not take the others down
            known = isinstance(error, Unreachable | AdloomError)
            log.warning(
                "call %s of %s is left for a later sweep: %s", call, edition.prefix, error if known else repr(error)
            )

    try:
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(see_through(call) for call in calls))
            adopted = await collector.failures.look_again()
            await asyncio.gather(*(see_through(call) for call in adopted))
    except TimeoutError:
        log.warning("tasks of %s that have not ended are left for a later sweep", edition.prefix)
    except Unreachable as error:
        log.warning("tasks of %s that had failed are left for a later sweep: %s", edition.prefix, error)
    finally:
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)
    return len(adopted)


def _link_age_s(facts: CallFacts, now: float) -> float:
    completed = facts.latest.completed
    return 0 if completed is None else now - completed.unix_s
