"""What people see of a run in the Prefect UI: progress while it goes on, totals and links once it has ended.

Everything here is a courtesy: a Prefect server that is away, slow or full costs a run nothing but these pages.
Artifact keys are ``<campaign>-progress``, ``-result``, ``-manifest`` and ``-gallery``, so each campaign has one card of
each in the UI, with its earlier runs behind it. Addresses are those of the store (``file://`` or ``s3://``), never
signed ones.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Sequence
from typing import TypeVar
from uuid import UUID

import httpx
from prefect.artifacts import (
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger
from pydantic import ValidationError

from adloom.core.exits import EXIT_REASONS
from adloom.core.pricing import usd
from adloom.ledger import Edition
from adloom.progress import Progress
from adloom.run import Result, Run

log = logging.getLogger(__name__)

UPDATE_EVERY_S = 5
LOG_EVERY_S = 30
ANSWER_WITHIN_S = 5
"""A busy server answers sooner (0.07 s as measured for an artifact), and nobody waits long for a dead one."""

PREFECT_FAULTS = (httpx.HTTPError, OSError, PrefectException, RuntimeError, ValidationError)
"""What Prefect's client raises when its server is away (time-outs are OSErrors), refuses, or is of another version."""

TOTALS = (
    "wanted", "archived", "short", "refused", "failed", "held", "open", "calls", "posts", "images_billed",
    "credits_charged", "credits_reserved", "credits_at_risk", "usd",
)  # fmt: skip

Made = TypeVar("Made")


class Board:
    """The artifacts of one flow run. Its methods are called inside the flow and never raise."""

    def __init__(self, edition: Edition) -> None:
        self._edition = edition
        self._progress_id: UUID | None = None
        self._shown = ""

    async def name_run(self) -> None:
        """Call the flow run ``<campaign>-<edition>``."""
        await _kindly(self._rename())

    async def show_plan(self, lines: Sequence[str]) -> None:
        """Show what would be bought."""
        text = "```\n" + "\n".join(lines) + "\n```"
        await _kindly(acreate_markdown_artifact(text, self._key("plan"), lines[0]))

    async def watch(self, run: Run) -> None:
        """Show a run's progress until cancelled: in the artifact every few seconds, in the log now and then."""
        elapsed_s = 0
        while True:
            await self.show(run.progress())
            await asyncio.sleep(UPDATE_EVERY_S)
            elapsed_s += UPDATE_EVERY_S
            if elapsed_s % LOG_EVERY_S == 0:
                get_run_logger().info("%s", progress_text(run.progress()))

    async def show(self, progress: Progress) -> None:
        """Bring the progress artifact up to date."""
        text = progress_text(progress)
        if text == self._shown:
            return
        share = 100 * progress.archived / progress.wanted if progress.wanted else 100.0
        if self._progress_id is None:
            self._progress_id = await _kindly(acreate_progress_artifact(share, self._key("progress"), text))
        else:
            await _kindly(aupdate_progress_artifact(self._progress_id, share, text))
        self._shown = text

    async def end(self, result: Result, progress: Progress) -> None:
        """Show how a run ended: its totals, and where its manifest and its page are."""
        totals = result.published.manifest["totals"]
        table = [{"total": name.replace("_", " "), "value": totals[name]} for name in TOTALS]
        words = f"{self._edition.campaign}, edition {self._edition.edition}: {EXIT_REASONS[result.exit_code]}"
        if await _kindly(acreate_table_artifact(table, self._key("result"), words)) is None:
            return
        for name, address in (("manifest", result.published.address), ("gallery", result.gallery)):
            if address:
                await _kindly(acreate_link_artifact(address, key=self._key(name), description=f"{words}; {address}"))
        await self.show(progress)

    def _key(self, name: str) -> str:
        return re.sub("[^a-z0-9]+", "-", f"{self._edition.campaign}-{name}".lower()).strip("-")

    async def _rename(self) -> None:
        context = FlowRunContext.get()
        if context is None or context.flow_run is None:
            return
        async with get_client() as client:
            name = f"{self._edition.campaign}-{self._edition.edition}"
            await client.set_flow_run_name(context.flow_run.id, name)
        context.flow_run.name = name


def progress_text(progress: Progress) -> str:
    """Where a run is, in one short line."""
    return (
        f"{progress.archived}/{progress.wanted} archived · {progress.in_flight} in flight · "
        f"${progress.usd:.2f} of ${usd(progress.cap):.2f}"
    )


async def _kindly(making: Awaitable[Made]) -> Made | None:
    """Wait for something that Prefect is asked to show; None when it could not."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            return await making
    except PREFECT_FAULTS as error:
        log.info("Prefect could not show this: %s", type(error).__name__)
        return None
