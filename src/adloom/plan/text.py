"""A plan in words and as data, for the terminal, for Prefect's pages and for programs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from adloom.core.manifest import number
from adloom.core.origin import UNKNOWN, Origin
from adloom.core.outcomes import Status
from adloom.core.plan_notes import notes_on
from adloom.core.pricing import usd
from adloom.plan.changes import Changes
from adloom.plan.outlook import Outlook

SECONDS_PER_TASK = 45
"""``estimated_time`` in the example of EvoLink's reference; real jobs were seen to take 4…60 s."""

WARNINGS_SHOWN = 10


def dollars(credits_: Decimal, origin: Origin = UNKNOWN) -> str:
    """A sum for a person: dollars to the cent, the credits behind it, and the word where it is no real money."""
    return f"{origin.word}${usd(credits_):.2f} ({credits_.normalize():f} credits)"


def duration(seconds: float) -> str:
    """A length of time for a person."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def forecast_s(outlook: Outlook) -> float:
    """About how long the buying takes at the campaign's pace."""
    calls, pace = outlook.surveyed.asked.calls, outlook.pace
    by_places = -(-calls // pace.in_flight) * SECONDS_PER_TASK
    by_pace = calls / pace.submits_per_minute * 60 if pace.submits_per_minute else 0
    return max(by_places, by_pace)


def plan_lines(outlook: Outlook) -> list[str]:
    """The plan in words."""
    totals, asked = outlook.surveyed.totals, outlook.surveyed.asked
    calls = f"{asked.calls} call{'s' if asked.calls != 1 else ''}"
    lines = [
        f"{outlook.edition.campaign}, edition {outlook.edition.edition}: {totals.rows} rows, {totals.wanted} images",
        *_change_lines(outlook),
        *_selection_lines(outlook),
        f"to buy    {asked.images} images in {calls} (the fewest possible: {asked.floor})",
        f"price     {dollars(asked.credits, outlook.origin)}",
        *_delivery_lines(outlook),
        f"forecast  about {duration(forecast_s(outlook))} at {outlook.pace.in_flight} tasks at once",
    ]
    found = ", ".join(f"{totals.found[status]} {status}" for status in Status if totals.found[status])
    lines.append(f"already   {found or 'nothing in the archive yet'}")
    if outlook.committed.committed:
        lines.append(f"spent     {dollars(outlook.committed.committed, outlook.origin)}")
    lines.append(_budget_line(outlook))
    if outlook.most_in_flight:
        at_once = dollars(outlook.most_in_flight, outlook.origin)
        lines.append(f"at once   at most {at_once} in flight: a price change can exceed the budget by that much")
    if outlook.lack:
        lines.append(f"ledger    WARNING, older than its manifest; missing: {outlook.lack}; a run would buy nothing")
    lines += _fallback_lines(outlook)
    if outlook.clash:
        lines.append(f"warning   {outlook.clash}: a run would be refused")
    lines += [f"note      {note}" for note in _notes(outlook)]
    warnings = outlook.source.warnings
    lines += [f"warning   {warning}" for warning in warnings[:WARNINGS_SHOWN]]
    if len(warnings) > WARNINGS_SHOWN:
        lines.append(f"warning   … and {len(warnings) - WARNINGS_SHOWN} more warnings")
    return lines


def _delivery_lines(outlook: Outlook) -> list[str]:
    """What is cut from what, what that saves, and whether it says how it was made."""
    saving = outlook.surveyed.totals.saving
    lines = []
    if saving.channels:
        channels = _counted(len(saving.channels), "channel")
        made = f"{channels} from {_counted(len(saving.masters), 'master')}: {_counted(saving.images, 'image')}"
        cost = f"{outlook.origin.word}${usd(saving.credits):.2f}"
        if not saving.overlaps and saving.images_one_each > saving.images:
            cost += f"; one image a channel would be ${usd(saving.credits_one_each):.2f}"
        lines.append(f"deliver   {made}, {cost}")
    if not outlook.source.campaign.delivery.marking.on:
        lines.append("warning   marking is off: no delivered file will say that it was generated")
    return lines


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("s" if count != 1 else "")


def _notes(outlook: Outlook) -> tuple[str, ...]:
    kinds = outlook.surveyed.asked.images_by_kind
    models = notes_on(kind for kind, images in kinds.items() if images)
    packing = outlook.surveyed.packing
    if packing is None or not packing.bought_apart:
        return models
    same = f"{packing.bought_apart} rows ask for exactly the same as one before them and buy images of their own"
    return (*models, f"{same}, in {packing.saved} calls fewer than one by one")


def _change_lines(outlook: Outlook) -> list[str]:
    """What the file says otherwise than the edition's last plan."""
    if (changes := outlook.changes) is None:
        return []
    counts = {name: getattr(changes, name) for name in ("new", "edited", "kept", "removed")}
    rows = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"
    costs = dollars(changes.credits, outlook.origin)
    lines = [f"changed   since plan {changes.revision}: rows {rows}; the change costs {costs}"]
    if changes.more_images or changes.fewer_images:
        lines.append(f"          in kept rows {changes.more_images} images more and {changes.fewer_images} fewer")
    if changes.removed_images:
        kept = f"{changes.removed_images} images of removed or edited rows are paid for and stay in the archive"
        lines.append(f"          {kept}, outside the manifest")
    if changes.renamed:
        names = ", ".join(f"{old} is now {new}" for old, new in changes.examples)
        more = ", …" if changes.renamed > len(changes.examples) else ""
        lines.append(f"warning   renamed rows count as new and are bought again: {changes.renamed} ({names}{more})")
    return lines


def _selection_lines(outlook: Outlook) -> list[str]:
    """What a plan in part is for, and what it leaves."""
    asked, words = outlook.surveyed.asked, outlook.choice.selection.words
    rows = f"{asked.rows} row{'s' if asked.rows != 1 else ''}"
    lines = [f"selected  {rows}, {asked.wanted} images: {words}"] if words else []
    return lines + ([f"left out  {outlook.left_out} images, which stay open"] if outlook.left_out else [])


def _budget_line(outlook: Outlook) -> str:
    if outlook.cap is None:
        return "budget    none: a run needs one (`budget: {usd: 12.00}` in the file, or --budget-usd)"
    cap = dollars(outlook.cap, outlook.origin)
    if outlook.fits:
        return f"budget    {cap}: enough"
    lacking = dollars(outlook.committed.committed + outlook.to_buy - outlook.cap, outlook.origin)
    return f"budget    {cap}: WARNING, {lacking} short; a run would buy nothing"


def _fallback_lines(outlook: Outlook) -> list[str]:
    """The models that a run may fall back on, and what that may come to."""
    usable, wanted = outlook.fallback, outlook.source.campaign.fallback
    lines = []
    if usable:
        most = dollars(outlook.most_credits(usable), outlook.origin)
        how = " (the cheapest that takes every row)" if outlook.source.campaign.falls_back_on_cheapest else ""
        lines.append(
            f"fallback  {', '.join(usable)}{how}: at most {most} for the edition if everything is bought there"
        )
    if lacking := [model for model in wanted if model not in usable]:
        needed = dollars(outlook.most_credits(lacking), outlook.origin)
        lines.append(f"warning   the budget does not allow the fallback {', '.join(lacking)}: it could take {needed}")
    return lines


def plan_summary(outlook: Outlook) -> dict[str, Any]:
    """The plan as data."""
    totals, asked = outlook.surveyed.totals, outlook.surveyed.asked
    return {
        "campaign": outlook.edition.campaign,
        "edition": outlook.edition.edition,
        "rows": totals.rows,
        "wanted": totals.wanted,
        "selection": outlook.choice.selection.words,
        "selected_rows": asked.rows,
        "selected_images": asked.wanted,
        "left_out": outlook.left_out,
        "calls": asked.calls,
        "calls_floor": asked.floor,
        "images": asked.images,
        "credits": number(asked.credits),
        "usd": number(usd(asked.credits)),
        "forecast_s": forecast_s(outlook),
        "already": {status.value: totals.found[status] for status in Status},
        "change": None if outlook.changes is None else _change_summary(outlook.changes),
        "credits_committed": number(outlook.committed.committed),
        "budget_credits": None if outlook.cap is None else number(outlook.cap),
        "fits_budget": outlook.fits,
        "delivery": _delivery_summary(outlook),
        "credits_at_once": number(outlook.most_in_flight),
        "ledger_lacks": str(outlook.lack),
        **origin_data(outlook.origin),
        "fallback": list(outlook.fallback),
        "notes": list(_notes(outlook)),
        "warnings": list(outlook.source.warnings),
    }


def _delivery_summary(outlook: Outlook) -> dict[str, Any] | None:
    saving = outlook.surveyed.totals.saving
    if not saving.channels:
        return None
    return {
        "channels": len(saving.channels),
        "masters": len(saving.masters),
        "images": saving.images,
        "usd": number(usd(saving.credits)),
        "usd_one_image_a_channel": None if saving.overlaps else number(usd(saving.credits_one_each)),
        "marking": "on" if outlook.source.campaign.delivery.marking.on else "off",
    }


def origin_data(origin: Origin) -> dict[str, Any]:
    """Whose money the sums beside this are."""
    return {"origin": origin.address, "sandbox": origin.is_stand_in}


def _change_summary(changes: Changes) -> dict[str, Any]:
    fields = ("new", "edited", "kept", "removed", "renamed", "removed_images", "more_images", "fewer_images")
    counts = {name: getattr(changes, name) for name in fields}
    return {"since_revision": changes.revision, **counts, "credits": number(changes.credits)}
