"""Delivers an edition as requested: which masters, for which channels, to where, and signed by whom."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from adloom.channels.shipped import shipped_channels
from adloom.core.campaign import CampaignSource
from adloom.core.counting import counted
from adloom.core.decision import Decision, Verdict
from adloom.core.delivery import AUTO, DeliverySettings
from adloom.core.errors import InputError
from adloom.core.rendition import MasterOrders, orders_of
from adloom.deliver.delivery import Delivery, Place, Result, deliver, refuse_other_edition
from adloom.deliver.marks.signing import CERTIFICATE, read_signing
from adloom.deliver.masters import masters_of, settings_of
from adloom.deliver.workshop import Workshop
from adloom.ledger.decisions import read_decisions
from adloom.ledger.ledger import Ledger
from adloom.ports import Store

FOLDER = "delivery/"
"""The default folder of a delivery within its edition."""

MOST_WORKERS = 8
"""Our own: each worker is two processes of up to some 300 MB."""


@dataclass(frozen=True, slots=True)
class DeliverRequest:
    """What was requested. ``approved`` None means approved images if there are any decisions, else all."""

    channels: tuple[str, ...] = ()
    approved: bool | None = None
    name: str = ""
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A finished delivery, and what should be said about it in addition to the counts."""

    result: Result
    address: str
    notes: tuple[str, ...]
    proposed: int = 0
    """Images that were cut around a point that adloom proposed."""


async def deliver_edition(
    ledger: Ledger,
    source: CampaignSource | None,
    request: DeliverRequest,
    to: Store | None = None,
    environ: Mapping[str, str] = os.environ,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Delivered:
    """Deliver the edition of a ledger, with the settings of a campaign file or else of its newest plan.

    ``to`` is the root of where it goes; None for the edition's own folder. The ledger is loaded here.

    Raises InputError and SettingInvalid before anything is written, StoreError, DecoderBroken,
    or SettingInvalid for a signing command that fails, after.
    """
    archive, edition = ledger.store, ledger.edition
    signing = read_signing(environ)
    settings = await settings_of(archive, edition, source)
    wanted, notes = await _wanted(ledger, source, request, settings)
    if signing is not None:
        async with Workshop(signing) as workshop:
            await workshop.prove_signing()
    notes = (*notes, *_lost_marks(wanted, is_signed=signing is not None))
    if not settings.marking.on:
        notes = (*notes, "marking is off: no file says that it was generated")
    place = Place(archive, edition.key(FOLDER)) if to is None else Place(to)
    if to is not None:
        await refuse_other_edition(place, edition)
    delivery = Delivery(
        archive=archive,
        edition=edition,
        place=place,
        marking=settings.marking,
        signing=signing,
        channels={**shipped_channels(), **settings.channels},
        keep_others=bool(request.channels),
    )
    workers = min(request.workers or os.cpu_count() or 1, MOST_WORKERS, len(wanted))
    result = await deliver(delivery, wanted, workers, progress)
    if proposed := len({line["master"]["key"] for line in result.lines if line["focus_source"] == AUTO}):
        are = "is" if proposed == 1 else "are"
        notes = (*notes, f"{counted(proposed, 'image')} {are} cut around a point that adloom proposed: {_LOOK}")
    if result.former:
        notes = (*notes, f"files of earlier deliveries that are no part of this one: {len(result.former):,}")
    return Delivered(result, place.address, notes, proposed)


async def _wanted(
    ledger: Ledger,
    source: CampaignSource | None,
    request: DeliverRequest,
    settings: DeliverySettings,
) -> tuple[list[MasterOrders], tuple[str, ...]]:
    """What to make, and what should be said about the choice of masters."""
    archive, edition = ledger.store, ledger.edition
    await ledger.load()
    decisions = await read_decisions(archive, edition)
    approved = _approved(decisions, request)
    moved = {key: decision.focus for key, decision in decisions.items() if decision.focus is not None}
    masters = [each async for each in masters_of(ledger, source, approved, moved)]
    known = {**shipped_channels(), **settings.channels}
    today = datetime.now(UTC).date().isoformat()
    wanted = [each for each in orders_of(masters, known, request.channels, request.name, today) if each.orders]
    if not masters:
        which = "archived" if approved is None else "approved"
        raise InputError(f"{edition.prefix.rstrip('/')} has no {which} image yet", remedy=_REMEDIES[which])
    if not wanted:
        raise InputError(
            f"{edition.prefix.rstrip('/')}: no row says where its images go",
            remedy="Add deliver: [meta-story, …] to a job of the campaign, or name channels with --channel.",
        )
    return wanted, tuple(_choice(request, len(wanted), decided=approved is not None))


def _choice(request: DeliverRequest, count: int, *, decided: bool) -> Iterator[str]:
    """Which images were chosen, unless all were asked for."""
    if decided:
        yield f"only approved images are delivered: {count:,}; --all delivers the others too"
    elif request.approved is None:
        yield "nobody has decided on any image yet, so all are delivered"


def _lost_marks(wanted: Sequence[MasterOrders], *, is_signed: bool) -> Iterator[str]:
    """Marks of masters that their renditions cannot keep."""
    masters = [each.master for each in wanted if any(order.channel for order in each.orders)]
    signed, labelled = (sum(name in master.provenance for master in masters) for name in ("c2pa", "aigc"))
    if signed and not is_signed:
        yield f"masters with a C2PA manifest, which files keep only if they are signed ({CERTIFICATE}): {signed:,}"
    if labelled:
        yield f"masters with an AIGC label, which only --channel original keeps: {labelled:,}"


_LOOK = "look at delivery.html, and move the point on review.html (key f) where it is wrong"

_REMEDIES = {
    "archived": "Run the campaign first: adloom run <campaign file>.",
    "approved": "Approve images on the page, or deliver all with --all.",
}


def _approved(decisions: Mapping[str, Decision], request: DeliverRequest) -> frozenset[str] | None:
    """The variant keys of the approved images; None where all images are wanted."""
    is_open = all(decision.verdict is Verdict.CLEARED for decision in decisions.values())
    if request.approved is False or (is_open and request.approved is None):
        return None
    return frozenset(key for key, decision in decisions.items() if decision.verdict is Verdict.APPROVED)
