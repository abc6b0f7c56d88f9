"""A run's progress and result on a terminal. Only ``watch`` writes; the rest builds text."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from adloom.core.counting import counted
from adloom.core.origin import Origin
from adloom.core.outcomes import Status
from adloom.core.pricing import usd
from adloom.ledger.edition import utc
from adloom.plan.text import dollars, duration, waiting_lines, waits_of
from adloom.run.progress import Progress
from adloom.run.run import Run
from adloom.spend.held import Held

SHOWN_CHARACTERS = 60
"""Of a prompt: enough to tell it from others in a console."""
LINE_EVERY_S = 10
BAR_EVERY_S = 0.5


def status_lines(manifest: Mapping[str, Any], held: Sequence[Held], origin: Origin) -> list[str]:
    """An edition's progress and money, in words."""
    totals = manifest["totals"]
    ends = ", ".join(f"{totals[status]} {status}" for status in Status if totals[status])
    money = ", ".join(
        f"{dollars(Decimal(str(totals[f'credits_{name}'])), origin)} {word}"
        for name, word in (("charged", "charged"), ("reserved", "reserved"), ("at_risk", "at risk"))
    )
    lines = [
        f"{manifest['campaign']}, edition {manifest['edition']}: {manifest['status']}",
        f"  {counted(totals['wanted'], 'image')} wanted: {ends}",
        f"  {money}",
    ]
    lines += [f"  waits {line}" for line in waiting_lines(waits_of(manifest))]
    return lines + [f"  held {line}" for line in (held_lines(held, origin) if held else [])]


def held_lines(held: Sequence[Held], origin: Origin) -> list[str]:
    """Held purchases, one per line, and what can be done about them."""
    if not held:
        return ["nothing is held"]
    lines = [
        f"{one.call} {one.job}/{one.row}: {counted(one.images, 'image')}, "
        f"{dollars(one.credits_at_risk, origin)} at risk for {duration(one.age_s)}; "
        + (f"bought as task {one.task}; {one.reason}" if one.task else f"{_to_look_for(one)}; {one.reason}")
        for one in held
    ]
    if any(not one.task for one in held):
        console = "the stand-in's log (GET /_sandbox/charges)" if origin.is_stand_in else "EvoLink's console"
        lines.append(
            f"look for a task of that model, time and prompt in {console}: `adloom resolve TARGET CALL --adopt TASK` "
            "if it is there, `adloom resolve TARGET CALL --release --reason WHY` if it is not"
        )
    if any(one.task for one in held):
        lines.append(
            "where a task is named, there is nothing to adopt or to release: run the campaign again within 24 h of the "
            "task's end, which reads it and fetches what it shows by then"
        )
    return lines


def _to_look_for(held: Held) -> str:
    prompt = held.prompt if len(held.prompt) <= SHOWN_CHARACTERS else f"{held.prompt[:SHOWN_CHARACTERS]}…"
    return f"sent {utc(held.sent_s)} to {held.model} as {prompt!r}"


def progress_line(progress: Progress, elapsed_s: float, archived_before: int) -> str:
    """One line of progress."""
    made = progress.archived - archived_before
    left = progress.wanted - progress.ended
    eta = f", about {duration(elapsed_s / made * left)} left" if made and left else ""
    return (
        f"{progress.archived}/{progress.wanted} images archived, {counted(progress.in_flight, 'call')} in flight, "
        f"{progress.origin.word}${progress.usd:.2f} of ${usd(progress.cap):.2f} spent{eta}"
    )


async def watch(run: Run) -> None:
    """Show a run's progress on stderr until cancelled: a bar on a terminal, a line now and then elsewhere."""
    if sys.stderr.isatty():
        await _bar(run)
    else:
        await _lines(run)


async def _lines(run: Run) -> None:
    before = run.progress().archived
    elapsed_s = 0
    try:
        while True:
            await asyncio.sleep(LINE_EVERY_S)
            elapsed_s += LINE_EVERY_S
            sys.stderr.write(progress_line(run.progress(), elapsed_s, before) + "\n")
            sys.stderr.flush()
    finally:
        sys.stderr.write(progress_line(run.progress(), elapsed_s, before) + "\n")


async def _bar(run: Run) -> None:
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415

    columns = (
        SpinnerColumn(),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f} images"),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=run.revision.wanted, note="")
        try:
            while True:
                _show(bar, task, run.progress())
                await asyncio.sleep(BAR_EVERY_S)
        finally:
            _show(bar, task, run.progress())


def _show(bar: Any, task: Any, progress: Progress) -> None:  # noqa: ANN401 - rich is imported late
    note = f"{progress.in_flight} in flight · {progress.origin.word}${progress.usd:.2f} of ${usd(progress.cap):.2f}"
    bar.update(task, completed=progress.archived, note=note)
