"""The command line: its commands and their options.

Heavy libraries are imported by the command that needs them: ``adloom --help`` reads none of them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from adloom import __version__
from adloom.cli.archive import examine, resolve_calls, status_of, verify_edition
from adloom.cli.campaign import explain_rows, make_project, write_schema
from adloom.cli.deliver import register as register_delivery
from adloom.cli.ending import end, say_failure
from adloom.cli.follow import follow
from adloom.cli.options import (
    Archive,
    AsJson,
    AsServerJson,
    BudgetUsd,
    EditionName,
    First,
    Jobs,
    Model,
    Only,
    Prompt,
    Quality,
    Refresh,
    Sample,
    Seed,
    Size,
    Source,
    Target,
    Variants,
    Where,
    budget_of,
    defaults_of,
    only_of,
    request_of,
)
from adloom.cli.report import register as register_report
from adloom.cli.review import review
from adloom.cli.run import run_campaign
from adloom.cli.sheet import register as register_sheet
from adloom.core.errors import SettingInvalid
from adloom.core.exits import EXIT_INPUT, EXIT_OK, Sent


class Commands(TyperGroup):
    """The commands. A mistake in one's options is told as JSON too where JSON was asked for."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - a class of typer's that has no public name
        """Run the command that was named."""
        as_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except typer.TyperException as error:
            if as_json:
                say_failure(EXIT_INPUT, str(error), f"{ctx.info_name} --help shows the commands and their options.")
            raise


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Buy marketing images in bulk from a paid image API: each once, archived and verifiable.",
)


def main() -> None:
    """Run the command line; every error that is meant for a person ends with its exit code."""
    app()


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        typer.echo(f"adloom {__version__}")
        raise typer.Exit


@app.command(epilog="Example: adloom plan campaigns/spring-launch.yaml")
def plan(
    source: Source,
    archive: Archive = None,
    edition: EditionName = "main",
    budget_usd: BudgetUsd = None,
    only: Only = None,
    refresh: Refresh = None,
    jobs: Jobs = None,
    where: Where = "",
    first: First = None,
    sample: Sample = None,
    seed: Seed = "0",
    model: Model = None,
    size: Size = None,
    quality: Quality = None,
    variants: Variants = None,
    prompt: Prompt = None,
    explain: Annotated[
        str | None,
        typer.Option(metavar="JOB[/ROW]", help="Show how these prompts were put together, and from which lines."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a run would buy, and send nothing."""

    async def work() -> int:
        from adloom.core.selection import Selection  # noqa: PLC0415
        from adloom.plan.assessment import Wish  # noqa: PLC0415
        from adloom.plan.text import plan_lines, plan_summary  # noqa: PLC0415
        from adloom.targets import open_store, settings_for  # noqa: PLC0415
        from adloom.wiring import assessment_of  # noqa: PLC0415

        selection = Selection(tuple(jobs or ()), where, first, sample, seed)
        wish = Wish(
            budget=budget_of(budget_usd),
            only=only_of(only or []),
            selection=selection,
            refresh=frozenset(refresh or ()),
        )
        defaults = defaults_of(source, model=model, size=size, quality=quality, variants=variants, prompt=prompt)
        request = request_of(source, archive, edition, defaults, wish)
        if explain is not None:
            return explain_rows(request, explain, as_json=as_json)
        settings = settings_for(request)
        store = open_store(settings.archive)
        assessment = await assessment_of(request, settings, store, to_run=False)
        typer.echo("\n".join(plan_lines(assessment)), err=as_json)
        if as_json:
            typer.echo(json.dumps(plan_summary(assessment), ensure_ascii=False))
        return 0

    end(work, as_json=as_json)


@app.command(epilog="Example: adloom run campaigns/spring-launch.yaml --sandbox")
def run(
    source: Source,
    archive: Archive = None,
    edition: EditionName = "main",
    budget_usd: BudgetUsd = None,
    only: Only = None,
    refresh: Refresh = None,
    jobs: Jobs = None,
    where: Where = "",
    first: First = None,
    sample: Sample = None,
    seed: Seed = "0",
    in_flight: Annotated[int | None, typer.Option(min=1, help="How many tasks may run at the API at once.")] = None,
    submits_per_minute: Annotated[int | None, typer.Option(min=1, help="The most purchases a minute.")] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Buy from a stand-in API: no key, no money.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Agree to the price. Without a terminal, nothing is bought unless you do.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Buy this campaign although the archive has a different one of its name.")
    ] = False,
    same_api: Annotated[
        str,
        typer.Option(metavar="REASON", help="Confirm that the API only changed its address; the reason is recorded."),
    ] = "",
    direct: Annotated[bool, typer.Option("--direct", help="Run without Prefect.")] = False,
    prefect: Annotated[
        bool, typer.Option("--prefect", help="Run as a Prefect flow, on Prefect's embedded server if none is set.")
    ] = False,
    model: Model = None,
    size: Size = None,
    quality: Quality = None,
    variants: Variants = None,
    prompt: Prompt = None,
    as_json: AsJson = False,
) -> None:
    """Show the price and ask, buy what is missing, archive every image, write the manifest."""

    async def work() -> int:
        from adloom.core.selection import Selection  # noqa: PLC0415
        from adloom.plan.assessment import Wish  # noqa: PLC0415

        if direct and prefect:
            raise SettingInvalid("--direct and --prefect cannot be combined", remedy="Choose one of them.")
        wish = Wish(
            budget=budget_of(budget_usd),
            in_flight=in_flight,
            submits_per_minute=submits_per_minute,
            only=only_of(only or []),
            selection=Selection(tuple(jobs or ()), where, first, sample, seed),
            refresh=frozenset(refresh or ()),
            sandbox=sandbox,
            replace=replace,
            same_api=same_api,
        )
        defaults = defaults_of(source, model=model, size=size, quality=quality, variants=variants, prompt=prompt)
        request = request_of(source, archive, edition, defaults, wish)
        through_prefect = prefect or (bool(os.environ.get("PREFECT_API_URL")) and not direct)
        return await run_campaign(request, sent, yes=yes, through_prefect=through_prefect, as_json=as_json)

    sent: list[Sent] = []
    end(work, as_json=as_json, sent=sent)


@app.command(epilog="Example: adloom gallery archive/spring-launch/main")
def gallery(
    target: Target,
    archive: Archive = None,
    edition: EditionName = "main",
    as_json: AsJson = False,
) -> None:
    """Rewrite the pages of an edition, with missing thumbnails, and print the address."""

    async def work() -> int:
        from adloom.targets import RunRequest, open_target, settings_for  # noqa: PLC0415
        from adloom.wiring import rewrite_gallery  # noqa: PLC0415

        store, found = open_target(target, settings_for(RunRequest(target, archive)), edition)
        address = await rewrite_gallery(store, found)
        typer.echo(address, err=as_json)
        if as_json:
            answer = {"campaign": found.campaign, "edition": found.edition, "gallery": address}
            typer.echo(json.dumps(answer, ensure_ascii=False))
        return 0

    end(work, as_json=as_json)


app.command(epilog="Example: adloom review archive/spring-launch/main --apply review.csv")(review)


@app.command(epilog="Example: adloom sandbox --port 8099")
def sandbox(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free port.")] = 0,
    as_json: AsServerJson = False,
) -> None:
    """Serve the stand-in for the image API. The first line of output is its base URL."""
    from adloom.cli.listening import LOOPBACK, explained  # noqa: PLC0415
    from adloom.sandbox import SandboxSettings, serve  # noqa: PLC0415

    async def work() -> int:
        with explained(LOOPBACK, port):
            await serve(port, SandboxSettings(), as_json=as_json)
        return EXIT_OK

    end(work, as_json=as_json)


@app.command(epilog="Example: adloom receive --port 8080 --archive s3://bucket/prefix")
def receive(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free port.")] = 8080,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    archive: Archive = None,
    as_json: AsServerJson = False,
) -> None:
    """Receive the API's callbacks, which resolve lost answers. The first line of output is the address."""
    from adloom.cli.receive import receive_callbacks  # noqa: PLC0415

    end(lambda: receive_callbacks(archive, host, port, as_json=as_json), as_json=as_json)


@app.command(epilog="Example: adloom status campaigns/spring-launch.yaml")
def status(
    target: Annotated[
        str | None, typer.Argument(help="A campaign file or an edition; without it, the whole archive.")
    ] = None,
    archive: Archive = None,
    edition: EditionName = "main",
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow an edition until nothing is open; from any machine.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks of --watch.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show progress and money: charged, reserved, at risk."""
    if watch:
        end(lambda: follow(target, archive, edition, every, as_json=as_json), as_json=as_json)
    end(lambda: status_of(target, archive, edition, as_json=as_json), as_json=as_json)


@app.command(epilog="Example: adloom verify archive/spring-launch/main --sample 10%")
def verify(
    target: Target,
    archive: Archive = None,
    edition: EditionName = "main",
    sample: Annotated[str, typer.Option(help="Hash only this share of the images, such as 10%.")] = "100%",
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired.")] = False,
    accept_loss: Annotated[
        str | None,
        typer.Option(
            help="Rebuild the ledger and declare what is still missing lost; the reason is recorded, the money counts "
            "as spent."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check an edition: derive its manifest again and hash every object. Exit 0: clean, 3: damage."""
    end(
        lambda: verify_edition(target, archive, edition, sample, mend=repair, lost=accept_loss, as_json=as_json),
        as_json=as_json,
    )


@app.command(epilog="Example: adloom resolve archive/spring-launch/main")
def resolve(
    target: Target,
    call: Annotated[str | None, typer.Argument(help="A held call; without it, all are listed.")] = None,
    archive: Archive = None,
    edition: EditionName = "main",
    adopt: Annotated[str | None, typer.Option(help="The task that this purchase created.")] = None,
    release: Annotated[
        bool, typer.Option("--release", help="Declare that this purchase created no task, so it may be sent again.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why it is released; this is recorded.")] = None,
    as_json: AsJson = False,
) -> None:
    """List and settle purchases with an unknown outcome."""
    end(
        lambda: resolve_calls(target, call, archive, edition, adopt, let_go=release, reason=reason, as_json=as_json),
        as_json=as_json,
    )


@app.command(epilog="Example: adloom doctor --probe")
def doctor(
    archive: Archive = None,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Buy one or two images to find out whether the API honours idempotency keys."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the probe.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check key, API, archive, clock and Prefect, and say what to do."""
    sent: list[Sent] = []
    end(lambda: examine(archive, sent, buy=probe, yes=yes, as_json=as_json), as_json=as_json, sent=sent)


@app.command(epilog="Example: adloom init my-campaign")
def init(
    folder: Annotated[Path, typer.Argument(help="The folder to create. Nothing in it is overwritten.")],
    as_json: AsJson = False,
) -> None:
    """Create a starter project that plans and runs at once."""

    async def work() -> int:
        return make_project(folder, as_json=as_json)

    end(work, as_json=as_json)


@app.command(epilog="Example: adloom schema campaign.schema.json")
def schema(
    path: Annotated[Path | None, typer.Argument(help="The file to write; without it, the terminal.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write the JSON schema with which editors complete and check campaign files."""

    async def work() -> int:
        return write_schema(path, as_json=as_json)

    end(work, as_json=as_json)


register_delivery(app)
register_report(app)
register_sheet(app)
