"""Pages as HTML: Jinja2 with escaping always on, one inline style sheet that the policy allows by its hash.

Prompts, variables and reasons are data: they are only ever text or attribute values. ``img-src`` names ``file:`` beside
``'self'`` because a page opened from a disk has an opaque origin, which strictly by CSP 3 no image shares (Chromium is
more lenient); a page from the web cannot load files anyway. ``data:`` is for the empty icon, which saves a request.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from adloom.core.counting import counted
from adloom.core.outcomes import Status
from adloom.core.pricing import usd
from adloom.gallery.view import Contents, RowView, page_name

STATUS_WORDS = {
    "complete": "Complete: every image is archived",
    "partial": "Finished, but some images are missing",
    "held": "Some purchases are held: they may be paid for and brought no image yet (adloom resolve)",
    "stopped": "Stopped before the end; run it again to continue",
}
_BAR_UNITS = 1000
DELIVERY_PAGE = "delivery/delivery.html"
"""The page of the delivery in the edition's own folder."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the pages say about the edition as a whole. ``totals`` and ``status`` are those of the manifest."""

    campaign: str
    edition: str
    status: str
    totals: Mapping[str, Any]
    plan_revision: int
    sandbox: bool
    has_manifest: bool
    has_delivery: bool = False
    waits: int = 0
    """Images that nobody can buy before those of another job are approved."""

    @property
    def headline(self) -> str:
        """How the edition stands, in a sentence."""
        missing = sum(self.totals[status] for status in Status if status is not Status.ARCHIVED)
        if self.status == "partial" and self.waits == missing:
            return f"Finished, as far as it can be: {self.waits} images wait for an approval"
        return STATUS_WORDS.get(self.status, self.status)


def render_page(head: Head, contents: Contents, number: int, rows: Sequence[RowView]) -> bytes:
    """One page; pages count from 1."""
    totals = head.totals
    text = (
        _environment()
        .get_template("page.html")
        .render(
            head=head,
            contents=contents,
            number=number,
            rows=rows,
            by_job=_by_job(rows),
            counts=[(status.value, totals[status]) for status in Status],
            bar=tuple(_bar(totals)),
            money=tuple(_money(totals, "sandbox " if head.sandbox else "")),
        )
    )
    return text.encode()


def render_leftover() -> bytes:
    """What replaces a page that the plan no longer fills."""
    return _environment().get_template("leftover.html").render().encode()


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("adloom.gallery", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style = environment.loader.get_source(environment, "page.css")[0] if environment.loader else ""
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment.globals.update(
        style=Markup(style),  # noqa: S704 - our own file
        policy=f"default-src 'none'; img-src 'self' file: data:; style-src 'sha256-{allowed}'; "
        "base-uri 'none'; form-action 'none'",
        page_name=page_name,
        delivery_page=DELIVERY_PAGE,
    )
    environment.filters["plural"] = counted
    return environment


def _by_job(rows: Sequence[RowView]) -> list[tuple[str, list[RowView]]]:
    groups: dict[str, list[RowView]] = {}
    for row in rows:
        groups.setdefault(row.job, []).append(row)
    return list(groups.items())


def _bar(totals: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """The parts of the bar: status, start and width. The smallest part stays visible."""
    parts: list[tuple[str, float, float]] = []
    start = 0.0
    for status in Status:
        if totals[status]:
            width = max(4.0, _BAR_UNITS * totals[status] / totals["wanted"])
            parts.append((status.value, round(start, 1), round(width, 1)))
            start += width
    return parts


def _money(totals: Mapping[str, Any], word: str) -> list[tuple[str, str, str]]:
    """Label, dollars and credits of each sum that there is."""
    sums = (("charged", "credits_charged"), ("reserved", "credits_reserved"), ("at risk", "credits_at_risk"))
    return [
        (label, f"{word}${usd(Decimal(str(totals[name]))):.2f}", f"{totals[name]} credits")
        for label, name in sums
        if totals[name] or name != "credits_reserved"
    ]
