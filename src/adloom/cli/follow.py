"""The command that follows an edition from another terminal, or another machine."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from adloom.core.errors import SettingInvalid
from adloom.core.exits import EXIT_OK

if TYPE_CHECKING:
    from adloom.core.origin import Origin
    from adloom.run.watching import Sample


async def follow(target: str | None, archive: str | None, edition: str, every_s: float, *, as_json: bool) -> int:
    """Show a line, or a JSON object, for each reading until no image is open; the exit code.

    Raises SettingInvalid without a target, InputError when the edition has no plan yet.
    """
    from adloom.plan.revision import read_newest  # noqa: PLC0415
    from adloom.run.watching import watch_edition  # noqa: PLC0415
    from adloom.targets import RunRequest, WallClock, new_ledger, open_target, settings_for  # noqa: PLC0415

    if target is None:
        raise SettingInvalid("--watch follows one edition", remedy="Name a campaign file or an edition.")
    store, found = open_target(target, settings_for(RunRequest(target, archive)), edition)
    ledger = new_ledger(store, found)
    await ledger.load()
    newest = await read_newest(store, found)
    try:
        async for sample in watch_edition(ledger, WallClock(), every_s):
            if as_json:
                typer.echo(json.dumps(_summary(sample)))
            elif newest is not None:
                typer.echo(_line(sample, newest.origin))
            sys.stdout.flush()
    finally:
        await store.aclose()
    return EXIT_OK


def _line(sample: Sample, origin: Origin) -> str:
    from adloom.plan.text import duration, waits_of  # noqa: PLC0415

    totals, waiting = sample.manifest["totals"], sum(waits_of(sample.manifest).values())
    parts = [
        f"{totals['archived']:,}/{totals['wanted']:,} images archived",
        *([f"{waiting:,} waiting for approvals"] if waiting else []),
        *(f"{totals[name]:,} {name}" for name in ("short", "refused", "failed", "held") if totals[name]),
        f"{origin.word}${totals['usd']:.2f} charged",
    ]
    if not sample.is_over:
        rate, left = sample.images_per_s, sample.left_s
        unknown = "rate unknown: fewer than two images came in the last ten minutes"
        parts.append(f"{rate * 60:.1f} images/min" if rate else unknown)
        parts += [] if left is None else [f"about {duration(left)} left"]
        parts.append(f"{sample.runs} run{'s' if sample.runs != 1 else ''} at work" if sample.runs else "no run at work")
    return f"{datetime.fromtimestamp(sample.time, UTC):%H:%M:%S}  " + ", ".join(parts)


def _summary(sample: Sample) -> dict[str, Any]:
    return {
        "time": datetime.fromtimestamp(sample.time, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "totals": sample.manifest["totals"],
        "images_per_s": None if sample.images_per_s is None else round(sample.images_per_s, 4),
        "left_s": None if sample.left_s is None else round(sample.left_s),
        "runs": sample.runs,
    }
