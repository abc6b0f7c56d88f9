"""What chained jobs have as references: read from an edition, and recorded before they are bought."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from adloom.core.campaign import CampaignSource
from adloom.core.chain import (
    FOLDER,
    NO_CHAINS,
    Chain,
    Chains,
    Master,
    Masters,
    chain_from,
    chain_of,
    is_record,
    record_of,
)
from adloom.core.decision import Verdict
from adloom.core.errors import InputError, RecordUnreadable, SettingInvalid
from adloom.core.outcomes import Outcome, Status, outcomes
from adloom.ledger.decisions import read_decisions
from adloom.ledger.edition import Edition, from_json, to_json
from adloom.ledger.ledger import Ledger
from adloom.plan.planner import Planner
from adloom.ports import Store


async def refer(
    source: CampaignSource, ledger: Ledger, known: Mapping[str, Outcome], refresh: Collection[str] = ()
) -> Chains:
    """Give a campaign's chained jobs the images of others that are approved in an edition.

    Jobs to ``refresh`` get what is approved now. The ledger is loaded already; writes nothing.

    Raises SettingInvalid for one that is not chained or has nothing to be refreshed with, CampaignInvalid with every
    problem of the campaign's files, RecordUnreadable.
    """
    _check_refresh(source, refresh)
    if not source.chained:
        return NO_CHAINS
    decisions = await read_decisions(ledger.store, ledger.edition)
    approved_keys = {key for key, decision in decisions.items() if decision.verdict is Verdict.APPROVED}
    recorded = await _recorded(ledger.store, ledger.edition)
    chains: dict[str, Chain] = {}
    approved: dict[str, tuple[Master, ...]] = {}
    while left := {job: names for job, names in source.chained.items() if job not in chains}:
        ready = {job: names for job, names in left.items() if not left.keys() & set(names)}
        source.refer(chains)
        wanted = {name for names in ready.values() for name in names} - approved.keys()
        approved |= _approved(source, ledger, known, approved_keys, wanted)
        for job, names in ready.items():
            if job in refresh:
                _refuse_nothing(job, names, approved)
            chains[job] = chain_of(job, names, approved, recorded.get(job), refresh=job in refresh)
    source.refer(chains)
    return chains


def _check_refresh(source: CampaignSource, refresh: Collection[str]) -> None:
    for job in refresh:
        if job not in source.chained:
            known = ", ".join(source.chained) or "none in this campaign"
            raise SettingInvalid(
                f"refresh {job[:60]}: no such job has approved images of another as references",
                remedy=f"Jobs that have: {known}.",
            )


def _refuse_nothing(job: str, names: Iterable[str], approved: Masters) -> None:
    if lacking := next((name for name in names if not approved[name]), ""):
        raise SettingInvalid(
            f"refresh {job}: no image of job {lacking} is approved", remedy="Approve images on the page first."
        )


def _approved(
    source: CampaignSource, ledger: Ledger, known: Mapping[str, Outcome], keys: Collection[str], jobs: Collection[str]
) -> dict[str, tuple[Master, ...]]:
    """The approved images of jobs, of each variant the latest take, in plan order and each picture once."""
    found: dict[str, dict[str, Master]] = {job: {} for job in jobs}
    for planned in Planner(known, source.campaign.prices).plan(source.rows()) if jobs else ():
        if planned.row.job not in found:
            continue
        for variant in planned.variants:  # also those that an earlier row buys, maybe another job's
            outcome = known.get(variant.key)
            if variant.key in keys and outcome is not None and outcome.status is Status.ARCHIVED:
                master = _master(ledger, variant.key, outcome.call)
                found[planned.row.job].setdefault(master.sha256, master)
    return {job: tuple(masters.values()) for job, masters in found.items()}


def _master(ledger: Ledger, key: str, call: str) -> Master:
    """The image of an archived variant, by the facts of its call: what is planned with holds no images."""
    image = outcomes([ledger.facts(call)])[key].image
    assert image is not None  # noqa: S101 - it is archived
    return Master(key, image.key, image.sha256, image.media_type, image.size_bytes, image.width_px, image.height_px)


async def _recorded(store: Store, edition: Edition) -> dict[str, Chain]:
    """The newest record of each job. Raises RecordUnreadable."""
    names = [listed.key.removeprefix(edition.prefix) async for listed in store.list(edition.key(FOLDER))]
    newest: dict[str, Chain] = {}
    for name in filter(is_record, names):
        job, chain = await _read(store, edition, name)
        if job not in newest or chain.recorded > newest[job].recorded:
            newest[job] = chain
    return newest


async def _read(store: Store, edition: Edition, name: str) -> tuple[str, Chain]:
    key = edition.key(name)
    try:
        return chain_from(name, from_json(await store.read(key) or b"", key))
    except ValueError as error:
        raise RecordUnreadable(f"{key}: {error}", remedy="Restore it from a backup.") from error


async def record(
    store: Store, edition: Edition, chains: Chains, bought: Collection[str], *, time: str, writer: str
) -> None:
    """Write down what chained jobs have as references, for those that are about to be ``bought``.

    Raises InputError where another run has begun one of the jobs with other images: a plan without these would take
    away what that run is buying.
    """
    for job, chain in chains.items():
        name, content = record_of(job, chain, time, writer)
        if job in bought and not chain.is_recorded and await store.create(edition.key(name), to_json(content)):
            continue
        theirs = await _of(store, edition, name)
        if theirs is not None and (chain.is_recorded or theirs.of != chain.of):
            raise InputError(
                f"another run has just begun to buy job {job} with other approved images; nothing was sent",
                remedy="Run the same command again.",
            )


async def _of(store: Store, edition: Edition, name: str) -> Chain | None:
    """What a record says, None where there is none. Raises RecordUnreadable."""
    return None if await store.read(edition.key(name)) is None else (await _read(store, edition, name))[1]
