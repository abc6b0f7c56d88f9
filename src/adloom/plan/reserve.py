"""How a run begins: it tests the archive, starts its heartbeat, and freezes the plan as the reservation."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from adloom.core.errors import PlanRefused, SettingInvalid
from adloom.core.exits import Stop, StopReason
from adloom.core.limits import CREDITS_PER_USD
from adloom.ledger.create_once import prove_create_once
from adloom.ledger.edition import utc
from adloom.ledger.heartbeats import Heartbeat
from adloom.ledger.index import Entry, create_entry
from adloom.plan.assessment import Assessment, reassess
from adloom.plan.chains import record
from adloom.plan.freeze import PlanOutdated, freeze, take_up
from adloom.plan.revision import Revision
from adloom.plan.take_up import Wanted
from adloom.plan.text import dollars
from adloom.world import World

PROBLEMS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Reservation:
    """A frozen plan, and the campaign as it was compared with the archive when it was frozen."""

    assessment: Assessment
    revision: Revision
    heartbeat: Heartbeat


async def reserve(world: World, assessment: Assessment) -> Reservation:
    """Check the archive, begin to show a heartbeat and freeze the plan.

    A run that may not buy freezes no new plan if there is one: that would stop the runs that buy from it.

    Raises SettingInvalid without a budget, InputError for a reference file that has changed since it was planned,
    StoreRefused for an archive that cannot be used, StoreUnavailable, PlanRefused.
    """
    if assessment.cap is None:
        raise SettingInvalid(
            f"{assessment.source.campaign.source} has no budget",
            remedy="Add `budget: {usd: 12.00}` or --budget-usd 12.",
        )
    if world.files is not None and assessment.may_buy:
        await world.files.check(assessment.surveyed.files)
    ledger, edition = assessment.ledger, assessment.edition
    await prove_create_once(world.store, edition.key(f"runs/{ledger.writer}.probe.json"))
    heartbeat = Heartbeat(world.store, edition, world.clock, ledger.writer, world.process, ledger.facts_ever)
    await heartbeat.beat()
    if await ledger.grew():  # a person may have taken long to say yes
        assessment = await reassess(assessment)
    revision = None if assessment.may_buy else await take_up(world.store, edition, ledger, assessment.wish.buying)
    if revision is None and assessment.bought_from is None:  # the index knows an edition from its first plan on
        await create_entry(world.store, "open", Entry(edition, ledger.writer), world.clock.now())
    while revision is None:
        if assessment.lack:
            raise PlanRefused(older(assessment).message, remedy=older(assessment).remedy)
        if assessment.may_buy and assessment.fits:
            time, bought = utc(world.clock.now()), assessment.surveyed.chained
            await record(world.store, edition, assessment.chains, bought, time=time, writer=ledger.writer)
        if (revision := await _freeze(world, assessment)) is None:
            assessment = await reassess(assessment)
    return Reservation(assessment, revision, heartbeat)


def unconfirmed(assessment: Assessment) -> Stop:
    """Why a run whose price nobody agreed to buys nothing."""
    to_buy = assessment.to_buy
    would = f"spend {dollars(to_buy, assessment.origin)}" if to_buy else "request the missing images"
    message = f"nothing was bought: this run would {would}, and nobody agreed to that"
    return Stop(StopReason.UNCONFIRMED, message, "Use --yes to buy: without a terminal a run cannot ask.")


def unusable_references(assessment: Assessment) -> Stop:
    """Why a run buys nothing when references that it would buy with cannot be used."""
    problems = assessment.bad_references
    message = "nothing was bought: " + "; ".join(map(str, problems[:PROBLEMS_SHOWN]))
    more = f"; and {len(problems) - PROBLEMS_SHOWN} more" if len(problems) > PROBLEMS_SHOWN else ""
    return Stop(StopReason.REFERENCES, message + more, "Correct these references, then run the campaign again.")


def older(assessment: Assessment) -> Stop:
    """Why a run buys nothing when its edition has recorded more than the ledger knows."""
    edition = assessment.edition
    message = (
        f"the ledger of {edition.campaign}/{edition.edition} {assessment.lack.problem}; "
        "nothing is bought, so that nothing is bought twice"
    )
    if assessment.lack.damaged:
        remedy = "Restore these records from a backup. What the other records say is paid for is collected meanwhile."
        return Stop(StopReason.OLDER_LEDGER, message, remedy)
    remedy = (
        "If the archive is a stale replica, run again later; if ledger/ or the whole edition was deleted or restored, "
        "bring back its latest state. Otherwise `adloom verify TARGET --repair` rebuilds what it can, and "
        "`--accept-loss REASON` declares the rest lost."
    )
    return Stop(StopReason.OLDER_LEDGER, message, remedy)


def over_budget(assessment: Assessment) -> Stop:
    """Why nothing of a plan that does not fit its cap is bought."""
    committed, to_buy, cap = assessment.committed.committed, assessment.to_buy, assessment.cap or Decimal(0)
    origin = assessment.origin
    message = (
        f"the plan needs {dollars(to_buy, origin)} more, {dollars(committed, origin)} is spent or reserved, "
        f"and the budget is {dollars(cap, origin)}"
    )
    least = ((committed + to_buy) / CREDITS_PER_USD).quantize(Decimal("0.01"), ROUND_CEILING)  # less is not enough
    remedy = f"Raise the budget to at least {origin.word}${least:f}, or ask for fewer variants; nothing was sent."
    return Stop(StopReason.BUDGET, message, remedy)


def wanted_of(assessment: Assessment) -> Wanted:
    """What a run wants of the plan."""
    return Wanted(
        assessment.source,
        assessment.edition,
        assessment.known,
        assessment.surveyed,
        assessment.cap or Decimal(0),
        only=assessment.wish.only,
        decisions=assessment.decisions,
        choice=assessment.choice,
        asked_only=assessment.reserves_a_part,
        fallback=assessment.fallback,
        buying=assessment.wish.buying,
        replace=assessment.wish.replace,
        seen=assessment.newest.number if assessment.newest else 0,
    )


async def _freeze(world: World, assessment: Assessment) -> Revision | None:
    """The revision to buy from, None when the archive has to be read again first."""
    try:
        return await freeze(wanted_of(assessment), world.store, assessment.ledger, world.clock)
    except PlanOutdated:
        return None
