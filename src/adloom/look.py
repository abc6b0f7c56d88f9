"""A campaign held against what its archive already holds: what ``plan`` shows and ``run`` reserves. Writes nothing."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from adloom.changes import Changes, compare
from adloom.core.campaign import Budget, CampaignSource, Pace
from adloom.core.facts import CallFacts, Money, Stage, money_of
from adloom.core.identity import top_up_id
from adloom.core.outcomes import Outcome, Status, missing, outcomes
from adloom.core.pricing import cap_credits
from adloom.core.selection import WHOLE, Choice, Selection, choose
from adloom.freeze import Survey, planned_rows, read_newest, survey
from adloom.ledger import Edition, Ledger
from adloom.ports import Clock, Store


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person who starts a run asks for beside the campaign file; None leaves the file's own word."""

    budget: Budget | None = None
    in_flight: int | None = None
    submits_per_minute: int | None = None
    only: frozenset[Status] = frozenset()
    selection: Selection = WHOLE
    sandbox: bool = False
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Outlook:
    """A campaign against what the archive holds: what ``plan`` shows and ``run`` asks about."""

    source: CampaignSource
    edition: Edition
    wish: Wish
    ledger: Ledger
    known: dict[str, Outcome]
    choice: Choice
    surveyed: Survey
    committed: Money
    owed: Decimal
    """Credits of top-ups that calls have given their reserve back for."""
    cap: Decimal | None
    changes: Changes | None = None
    """What the file says otherwise than the newest plan; None where there is none, or where nothing is changed."""

    @property
    def to_buy(self) -> Decimal:
        """Credits that this run may still spend."""
        return self.surveyed.asked.credits + self.owed

    @property
    def fits(self) -> bool:
        if self.cap is None or not self.to_buy:  # what is bought already is no reason to stop
            return True
        return self.committed.committed + self.to_buy <= self.cap

    @property
    def reserves_a_part(self) -> bool:
        """Whether the cap has room for what this run is for, but not for the whole plan."""
        rest = self.surveyed.totals.credits - self.surveyed.asked.credits
        return self.fits and self.cap is not None and self.committed.committed + self.to_buy + rest > self.cap

    @property
    def left_out(self) -> int:
        """Wanted images that nothing covers and that this run is not for."""
        return self.surveyed.totals.images - self.surveyed.asked.images

    @property
    def pace(self) -> Pace:
        own = self.source.campaign.pace
        return Pace(self.wish.in_flight or own.in_flight, self.wish.submits_per_minute or own.submits_per_minute)


async def look(store: Store, clock: Clock, source: CampaignSource, edition: Edition, wish: Wish) -> Outlook:
    """Read everything, write nothing.

    Raises CampaignInvalid with every problem of the campaign's files, SettingInvalid for a selection that does not fit
    them.
    """
    choice = choose(wish.selection, source.rows)
    outlook = await _look(source, edition, wish, choice, Ledger(store, edition, clock, writer=secrets.token_hex(8)))
    newest = await read_newest(store, edition)
    if newest is None or newest.rows_sha256 == outlook.surveyed.rows_sha256:
        return outlook
    former = planned_rows(store, edition, newest)
    return replace(outlook, changes=await compare(source, outlook.known, newest.number, former))


async def look_again(outlook: Outlook) -> Outlook:
    """The same, after others have written to the archive."""
    return await _look(outlook.source, outlook.edition, outlook.wish, outlook.choice, outlook.ledger)


async def _look(source: CampaignSource, edition: Edition, wish: Wish, choice: Choice, ledger: Ledger) -> Outlook:
    await ledger.load()
    calls = [ledger.facts(call) for call in ledger.calls()]
    known = outcomes(calls)
    surveyed = survey(source, known, wish.only, choice)
    budget = wish.budget or source.campaign.budget
    return Outlook(
        source=source,
        edition=edition,
        wish=wish,
        ledger=ledger,
        known=known,
        choice=choice,
        surveyed=surveyed,
        committed=sum((money_of(facts) for facts in calls), start=Money()),
        owed=_owed(calls, ledger),
        cap=None if budget is None else cap_credits(budget, surveyed.totals.dearest),
    )


def _owed(calls: Sequence[CallFacts], ledger: Ledger) -> Decimal:
    total = Decimal(0)
    for facts in calls:
        top_up = missing(facts)
        if top_up is None or facts.intent is None:
            continue
        if ledger.facts(top_up_id(top_up.parent, top_up.round)).stage is Stage.UNBOUGHT:
            total += Decimal(facts.intent["credits"]) / len(facts.intent["variants"]) * len(top_up.variants)
    return total
