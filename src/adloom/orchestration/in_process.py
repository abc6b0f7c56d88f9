"""``adloom run`` through Prefect: the campaign's flow in this process, on the Prefect server that is set or its own.

Prefect reads its settings when it is imported, so they are set here first, and only where nobody has set them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx

from adloom.core.errors import SettingInvalid
from adloom.edges.settings import Settings
from adloom.orchestration.embedded import EmbeddedServerFailed, start_embedded_server
from adloom.orchestration.first_database import lay_out_first_database
from adloom.orchestration.server import CLIENTS_SECRET, NO_ORIGIN, ORIGINS, SECRET, new_secret, without_proxy
from adloom.plan.assessment import Assessment
from adloom.ports import Store
from adloom.run.run import Result, Run
from adloom.targets import RunRequest

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State

    from adloom.orchestration.purchase import Prepared

log = logging.getLogger(__name__)

PREFECT_SETTINGS = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # 6 s as measured, 30 s where Prefect migrates
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_CLIENT_MAX_RETRIES": "3",  # retries for 14 s if the server goes away; the default's 62 s help nobody
    "PREFECT_API_REQUEST_TIMEOUT": "20",  # the default is 60; the slowest answer seen took 2 s
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # the default is 180, after which automations.yaml takes a run for dead
    "PREFECT_LOGGING_EXTRA_LOGGERS": "adloom",  # our warnings show up in the flow run's log too
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}


RECORDED_WITHIN_S = 20
"""Once a run has ended, Prefect has this long to record and show it."""

LEAVES_WITHIN_S = 5
"""A server that has not answered in all that time will not accept what is left in the client's queues."""

CANCELS = 5
"""Prefect reports a cancellation to its server, which fails too if that is dead: then that is cancelled as well."""


async def run_through_prefect(
    request: RunRequest, settings: Settings, store: Store, assessment: Assessment, *, started: Callable[[Run], None]
) -> Result:
    """Run an assessed campaign as a Prefect flow. Prefect may go away meanwhile: the result is the run's own.

    Raises SettingInvalid when there is no Prefect server to begin with, and what the run itself raises.
    """
    set_up_prefect(os.environ)
    has_page = await _reach_server()
    _hush_prefect()
    from prefect.exceptions import PrefectSignal  # noqa: PLC0415 - after the settings

    from adloom.orchestration.artifacts import PREFECT_FAULTS  # noqa: PLC0415
    from adloom.orchestration.purchase import Prepared, prepared_run, run_prepared  # noqa: PLC0415

    prepared = Prepared(settings, store, assessment, started, partial(_say_where, has_page=has_page))
    token = prepared_run.set(prepared)
    flowing = asyncio.ensure_future(run_prepared(**_shown(request), return_state=True))
    try:
        state = await _ended(flowing, prepared)
    except (*PREFECT_FAULTS, PrefectSignal) as error:
        return _without_prefect(prepared, error)
    finally:
        prepared_run.reset(token)
    if prepared.error is not None:
        raise prepared.error
    if prepared.result is None:
        await state.aresult()  # raises what nobody expected
        raise SettingInvalid(f"the flow run ended before the run: {state.message}", remedy="Run it with --direct.")
    result: Result = prepared.result
    return result


async def _ended(flowing: asyncio.Task[State[Any]], prepared: Prepared) -> State[Any]:
    """The flow's final state. Raises TimeoutError when the run has ended and Prefect cannot record that."""
    over = asyncio.create_task(prepared.over.wait())
    try:
        await asyncio.wait({flowing, over}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({flowing}, timeout=RECORDED_WITHIN_S)
    except asyncio.CancelledError:
        flowing.cancel()
        await asyncio.wait({flowing})
        raise
    finally:
        over.cancel()
    for _ in range(CANCELS):
        if not flowing.done():
            flowing.cancel()
            await asyncio.wait({flowing}, timeout=1)
            log.info("gave up waiting for Prefect")
    if not flowing.done() or flowing.cancelled():
        raise TimeoutError
    return flowing.result()


def set_up_prefect(environ: MutableMapping[str, str]) -> None:
    """Set what the run needs from Prefect unless already set, and keep a local server's secret off proxies."""
    for name, value in PREFECT_SETTINGS.items():
        environ.setdefault(name, value)
    without_proxy(environ)


def _shown(request: RunRequest) -> dict[str, Any]:
    """The flow's parameters, as Prefect shows them."""
    budget = request.wish.budget
    return {
        "campaign": request.source,
        "edition": request.edition,
        "budget_usd": float(budget.usd) if budget and budget.usd else 0,
        "archive": request.archive or "",
        "sandbox": request.wish.sandbox,
    }


async def _reach_server() -> bool:
    """Make sure that a Prefect server answers, starting the embedded one when none is set; whether it shows pages.

    Raises SettingInvalid.
    """
    from prefect.settings import get_current_settings  # noqa: PLC0415 - after the settings

    url = get_current_settings().api.url
    if url is None:
        sys.stderr.write("Starting Prefect's embedded server, which takes 5 to 15 s (--direct runs without).\n")
        sys.stderr.flush()
        _guard_embedded_server()
    error: Exception | None = await _start_own_server() if url is None else None
    error = error or await asyncio.to_thread(lambda: asyncio.run(_healthcheck()))
    if error is not None:
        where = f"the Prefect server at {_without_user(url)}" if url else "Prefect's embedded server"
        if isinstance(error, httpx.HTTPStatusError):
            raise SettingInvalid(
                f"{where} rejects the secret in {CLIENTS_SECRET}; nothing was sent",
                remedy=f"The secret of `make up` is in .prefect-home/api-secret: set {CLIENTS_SECRET} to that line.",
            )
        raise SettingInvalid(
            f"{where} does not answer ({type(error).__name__}); nothing was sent",
            remedy="Start it with `prefect server start`, correct PREFECT_API_URL, or run with --direct.",
        )
    return url is not None


def _guard_embedded_server() -> None:
    """Give the embedded server a secret that nobody else learns, and let pages of no origin use it.

    It listens on a port of loopback for as long as the run lasts, and answers from a database with earlier runs.
    """
    from prefect.context import refresh_global_settings_context  # noqa: PLC0415 - after the settings

    secret = new_secret()
    os.environ.update({SECRET: secret, CLIENTS_SECRET: secret, ORIGINS: NO_ORIGIN})
    refresh_global_settings_context()


async def _start_own_server() -> EmbeddedServerFailed | None:
    """Start the embedded server and make it the one that Prefect's client uses; why it did not start."""
    from prefect.context import refresh_global_settings_context  # noqa: PLC0415 - after the settings
    from prefect.settings import get_current_settings  # noqa: PLC0415

    current = get_current_settings()
    lay_out_first_database(current)
    given = current.to_environment_variables(exclude_unset=True)
    starting = asyncio.create_task(
        asyncio.to_thread(_start_undisturbed, given, current.server.ephemeral.startup_timeout_seconds)
    )
    await asyncio.sleep(0)
    import adloom.orchestration.purchase  # noqa: F401, PLC0415 - takes 0.7 s, while the server starts

    try:
        os.environ["PREFECT_API_URL"] = await starting
    except EmbeddedServerFailed as error:
        return error
    refresh_global_settings_context()
    return None


def _start_undisturbed(settings: Mapping[str, str], within_s: float) -> str:
    """Start the server with this thread's signal mask, which Ctrl-C does not pass.

    On a terminal it goes to all processes there, and the server has to last while the run drains.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    return start_embedded_server(settings, within_s)


async def _healthcheck() -> Exception | None:
    """What keeps the server from answering; None when it answers."""
    from prefect.client.orchestration import get_client  # noqa: PLC0415 - after the settings

    from adloom.orchestration.artifacts import PREFECT_FAULTS  # noqa: PLC0415

    try:
        async with get_client() as client:
            answer: Exception | None = await client.api_healthcheck()  # for which a server asks no secret
            if answer is None:
                await client.api_version()
    except httpx.HTTPStatusError as fault:
        answer = fault if fault.response.status_code == httpx.codes.UNAUTHORIZED else None
    except PREFECT_FAULTS as fault:
        answer = fault
    return answer


def _without_user(url: str) -> str:
    """An address without the user name and password that it may hold."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _hush_prefect() -> None:
    """Keep Prefect's log, which goes to its server, off a terminal that already shows the run."""
    from prefect.logging.configuration import setup_logging  # noqa: PLC0415 - after the settings

    if "PREFECT_LOGGING_LEVEL" in os.environ:
        return
    setup_logging()
    logging.raiseExceptions = False  # it would print each log line that a server which went away did not take
    for handler in (*logging.getLogger().handlers, *logging.getLogger("prefect._internal").handlers):
        handler.addFilter(_is_not_of_prefect)


def _is_not_of_prefect(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] not in {"prefect", "EventsWorker", "APILogWorker"}


def _say_where(flow_run: FlowRun, *, has_page: bool) -> None:
    from prefect.utilities.urls import url_for  # noqa: PLC0415 - after the settings

    address = url_for(flow_run) if has_page else None
    sys.stderr.write(f"Prefect flow run {flow_run.name}{f': {address}' if address else ''}\n")


def _without_prefect(prepared: Prepared, fault: BaseException) -> Result:
    """How a run ended whose flow run Prefect could not finish."""
    if prepared.error is not None:
        raise prepared.error from fault
    if prepared.result is None and prepared.has_begun:
        raise fault
    if prepared.result is None:
        raise SettingInvalid(
            f"Prefect did not start the flow run ({type(fault).__name__}); nothing was sent",
            remedy="Check the Prefect server, or run with --direct.",
        ) from fault
    log.warning("Prefect did not record how this run ended (%s); the archive has", type(fault).__name__)
    result: Result = prepared.result
    leave_within(LEAVES_WITHIN_S, result.exit_code)
    return result


def leave_within(seconds: float, exit_code: int) -> None:
    """End this process after a while, whatever still blocks it then.

    When Python ends, Prefect's client tries each event that it has left several times, for minutes with a dead server.
    """

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(exit_code)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()
