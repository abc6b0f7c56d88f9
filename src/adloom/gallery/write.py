"""Writes an edition's pages: reads the plan once to lay them out, and once to write them.

If an edition fills more than one page, rows for which nothing was bought yet are counted but not shown: five of 100,000
rows make one page, not 250.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from adloom.core.errors import InputError
from adloom.core.identity import thumb_key
from adloom.core.manifest import Tally, overall_status
from adloom.core.outcomes import Outcome, Outcomes
from adloom.core.planned import PlannedRow
from adloom.gallery.render import DELIVERY_PAGE, Head, render_leftover, render_page
from adloom.gallery.thumbs import existing_thumbs, make_thumbs
from adloom.gallery.view import IMAGES_PER_PAGE, Contents, is_shown, page_name, row_view
from adloom.ledger.edition import Edition, from_json
from adloom.ledger.ledger import Ledger
from adloom.plan.revision import Revision, planned_rows, read_newest
from adloom.ports import Decoder, Store

_MEDIA_TYPE = "text/html; charset=utf-8"


async def write_gallery(store: Store, edition: Edition, ledger: Ledger, decoder: Decoder | None) -> str:
    """Write every page of an edition and its missing thumbnails; the address of the first page.

    ``ledger`` is loaded already. Without a decoder no thumbnail is made; those that there are already are
    shown. Raises InputError when the edition has no plan yet.
    """
    revision = await read_newest(store, edition)
    if revision is None:
        raise InputError(
            f"{store.address}/{edition.prefix.rstrip('/')} contains no plan, so there is nothing to show",
            remedy="Run the campaign first: adloom run <campaign file>.",
        )
    tally = Tally()
    known = Outcomes(ledger.facts, ledger.calls(), tally.add_call, ledger.ended)
    contents = Contents()
    thumbs = await existing_thumbs(store, edition)
    lacking: list[Mapping[str, Any]] = []
    async for rows in _pages(store, edition, revision, known, left_out=contents.leave_out):
        lacking += [_thumb_order(line) for line in contents.add(rows, known) if thumb_key(line["key"]) not in thumbs]
    if decoder is not None:
        thumbs |= await make_thumbs(store, edition, lacking, decoder)
    tally.found = contents.found
    head = await _head(store, edition, revision, tally)
    await _write_pages(store, edition, revision, known, (head, contents, thumbs))
    return store.link(edition.key(page_name(1)))


def _thumb_order(line: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"key": line["key"], "sha256": line["sha256"]}


async def _head(store: Store, edition: Edition, revision: Revision, tally: Tally) -> Head:
    """The edition as a whole: from the manifest if that is still current, else from plan and ledger."""
    totals = tally.totals(revision.wanted)
    key = edition.key("manifest.json")
    content = await store.read(key)
    manifest = from_json(content, key) if content is not None else {}
    is_current = manifest.get("totals") == totals
    status = manifest["status"] if is_current else overall_status(tally.found, ())
    return Head(
        edition.campaign,
        edition.edition,
        status,
        totals,
        revision.number,
        revision.origin.is_stand_in,
        has_manifest=bool(manifest),
        waits=sum(each["images"] for each in manifest.get("waits", ())) if is_current else 0,
        has_delivery=edition.key(DELIVERY_PAGE) in [each.key async for each in store.list(edition.key(DELIVERY_PAGE))],
    )


async def _write_pages(
    store: Store,
    edition: Edition,
    revision: Revision,
    known: Mapping[str, Outcome],
    shown: tuple[Head, Contents, set[str]],
) -> None:
    """Write the pages from the second on, then the first, so that it never leads to one that is not there yet."""
    head, contents, thumbs = shown
    first = b""
    number = 0
    async for rows in _pages(store, edition, revision, known):
        number += 1
        page = render_page(head, contents, number, [row_view(planned, known, thumbs) for planned in rows])
        if number == 1:
            first = page
        else:
            await store.replace(edition.key(page_name(number)), page, media_type=_MEDIA_TYPE)
    await store.replace(edition.key(page_name(1)), first, media_type=_MEDIA_TYPE)
    leftovers = [
        listed.key async for listed in store.list(edition.key("gallery-")) if _number_of(listed.key) > contents.pages
    ]
    for key in leftovers:
        await store.replace(key, render_leftover(), media_type=_MEDIA_TYPE)


def _number_of(key: str) -> int:
    number = key.rpartition("/gallery-")[2].removesuffix(".html")
    return int(number) if number.isdecimal() else 0


async def _pages(
    store: Store,
    edition: Edition,
    revision: Revision,
    known: Mapping[str, Outcome],
    *,
    left_out: Callable[[PlannedRow], None] = lambda _: None,
) -> AsyncIterator[list[PlannedRow]]:
    """The rows of each page, in plan order; at least one page. ``left_out`` is given the rows that are on none."""
    rows: list[PlannedRow] = []
    images = 0
    all_fit = revision.wanted <= IMAGES_PER_PAGE
    async for planned in planned_rows(store, edition, revision):
        if not is_shown(planned, known, all_fit=all_fit):
            left_out(planned)
            continue
        if rows and images + len(planned.variants) > IMAGES_PER_PAGE:
            yield rows
            rows, images = [], 0
        rows.append(planned)
        images += len(planned.variants)
    yield rows
