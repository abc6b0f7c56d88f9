"""The archived images that a delivery is made from, each with what its row says about delivery."""

from __future__ import annotations

from collections.abc import AsyncIterator, Container, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from adloom.core.campaign import CampaignSource
from adloom.core.crop import Focus
from adloom.core.delivery import DeliverySettings, settings_from_json
from adloom.core.errors import InputError
from adloom.core.manifest import takes_of
from adloom.core.outcomes import Outcome, Status, outcomes
from adloom.core.planned import PlannedRow, Variant
from adloom.core.rendition import Master
from adloom.ledger.edition import Edition
from adloom.ledger.ledger import Ledger
from adloom.plan.chains import refer
from adloom.plan.planner import Planner
from adloom.plan.revision import planned_rows, read_newest
from adloom.ports import Store


async def settings_of(store: Store, edition: Edition, source: CampaignSource | None) -> DeliverySettings:
    """What the campaign's head says: of the file, else of the newest plan. Raises InputError without any."""
    if source is not None:
        return source.campaign.delivery
    revision = await read_newest(store, edition)
    if revision is None:
        raise _no_plan(store, edition)
    return settings_from_json(revision.delivery)


async def masters_of(
    ledger: Ledger,
    source: CampaignSource | None,
    approved: Container[str] | None,
    moved: Mapping[str, Focus] = MappingProxyType({}),
) -> AsyncIterator[Master]:
    """The archived images in plan order: of the file's rows, else of the newest plan's.

    These are all takes that are ``approved``, by their variant keys, or for None the latest take of each variant.
    ``moved`` has the focus that a person set, by variant key. The ledger is loaded already.
    """
    known = outcomes([ledger.facts(call) for call in ledger.calls()])
    async for planned in _rows(ledger, source, known):
        for variant in _chosen(planned, known, approved):
            outcome = known.get(variant.key)
            if outcome is not None and outcome.status is Status.ARCHIVED and outcome.image is not None:
                yield _master(planned, variant, outcome, moved.get(variant.key))


def _chosen(planned: PlannedRow, known: Mapping[str, Outcome], approved: Container[str] | None) -> Iterable[Variant]:
    if approved is None:
        return planned.variants
    takes = (take for variant in planned.variants for take in takes_of(planned, variant, known))
    return (take for take in takes if take.key in approved)


async def _rows(
    ledger: Ledger, source: CampaignSource | None, known: Mapping[str, Outcome]
) -> AsyncIterator[PlannedRow]:
    if source is not None:
        source.knows(known.__contains__)
        await refer(source, ledger, known)
        for planned in Planner(known, source.campaign.prices).plan(source.rows()):
            yield planned
        return
    store, edition = ledger.store, ledger.edition
    revision = await read_newest(store, edition)
    if revision is None:
        raise _no_plan(store, edition)
    async for planned in planned_rows(store, edition, revision):
        yield planned


def _master(planned: PlannedRow, variant: Variant, outcome: Outcome, moved: Focus | None) -> Master:
    row, image = planned.row, outcome.image
    if image is None:
        raise ValueError("only archived images are masters")
    return Master(
        variant_key=variant.key,
        job=row.job,
        row=row.name,
        label=row.label,
        variant=variant.number,
        take=variant.take,
        asset=image.key,
        sha256=image.sha256,
        media_type=image.media_type,
        width_px=image.width_px,
        height_px=image.height_px,
        prompt=row.prompt,
        model=outcome.model or row.model,
        variables=row.variables,
        wanted=replace(row.delivery, focus=moved) if moved else row.delivery,
        is_moved=moved is not None,
        provenance=image.provenance,
    )


def _no_plan(store: Store, edition: Edition) -> InputError:
    return InputError(
        f"{store.address}/{edition.prefix.rstrip('/')} holds no plan, so there is nothing to deliver",
        remedy="Run the campaign first: adloom run <campaign file>.",
    )
