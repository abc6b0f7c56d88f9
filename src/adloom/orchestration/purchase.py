"""Buying inside a flow run: runs the assessed campaign, watches it, stops it when Prefect says so, shows the result.

The run itself decides what is bought, collected, archived and retried; Prefect shows, schedules and can stop it. State
lives in the archive: a flow run that dies, is retried or exists twice resumes the same edition and buys nothing twice.
Batches run in the flow's own event loop, over one client, ledger and pace.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

from adloom.core.errors import AdloomError
from adloom.edges.settings import Settings
from adloom.orchestration.artifacts import Artifacts
from adloom.orchestration.batches import fulfil_as_prefect_task
from adloom.orchestration.states import bad_input, final_state
from adloom.plan.assessment import Assessment
from adloom.ports import Store
from adloom.run.batches import DRAIN_S
from adloom.run.run import Result, Run
from adloom.targets import open_store
from adloom.wiring import execute

PUBLISH_S = 8
"""Prefect's workers kill a cancelled flow 30 s after its SIGTERM: what the drain leaves of that is left for the
manifest."""


@dataclass(slots=True)
class Prepared:
    """A run that was assessed before its flow began, and where the flow stores how it ended."""

    settings: Settings
    store: Store
    assessment: Assessment
    started: Callable[[Run], None]
    named: Callable[[FlowRun], None] = lambda _: None
    has_begun: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    result: Result | None = None
    error: AdloomError | None = None


prepared_run: ContextVar[Prepared | None] = ContextVar("prepared_run", default=None)
"""Set by a caller in this process that has already prepared the run; the flow's parameters then only describe it."""


@flow(name="campaign", retries=0, persist_result=False)
async def run_prepared(campaign: str, edition: str, budget_usd: float, archive: str, sandbox: bool) -> State[Any]:  # noqa: ARG001, FBT001 - shown by Prefect
    """Buy what is missing of a campaign, archive every image, write the manifest."""
    prepared = prepared_run.get()
    if prepared is None:
        raise RuntimeError("this flow is what `adloom run` calls; deployments use run_campaign and run_csv")
    prepared.has_begun = True
    try:
        return await buy(prepared)
    except AdloomError as error:
        prepared.error = error
        return bad_input(error)


async def buy(prepared: Prepared) -> State[Any]:
    """Run the assessed campaign as far as possible; how it ended, for Prefect."""
    is_sandbox = prepared.settings.loopback
    board = Artifacts(prepared.assessment.edition, is_sandbox=is_sandbox)
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
        execute(prepared.settings, prepared.store, prepared.assessment, started=started, fulfil=fulfil_as_prefect_task)
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
    store = open_store(prepared.settings.archive)  # the run has closed its own
    await board.end(prepared.result, runs[0] if runs else None, store)
    await store.aclose()
    return final_state(prepared.result, is_sandbox=is_sandbox)


async def _come_to_rest(runs: Sequence[Run], running: "asyncio.Task[Result]") -> None:
    """After a cancellation: buy nothing more, collect what is in flight, write the manifest."""
    for run in runs:
        run.interrupt()
    if not runs:
        running.cancel()
    await asyncio.wait({running}, timeout=DRAIN_S + PUBLISH_S)


def interrupt_on_sigterm(run: Run) -> None:
    """Let a worker's SIGTERM stop buying instead of interrupting calls, as Prefect's own handler would.

    Does nothing off the main thread, where Python takes no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    logger = get_run_logger()

    def on_signal() -> None:
        logger.warning("Stopping: nothing more is bought, what is in flight is collected for up to %d s.", DRAIN_S)
        run.interrupt()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, on_signal)
