"""A campaign compared with its archive: what ``plan`` shows and ``run`` reserves. Writes nothing."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from adloom.core.campaign import Budget, CampaignSource, Pace
from adloom.core.chain import Chains
from adloom.core.decision import NOTHING_DECIDED, Decision, Verdict
from adloom.core.ended import Ended
from adloom.core.errors import Problem, RecordDamaged
from adloom.core.facts import CallFacts, Money, Stage, money_of
from adloom.core.identity import top_up_id
from adloom.core.origin import SANDBOX, UNKNOWN, Buying, Origin
from adloom.core.outcomes import Outcome, outcomes_in_short, shortfall
from adloom.core.pricing import Kind, cap_credits, price_of
from adloom.core.selection import WHOLE, Again, Choice, Selection, choose
from adloom.ledger.decisions import read_decisions
from adloom.ledger.edition import Edition
from adloom.ledger.ledger import Ledger
from adloom.plan.chains import refer
from adloom.plan.changes import Changes, compare
from adloom.plan.revision import Revision, planned_rows, read_newest
from adloom.plan.rollback import NOTHING, Lack, Past, read_past
from adloom.plan.survey import Survey, refuse_change, survey
from adloom.plan.take_up import has_bought
from adloom.ports import Clock, Store


@dataclass(frozen=True, slots=True)
class Share:
    """One of ``of`` runs that buy an edition together, on any machines; ``number`` counts them from 0.

    Each starts at its own part of the plan and continues around the whole, so that the others buy what a dead run
    leaves. The pace is divided by the number of live runs; the budget is that of the frozen plan, which they share.
    """

    number: int = 0
    of: int = 1


ALONE = Share()


@dataclass(frozen=True, slots=True)
class Wish:
    """What the person who starts a run asks for in addition to the campaign file; None keeps what the file says."""

    budget: Budget | None = None
    in_flight: int | None = None
    submits_per_minute: int | None = None
    only: frozenset[Again] = frozenset()
    selection: Selection = WHOLE
    sandbox: bool = False
    replace: bool = False
    share: Share = ALONE
    origin: Origin = UNKNOWN
    """The API that the run buys from."""
    same_api: str = ""
    """Why the API's address has changed, if a person says that it is the same API."""
    ceiling: Budget | None = None
    """A cap that neither the campaign's budget nor the wish's own can raise."""
    refresh: frozenset[str] = frozenset()
    """Chained jobs to buy again with what is approved now."""
    agreed: bool = True
    """Whether somebody agreed to the price. Without that a run collects what is paid for and buys nothing."""

    @property
    def buying(self) -> Buying:
        origin = Origin(SANDBOX, is_stand_in=True) if self.sandbox else self.origin
        return Buying(origin, self.sandbox, self.same_api)


@dataclass(frozen=True, slots=True)
class Assessment:
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
    """Credits of top-ups for which calls have given their reserve back."""
    cap: Decimal | None
    outstanding: Counter[Kind]
    """Images bought and not charged yet, or owed as top-ups, by what their price depends on."""
    decisions: Mapping[str, Decision]
    """What people had decided when the price was shown; empty if the run is not for rejected images."""
    lack: Lack
    """What the ledger is missing compared with its edition's earlier records; nothing is bought on such a ledger."""
    chains: Chains = field(default_factory=dict)
    """The references of chained jobs when the price was shown."""
    newest: Revision | None = None
    """The newest plan as it was before the ledger was read; None before the first."""
    bad_references: tuple[Problem, ...] = ()
    """What is wrong with references that the campaign had looked at, where there may be images to collect anyway."""
    changes: Changes | None = None
    """How the file differs from the newest plan; None if there is none or nothing has changed."""

    @property
    def bought_from(self) -> Origin | None:
        """The API that the edition was planned for so far; None before its first plan."""
        return None if self.newest is None else self.newest.origin

    @property
    def origin(self) -> Origin:
        """Whose money is spent: that of the API that the edition was bought from, else of the run's own."""
        known = self.bought_from is not None and (self.bought_from.address or self.bought_from.is_stand_in)
        return self.bought_from if self.bought_from is not None and known else self.wish.buying.origin

    @property
    def clash(self) -> str:
        """Why this run may not continue the edition; empty if it may."""
        if self.bought_from is None:
            return ""
        return self.wish.buying.refusal(self.bought_from, has_bought=has_bought(self.ledger))

    @property
    def to_buy(self) -> Decimal:
        """Credits that this run may still spend."""
        return self.surveyed.asked.credits + self.owed

    @property
    def most_in_flight(self) -> Decimal:
        """Credits that this run may have reserved at one time, at the plan's prices.

        By what these calls cost at another price, reserved and charged can pass the cap when the price moves.
        """
        asked = self.surveyed.asked
        return min(asked.credits, self.pace.in_flight * asked.dearest_call)

    @property
    def may_buy(self) -> bool:
        """Whether somebody agreed to the price, the ledger knows all that it knew, and all references are good."""
        return self.wish.agreed and not self.lack and not self.bad_references

    @property
    def may_resend(self) -> bool:
        """Whether an unknown purchase may be sent again, which may buy it: it counts as committed already."""
        return self.may_buy and (self.cap is None or self.committed.committed <= self.cap)

    @property
    def fits(self) -> bool:
        if self.cap is None or not self.to_buy:  # what is bought already is not a reason to stop
            return True
        return self.committed.committed + self.to_buy <= self.cap

    @property
    def reserves_a_part(self) -> bool:
        """Whether the cap has room for what this run is for, but not for the whole plan."""
        rest = self.surveyed.totals.credits - self.surveyed.asked.credits
        return self.fits and self.cap is not None and self.committed.committed + self.to_buy + rest > self.cap

    @property
    def waiting(self) -> Counter[tuple[str, str]]:
        """Images that wait for approvals, by their job and the one whose images have to be approved."""
        return self.surveyed.totals.waiting

    @property
    def fallback(self) -> tuple[str, ...]:
        """The fallback models that the cap has room for, whichever model makes what is left.

        Which these are is part of the reservation, so that no number of runs together can pass the cap.
        """
        models = self.source.campaign.fallback
        while models and self.cap is not None and self.most_credits(models) > self.cap:
            dearest = max(models, key=self._dearest)
            models = tuple(model for model in models if model != dearest)
        return models

    def most_credits(self, fallback: Sequence[str]) -> Decimal:
        """The most that the edition can cost, whichever makes the rest: each image's own model or one of these."""
        images = self._left_to_pay
        return self.committed.charged + sum(
            count * max(self._price(kind, model) for model in (kind.model, *fallback)) for kind, count in images.items()
        )

    @property
    def _left_to_pay(self) -> Counter[Kind]:
        part = self.surveyed.asked if self.reserves_a_part else self.surveyed.totals
        return part.images_by_kind + self.outstanding

    def _dearest(self, model: str) -> Decimal:
        """What an image from a model costs at most, of the kinds that are left to pay for."""
        return max((self._price(kind, model) for kind in self._left_to_pay), default=Decimal(0))

    def _price(self, kind: Kind, model: str) -> Decimal:
        return price_of(kind._replace(model=model), self.source.campaign.prices)

    @property
    def left_out(self) -> int:
        """Wanted images that are not covered and not part of this run."""
        return self.surveyed.totals.images - self.surveyed.asked.images

    @property
    def pace(self) -> Pace:
        """What all live runs of the edition keep to together."""
        own, wish = self.source.campaign.pace, self.wish
        return Pace(wish.in_flight or own.in_flight, wish.submits_per_minute or own.submits_per_minute)


async def assess(store: Store, clock: Clock, source: CampaignSource, edition: Edition, wish: Wish) -> Assessment:
    """Read everything, write nothing.

    Raises CampaignInvalid with every problem of the campaign's files, SettingInvalid for a selection that does not fit
    them.
    """
    decisions = await read_decisions(store, edition) if Verdict.REJECTED in wish.only else NOTHING_DECIDED
    ledger = Ledger(store, edition, clock, writer=secrets.token_hex(8))
    assessment = await _assess(source, edition, wish, (None, decisions), ledger)
    newest = assessment.newest
    if newest is None or newest.rows_sha256 == assessment.surveyed.rows_sha256:
        return assessment
    former = planned_rows(store, edition, newest)
    return replace(assessment, changes=await compare(source, assessment.known, newest.number, former))


async def reassess(assessment: Assessment) -> Assessment:
    """The same, after others have written to the archive. Raises InputError if the campaign's rows have changed."""
    asked = (assessment.choice, assessment.decisions)
    again = await _assess(assessment.source, assessment.edition, assessment.wish, asked, assessment.ledger)
    refuse_change(assessment.source, assessment.surveyed.rows_sha256, again.surveyed.rows_sha256)
    return replace(
        again,
        chains=assessment.chains,
        bad_references=assessment.bad_references,
    )


async def _assess(
    source: CampaignSource,
    edition: Edition,
    wish: Wish,
    asked: tuple[Choice | None, Mapping[str, Decision]],
    ledger: Ledger,
) -> Assessment:
    choice, decisions = asked
    chains: Chains = {}
    newest = await read_newest(ledger.store, edition)
    past = await read_past(ledger.store, edition)  # before the ledger: what others write meanwhile is not a sign then
    await ledger.load(sets_aside=True)
    found = _Found(ledger, past)
    del past  # 30 MB of 100,000 calls, with what is compared with it
    known = outcomes_in_short(found.calls())
    source.knows(known.__contains__)  # where others buy meanwhile: sizes that fit, and whose shared images are
    if choice is None:
        chains = await refer(source, ledger, known, wish.refresh)
        choice = choose(wish.selection, source.rows)
    surveyed = survey(source, known, wish.only, choice, decisions)
    budgets = filter(None, (wish.budget or source.campaign.budget, wish.ceiling))
    return Assessment(
        source=source,
        edition=edition,
        wish=wish,
        ledger=ledger,
        known=known,
        choice=choice,
        decisions=decisions,
        surveyed=surveyed,
        committed=found.committed,
        owed=found.owed,
        outstanding=found.outstanding,
        cap=min((cap_credits(budget, surveyed.totals.dearest) for budget in budgets), default=None),
        lack=found.lack,
        chains=chains,
        newest=newest,
    )


class _Found:
    """What the ledger comes to, from one reading of the facts of every call: 100,000 are not held together."""

    def __init__(self, ledger: Ledger, past: Past) -> None:
        self._ledger = ledger
        self._past: Past | None = past
        self.lack = NOTHING
        """What the ledger is missing, once all calls have been read."""
        self.committed = _given_up(ledger)
        self.owed = Decimal(0)
        self.outstanding: Counter[Kind] = Counter()

    def calls(self) -> Iterator[CallFacts | Ended]:
        """Every call in the order of their ids, counted in as it goes by. To be gone through once."""
        assert self._past is not None  # noqa: S101 - see above
        heard = self._past.heard()
        for call in sorted(self._ledger.calls()):
            try:
                facts = self._ledger.ended(call) or self._ledger.facts(call)
            except RecordDamaged as error:
                self._ledger.set_aside(call, error)
                continue
            heard.add(facts)
            if isinstance(facts, Ended):
                self.committed += Money(charged=facts.credits)
            else:
                self._add(facts)
            yield facts
        self.lack, self._past = self._past.lack_of(heard, self._ledger), None

    def _add(self, facts: CallFacts) -> None:
        money = money_of(facts)
        self.committed += money
        if facts.intent is not None:
            owed = _owed_images(facts, self._ledger)
            self.owed += facts.intent.credits / len(facts.intent.variants) * owed
            self.outstanding[facts.intent.kind] += owed + (len(facts.intent.variants) if money.reserved else 0)


def _given_up(ledger: Ledger) -> Money:
    """What purchases cost whose records are lost."""
    charged = (Decimal(str(loss["totals"].get("credits_charged", 0))) for loss in ledger.losses)
    return Money(charged=sum(charged, start=Decimal(0)))


def _owed_images(facts: CallFacts, ledger: Ledger) -> int:
    """How many images a call has given the reserve back for and nobody has asked for again."""
    top_up = shortfall(facts)  # its reserve is free as soon as its charge is known, whatever is still to be fetched
    if top_up is None or ledger.facts(top_up_id(top_up.parent, top_up.round)).stage is not Stage.UNBOUGHT:
        return 0
    return len(top_up.variants)
