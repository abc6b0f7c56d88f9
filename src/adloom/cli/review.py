"""The command for choosing images: shows decisions, applies them from files, serves the page that saves them."""

from __future__ import annotations

import asyncio
import json
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from adloom.cli.asking import person
from adloom.cli.ending import end
from adloom.cli.listening import listening
from adloom.cli.options import Archive, AsJson, EditionName, Target
from adloom.core.counting import counted
from adloom.core.errors import SettingInvalid
from adloom.core.exits import EXIT_OK


def review(
    target: Target,
    archive: Archive = None,
    edition: EditionName = "main",
    apply: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Apply the decisions of a review.csv or review.json.")
    ] = None,
    by: Annotated[str, typer.Option(help="Who decides, if the file does not say so; by default your user name.")] = "",
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine and save decisions as they are made.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port of --serve; 0 picks a free one.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Show decisions about an edition's images, apply those of a file, or decide on a page."""

    async def work() -> int:
        if serve and apply is not None:
            raise SettingInvalid("--serve and --apply exclude each other", remedy="Apply the file first.")
        if serve:
            return await serve_edition(target, archive, edition, port, by)
        return await review_edition(target, archive, edition, apply, by=by, as_json=as_json)

    end(work, as_json=as_json)


async def serve_edition(target: str, archive: str | None, edition: str, port: int, by: str) -> int:
    """Serve the page until it is stopped; the exit code. Its address is the first line of output."""
    from adloom.gallery.choosing import read_choosing  # noqa: PLC0415
    from adloom.review.server import ReviewServer  # noqa: PLC0415
    from adloom.review.summary import review_lines  # noqa: PLC0415
    from adloom.targets import RunRequest, new_ledger, open_target, settings_for  # noqa: PLC0415
    from adloom.wiring import publish_again  # noqa: PLC0415

    store, found = open_target(target, settings_for(RunRequest(target, archive)), edition)
    ledger = new_ledger(store, found)
    await ledger.load()
    await read_choosing(store, found, ledger)  # raises where there is nothing to choose from
    server = ReviewServer(store, found, ledger, by or person())
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with listening(server.running(port), server.host, port) as url:
        typer.echo(url)
        typer.echo(
            "Decisions are saved as they are made. Anyone who has this address can decide. Ctrl-C stops the server.",
            err=True,
        )
        await stopped.wait()
    if server.saved:
        await publish_again(store, found)
    typer.echo("\n".join(review_lines(await read_choosing(store, found, ledger))))
    return EXIT_OK


async def review_edition(
    target: str, archive: str | None, edition: str, file: Path | None, *, by: str, as_json: bool
) -> int:
    """Show, or apply and show; the exit code."""
    from adloom.core.decision import MOST_CHARACTERS  # noqa: PLC0415
    from adloom.gallery.choosing import read_choosing  # noqa: PLC0415
    from adloom.review.apply import with_added  # noqa: PLC0415
    from adloom.review.summary import overruled_lines, review_lines, review_summary  # noqa: PLC0415
    from adloom.review.table import read_review  # noqa: PLC0415
    from adloom.targets import RunRequest, new_ledger, open_target, settings_for  # noqa: PLC0415
    from adloom.wiring import decide  # noqa: PLC0415

    if len(by) > MOST_CHARACTERS:
        raise SettingInvalid("--by is too long", remedy="Give a name.")
    store, found = open_target(target, settings_for(RunRequest(target, archive)), edition)
    ledger = new_ledger(store, found)
    await ledger.load()
    choosing = await read_choosing(store, found, ledger)
    lines: list[str] = []
    added = 0
    if file is not None:
        now = datetime.now(UTC)
        applied = await decide(store, choosing, read_review(file, now), by or person(), now)
        choosing, added = with_added(choosing, applied), len(applied.added)
        lines.append(f"{file}: {counted(added, 'decision')} added, {applied.known} known already")
        lines += overruled_lines(applied.overruled)
    typer.echo("\n".join([*lines, *review_lines(choosing)]), err=as_json)
    if as_json:
        answer = review_summary(choosing) | ({"added": added} if file is not None else {})
        typer.echo(json.dumps(answer, ensure_ascii=False))
    return EXIT_OK
