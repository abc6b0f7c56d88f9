"""A plan in words and as data, for the terminal, for Prefect's pages and for programs."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from adloom.core.counting import counted
from adloom.core.manifest import number
from adloom.core.origin import UNKNOWN, Origin
from adloom.core.outcomes import Status
from adloom.core.plan_notes import notes_on
from adloom.core.pricing import usd
from adloom.plan.assessment import Assessment
from adloom.plan.changes import Changes

SECONDS_PER_TASK = 45
"""``estimated_time`` in the example of EvoLink's reference; real jobs were seen to take 4…60 s."""

WARNINGS_SHOWN = 10


def dollars(credits_: Decimal, origin: Origin = UNKNOWN) -> str:
    """An amount for a person: dollars to the cent, the credits, and a prefix if it is not real money."""
    unit = "credit" if credits_ == 1 else "credits"
    return f"{origin.word}${usd(credits_):.2f} ({credits_.normalize():f} {unit})"


def duration(seconds: float) -> str:
    """A length of time for a person."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def forecast_s(assessment: Assessment) -> float:
    """The estimated duration at the campaign's pace."""
    calls, pace = assessment.surveyed.asked.calls, assessment.pace
    by_places = -(-calls // pace.in_flight) * SECONDS_PER_TASK
    by_pace = calls / pace.submits_per_minute * 60 if pace.submits_per_minute else 0
    return max(by_places, by_pace)


def plan_lines(assessment: Assessment) -> list[str]:
    """The plan in words."""
    totals, asked = assessment.surveyed.totals, assessment.surveyed.asked
    calls, edition = counted(asked.calls, "call"), assessment.edition
    wanted = f"{counted(totals.rows, 'row')}, {counted(totals.wanted, 'image')}"
    lines = [
        f"{edition.campaign}, edition {edition.edition}: {wanted}",
        *_change_lines(assessment),
        *_selection_lines(assessment),
        *(f"waits     {line}" for line in waiting_lines(assessment.waiting)),
        f"to buy    {counted(asked.images, 'image')} in {calls} (the fewest possible: {asked.floor})",
        f"price     {dollars(asked.credits, assessment.origin)}",
        *_delivery_lines(assessment),
        f"forecast  about {duration(forecast_s(assessment))} at {assessment.pace.in_flight} tasks at once",
    ]
    lines.append(f"already   {_found(assessment) or 'nothing in the archive yet'}")
    if assessment.committed.committed:
        kinds = ", charged or reserved" if assessment.committed.reserved else ""
        lines.append(f"spent     {dollars(assessment.committed.committed, assessment.origin)}{kinds}")
    lines.append(_budget_line(assessment))
    if assessment.most_in_flight:
        at_once = dollars(assessment.most_in_flight, assessment.origin)
        lines.append(f"at once   at most {at_once} in flight: a price change can exceed the budget by that much")
    if assessment.lack:
        lines.append(f"ledger    WARNING: it {assessment.lack.problem}; a run would buy nothing")
    lines += [f"warning   {problem}: a run would buy nothing" for problem in assessment.bad_references[:WARNINGS_SHOWN]]
    lines += _fallback_lines(assessment)
    if assessment.clash:
        lines.append(f"warning   {assessment.clash}: a run would be refused")
    lines += [f"note      {note}" for note in _notes(assessment)]
    warnings = assessment.source.warnings
    lines += [f"warning   {warning}" for warning in warnings[:WARNINGS_SHOWN]]
    if len(warnings) > WARNINGS_SHOWN:
        lines.append(f"warning   … and {len(warnings) - WARNINGS_SHOWN} more warnings")
    return lines


def _found(assessment: Assessment) -> str:
    """What the archive says of the wanted images; those that are open here have a call already."""
    found = assessment.surveyed.totals.found
    owed = " or still owed" if assessment.owed else ""
    words = {status: status.value for status in Status} | {Status.OPEN: f"bought, not collected yet{owed}"}
    return ", ".join(f"{found[status]} {words[status]}" for status in Status if found[status])


def waiting_lines(waiting: Mapping[tuple[str, str], int]) -> list[str]:
    """What waits for approvals, by job and by the job whose images have to be approved."""
    return [
        f"{counted(images, 'image')} of job {job}, until images of job {name} are approved"
        for (job, name), images in waiting.items()
    ]


def waits_of(manifest: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """What waits for approvals, as a manifest has it."""
    return {(each["job"], each["for"]): each["images"] for each in manifest.get("waits", ())}


def _delivery_lines(assessment: Assessment) -> list[str]:
    """What is cut from what, what that saves, and whether files are marked as generated."""
    saving = assessment.surveyed.totals.saving
    lines = []
    if saving.channels:
        channels = counted(len(saving.channels), "channel")
        made = f"{channels} from {counted(len(saving.masters), 'master')}: {counted(saving.images, 'image')}"
        cost = f"{assessment.origin.word}${usd(saving.credits):.2f}"
        if not saving.overlaps and saving.images_one_each > saving.images:
            cost += f"; one image a channel would be {assessment.origin.word}${usd(saving.credits_one_each):.2f}"
        lines.append(f"deliver   {made}, {cost}")
    if not assessment.source.campaign.delivery.marking.on:
        lines.append("warning   marking is off: no delivered file will say that it was generated")
    return lines


def _notes(assessment: Assessment) -> tuple[str, ...]:
    kinds = assessment.surveyed.asked.images_by_kind
    models = notes_on(kind for kind, images in kinds.items() if images)
    packing = assessment.surveyed.packing
    if packing is None or not packing.bought_apart:
        return models
    apart, saved = packing.bought_apart, packing.saved
    one = "1 row repeats an earlier row's request and buys images of its own"
    rows = one if apart == 1 else f"{apart} rows repeat an earlier row's request and buy images of their own"
    calls = f"; packed together they need {saved} fewer {'call' if saved == 1 else 'calls'}" if saved else ""
    return (*models, rows + calls)


def _change_lines(assessment: Assessment) -> list[str]:
    """How the file differs from the edition's last plan."""
    if (changes := assessment.changes) is None:
        return []
    counts = {name: getattr(changes, name) for name in ("new", "edited", "kept", "removed")}
    rows = ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"
    costs = dollars(changes.credits, assessment.origin)
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


def _selection_lines(assessment: Assessment) -> list[str]:
    """What a partial plan covers, and what it leaves."""
    asked, words = assessment.surveyed.asked, assessment.choice.selection.words
    rows, images = counted(asked.rows, "row"), counted(asked.wanted, "image")
    lines = [f"selected  {rows}, {images}: {words}"] if words else []
    left = assessment.left_out
    stays = "stays" if left == 1 else "stay"
    return lines + ([f"left out  {counted(left, 'image')}, which {stays} open"] if left else [])


def _budget_line(assessment: Assessment) -> str:
    if assessment.cap is None:
        return "budget    none: a run needs one (`budget: {usd: 12.00}` in the file, or --budget-usd)"
    cap, more = dollars(assessment.cap, assessment.origin), assessment.committed.committed - assessment.cap
    if assessment.fits and more > 0:
        return f"budget    {cap}: exceeded by {dollars(more, assessment.origin)}; there is nothing left to buy"
    if assessment.fits:
        return f"budget    {cap}: enough"
    lacking = dollars(more + assessment.to_buy, assessment.origin)
    return f"budget    {cap}: WARNING, {lacking} short; a run would buy nothing"


def _fallback_lines(assessment: Assessment) -> list[str]:
    """The models that a run may fall back on, and what that may cost."""
    usable, wanted = assessment.fallback, assessment.source.campaign.fallback
    lines = []
    if usable:
        most = dollars(assessment.most_credits(usable), assessment.origin)
        how = " (the cheapest that takes every row)" if assessment.source.campaign.falls_back_on_cheapest else ""
        lines.append(
            f"fallback  {', '.join(usable)}{how}: at most {most} for the edition, whichever model makes the images"
        )
    if lacking := [model for model in wanted if model not in usable]:
        needed = dollars(assessment.most_credits(lacking), assessment.origin)
        lines.append(f"warning   the budget does not allow the fallback {', '.join(lacking)}: it could take {needed}")
    return lines


def plan_summary(assessment: Assessment) -> dict[str, Any]:
    """The plan as data."""
    totals, asked = assessment.surveyed.totals, assessment.surveyed.asked
    return {
        "campaign": assessment.edition.campaign,
        "edition": assessment.edition.edition,
        "rows": totals.rows,
        "wanted": totals.wanted,
        "selection": assessment.choice.selection.words,
        "selected_rows": asked.rows,
        "selected_images": asked.wanted,
        "left_out": assessment.left_out,
        "waits": [{"job": job, "for": name, "images": images} for (job, name), images in assessment.waiting.items()],
        "calls": asked.calls,
        "calls_floor": asked.floor,
        "images": asked.images,
        "credits": number(asked.credits),
        "usd": number(usd(asked.credits)),
        "forecast_s": forecast_s(assessment),
        "already": {status.value: totals.found[status] for status in Status},
        "change": None if assessment.changes is None else _change_summary(assessment.changes),
        "credits_committed": number(assessment.committed.committed),
        "budget_credits": None if assessment.cap is None else number(assessment.cap),
        "fits_budget": assessment.fits,
        "delivery": _delivery_summary(assessment),
        "credits_at_once": number(assessment.most_in_flight),
        "ledger_lacks": assessment.lack.problem if assessment.lack.damaged else str(assessment.lack),
        **origin_data(assessment.origin),
        "fallback": list(assessment.fallback),
        "notes": list(_notes(assessment)),
        "warnings": list(assessment.source.warnings),
    }


def _delivery_summary(assessment: Assessment) -> dict[str, Any] | None:
    saving = assessment.surveyed.totals.saving
    if not saving.channels:
        return None
    return {
        "channels": len(saving.channels),
        "masters": len(saving.masters),
        "images": saving.images,
        "usd": number(usd(saving.credits)),
        "usd_one_image_a_channel": None if saving.overlaps else number(usd(saving.credits_one_each)),
        "marking": "on" if assessment.source.campaign.delivery.marking.on else "off",
    }


def origin_data(origin: Origin) -> dict[str, Any]:
    """Whose money the accompanying amounts are."""
    return {"origin": origin.address, "sandbox": origin.is_stand_in}


def _change_summary(changes: Changes) -> dict[str, Any]:
    fields = ("new", "edited", "kept", "removed", "renamed", "removed_images", "more_images", "fewer_images")
    counts = {name: getattr(changes, name) for name in fields}
    return {"since_revision": changes.revision, **counts, "credits": number(changes.credits)}
