"""From a plan to its frozen revision: the reservation that a run spends.

An edition holds ``plan-r<N>.json``, N from 1, each created once: campaign, edition, cap and total in credits, the
prices used, the API that is bought from (``origin``, ``stand_in``, and ``same_api`` where its address is another than
before), and the shards. A shard is ``plan/<sha256>.jsonl``, up to 500 rows in plan order, one JSON line each with the
row, its takes where one is above 1, the changes that reviewers wished for in them, and the calls that this revision
buys for it. A shard is written before the revision that names it, so a revision that exists is whole.

A run whose rows, cap and prices equal the newest revision's takes that one up; anything else makes revision N + 1,
which withdraws what revision N had not bought yet and no longer wants.

A run for some of the rows only takes up the whole plan too, where the cap has room for all of it, and leaves the rest
of its calls to others. Where there is room for its own part only, it makes a revision that reserves no more than that:
``selection`` says for what, and no other row has calls.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

from adloom.core.campaign import CampaignSource, Grouping, Prices, Reference, Row
from adloom.core.decision import NOTHING_DECIDED, Decision
from adloom.core.errors import InputError, PlanRefused, RecordUnreadable, SettingInvalid
from adloom.core.facts import CallFacts, Decided, Stage
from adloom.core.identity import row_digest, variant_key
from adloom.core.limits import MODELS
from adloom.core.origin import SANDBOX, UNKNOWN, Buying, Origin
from adloom.core.outcomes import Outcome
from adloom.core.planned import PlannedCall, PlannedRow, Variant
from adloom.core.prompt import changed_prompt, length_problem
from adloom.core.selection import EVERYTHING, Again, Choice
from adloom.ledger import Edition, Ledger, from_json, newest_plan, to_json, utc
from adloom.plan import Planner, Totals
from adloom.ports import Clock, Store

SCHEMA = "adloom.plan/1"
ROWS_PER_SHARD = 500


class PlanOutdated(Exception):
    """Another run has bought since the archive was read: read it again, then freeze."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One file of a revision's rows."""

    sha256: str
    rows: int
    calls: int

    @property
    def name(self) -> str:
        return f"plan/{self.sha256}.jsonl"


@dataclass(frozen=True, slots=True)
class Revision:
    """A frozen plan as the archive holds it. ``sha256`` is that of ``plan-r<number>.json``."""

    number: int
    campaign: str
    edition_token: str
    origin: Origin
    """The API that its images are bought from."""
    cap_credits: Decimal
    rows_sha256: str
    prices: Prices
    wanted: int
    calls: int
    new_takes: int
    """Takes that this revision was the first to ask for: only a run that asks for them again takes it up."""
    selection: str
    """What a revision that reserves a part of the plan is for; empty where it reserves the whole."""
    fallback: tuple[str, ...]
    """The models that its runs may fall back on: its cap has room for all of it at the dearest of them."""
    shards: tuple[Shard, ...]
    sha256: str


@dataclass(frozen=True, slots=True)
class Survey:
    """One reading of a whole campaign against what the archive holds: nothing is written."""

    totals: Totals
    asked: Totals
    rows_sha256: str
    files: tuple[Reference, ...] = ()
    """The reference files of what is asked for and left to buy, each content once."""


def survey(
    source: CampaignSource,
    known: Mapping[str, Outcome],
    only: frozenset[Again] = frozenset(),
    choice: Choice = EVERYTHING,
    decisions: Mapping[str, Decision] = NOTHING_DECIDED,
) -> Survey:
    """Plan every row without keeping any.

    Raises CampaignInvalid with every problem of the campaign's files, SettingInvalid for a change that makes a prompt
    too long.
    """
    planner = Planner(known, source.campaign.prices, only, choice.picker(), asked_only=True, decisions=decisions)
    rows = hashlib.sha256()
    files: dict[str, Reference] = {}
    for planned in _hashed(planner.plan(source.rows()), rows):
        if planned.calls:
            _refuse_long_changes(planned)
            files |= {each.content: each for each in planned.row.references if each.url is None}
    return Survey(planner.totals, planner.asked, rows.hexdigest(), tuple(files.values()))


def _refuse_long_changes(planned: PlannedRow) -> None:
    model = MODELS.get(planned.row.model)
    bounds = (model.prompt_characters, model.prompt_tokens) if model else ()
    for call in planned.calls:
        prompt = changed_prompt(planned.row.prompt, call.variants[0].change)
        if call.variants[0].change and (problem := length_problem(prompt, len(call.variants), *bounds)):
            numbers = ", ".join(str(variant.number) for variant in call.variants)
            raise SettingInvalid(
                f"{planned.row.job}/{planned.row.name}, variant {numbers}: with the reviewer's change, {problem}",
                remedy="Shorten the change: decide on the image again.",
            )


def refuse_change(source: CampaignSource, before: str, now: str) -> None:
    """Raises InputError when a campaign's rows, by their hashes, are not those that were looked at."""
    if before != now:
        raise InputError(
            f"{source.campaign.source}: its rows were changed while the run began; nothing was sent",
            remedy="Run the same command again, once nobody writes to the campaign's files.",
        )


def _hashed(rows: Iterator[PlannedRow], digest: hashlib._Hash) -> Iterator[PlannedRow]:
    for planned in rows:
        digest.update(to_json(row_to_json(planned.row)))
        yield planned


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
                    f"the archive holds another campaign named {newest.campaign!r}: no row of this file is in its plan",
                    remedy="Rename the campaign, choose another --edition, or say --replace to buy it as well.",
                )
            former = await read_revision(store, edition, newest.number - 1)
            if former is not None:  # its maker may have died before it had withdrawn everything
                await _withdraw(store, edition, ledger, former, newest)
            same = _says_the_same(newest, surveyed, cap_credits, source.campaign.prices)
            same = same and newest.selection == selection and newest.fallback == fallback
            same = same and buying.origin.address in ("", newest.origin.address or buying.origin.address)
            if same and (former is None or await _is_sound(store, edition, ledger, newest, known, part)):
                return newest
        planner = Planner(known, source.campaign.prices, only, choice.picker(), asked_only, decisions=decisions)
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


async def read_newest(store: Store, edition: Edition) -> Revision | None:
    """The newest revision of an edition, None before the first."""
    header = await newest_plan(store, edition)
    return None if header is None else _revision(header, to_json(header))


async def read_revision(store: Store, edition: Edition, number: int) -> Revision | None:
    """A revision by its number, None where there is none."""
    key = edition.key(f"plan-r{number}.json")
    content = await store.read(key)
    return None if content is None else _revision(from_json(content, key), content)


async def planned_rows(store: Store, edition: Edition, revision: Revision) -> AsyncIterator[PlannedRow]:
    """Every row of a revision in plan order, one shard in memory at a time."""
    for shard in revision.shards:
        for planned in await read_shard(store, edition, shard):
            yield planned


async def read_shard(store: Store, edition: Edition, shard: Shard) -> tuple[PlannedRow, ...]:
    """The rows of one shard. Raises RecordUnreadable when the file is missing or is not what the revision names."""
    content = await store.read(edition.key(shard.name))
    if content is None or hashlib.sha256(content).hexdigest() != shard.sha256:
        raise RecordUnreadable(
            f"{edition.key(shard.name)} is missing or damaged",
            remedy="Restore it from a backup, or run the campaign file again with --replace.",
        )
    return tuple(planned_from_json(from_json(line, shard.name)) for line in content.splitlines())


def row_to_json(row: Row) -> dict[str, Any]:
    """A row as a shard stores it."""
    return (
        {
            "job": row.job,
            "identity": row.identity,
            "name": row.name,
            "label": row.label,
            "prompt": row.prompt,
            "vars": row.variables,
            "model": row.model,
            "size": row.size,
            "quality": row.quality,
            "priority": row.priority,
            "references": [{"content": r.content, "url": r.url, "shown": r.shown} for r in row.references],
            "grouping": row.grouping,
            "variants": row.variants,
        }
        | ({"shared": row.shared} if row.shared else {})
        | ({"options": dict(row.options)} if row.options else {})
    )


def planned_from_json(record: Mapping[str, Any]) -> PlannedRow:
    """A planned row from its line of a shard."""
    row = Row(
        job=record["job"],
        identity=record["identity"],
        name=record["name"],
        label=record["label"],
        prompt=record["prompt"],
        variables=record["vars"],
        model=record["model"],
        size=record["size"],
        quality=record["quality"],
        priority=record["priority"],
        references=tuple(Reference(**reference) for reference in record["references"]),
        grouping=Grouping(record["grouping"]),
        variants=record["variants"],
        shared=record.get("shared", 0),
        options=tuple(sorted(record.get("options", {}).items())),
    )
    row_key = row_digest(row)
    takes, changes = record.get("takes", {}), record.get("changes", {})
    variants = tuple(
        Variant(variant_key(row_key, number, take), number, take, changes.get(str(number), ""))
        for number in range(1, row.variants + 1)
        for take in (takes.get(str(number), 1),)
    )
    calls = tuple(PlannedCall(call, tuple(variants[n - 1] for n in numbers)) for call, numbers in record["calls"])
    return PlannedRow(row, variants, calls)


def _planned_to_json(planned: PlannedRow) -> dict[str, Any]:
    takes = {str(variant.number): variant.take for variant in planned.variants if variant.take > 1}
    calls = [[call.id, [variant.number for variant in call.variants]] for call in planned.calls]
    changes = {str(variant.number): variant.change for variant in planned.variants if variant.change}
    more = ({"takes": takes} if takes else {}) | ({"changes": changes} if changes else {})
    return {**row_to_json(planned.row), "calls": calls} | more


async def _write_shards(store: Store, edition: Edition, rows: Iterator[PlannedRow]) -> AsyncIterator[Shard]:
    while batch := list(islice(rows, ROWS_PER_SHARD)):
        content = b"".join(to_json(_planned_to_json(planned)) for planned in batch)
        shard = Shard(hashlib.sha256(content).hexdigest(), len(batch), sum(len(planned.calls) for planned in batch))
        await store.create(edition.key(shard.name), content, media_type="application/x-ndjson")
        yield shard


def _revision(header: Mapping[str, Any], content: bytes) -> Revision:
    if header.get("schema") != SCHEMA:
        raise RecordUnreadable(
            f"the plan has the schema {header.get('schema')!r}, this version knows {SCHEMA!r}",
            remedy="Use the version of adloom that wrote the archive, or a newer one.",
        )
    return Revision(
        number=header["revision"],
        campaign=header["campaign"],
        edition_token=header["edition_token"],
        origin=Origin(header.get("origin", ""), header.get("stand_in", header["sandbox"])),
        cap_credits=Decimal(header["cap_credits"]),
        rows_sha256=header["rows_sha256"],
        prices=_prices_from_json(header["prices"]),
        wanted=header["totals"]["wanted"],
        calls=header["totals"]["calls"],
        new_takes=header["totals"].get("new_takes", 0),
        selection=header.get("selection", ""),
        fallback=tuple(header.get("fallback", ())),
        shards=tuple(Shard(**shard) for shard in header["shards"]),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _prices_to_json(prices: Prices) -> dict[str, Any]:
    return {
        model: {quality: str(each) for quality, each in price.items()} if isinstance(price, Mapping) else str(price)
        for model, price in prices.items()
    }


def _prices_from_json(record: Mapping[str, Any]) -> Prices:
    return {
        model: {quality: Decimal(each) for quality, each in price.items()}
        if isinstance(price, dict)
        else Decimal(price)
        for model, price in record.items()
    }


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
            remedy += " If it is the same API at another address, say so: --same-api REASON."
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
    async for planned in planned_rows(store, edition, newest):
        if not picker.takes(planned.row):
            continue
        left = [call for call in planned.calls if ledger.facts(call.id).stage is Stage.UNBOUGHT]
        to_buy = {variant.key for call in left for variant in call.variants}
        for variant in planned.variants[planned.row.shared :]:
            covered = variant.key in known and known[variant.key].covered
            if covered == (variant.key in to_buy):
                return False
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
    return facts.stage is Stage.UNBOUGHT and facts.intent is not None and not facts.intent["parent"]


def _is_withdrawn_for(facts: CallFacts, new: Revision) -> bool:
    intent = facts.latest.intent if facts.attempts and facts.latest.withdrawn else None
    return intent is not None and intent["outcome"] == Decided.WITHDRAWN and intent.get("revision", 0) >= new.number
