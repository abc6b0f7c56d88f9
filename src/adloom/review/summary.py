"""The current decisions about an edition, in words and as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from adloom.core.crop import focus_text
from adloom.core.decision import Decision, Verdict
from adloom.core.manifest import number
from adloom.core.origin import Origin
from adloom.core.pricing import usd
from adloom.gallery.choosing import Candidate, Choosing

SHOWN = 20
"""Lines of a kind; the counts say how many there are."""


def counts_of(choosing: Choosing) -> dict[str, int]:
    """How many images, of each variant the latest take, are approved, rejected or wait for a decision."""
    standing = choosing.standing
    verdicts = Counter(
        choosing.verdict(each, standing) for each in choosing.candidates if each.is_latest and each.has_image
    )
    return {
        "images": verdicts.total(),
        "approved": verdicts[Verdict.APPROVED],
        "rejected": verdicts[Verdict.REJECTED],
        "waiting": verdicts[Verdict.CLEARED],
    }


def next_takes_credits(choosing: Choosing) -> Decimal:
    """The cost of the next takes of all rejected images, at the prices of the plan."""
    return sum((each.price for each in choosing.to_replace), start=Decimal(0))


def review_lines(choosing: Choosing) -> list[str]:
    """The state of an edition's decisions, in words."""
    counts, standing = counts_of(choosing), choosing.standing
    found = f"{counts['approved']} approved, {counts['rejected']} rejected, {counts['waiting']} wait for a decision"
    lines = [f"{choosing.edition.campaign}, edition {choosing.edition.edition}: {counts['images']} images: {found}"]
    rejected = choosing.to_replace
    lines += [f"  {each}: {_told(standing[each.variant.key])}" for each in rejected[:SHOWN]]
    lines += _more(len(rejected))
    if rejected:
        price = _dollars(next_takes_credits(choosing), choosing.origin)
        takes = "1 next take costs" if len(rejected) == 1 else f"{len(rejected)} next takes cost"
        lines.append(f"rejected  {takes} {price}: `adloom plan SOURCE --only rejected`")
    places = {each.variant.key: each for each in choosing.candidates}
    disputed = [(variant, said) for variant, said in choosing.decisions.conflicts.items() if variant in places]
    lines += [f"conflict  {places[variant]}: {_dispute(said)}" for variant, said in disputed[:SHOWN]]
    lines += _more(len(disputed))
    lines += [f"damaged   {key} holds no decision and does not count" for key in choosing.decisions.damaged[:SHOWN]]
    return lines


def overruled_lines(overruled: Sequence[tuple[Candidate, Decision]]) -> list[str]:
    """Lines of a file that were applied before, and who has decided otherwise since."""
    lines = [
        f"  {candidate}: not applied again, {standing.by or 'unknown'} has {standing.verdict} it since: "
        "change the line to decide again"
        for candidate, standing in overruled[:SHOWN]
    ]
    return lines + _more(len(overruled))


def review_summary(choosing: Choosing) -> dict[str, Any]:
    """The same as data; ``decisions`` are the current ones, as in ``review.json``."""
    credits_, standing = next_takes_credits(choosing), choosing.standing
    places = {each.variant.key: each for each in choosing.candidates}
    return {
        "campaign": choosing.edition.campaign,
        "edition": choosing.edition.edition,
        "counts": counts_of(choosing),
        "next_takes": len(choosing.to_replace),
        "credits": number(credits_),
        "usd": number(usd(credits_)),
        "origin": choosing.origin.address,
        "sandbox": choosing.origin.is_stand_in,
        "decisions": [
            as_said(each, standing[each.variant.key]) for each in choosing.candidates if each.variant.key in standing
        ],
        "conflicts": [
            [as_said(places[variant], each) for each in said]
            for variant, said in choosing.decisions.conflicts.items()
            if variant in places
        ],
        "damaged": list(choosing.decisions.damaged),
    }


def as_said(candidate: Candidate, decision: Decision) -> dict[str, Any]:
    """A decision as ``review.csv`` and ``review.json`` have it."""
    job, row, variant, take = candidate.place
    said: Mapping[str, Any] = decision.record()
    return {
        "job": job,
        "row": row,
        "variant": variant,
        "take": take,
        **{name: said[name] for name in ("decision", "stars", "note", "change", "by", "time")},
        "focus": focus_text(decision.focus),
    }


def _told(decision: Decision) -> str:
    stars = f", {decision.stars} star{'s' if decision.stars != 1 else ''}" if decision.stars else ""
    note = f", {decision.note!r}" if decision.note else ""
    change = f"; the next take gets {decision.change!r}" if decision.change else ""
    return f"{decision.verdict} by {decision.by or 'unknown'}{stars}{note}{change}"


def _dispute(said: tuple[Decision, ...]) -> str:
    first, *others = [f"{each.by or 'unknown'} {each.verdict} it" for each in said]
    return f"{first} last and counts; before, {', '.join(others)}"


def _more(count: int) -> list[str]:
    return [f"  … and {count - SHOWN} more"] if count > SHOWN else []


def _dollars(credits_: Decimal, origin: Origin) -> str:
    return f"{origin.word}${usd(credits_):.2f} ({credits_.normalize():f} credits)"
