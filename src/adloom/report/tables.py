"""A report as Markdown, as CSV, as data and as a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from adloom.core.decision import Verdict
from adloom.core.manifest import number
from adloom.core.outcomes import Status
from adloom.core.pricing import usd
from adloom.report.figures import REASONS, Figures, Report

COLUMNS = (
    "money", "group", "name", "calls", "wanted", "images", "approved", "rejected", "waiting", "short", "refused",
    "failed", "held", "open", "credits_charged", "credits_reserved", "credits_at_risk", "usd_charged",
    "credits_per_image", "credits_per_approved", "approval", "refusal", "shortfall", "median_s",
)  # fmt: skip
_SHOWN = ("name", "images", "approved", "charged", "an image", "an approved image", "approval", "refused", "short")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_UNKNOWN = "unknown"


def as_data(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """Every group as a mapping by column; unknown values are None, and money is text so that no digit is lost."""
    return [dict(zip(COLUMNS, cells, strict=True)) for report in reports for cells in _cells(report)]


def as_csv(reports: Sequence[Report]) -> str:
    """One line per group. An empty cell means unknown."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for report in reports:
        for cells in _cells(report):
            writer.writerow(["" if cell is None else _harmless(cell) for cell in cells])
    return text.getvalue()


def as_markdown(reports: Sequence[Report]) -> str:
    """Tables for people, one per kind of group."""
    lines: list[str] = []
    for report in reports:
        lines += [f"# {_title(report)}", "", *_summary(report), ""]
        for kind in report.kinds()[1:]:
            lines += [f"## By {kind}", "", _row(_SHOWN), _row(["---", *["---:"] * (len(_SHOWN) - 1)])]
            lines += [
                _row([_plain(cell) for cell in _shown(name, figures, report)]) for name, figures in report.lines(kind)
            ]
            lines.append("")
        if report.total.reasons:
            lines += ["## Why images are missing", ""]
            lines += [f"- {count} × {_plain(reason)}" for reason, count in report.total.reasons.most_common(REASONS)]
            lines.append("")
    return "\n".join(lines) if lines else "There is no campaign in the archive yet.\n"


def as_page(reports: Sequence[Report]) -> str:
    """A page with a chart per kind of group, without scripts or requests."""
    environment = Environment(
        loader=PackageLoader("adloom.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html").render(
        reports=[
            {
                "title": _title(report),
                "summary": _summary(report),
                "kinds": [(kind, _bars(report, kind)) for kind in report.kinds()[1:]],
                "reasons": report.total.reasons.most_common(REASONS),
            }
            for report in reports
        ],
        columns=_SHOWN,
    )


def _cells(report: Report) -> Iterator[list[object]]:
    for kind in report.kinds():
        for name, figures in report.lines(kind):
            money, verdicts, found = figures.money, figures.verdicts, figures.found
            rates = (figures.approval, figures.rate(Status.REFUSED), figures.rate(Status.SHORT))
            yield [
                "sandbox" if report.sandbox else "real", kind, name, figures.calls, figures.wanted, figures.images,
                *(verdicts[each] for each in (Verdict.APPROVED, Verdict.REJECTED, Verdict.CLEARED)),
                *(found[each] for each in (Status.SHORT, Status.REFUSED, Status.FAILED, Status.HELD, Status.OPEN)),
                *(f"{each.normalize():f}" for each in (money.charged, money.reserved, money.at_risk)),
                f"{usd(money.charged):f}", _exact(figures.credits_per_image), _exact(figures.credits_per_approved),
                *map(_share, rates),
                None if figures.seconds_per_call is None else round(figures.seconds_per_call, 1),
            ]  # fmt: skip


def _summary(report: Report) -> list[str]:
    """The whole in a few sentences."""
    total, money, verdicts = report.total, report.total.money, report.total.verdicts
    charged = f"{_dollars(money.charged, report)} ({money.charged.normalize():f} credits)"
    lines = [f"{total.images} images from {total.calls} purchases for {charged}."]
    if money.reserved or money.at_risk:
        at_risk = f"{_dollars(money.at_risk, report)} belong to purchases of unknown outcome"
        lines.append(f"Not known yet: {_dollars(money.reserved, report)} are reserved; {at_risk}.")
    decided = f"{verdicts[Verdict.APPROVED]} approved, {verdicts[Verdict.REJECTED]} rejected"
    each = _dollars(total.credits_per_approved, report)
    lines.append(f"{decided}, {verdicts[Verdict.CLEARED]} wait for a decision; an approved image cost {each}.")
    if total.seconds_per_call is not None:
        lines.append(f"A purchase took {total.seconds_per_call:.1f} s (median), from the order to the result.")
    return lines


def _shown(name: str, figures: Figures, report: Report) -> list[str]:
    return [
        name,
        str(figures.images),
        str(figures.verdicts[Verdict.APPROVED]),
        _dollars(figures.money.charged, report),
        _dollars(figures.credits_per_image, report),
        _dollars(figures.credits_per_approved, report),
        *(_percent(each) for each in (figures.approval, figures.rate(Status.REFUSED), figures.rate(Status.SHORT))),
    ]


def _bars(report: Report, kind: str) -> list[tuple[list[str], float]]:
    """The lines of a kind, each with its share of the most expensive as the length of its bar, 0 to 100."""
    lines = report.lines(kind)
    most = max((figures.money.charged for _, figures in lines), default=Decimal(0))
    return [
        (_shown(name, figures, report), float(figures.money.charged / most * 100) if most else 0.0)
        for name, figures in lines
    ]


def _title(report: Report) -> str:
    return "Sandbox: play money" if report.sandbox else "Spending"


def _dollars(credits_: Decimal | None, report: Report) -> str:
    return _UNKNOWN if credits_ is None else f"{'sandbox ' if report.sandbox else ''}${usd(credits_):.2f}"


def _percent(share: Decimal | None) -> str:
    return _UNKNOWN if share is None else f"{share * 100:.0f} %"


def _exact(credits_: Decimal | None) -> float | int | None:
    return None if credits_ is None else number(round(credits_, 4))


def _share(share: Decimal | None) -> float | int | None:
    return None if share is None else number(round(share, 4))


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _harmless(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
