"""The command that reports what was spent and what it produced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from adloom.cli.ending import end
from adloom.cli.options import Archive, AsJson, EditionName
from adloom.core.errors import InputError, SettingInvalid
from adloom.core.exits import EXIT_OK

KINDS = (".html", ".md", ".csv")


def register(app: typer.Typer) -> None:
    """Add ``adloom report``."""
    app.command(epilog="Example: adloom report archive/spring-launch/main --to report.html")(report)


def report(
    target: Annotated[
        str | None,
        typer.Argument(
            help="A campaign file or an edition; without it, all editions of the archive.", show_default=False
        ),
    ] = None,
    archive: Archive = None,
    edition: EditionName = "main",
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page (.html), Markdown (.md) or a table (.csv).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Report what was spent and what it produced, by campaign, edition, job, model and axis value."""
    end(lambda: report_on(target, archive, edition, to, as_json=as_json), as_json=as_json)


async def report_on(target: str | None, archive: str | None, edition: str, to: Path | None, *, as_json: bool) -> int:
    """Gather, then show or write; the exit code."""
    from adloom.ledger.index import indexed_editions  # noqa: PLC0415
    from adloom.report.gather import gather  # noqa: PLC0415
    from adloom.report.tables import as_csv, as_data, as_markdown, as_page  # noqa: PLC0415
    from adloom.targets import (  # noqa: PLC0415
        RunRequest,
        WallClock,
        new_ledger,
        open_store,
        open_target,
        settings_for,
    )

    if to is not None and to.suffix.lower() not in KINDS:
        raise SettingInvalid(f"--to {to}: this kind of file is not known", remedy=f"Name it {', '.join(KINDS)}.")
    settings = settings_for(RunRequest(target or "", archive))
    if target is None:
        store = open_store(settings.archive)
        editions, _ = await indexed_editions(store, WallClock().now())
    else:
        store, found = open_target(target, settings, edition)
        editions = [found]
    reports = await gather(store, editions, lambda each: new_ledger(store, each))
    if target is not None and not reports:
        raise InputError(f"{store.address}/{editions[0].prefix} has no plan yet", remedy="Run the campaign first.")
    if to is not None:
        _write(to, {".html": as_page, ".md": as_markdown, ".csv": as_csv}[to.suffix.lower()](reports))
        typer.echo(f"wrote {to}", err=as_json)
    else:
        typer.echo(as_markdown(reports).rstrip("\n"), err=as_json)
    if as_json:
        typer.echo(json.dumps({"groups": as_data(reports)}, ensure_ascii=False))
    return EXIT_OK


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}", remedy="Choose another place.") from error
