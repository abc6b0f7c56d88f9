"""What people see of a run in Prefect's UI: progress while it runs, totals and links when it has ended.

All of this is optional: a Prefect server that is away, slow or full costs a run nothing but these pages. Artifact keys
are ``<campaign>-progress``, ``-result``, ``-failures``, ``-contact-sheet``, ``-manifest``, ``-gallery``, ``-review``
and ``-plan``, so each campaign has one card of each in the UI, with its earlier runs behind it. Addresses are those of
the store (``file://`` or ``s3://``), never signed ones.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar
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
from adloom.edges.pictures import PictureDecoder
from adloom.gallery.contact_sheet import contact_sheet
from adloom.ledger.edition import Edition
from adloom.orchestration.report import failures_of, keys_of, progress_text, result_report
from adloom.orchestration.states import final_message
from adloom.ports import Store
from adloom.run.progress import Progress
from adloom.run.run import Result, Run

log = logging.getLogger(__name__)

UPDATE_EVERY_S = 5
LOG_EVERY_S = 30
ANSWER_WITHIN_S = 5
"""A busy server answers sooner (0.07 s measured for an artifact), and a dead one is not waited for long."""

PREFECT_FAULTS = (httpx.HTTPError, OSError, PrefectException, RuntimeError, ValidationError)
"""What Prefect's client raises when its server is away (time-outs are OSErrors), refuses, or is of another version."""

END_WITHIN_S = 60
"""All that is shown at the end of a run, each with a time of its own."""

IMAGES_WITHIN_S = 30
"""A list of 100,000 images is read in a few seconds."""

Made = TypeVar("Made")


class Artifacts:
    """The artifacts of one flow run. Its methods are called inside the flow and never raise."""

    def __init__(self, edition: Edition, *, is_sandbox: bool = False) -> None:
        self._edition = edition
        self._is_sandbox = is_sandbox
        self._progress_id: UUID | None = None
        self._shown = ""

    async def name_run(self) -> None:
        """Call the flow run ``<campaign>-<edition>``, and tag it with its campaign and whether it spends real money."""
        await _best_effort(self._rename())

    async def show_plan(self, lines: Sequence[str]) -> None:
        """Show what would be bought."""
        text = "```\n" + "\n".join(lines) + "\n```"
        await _best_effort(acreate_markdown_artifact(text, self._key("plan"), lines[0]))

    async def watch(self, run: Run) -> None:
        """Show a run's progress until cancelled: in the artifact every few seconds, in the log now and then."""
        since, ended_before = time.monotonic(), run.progress().ended
        last_line = since
        while True:
            progress, now = run.progress(), time.monotonic()
            text = self._line(progress, _left_s(progress, ended_before, now - since))
            await self.show(progress, text)
            if now - last_line >= LOG_EVERY_S:
                get_run_logger().info("%s", text)
                last_line = now
            await asyncio.sleep(UPDATE_EVERY_S)

    async def show(self, progress: Progress, text: str) -> None:
        """Bring the progress artifact up to date."""
        if text == self._shown:
            return
        share = 100 * progress.archived / progress.wanted if progress.wanted else 100.0
        if self._progress_id is None:
            self._progress_id = await _best_effort(acreate_progress_artifact(share, self._key("progress"), text))
        else:
            await _best_effort(aupdate_progress_artifact(self._progress_id, share, text))
        self._shown = text

    async def end(self, result: Result, run: Run | None, store: Store) -> None:
        """Show how a run ended: a report, what did not come and why, where everything is, and a contact sheet.

        There is no ``run`` where nothing was to be done.
        """
        await _best_effort(self._show_end(result, run, store), END_WITHIN_S)

    async def _show_end(self, result: Result, run: Run | None, store: Store) -> None:
        words = f"{EXIT_REASONS[result.exit_code].capitalize()} · {self._words}"  # the UI shows the first 30 characters
        get_run_logger().info("%s", final_message(result, is_sandbox=self._is_sandbox))
        report = result_report(result, self._words)
        if await _best_effort(acreate_markdown_artifact(report, self._key("result"), words)) is None:
            return  # a server that is away is not asked six times
        for name, address in (
            ("manifest", result.published.address),
            ("gallery", result.gallery),
            ("review", result.review),
        ):
            if address:
                short = address.rpartition(self._edition.prefix)[2]
                description = f"{short} · {self._words}"
                await _best_effort(acreate_link_artifact(address, key=self._key(name), description=description))
        await _best_effort(self._show_images(store), IMAGES_WITHIN_S)
        if run is not None:
            progress = run.progress()
            await self.show(progress, self._line(progress, None))

    async def _show_images(self, store: Store) -> None:
        content = await store.read(self._edition.key("assets.jsonl")) or b""
        rows, count = await asyncio.to_thread(failures_of, content)
        if rows:
            shown = f", the first {len(rows)} shown" if count > len(rows) else ""
            words = f"{count:,} image{'s' if count > 1 else ''} did not come{shown} · {self._words}"
            await acreate_table_artifact(rows, self._key("failures"), words)
        keys = await asyncio.to_thread(keys_of, content)
        async with PictureDecoder(children=1) as decoder:
            sheet = await contact_sheet(store, self._edition, keys, decoder)
        if sheet:
            words = f"{len(keys):,} images at a glance · {self._words}"
            picture = f"![contact sheet]({sheet})"  # an image artifact would show the whole URL next to the image
            await acreate_markdown_artifact(picture, self._key("contact-sheet"), words)

    @property
    def _words(self) -> str:
        sandbox = " (sandbox)" if self._is_sandbox else ""
        return f"{self._edition.campaign}, edition {self._edition.edition}{sandbox}"

    def _line(self, progress: Progress, left_s: float | None) -> str:
        return progress_text(progress, left_s) + (" · sandbox, no real money" if self._is_sandbox else "")

    def _key(self, name: str) -> str:
        return re.sub("[^a-z0-9]+", "-", f"{self._edition.campaign}-{name}".lower()).strip("-")

    def _tags(self, tags: Sequence[str]) -> list[str]:
        """Tags to search flow runs by in the UI, in addition to those of the deployment."""
        return [
            *dict.fromkeys((*tags, f"campaign:{self._edition.campaign}", "sandbox" if self._is_sandbox else "paid"))
        ]

    async def _rename(self) -> None:
        context = FlowRunContext.get()
        if context is None or context.flow_run is None:
            return
        name = f"{self._edition.campaign}-{self._edition.edition}"
        async with get_client() as client:
            await client.update_flow_run(context.flow_run.id, name=name, tags=self._tags(context.flow_run.tags))
        context.flow_run.name = name


async def show_table(rows: Sequence[Mapping[str, Any]], key: str, description: str) -> None:
    """Show a table of a flow run that is for no single edition."""
    await _best_effort(acreate_table_artifact([dict(row) for row in rows], key, description))


def _left_s(progress: Progress, ended_before: int, elapsed_s: float) -> float | None:
    """How long a run still takes at its present rate; None before anything has ended, and at the end."""
    ended, left = progress.ended - ended_before, progress.wanted - progress.ended
    return elapsed_s / ended * left if ended > 0 and left > 0 else None


async def _best_effort(making: Awaitable[Made], within_s: float = ANSWER_WITHIN_S) -> Made | None:
    """Wait for something that Prefect is asked to show; None when it could not."""
    try:
        async with asyncio.timeout(within_s):
            return await making
    except Exception as error:  # noqa: BLE001 - what is shown of a run never ends it
        log.info("Prefect could not show this: %s", type(error).__name__)
        return None
