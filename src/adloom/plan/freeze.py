"""From a plan to its frozen revision: the reservation that a run spends.

A run whose rows, cap and prices equal the newest revision's takes that one up; anything else makes revision N + 1,
which withdraws what revision N had not bought yet and no longer wants.

A run for some of the rows only takes up the whole plan too, where the cap has room for all of it, and leaves the rest
of its calls to others. Where there is room for its own part only, it makes a revision that reserves no more than that:
``selection`` says for what, and no other row has calls.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from adloom.core.campaign import CampaignSource, Prices
from adloom.core.decision import NOTHING_DECIDED, Decision
from adloom.core.errors import PlanRefused
from adloom.core.facts import CallFacts, Stage
from adloom.core.identity import row_digest
from adloom.core.origin import SANDBOX, UNKNOWN, Buying, Origin
from adloom.core.outcomes import Outcome
from adloom.core.records import Decided
from adloom.core.selection import EVERYTHING, Again, Choice
from adloom.ledger.edition import Edition, to_json, utc
from adloom.ledger.ledger import Ledger
from adloom.plan.planner import Planner
from adloom.plan.revision import (
    SCHEMA,
    Revision,
    _prices_to_json,
    _revision,
    _write_shards,
    planned_rows,
    read_newest,
    read_revision,
)
from adloom.plan.survey import Survey, _hashed, refuse_change
from adloom.ports import Clock, Store


class PlanOutdated(Exception):
    """Another run has bought since the archive was read: read it again, then freeze."""


async def freeze(  # noqa: PLR0913 - each is another thing the reservation depends on
    source: CampaignSource,
    store: Store,
    edition: Edition,
    ledger: Ledger,
    clock: Clock,
    known: Mapping[str, Outcome],
    *,
    surveyed: Survey,
    cap_credits: Decimal,
    only: frozenset[Again] = frozenset(),
    decisions: Mapping[str, Decision] = NOTHING_DECIDED,
    choice: Choice = EVERYTHING,
    asked_only: bool = False,
    fallback: tuple[str, ...] = (),
    buying: Buying = Buying(),  # noqa: B008 - a value that nobody can change
    replace: bool = False,
) -> Revision:
    """Take up the newest revision if it says the same, else make the next one.

    With ``asked_only`` it reserves nothing but what ``only`` and ``choice`` ask for. ``fallback`` are the models that
    the cap has room for.

    Raises PlanRefused when the campaign shares no row with what the archive holds under its name or the edition was
    bought from another API, PlanOutdated when
    ``known`` is older than a purchase of another run, InputError when the rows are not those of ``surveyed``.
    """
    part = choice if asked_only else EVERYTHING
    selection = _selection_of(part, only) if asked_only else ""
    while True:
        newest = await read_newest(store, edition)
        if newest is not None:
            refuse_mixture(newest.origin, buying, has_bought=has_bought(ledger))
            if ledger.calls() and not (replace or await _shares_a_row(source, store, edition, newest, surveyed)):
                raise PlanRefused(
                    f"the archive has another campaign named {newest.campaign!r}: no row of this file is in its plan",
                    remedy="Rename the campaign, choose another --edition, or use --replace to buy it as well.",
                )
            former = await read_revision(store, edition, newest.number - 1)
            if former is not None:  # its maker may have died before it had withdrawn everything
                await _withdraw(store, edition, ledger, former, newest)
            same = _says_the_same(newest, surveyed, cap_credits, source.campaign.prices)
            same = same and newest.selection == selection and newest.fallback == fallback
            same = same and newest.delivery == source.campaign.delivery.to_json()
            same = same and buying.origin.address in ("", newest.origin.address or buying.origin.address)
            same = same and await _keeps_apart(store, edition, newest, choice)
            if same and (former is None or await _is_sound(store, edition, ledger, newest, known, part)):
                return newest
        if surveyed.packing is not None:
            surveyed.packing.start()
        planner = Planner(
            known, source.campaign.prices, only, choice.picker(), asked_only, decisions=decisions,
            packing=surveyed.packing,
        )  # fmt: skip
        read = hashlib.sha256()
        planned = _hashed(planner.plan(source.rows()), read)
        shards = [shard async for shard in _write_shards(store, edition, planned)]
        refuse_change(source, surveyed.rows_sha256, read.hexdigest())
        frozen = planner.asked if asked_only else planner.totals
        header = {
            "schema": SCHEMA,
            "campaign": edition.campaign,
            "edition": edition.edition,
            "revision": newest.number + 1 if newest else 1,
            "edition_token": newest.edition_token if newest else secrets.token_hex(16),
            **_origin_of(newest, buying),
            "time": utc(clock.now()),
            "writer": ledger.writer,
            "cap_credits": str(cap_credits),
            "selection": selection,
            "fallback": list(fallback),
            "total_credits": str(frozen.credits),
            "prices": _prices_to_json(source.campaign.prices),
            "rows_sha256": surveyed.rows_sha256,
            **({"delivery": delivery} if (delivery := source.campaign.delivery.to_json()) else {}),
            "found": {"calls": ledger.sent_count()},
            "totals": {
                "rows": planner.totals.rows,
                "wanted": planner.totals.wanted,
                "calls": frozen.calls,
                "new_takes": planner.totals.new_takes,
            },
            "shards": [{"sha256": shard.sha256, "rows": shard.rows, "calls": shard.calls} for shard in shards],
        }
        content = to_json(header)
        revision = _revision(header, content)
        if await store.create(edition.key(f"plan-r{revision.number}.json"), content):
            if newest is not None:
                await _withdraw(store, edition, ledger, newest, revision)
            return revision


async def take_up(store: Store, edition: Edition, ledger: Ledger, buying: Buying) -> Revision | None:
    """The newest revision as it is, for a run that buys nothing; None before the first. Raises PlanRefused."""
    newest = await read_newest(store, edition)
    if newest is not None:
        refuse_mixture(newest.origin, buying, has_bought=has_bought(ledger))
    return newest


def _says_the_same(newest: Revision, surveyed: Survey, cap: Decimal, prices: Prices) -> bool:
    same_rows = newest.rows_sha256 == surveyed.rows_sha256 and not (newest.new_takes or surveyed.totals.new_takes)
    return same_rows and newest.cap_credits == cap and dict(newest.prices) == dict(prices)


def has_bought(ledger: Ledger) -> bool:
    """Whether any purchase of an edition has or may have made a task."""
    calls = (ledger.facts(call) for call in ledger.calls())
    return any(
        facts.stage is Stage.SENDING or any(attempt.tasks or attempt.open_unknowns for attempt in facts.attempts)
        for facts in calls
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


async def _shares_a_row(
    source: CampaignSource, store: Store, edition: Edition, newest: Revision, surveyed: Survey
) -> bool:
    if surveyed.totals.known_rows or surveyed.rows_sha256 == newest.rows_sha256:
        return True
    old = {row_digest(planned.row) async for planned in planned_rows(store, edition, newest)}
    return any(row_digest(row) in old for row in source.rows())


def _selection_of(part: Choice, only: frozenset[Again]) -> str:
    return " ".join((*(f"--only {status}" for status in sorted(only)), part.selection.words))


async def _is_sound(
    store: Store, edition: Edition, ledger: Ledger, newest: Revision, known: Mapping[str, Outcome], part: Choice
) -> bool:
    """Whether what a revision has left to buy is what is still to be bought.

    It is not when an image was bought otherwise since it was planned, nor when an image that was under way then has
    come back free since: no call of the plan would ever buy that one again.
    """
    picker = part.picker()
    owed: dict[str, bool] = {}
    """Images that a later row's call has to buy, and whether this run is for them."""
    async for planned in planned_rows(store, edition, newest):
        picked = picker.takes(planned.row)
        left = [call for call in planned.calls if ledger.facts(call.id).stage is Stage.UNBOUGHT]
        to_buy = {variant.key for call in left for variant in call.variants}
        for key in {variant.key for call in planned.calls for variant in call.variants if variant.owner} & owed.keys():
            if owed.pop(key) and key not in to_buy:
                return False
        for variant in () if planned.row.waits_for else planned.variants[planned.row.shared :]:
            covered = variant.key in known and known[variant.key].covered
            if picked and covered and variant.key in to_buy:
                return False
            if not covered and variant.key not in to_buy:
                owed[variant.key] = picked
    return not any(owed.values())


async def _keeps_apart(store: Store, edition: Edition, newest: Revision, choice: Choice) -> bool:
    """Whether no call of a revision buys both for rows that a run is for and for others."""
    if choice is EVERYTHING:
        return True
    picker = choice.picker()
    waiting: dict[str, bool] = {}
    async for planned in planned_rows(store, edition, newest):
        picked = picker.takes(planned.row)
        bought = [variant for call in planned.calls for variant in call.variants]
        if any(waiting.get(variant.key, picked) != picked for variant in bought if variant.owner):
            return False
        own = {variant.key for variant in bought}
        waiting |= {variant.key: picked for variant in planned.variants if variant.key not in own}
    return True


async def _withdraw(store: Store, edition: Edition, ledger: Ledger, old: Revision, new: Revision) -> None:
    """Close what the old revision had not bought and the new one does not want, so that nobody buys it any more.

    Raises PlanOutdated when somebody has bought of it meanwhile: the new revision may want the same images again.
    """
    wanted = {call.id async for planned in planned_rows(store, edition, new) for call in planned.calls}
    planned_before = [call.id async for planned in planned_rows(store, edition, old) for call in planned.calls]
    came_back_free = [call for call in ledger.calls() if _may_be_bought_again(ledger.facts(call))]
    for call in dict.fromkeys((*planned_before, *came_back_free)):
        if call in wanted or ledger.facts(call).stage is not Stage.UNBOUGHT:
            continue
        fields = {
            "outcome": Decided.WITHDRAWN,
            "reason": f"revision {new.number} does not want it",
            "revision": new.number,
        }
        facts = ledger.facts(call)
        while not _is_withdrawn_for(facts, new):  # a name that is taken may hold an older plan's withdrawal
            await ledger.decide(call, f"a{facts.next_attempt}-intent", fields)
            facts = await ledger.refresh(call)
            if facts.stage is not Stage.UNBOUGHT:
                raise PlanOutdated


def _may_be_bought_again(facts: CallFacts) -> bool:
    """Whether a run of an older plan may be about to buy the next attempt: a top-up belongs to its parent's chain."""
    return facts.stage is Stage.UNBOUGHT and facts.intent is not None and not facts.intent.parent


def _is_withdrawn_for(facts: CallFacts, new: Revision) -> bool:
    return bool(facts.attempts) and facts.latest.withdrawn_by >= new.number
