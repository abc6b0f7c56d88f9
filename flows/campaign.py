"""A campaign as a Prefect flow: one Prefect task run for each batch of calls, one honest final state.

The flow is thin. What is bought, collected and archived, and every retry, is the run's own business; Prefect shows it,
schedules it and can stop it. State lives in the archive: a flow run that dies, is retried or exists twice resumes the
same edition and buys nothing twice. Batches run in the flow's own event loop, over one client, ledger and pace. Prefect
sees no row, prompt, key or link: a batch reaches its Prefect task through a context variable, and the task's one
parameter says in words what it makes.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC
from decimal import Decimal
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field

from adloom.batches import DRAIN_S
from adloom.core.campaign import Budget
from adloom.core.errors import AdloomError
from adloom.core.exits import (
    EXIT_ACCOUNT,
    EXIT_BUDGET,
    EXIT_HELD,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_OUTAGE,
    EXIT_REASONS,
)
from adloom.core.order import Order
from adloom.core.outcomes import Status
from adloom.edges.settings import Settings
from adloom.flows.board import PREFECT_FAULTS, Board
from adloom.look import Outlook, Wish
from adloom.ports import Store
from adloom.run import Result, Run
from adloom.session import RunRequest, embedded_sandbox, execute, open_store, outlook_of, settings_for

PUBLISH_S = 8
"""Prefect's workers kill a cancelled flow 30 s after its SIGTERM: what the drain leaves of that is for the manifest."""

NAME_LENGTH = 100

STATE_NAMES = {
    EXIT_INCOMPLETE: "Incomplete",
    EXIT_BUDGET: "OverBudget",
    EXIT_ACCOUNT: "AccountStopped",
    EXIT_HELD: "Held",
    EXIT_OUTAGE: "Outage",
}


@dataclass(slots=True)
class Prepared:
    """A run that was looked at before its flow began, and the place where the flow leaves how it ended."""

    settings: Settings
    store: Store
    outlook: Outlook
    started: Callable[[Run], None]
    named: Callable[[FlowRun], None] = lambda _: None
    has_begun: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    result: Result | None = None
    error: AdloomError | None = None


prepared_run: ContextVar[Prepared | None] = ContextVar("prepared_run", default=None)
"""Set by a caller in this process that has already prepared the run; the flow's parameters then only describe it."""


@flow(name="campaign", retries=0, persist_result=False)
async def run_campaign(
    campaign: str,
    edition: str = "",
    budget_usd: Annotated[float, Field(ge=0)] = 0,
    archive: str = "",
    sandbox: bool = False,  # noqa: FBT001, FBT002 - a switch in Prefect's form
) -> State[Any]:
    """Buy what is missing of a campaign, archive every image, write the manifest.

    Args:
        campaign: Path of the campaign file (.yaml or .csv), from the folder that the deployment was made in.
        edition: One issue of the campaign; the same again resumes it. Empty: the scheduled date of a scheduled run,
            else "main".
        budget_usd: The cap in US dollars. 0: the file's own budget.
        archive: Where the images go, a path or s3://bucket/prefix. Empty: the worker's ADLOOM_ARCHIVE.
        sandbox: Buy from a stand-in API: no key, no money.
    """
    prepared = prepared_run.get()
    try:
        if prepared is not None:
            prepared.has_begun = True
            return await _run_prepared(prepared)
        request = RunRequest(
            campaign,
            archive.strip() or None,
            edition.strip() or await _edition_of_flow_run(),
            Wish(budget=Budget(usd=Decimal(str(budget_usd))) if budget_usd else None, sandbox=sandbox),
        )
        return await _prepare_and_run(request)
    except AdloomError as error:
        if prepared is not None:
            prepared.error = error
        return Failed(message=str(error))


async def _prepare_and_run(request: RunRequest) -> State[Any]:
    settings = settings_for(request)
    with embedded_sandbox(settings) if request.wish.sandbox else nullcontext(settings) as settings:
        store = open_store(settings.archive)
        outlook = await outlook_of(request, settings, store, to_run=True)
        return await _run_prepared(Prepared(settings, store, outlook, interrupt_on_sigterm))


async def _run_prepared(prepared: Prepared) -> State[Any]:
    board = Board(prepared.outlook.edition)
    await board.name_run()
    if (context := FlowRunContext.get()) is not None and context.flow_run is not None:
        prepared.named(context.flow_run)
    runs: list[Run] = []
    watching: list[asyncio.Task[None]] = []

    def started(run: Run) -> None:
        runs.append(run)
        prepared.started(run)
        watching.append(asyncio.create_task(board.watch(run)))

    running = asyncio.create_task(
        execute(prepared.settings, prepared.store, prepared.outlook, started=started, fulfil=fulfil_as_prefect_task)
    )
    try:
        prepared.result = await asyncio.shield(running)
    except asyncio.CancelledError:
        await _come_to_rest(runs, running)
        raise
    finally:
        for watch in watching:
            watch.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
        prepared.over.set()
    await board.end(prepared.result, runs[0].progress())
    return final_state(prepared.result)


async def _come_to_rest(runs: Sequence[Run], running: "asyncio.Task[Result]") -> None:
    """After a cancellation: buy nothing more, collect what is in flight, write the manifest."""
    for run in runs:
        run.interrupt()
    if not runs:
        running.cancel()
    await asyncio.wait({running}, timeout=DRAIN_S + PUBLISH_S)


def interrupt_on_sigterm(run: Run) -> None:
    """Let a worker's SIGTERM stop the buying instead of tearing calls apart, as Prefect's own handler would.

    Does nothing off the main thread, where Python takes no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    logger = get_run_logger()

    def on_signal() -> None:
        logger.warning("Stopping: nothing more is bought, what is in flight is collected for up to %d s.", DRAIN_S)
        run.interrupt()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_signal)


# One Prefect task run per batch


@dataclass(slots=True)
class _Batch:
    run: Run
    orders: Sequence[Order]
    has_begun: bool = field(default=False, init=False)
    has_ended: bool = field(default=False, init=False)

    async def fulfil(self) -> None:
        self.has_begun = True
        await self.run.fulfil(self.orders)
        self.has_ended = True


_batch: ContextVar[_Batch] = ContextVar("_batch")


@task(
    name="batch",
    task_run_name="{what}",
    retries=0,
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def fulfil_batch(what: str) -> None:  # noqa: ARG001 - read by Prefect, as the task run's name
    """Bring the batch of the context variable as far as it goes. Its ends are facts of the ledger, not of this task."""
    await _batch.get().fulfil()


async def fulfil_as_prefect_task(run: Run, orders: Sequence[Order]) -> None:
    """Do a batch as a Prefect task run; when Prefect fails at that, the batch is done all the same.

    Once buying has stopped, what is left is collected without: a task run would claim to make images.
    """
    if run.gate.closed.is_set():
        await run.fulfil(orders)
        return
    batch = _Batch(run, orders)
    token = _batch.set(batch)
    try:
        await fulfil_batch(what_is_made(orders))
    except PREFECT_FAULTS as error:
        if batch.has_begun and not batch.has_ended:
            raise
        get_run_logger().warning("Prefect did not record a batch (%s); the images are not concerned", error)
        if not batch.has_begun:
            await batch.fulfil()
    finally:
        _batch.reset(token)


def what_is_made(orders: Sequence[Order]) -> str:
    """A batch in words, for the name of its task run: its jobs, calls and images, no prompt."""
    images = sum(order.n for order in orders)
    jobs = ", ".join(dict.fromkeys(order.row.job for order in orders))
    names = f"{jobs} {orders[0].row.label}" if len(orders) == 1 else jobs
    calls = f"{len(orders)} calls, " if len(orders) > 1 else ""
    return f"{names[:NAME_LENGTH].strip()}: {calls}{images} image{'s' if images != 1 else ''}"


# How a run ended, for Prefect


def final_state(result: Result) -> State[Any]:
    """Completed when everything is archived; else a state of another name that says why, and what to do."""
    message = final_message(result)
    if result.exit_code == EXIT_OK:
        return Completed(message=message)
    if result.exit_code == EXIT_INTERRUPTED:
        return Cancelled(name="Interrupted", message=message)
    return Failed(name=STATE_NAMES.get(result.exit_code, "Failed"), message=message)


def final_message(result: Result) -> str:
    """How a run ended, in one paragraph."""
    totals = result.published.manifest["totals"]
    others = (f", {totals[status]} {status}" for status in Status if status is not Status.ARCHIVED and totals[status])
    counts = (
        f"{totals['archived']} of {totals['wanted']} images archived{''.join(others)}; ${totals['usd']:.2f} charged."
    )
    stops = (f" Stopped: {stop.message}. {stop.remedy}".rstrip() for stop in result.stops)
    reason = "" if result.stops or result.exit_code == EXIT_OK else f" {EXIT_REASONS[result.exit_code].capitalize()}."
    return f"{counts}{''.join(stops)}{reason} Manifest: {result.published.address}"


async def _edition_of_flow_run() -> str:
    """The edition of a flow run that names none: its scheduled date, in the schedule's time zone, or ``main``."""
    context = FlowRunContext.get()
    flow_run = context.flow_run if context else None
    if flow_run is None or not flow_run.auto_scheduled or flow_run.expected_start_time is None:
        return "main"
    zone = await _time_zone(flow_run)
    return flow_run.expected_start_time.astimezone(zone).date().isoformat()


async def _time_zone(flow_run: FlowRun) -> Any:  # noqa: ANN401 - a tzinfo
    """The time zone of the deployment's schedules, UTC when they have several or Prefect cannot tell."""
    if flow_run.deployment_id is None:
        return UTC
    try:
        async with get_client() as client:
            deployment = await client.read_deployment(flow_run.deployment_id)
    except PREFECT_FAULTS:
        return UTC
    names = {getattr(schedule.schedule, "timezone", None) for schedule in deployment.schedules}
    name = names.pop() if len(names) == 1 else None
    return ZoneInfo(name) if name else UTC
