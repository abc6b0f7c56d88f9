"""The command that spends money: it shows the price, gets agreement, then runs the campaign."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import typer

from adloom.cli.asking import agrees
from adloom.core.errors import InputError, RunInterrupted, StoreRefused, StoreUnavailable
from adloom.core.exits import EXIT_INTERRUPTED, Sent

if TYPE_CHECKING:
    from adloom.plan.assessment import Assessment
    from adloom.run.run import Result, Run
    from adloom.targets import RunRequest


async def run_campaign(
    request: RunRequest, sent: list[Sent], *, yes: bool, through_prefect: bool, as_json: bool
) -> int:
    """Run a campaign and show how it ended; its exit code.

    ``sent`` receives what the run sends, as it happens. Raises InputError when nobody agreed to the price, or when
    Prefect is asked for and not installed.
    """
    if through_prefect and find_spec("prefect") is None:
        raise InputError("Prefect is not installed", remedy="pip install 'adloom[prefect]', or run with --direct.")
    from adloom.run.text import result_lines, result_summary  # noqa: PLC0415
    from adloom.sandbox_process import embedded_sandbox  # noqa: PLC0415
    from adloom.targets import open_store, settings_for  # noqa: PLC0415
    from adloom.wiring import assessment_of  # noqa: PLC0415

    settings = settings_for(request)
    with embedded_sandbox(settings) if request.wish.sandbox else nullcontext(settings) as settings:
        store = open_store(settings.archive)
        assessment = await assessment_of(request, settings, store, to_run=True)
        assessment = await _agreed(assessment, yes=yes, as_json=as_json)
        if through_prefect:
            from adloom.orchestration.in_process import run_through_prefect  # noqa: PLC0415

            result = await watched(partial(run_through_prefect, request, settings, store, assessment), sent)
        else:
            from adloom.wiring import execute  # noqa: PLC0415

            note = "Running directly, without Prefect (set PREFECT_API_URL or use --prefect for a flow run)."
            typer.echo(note, err=True)
            result = await watched(partial(execute, settings, store, assessment), sent)
    typer.echo("\n".join(result_lines(result)), err=as_json)
    if as_json:
        typer.echo(json.dumps(result_summary(result), ensure_ascii=False))
    return result.exit_code


async def _agreed(assessment: Assessment, *, yes: bool, as_json: bool) -> Assessment:
    """Show the price and ask for agreement. If nobody can be asked, the run only collects what is paid for.

    Raises InputError when a person says no, and where there is nothing to collect either.
    """
    from adloom.plan.reserve import unconfirmed  # noqa: PLC0415
    from adloom.plan.text import plan_lines  # noqa: PLC0415

    typer.echo("\n".join(plan_lines(assessment)), err=as_json)
    if yes:
        return assessment
    to_agree = bool(assessment.to_buy) and assessment.fits and assessment.may_buy
    if sys.stdin.isatty() and sys.stdout.isatty():
        if to_agree and not await agrees("Buy this?", err=as_json):
            raise InputError("nothing was bought: you did not agree to the price", remedy="Run it again when you do.")
        if assessment.fits:
            return assessment
    elif to_agree and not assessment.ledger.calls():
        stop = unconfirmed(assessment)
        raise InputError(stop.message, remedy=stop.remedy)
    return replace(assessment, wish=replace(assessment.wish, agreed=False))


async def watched(work: Callable[..., Awaitable[Result]], sent: list[Sent]) -> Result:
    """Show a run's progress, and let signals stop it. Raises what ``work`` raises, or RunInterrupted."""
    from adloom.cli.text import watch  # noqa: PLC0415

    runs: list[Run] = []
    watching: list[asyncio.Task[None]] = []

    def started(run: Run) -> None:
        runs.append(run)
        sent.append(run.sent)
        _interrupt_on_signals(run)
        watching.append(asyncio.create_task(watch(run)))

    try:
        return await work(started=started)
    except (StoreUnavailable, StoreRefused) as error:
        if any(run.gate.is_interrupted for run in runs):
            raise RunInterrupted(error.message, remedy=error.remedy) from error
        raise
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


def _interrupt_on_signals(run: Run) -> None:
    """Ctrl-C or SIGTERM stops buying and collects what is paid for; a second one ends the process at once."""

    def on_signal() -> None:
        if run.gate.is_interrupted:
            os._exit(EXIT_INTERRUPTED)
        typer.echo("Stopping: nothing more is bought, what is in flight is collected (press again to quit).", err=True)
        run.interrupt()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
