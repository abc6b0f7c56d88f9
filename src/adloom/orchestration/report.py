"""The result of a run in the words and tables that Prefect shows. Pure text: no prompt, key or live link."""

import json
from collections.abc import Iterator
from typing import Any

from adloom.core.exits import EXIT_REASONS
from adloom.core.outcomes import Status
from adloom.core.pricing import usd
from adloom.orchestration.states import reason_of
from adloom.plan.text import duration, waiting_lines
from adloom.run.progress import Progress
from adloom.run.run import Result

MOST_FAILURES = 500
"""All artifacts of a flow run are read at once when its page is opened."""

_LABELS = {
    "wanted": "images wanted",
    **{status.value: f"images {status.value}" for status in Status},
    "calls": "calls",
    "posts": "purchases sent",
    "images_billed": "images billed",
    "usd": "US dollars charged",
    "credits_charged": "credits charged",
    "credits_reserved": "credits reserved",
    "credits_at_risk": "credits at risk",
}
_ALWAYS = ("wanted", "archived", "posts", "usd")
"""Shown even when they are 0."""


def progress_text(progress: Progress, left_s: float | None) -> str:
    """The progress of a run, in one short line; ``left_s`` is None if unknown."""
    parts = [
        f"{progress.archived:,}/{progress.wanted:,} images archived",
        f"{progress.calls:,} call{'s' if progress.calls != 1 else ''}",
        f"{progress.in_flight} in flight",
        f"${progress.usd:.2f} of ${usd(progress.cap):.2f}",
    ]
    return " · ".join([*parts, f"about {duration(left_s)} left"] if left_s is not None else parts)


def result_report(result: Result, words: str) -> str:
    """How a run ended, as Markdown: its end and what to do, images, calls, money, and where everything is."""
    totals = result.published.manifest["totals"]
    rows = [f"| {label} | {totals[name]:,} |" for name, label in _LABELS.items() if totals[name] or name in _ALWAYS]
    lines = [
        f"## {words}: {EXIT_REASONS[result.exit_code]}",
        reason_of(result),
        "\n".join(["| | |", "|---|---:|", *rows]),
        f"Manifest: `{result.published.address}`",
        f"Page: `{result.gallery}`" if result.gallery else "",
        *(f"**Waiting**: {line}" for line in waiting_lines(result.published.blocked)),
        f"**{result.published.waiting:,} images wait for a decision**: `{result.review}`" if _waits(result) else "",
    ]
    return "\n\n".join(line for line in lines if line)


def _waits(result: Result) -> bool:
    return bool(result.review and result.published.waiting)


def failures_of(assets: bytes) -> tuple[list[dict[str, Any]], int]:
    """The wanted images that did not come and why, at most ``MOST_FAILURES``, and how many there are in all.

    ``assets`` is the content of ``assets.jsonl``. Open images are not among them.
    """
    rows: list[dict[str, Any]] = []
    count = 0
    for line in _lines_of(assets):
        if line["status"] in (Status.ARCHIVED, Status.OPEN):
            continue
        count += 1
        if count <= MOST_FAILURES:
            rows.append({name: line[name] for name in ("job", "row", "variant", "status", "reason", "task")})
    return rows, count


def keys_of(assets: bytes) -> list[str]:
    """The keys of the archived images in ``assets.jsonl``, in plan order."""
    return [line["key"] for line in _lines_of(assets) if line["key"]]


def _lines_of(assets: bytes) -> Iterator[dict[str, Any]]:
    return (json.loads(line) for line in assets.splitlines())
