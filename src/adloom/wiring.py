"""Puts the parts together: settings and a campaign file in, a run's result out.

The command line and the Prefect flow both come through here; the only difference between them is where a batch runs.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from random import Random

from adloom.campaign.files import FileCampaign
from adloom.campaign.references.check import check_references
from adloom.campaign.references.reader import hosted_form, read_file
from adloom.core.channel import Channel
from adloom.core.counting import counted
from adloom.core.errors import AdloomError, CampaignInvalid, PlanRefused, Problem, SettingInvalid
from adloom.core.exits import EXIT_OK, StopReason
from adloom.core.limits import PROFILES, STRICT
from adloom.core.order import Order
from adloom.deliver.edition import FOLDER, Delivered, DeliverRequest, deliver_edition
from adloom.deliver.masters import settings_of
from adloom.edges.evolink.client import EvoLink
from adloom.edges.evolink.files import EvoLinkFiles
from adloom.edges.evolink.transport import ssl_context
from adloom.edges.pictures import PictureDecoder
from adloom.edges.processes import is_gone, this_process
from adloom.edges.reference_hosts import ReferenceHosts
from adloom.edges.settings import Settings
from adloom.gallery import write_gallery
from adloom.gallery.chooser.write import write_review_page
from adloom.gallery.choosing import Choosing
from adloom.gallery.render import DELIVERY_PAGE
from adloom.ledger.edition import Edition
from adloom.ledger.ledger import Ledger
from adloom.plan.assessment import Assessment, assess
from adloom.plan.revision import newest_plan, read_newest
from adloom.plan.rollback import Lack, accept_loss, read_past
from adloom.plan.take_up import has_bought, refuse_mixture
from adloom.ports import Decoder, Store
from adloom.publish.checksums import are_noted, write_checksums
from adloom.publish.manifest import Published, publish
from adloom.publish.rebuild import Rebuilder
from adloom.publish.unchanged import PAGES, unchanged
from adloom.review.apply import Applied, apply
from adloom.review.table import ReviewFile
from adloom.run.live_page import leave_excerpt, live_page
from adloom.run.run import Result, Run
from adloom.run.sweep import sweep
from adloom.targets import (
    RunRequest,
    WallClock,
    campaign_at,
    edition_of,
    new_ledger,
    open_place,
    open_source,
    open_target,
)
from adloom.world import ReferenceFiles, World

log = logging.getLogger(__name__)


Fulfil = Callable[[Run, Sequence[Order]], Awaitable[None]]


async def assessment_of(request: RunRequest, settings: Settings, store: Store, *, to_run: bool) -> Assessment:
    """Compare a campaign with its archive. Everything that keeps it from running is in one report.

    Raises CampaignInvalid, SettingInvalid, or PlanRefused for a run of an edition that was bought from another API; a
    key and a budget are asked for only when it is ``to_run``.
    """
    source = open_source(request, settings)
    lacking = _lacking(request, settings) if to_run else []
    try:
        edition = edition_of(source, request.edition)
        if to_run and request.wish.budget is None and source.campaign.budget is None:
            lacking.append(Problem(request.source, 0, 0, "no budget", "add `budget: {usd: 12.00}` or --budget-usd 12"))
        wish = replace(request.wish, origin=settings.origin)
        assessment = await assess(store, WallClock(), source, edition, wish)
    except CampaignInvalid as error:
        raise CampaignInvalid((*error.problems, *lacking)) from None
    if lacking:
        raise CampaignInvalid(tuple(lacking))
    assessment = await _with_references_checked(source, assessment, settings, to_run=to_run)
    if to_run and assessment.bought_from is not None:
        refuse_mixture(assessment.bought_from, wish.buying, has_bought=has_bought(assessment.ledger))
    return assessment


async def _with_references_checked(
    source: FileCampaign, assessment: Assessment, settings: Settings, *, to_run: bool
) -> Assessment:
    """Check the references of what is left to buy, if the campaign asks for it.

    Raises CampaignInvalid for bad ones, unless the run may have images to collect: it does that in any case.
    """
    if not (addresses := assessment.surveyed.addresses):
        return assessment
    limits = PROFILES[source.campaign.profile].references
    async with ReferenceHosts(limits, ssl_context(), loopback=settings.loopback) as hosts:
        problems = await check_references(addresses, source.reference_places, source.campaign.source, hosts)
    if problems and not (to_run and assessment.ledger.calls()):
        raise CampaignInvalid(problems)
    return replace(assessment, bad_references=problems)


def _lacking(request: RunRequest, settings: Settings) -> list[Problem]:
    if settings.api_key is not None or request.wish.sandbox:
        return []
    return [Problem("EVOLINK_API_KEY", 0, 0, "not set", "set it to your EvoLink key, or try --sandbox")]


@asynccontextmanager
async def open_world(
    settings: Settings,
    store: Store,
    source: str | None = None,
    profile: str = STRICT.name,
    edition: Edition | None = None,
) -> AsyncIterator[World]:
    """Everything outside that a run of the campaign ``source`` works with, closed at the end.

    Callers that buy nothing pass no campaign: reference files are needed only for purchases.
    """
    api = EvoLink(settings)
    file_host = EvoLinkFiles(settings)
    decoder = PictureDecoder()
    try:
        yield World(
            store=store,
            api=api,
            decoder=decoder,
            clock=WallClock(),
            random=Random(),
            process=this_process(),
            is_gone=is_gone,
            poll_interval_s=settings.poll_interval_s,
            dedicated_key=settings.dedicated_key,
            callback_secret=next(iter(settings.callback_secrets), None),
            files=None
            if source is None
            else ReferenceFiles(
                file_host,
                partial(read_file, source),
                partial(hosted_form, profile=profile),
                None if edition is None else lambda key: store.read(edition.key(key)),
            ),
        )
    finally:
        await api.aclose()
        await file_host.aclose()
        await decoder.aclose()
        await store.aclose()


async def run_direct(run: Run, orders: Sequence[Order]) -> None:
    """Run a batch in this process."""
    await run.fulfil(orders)


async def execute(
    settings: Settings,
    store: Store,
    assessment: Assessment,
    *,
    started: Callable[[Run], None] = lambda _: None,
    fulfil: Fulfil = run_direct,
) -> Result:
    """Run the assessed campaign: reserve, buy, collect, archive, publish.

    ``started`` receives the run once it exists. There is none where nothing is to be done.
    """
    looks_for_orphans = settings.dedicated_key  # tasks that no ledger knows
    if not looks_for_orphans and (published := await unchanged(store, assessment)) is not None:
        return await _as_it_is(store, assessment, published)
    campaign = assessment.source.campaign
    async with open_world(settings, store, campaign.source, campaign.profile, assessment.edition) as world:
        try:
            run = await Run.start(world, assessment)
        except PlanRefused:
            if assessment.lack:  # without a plan nothing can be bought; what the ledger knows of is fetched
                await sweep(world, assessment.edition)
            raise
        started(run)
        async with live_page(world, run):
            await run.work(lambda orders: fulfil(run, orders))
            result = await run.finish()
        gallery, review = await _show_and_prove(world, assessment, run, result)
        notes = result.notes
        if not {stop.reason for stop in result.stops} & _NOTHING_FOLLOWS:
            notes = (*notes, *await _delivered(world, assessment), *await _put_into_sheet(world, assessment))
        return replace(result, gallery=gallery, review=review, notes=notes)


async def _as_it_is(store: Store, assessment: Assessment, published: Published) -> Result:
    """How a run ends that leaves a finished edition as it is."""
    gallery, review = [store.link(assessment.edition.key(name)) for name in PAGES]
    await store.aclose()
    return Result(published, (), EXIT_OK, gallery, review, origin=assessment.origin)


_NOTHING_FOLLOWS = frozenset({StopReason.INTERRUPTED, StopReason.OLDER_LEDGER})
"""A run that is stopped by these does not do what the campaign asks for after a run."""


async def _delivered(world: World, assessment: Assessment) -> tuple[str, ...]:
    """Deliver if the campaign's head asks for it, and report the result.

    A failed delivery ends nothing else: the command `deliver` can make it later.
    """
    if not assessment.source.campaign.delivery.after_run:
        return ()
    try:
        done = await deliver_edition(new_ledger(world.store, assessment.edition), assessment.source, DeliverRequest())
        await _lead_to_delivery(world.store, assessment.edition, done)
    except AdloomError as error:
        return (f"not delivered: {error.message}; the command deliver tries again. {error.remedy}".strip(),)
    refused = f", {done.result.refused} refused" if done.result.refused else ""
    told = f"delivered {counted(done.result.made, 'file')}, {done.result.kept:,} were there{refused}: {done.address}"
    return (told, *done.notes)


async def _put_into_sheet(world: World, assessment: Assessment) -> tuple[str, ...]:
    """Fill the workbook if the campaign's head asks for one, and report the result.

    A workbook that cannot be written ends nothing else: the command `export-sheet` can write it later.
    """
    if not assessment.source.campaign.sheet_after_run:
        return ()
    from adloom.report.archived_sheet import write_sheet  # noqa: PLC0415 - openpyxl is for few campaigns

    try:
        written = await write_sheet(world.store, assessment.edition, assessment.ledger)
    except Exception as error:  # noqa: BLE001 - whatever is odd about a team's workbook, all images are archived
        return (f"no sheet was written: {_in_short(error)}; the command export-sheet writes one",)
    told = f"sheet: {written.done.added} rows added, {written.done.updated} updated: {written.address}"
    return (told, f"sheet: {written.done.unapplied}") if written.done.unapplied else (told,)


MOST_IMAGES = 20_000
"""An interrupted run of more leaves the whole pages to the next run or `adloom gallery`: whoever stops it waits."""


async def _show_and_prove(world: World, assessment: Assessment, run: Run, result: Result) -> tuple[str, str]:
    """The pages and the checksums of a run that has ended; the addresses of the pages, empty without them."""
    interrupted = any(stop.reason is StopReason.INTERRUPTED for stop in result.stops)
    if any(stop.reason is StopReason.OLDER_LEDGER for stop in result.stops):
        return "", ""
    if interrupted and assessment.surveyed.totals.wanted > MOST_IMAGES:
        review = await _excerpt(world, run)
        await _prove(world.store, assessment.edition, assessment.ledger)
        return "", review
    return await _derive_rest(
        world.store, assessment.edition, assessment.ledger, None if interrupted else world.decoder
    )


async def _excerpt(world: World, run: Run) -> str:
    try:
        return await leave_excerpt(world, run)
    except Exception as error:  # noqa: BLE001 - as for the whole page
        log.warning(
            "the page of %s was not written (%s); `adloom gallery` writes it", run.edition.prefix, _in_short(error)
        )
        return ""


async def _derive_rest(store: Store, edition: Edition, ledger: Ledger, decoder: Decoder | None) -> tuple[str, str]:
    """Write what can be made again from the archive at any time; the addresses of the pages, empty without them.

    What cannot be made now is reported in one line and ends nothing: what was paid for has been published.
    """
    gallery = review = ""
    try:
        gallery = await write_gallery(store, edition, ledger, decoder)
        review = await write_review_page(store, edition, ledger)
    except Exception as error:  # noqa: BLE001 - whatever is odd about an image or a prompt, it is one page
        log.warning("the page of %s was not written (%s); `adloom gallery` writes it", edition.prefix, _in_short(error))
    await _prove(store, edition, ledger)
    return gallery, review


async def _prove(store: Store, edition: Edition, ledger: Ledger) -> None:
    """Write the checksums; what keeps them from being written is said in one line."""
    try:
        await write_checksums(store, edition, ledger)
    except Exception as error:  # noqa: BLE001 - the same
        log.warning(
            "the checksums of %s were not written (%s); `adloom gallery` does", edition.prefix, _in_short(error)
        )


def _in_short(error: Exception) -> str:
    return error.message if isinstance(error, AdloomError) else type(error).__name__


async def rewrite_gallery(store: Store, edition: Edition) -> str:
    """Rewrite the page of an edition, with every missing thumbnail; its address.

    Raises InputError when the edition has no plan yet.
    """
    ledger = new_ledger(store, edition)
    await ledger.load()
    async with PictureDecoder() as decoder:
        address = await write_gallery(store, edition, ledger, decoder)
    await write_review_page(store, edition, ledger)
    await write_checksums(store, edition, ledger)
    return address


async def rebuild_ledger(store: Store, edition: Edition) -> tuple[int, Lack]:
    """Rebuild a ledger that is older than its edition: how many calls and tasks came back, and what is still missing.

    Where every purchase is known again, the count of its former records is given up, and what is derived is rewritten.
    """
    past, ledger = await read_past(store, edition), new_ledger(store, edition)
    await ledger.load(trust_seals=False)
    if not past.lacking(ledger):
        return 0, past.lacking(ledger)
    found = await Rebuilder(store, edition, ledger, past).rebuild()
    lack = past.lacking(ledger)
    if not lack.purchases:
        if lack:
            await accept_loss(ledger, WallClock(), lack, reason="rebuilt by verify --repair", by="adloom")
        await publish_again(store, edition)
        await ledger.load(trust_seals=False)
        await write_checksums(store, edition, ledger, forget=lambda name: name.startswith("ledger/"))
        lack = (await read_past(store, edition)).lacking(ledger)
    return found, lack


async def give_up(store: Store, edition: Edition, reason: str, by: str) -> str:
    """Accept that what the ledger is missing is lost, and rewrite what is derived from it; what was given up, in words.

    Raises InputError when nothing is missing.
    """
    past, ledger = await read_past(store, edition), new_ledger(store, edition)
    await ledger.load()
    lack = past.lacking(ledger)
    await accept_loss(ledger, WallClock(), lack, reason=reason, by=by)
    if await newest_plan(store, edition) is not None:
        await publish_again(store, edition)
    await ledger.load()
    await write_checksums(store, edition, ledger, forget=lambda name: name.startswith(("ledger/", "plan")))
    return str(lack)


async def publish_again(store: Store, edition: Edition) -> None:
    """Rewrite what is derived from the ledger, after something was added to it. Raises only if the manifest fails."""
    ledger = new_ledger(store, edition)
    await ledger.load()
    revision = await read_newest(store, edition)
    if revision is not None:
        await publish(store, edition, ledger, revision)
        async with PictureDecoder() as decoder:
            await _derive_rest(store, edition, ledger, decoder)


async def decide(store: Store, choosing: Choosing, file: ReviewFile, by: str, now: datetime) -> Applied:
    """Keep the decisions of a file and rewrite what shows them. Raises as ``apply`` does.

    A file that adds nothing has perhaps been applied by a process that died before it had rewritten anything.
    """
    applied = await apply(store, choosing, file, by, now)
    await publish_again(store, choosing.edition)
    return applied


async def _lead_to_delivery(store: Store, edition: Edition, done: Delivered) -> None:
    """Rewrite the edition's pages if they do not lead to its delivery, or lack a focus that it proposed."""
    gallery = await store.read(edition.key("gallery.html"))
    if gallery is None:
        return
    leads = DELIVERY_PAGE.encode() in gallery and not (done.proposed and done.result.made)
    if leads and await are_noted(store, edition, PAGES):  # else a process died between its pages and their checksums
        return
    ledger = new_ledger(store, edition)
    await ledger.load()
    await _derive_rest(store, edition, ledger, None)


async def channels_of_target(target: str, settings: Settings) -> Mapping[str, Channel]:
    """The channels that a campaign adds or changes, by name: of its file, else of the newest plan of an edition."""
    source = campaign_at(target, settings)
    if source is not None:
        return source.campaign.delivery.channels
    store, edition = open_target(target, settings)
    try:
        return (await settings_of(store, edition, None)).channels
    finally:
        await store.aclose()


def _is_among_records(place: Store, store: Store, edition: Edition) -> bool:
    """Whether a delivery would lie in an edition's own folder, where what it does not know is damage."""
    at, root = (one.address if "://" in one.address else os.path.realpath(one.address) for one in (place, store))
    inside = f"{at}/".removeprefix(f"{root}/")
    return inside != f"{at}/" and inside.startswith(edition.prefix) and not inside.startswith(edition.key(FOLDER))


async def deliver_target(
    target: str,
    settings: Settings,
    edition: str,
    request: DeliverRequest,
    to: str | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Delivered:
    """Deliver the edition that a person points at: ``open_target`` says how. Raises as ``deliver_edition`` does."""
    store, found = open_target(target, settings, edition)
    place = open_place(to) if to else None
    try:
        if place is not None and _is_among_records(place, store, found):
            raise SettingInvalid(
                f"--to {to} is inside the edition {found.prefix}, among its own records",
                remedy="Deliver to a folder outside of it, or leave --to out: then everything goes to its delivery/.",
            )
        source = campaign_at(target, settings)
        done = await deliver_edition(new_ledger(store, found), source, request, place, progress=progress)
        if place is None:
            await _lead_to_delivery(store, found, done)
        return done
    finally:
        await store.aclose()
        if place is not None:
            await place.aclose()
