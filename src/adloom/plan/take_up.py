"""Whether a run takes up the newest plan or makes the next one: decided from values, without reading or writing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from adloom.core.campaign import CampaignSource
from adloom.core.decision import NOTHING_DECIDED, Decision
from adloom.core.errors import PlanRefused
from adloom.core.facts import Stage
from adloom.core.origin import SANDBOX, UNKNOWN, Buying, Origin
from adloom.core.outcomes import Outcome
from adloom.core.selection import EVERYTHING, Again, Choice
from adloom.ledger.edition import Edition, utc
from adloom.ledger.ledger import Ledger
from adloom.plan.planner import Planner
from adloom.plan.revision import SCHEMA, Revision, Shard, prices_to_json
from adloom.plan.survey import Survey


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run wants of the plan: the campaign as it was compared with the archive, and its limits.

    With ``asked_only`` it reserves nothing but what ``only`` and ``choice`` ask for.
    """

    source: CampaignSource
    edition: Edition
    known: Mapping[str, Outcome]
    """What the archive holds of each wanted image."""
    surveyed: Survey
    cap_credits: Decimal
    only: frozenset[Again] = frozenset()
    decisions: Mapping[str, Decision] = field(default_factory=lambda: NOTHING_DECIDED)
    choice: Choice = EVERYTHING
    asked_only: bool = False
    fallback: tuple[str, ...] = ()
    """The models that the cap has room for."""
    buying: Buying = Buying()  # noqa: RUF009 - a value that nobody can change
    replace: bool = False
    seen: int = 0
    """The number of the newest plan before the archive was read, 0 for none. What is known is no older."""

    @property
    def part(self) -> Choice:
        """What the plan is for."""
        return self.choice if self.asked_only else EVERYTHING

    @property
    def selection(self) -> str:
        """The part in words; empty for a plan of everything."""
        if not self.asked_only:
            return ""
        parts = (*(f"only {status}" for status in sorted(self.only)), self.part.selection.words)
        return ", ".join(filter(None, parts))

    def planner(self) -> Planner:
        """A planner of these rows, for one reading."""
        if self.surveyed.packing is not None:
            self.surveyed.packing.start()
        return Planner(
            self.known,
            self.source.campaign.prices,
            self.only,
            self.choice.picker(),
            self.asked_only,
            decisions=self.decisions,
            packing=self.surveyed.packing,
        )

    def is_said_by(self, newest: Revision) -> bool:
        """Whether a revision says all that this run wants."""
        surveyed, campaign, origin = self.surveyed, self.source.campaign, self.buying.origin
        return (
            newest.rows_sha256 == surveyed.rows_sha256
            and not (newest.new_takes or surveyed.totals.new_takes)
            and newest.cap_credits == self.cap_credits
            and dict(newest.prices) == dict(campaign.prices)
            and newest.selection == self.selection
            and newest.fallback == self.fallback
            and newest.delivery == campaign.delivery.to_json()
            and origin.address in ("", newest.origin.address or origin.address)
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What the archive says about its newest plan and this run."""

    newest: Revision
    has_bought: bool
    """Whether the edition has or may have made a task."""
    shares_a_row: bool
    """Whether the plan and the campaign have a row in common."""


def refuse(wanted: Wanted, found: Found) -> None:
    """Raises PlanRefused where the edition was bought from another API, or is another campaign of the same name."""
    refuse_mixture(found.newest.origin, wanted.buying, has_bought=found.has_bought)
    if not (found.shares_a_row or wanted.replace):
        raise PlanRefused(
            f"the archive has another campaign named {found.newest.campaign!r}: no row of this file is in its plan",
            remedy="Rename the campaign, choose another --edition, or use --replace to buy it as well.",
        )


def header_of(  # noqa: PLR0913 - what is in a plan and does not come from the campaign
    wanted: Wanted,
    newest: Revision | None,
    planner: Planner,
    shards: list[Shard],
    *,
    number: int,
    sent: int,
    token: str,
    time: float,
    writer: str,
) -> dict[str, Any]:
    """The header of revision ``number``, which follows ``newest``, from a planner that has read every row.

    ``sent`` counts the calls that may have been bought, ``token`` is that of a first plan.
    """
    campaign, totals = wanted.source.campaign, planner.totals
    frozen = planner.asked if wanted.asked_only else totals
    delivery = campaign.delivery.to_json()
    return {
        "schema": SCHEMA,
        "campaign": wanted.edition.campaign,
        "edition": wanted.edition.edition,
        "revision": number,
        "edition_token": newest.edition_token if newest else token,
        **_origin_of(newest, wanted.buying),
        "time": utc(time),
        "writer": writer,
        "cap_credits": str(wanted.cap_credits),
        "selection": wanted.selection,
        "fallback": list(wanted.fallback),
        "total_credits": str(frozen.credits),
        "prices": prices_to_json(campaign.prices),
        "rows_sha256": wanted.surveyed.rows_sha256,
        **({"delivery": delivery} if delivery else {}),
        "found": {"calls": sent},
        "totals": {
            "rows": totals.rows,
            "wanted": totals.wanted,
            "calls": frozen.calls,
            "new_takes": totals.new_takes,
        },
        "shards": [{"sha256": shard.sha256, "rows": shard.rows, "calls": shard.calls} for shard in shards],
    }


def has_bought(ledger: Ledger) -> bool:
    """Whether any purchase of an edition has or may have made a task."""
    return any(map(ledger.ended, ledger.calls())) or any(
        facts.stage is Stage.SENDING or any(attempt.tasks or attempt.open_unknowns for attempt in facts.attempts)
        for facts in ledger.unended()
    )


def refuse_mixture(bought_from: Origin, buying: Buying, *, has_bought: bool) -> None:
    """Raises PlanRefused where an edition that was bought from an API must not go on with another."""
    if refusal := buying.refusal(bought_from, has_bought=has_bought):
        remedy = "Choose another --edition or another --archive."
        if not (bought_from.is_stand_in or buying.origin.is_stand_in):
            remedy += " If it is the same API at a new address, use --same-api REASON."
        raise PlanRefused(f"{refusal}; nothing was sent", remedy=remedy)


def _origin_of(newest: Revision | None, buying: Buying) -> dict[str, Any]:
    """What a revision keeps of the API: ``sandbox`` is what older versions look at."""
    was = UNKNOWN if newest is None else newest.origin
    now = buying.origin if buying.origin.address else was
    kept: dict[str, Any] = {"sandbox": buying.sandbox or now.address == SANDBOX}
    if now.address:
        kept |= {"origin": now.address, "stand_in": now.is_stand_in}
    if buying.same_api and was.address not in ("", now.address):
        kept["same_api"] = {"was": was.address, "reason": buying.same_api}
    return kept
