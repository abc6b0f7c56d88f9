"""From a plan to its frozen revision: the reservation that a run spends.

A run whose rows, cap and prices equal the newest revision's takes that one up; otherwise it makes revision N + 1, which
withdraws what revision N had not bought and is no longer wanted.

A run for some of the rows only takes up the whole plan too, where the cap has room for all of it, and leaves the rest
of its calls to others. Where there is room for its own part only, it makes a revision that reserves no more than that:
``selection`` says for what, and no other row has calls.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

from adloom.core.campaign import CampaignSource
from adloom.core.facts import CallFacts, Stage
from adloom.core.identity import row_digest
from adloom.core.origin import Buying
from adloom.core.outcomes import Outcome
from adloom.core.records import Decided
from adloom.core.selection import EVERYTHING, Choice
from adloom.ledger.edition import Edition, to_json
from adloom.ledger.ledger import Ledger
from adloom.plan.revision import Revision, planned_rows, read_newest, read_revision, revision_of, write_shards
from adloom.plan.survey import Survey, hashed, refuse_change
from adloom.plan.take_up import Found, Wanted, has_bought, header_of, refuse, refuse_mixture
from adloom.ports import Clock, Store


class PlanOutdated(Exception):
    """Another run has bought since the archive was read: read it again, then freeze."""


async def freeze(wanted: Wanted, store: Store, ledger: Ledger, clock: Clock) -> Revision:
    """Take up the newest revision if it says the same, else make the next one.

    The next one follows only the revision that was the newest before the archive was read. What was bought from a
    later one may not be known here, and would be planned, and bought, once more.

    Raises PlanRefused when the campaign shares no row with what the archive holds under its name or the edition was
    bought from another API, PlanOutdated when what is known is older than the plan or a purchase of another run,
    InputError when the rows are not those of the survey.
    """
    while True:
        newest = await read_newest(store, wanted.edition)
        if newest is not None and await _is_to_be_taken_up(wanted, newest, store, ledger):
            return newest
        if (newest.number if newest else 0) != wanted.seen:
            raise PlanOutdated
        revision, content = await _next(wanted, newest, store, ledger, clock)
        if await store.create(wanted.edition.key(f"plan-r{revision.number}.json"), content):
            if newest is not None:
                await _withdraw(store, wanted.edition, ledger, newest, revision)
            return revision


async def _is_to_be_taken_up(wanted: Wanted, newest: Revision, store: Store, ledger: Ledger) -> bool:
    """Whether the newest revision is the plan of this run too. Raises PlanRefused, PlanOutdated."""
    edition = wanted.edition
    shares = not ledger.calls() or await _shares_a_row(wanted.source, store, edition, newest, wanted.surveyed)
    refuse(wanted, Found(newest, has_bought(ledger), shares))
    former = await read_revision(store, edition, newest.number - 1)
    if former is not None:  # its maker may have died before it had withdrawn everything
        await _withdraw(store, edition, ledger, former, newest)
    if not (wanted.is_said_by(newest) and await _keeps_apart(store, edition, newest, wanted.choice)):
        return False
    return former is None or await _is_sound(store, edition, ledger, newest, wanted.known, wanted.part)


async def _next(
    wanted: Wanted, newest: Revision | None, store: Store, ledger: Ledger, clock: Clock
) -> tuple[Revision, bytes]:
    """The revision after the newest, lost ones included, and the bytes of its header; its shards are written."""
    planner, read = wanted.planner(), hashlib.sha256()
    planned = hashed(planner.plan(wanted.source.rows()), read)
    shards = [shard async for shard in write_shards(store, wanted.edition, planned)]
    refuse_change(wanted.source, wanted.surveyed.rows_sha256, read.hexdigest())
    token = secrets.token_hex(16)
    lost = [int(loss.get("plan_revision", 0)) for loss in ledger.losses]
    header = header_of(
        wanted, newest, planner, shards,
        number=max(newest.number if newest else 0, *lost, 0) + 1,
        sent=ledger.sent_count(), token=token, time=clock.now(), writer=ledger.writer,
    )  # fmt: skip
    content = to_json(header)
    return revision_of(header, content), content


async def take_up(store: Store, edition: Edition, ledger: Ledger, buying: Buying) -> Revision | None:
    """The newest revision as it is, for a run that buys nothing; None before the first. Raises PlanRefused."""
    newest = await read_newest(store, edition)
    if newest is not None:
        refuse_mixture(newest.origin, buying, has_bought=has_bought(ledger))
    return newest


async def _shares_a_row(
    source: CampaignSource, store: Store, edition: Edition, newest: Revision, surveyed: Survey
) -> bool:
    if surveyed.totals.known_rows or surveyed.rows_sha256 == newest.rows_sha256:
        return True
    old = {row_digest(planned.row) async for planned in planned_rows(store, edition, newest)}
    return any(row_digest(row) in old for row in source.rows())


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
        left = [call for call in planned.calls if ledger.stage(call.id) is Stage.UNBOUGHT]
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
    """Withdraw what the old revision had not bought and the new one does not want, so that it is never bought.

    Raises PlanOutdated when somebody has bought of it meanwhile: the new revision may want the same images again.
    """
    wanted = {call.id async for planned in planned_rows(store, edition, new) for call in planned.calls}
    planned_before = [call.id async for planned in planned_rows(store, edition, old) for call in planned.calls]
    came_back_free = [facts.call for facts in ledger.unended() if _may_be_bought_again(facts)]
    for call in dict.fromkeys((*planned_before, *came_back_free)):
        if call in wanted or ledger.stage(call) is not Stage.UNBOUGHT:
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
