"""The command that puts an edition's images into a workbook."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from adloom.cli.ending import end
from adloom.cli.options import Archive, AsJson, EditionName, Target
from adloom.core.errors import SettingInvalid
from adloom.core.exits import EXIT_OK


def register(app: typer.Typer) -> None:
    """Add ``adloom export-sheet``."""
    app.command(name="export-sheet", epilog="Example: adloom export-sheet archive/spring-launch/main images.xlsx")(
        export
    )


def export(
    target: Target,
    book: Annotated[Path, typer.Argument(help="The .xlsx file: made, or filled in place.", show_default=False)],
    sheet: Annotated[str, typer.Option(help="The sheet to fill; made where it is missing.")] = "images",
    archive: Archive = None,
    edition: EditionName = "main",
    as_json: AsJson = False,
) -> None:
    """Put an edition's images into a workbook: thumbnail, status, decision, link, cost, reason, your columns."""
    end(lambda: export_edition(target, book, sheet, archive, edition, as_json=as_json), as_json=as_json)


async def export_edition(
    target: str, book: Path, sheet: str, archive: str | None, edition: str, *, as_json: bool
) -> int:
    """Read the edition and fill the sheet; the exit code."""
    from adloom.gallery.choosing import read_choosing  # noqa: PLC0415
    from adloom.report.sheet import check_sheet_name, export_sheet  # noqa: PLC0415
    from adloom.report.sheet_rows import sheet_rows  # noqa: PLC0415
    from adloom.targets import RunRequest, new_ledger, open_target, settings_for  # noqa: PLC0415

    if book.suffix.lower() != ".xlsx":
        raise SettingInvalid(f"{book} is not an .xlsx file", remedy="Name it like images.xlsx.")
    check_sheet_name(sheet)
    store, found = open_target(target, settings_for(RunRequest(target, archive)), edition)
    ledger = new_ledger(store, found)
    await ledger.load()
    choosing = await read_choosing(store, found, ledger)
    done = export_sheet(book, sheet, [row async for row in sheet_rows(store, choosing)])
    typer.echo(
        f"{book}, sheet {sheet}: {done.added} rows added, {done.updated} updated, {done.thumbnails} thumbnails",
        err=as_json,
    )
    if done.unapplied:
        typer.echo(done.unapplied, err=as_json)
    if as_json:
        answer = {"added": done.added, "updated": done.updated, "thumbnails": done.thumbnails, "typed": done.typed}
        typer.echo(json.dumps({"book": str(book), "sheet": sheet, **answer}, ensure_ascii=False))
    return EXIT_OK
