"""adloom from Python: ``plan`` says what a campaign would buy, ``run`` buys it. Both return what ``--json`` prints.

This module, the command line and the stored formats (docs/archive.md) are the public interface; everything else may
change between versions. Both functions read the environment like the command line does, block until they are done, and
never use Prefect. In a program that runs an event loop, call them in a thread.
"""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from decimal import Decimal
from typing import Any

from adloom.core.campaign import Budget, is_amount
from adloom.core.errors import AdloomError, SettingInvalid
from adloom.plan.assessment import Wish
from adloom.plan.text import plan_summary
from adloom.run.text import result_summary
from adloom.sandbox_process import embedded_sandbox
from adloom.targets import RunRequest, open_store, settings_for
from adloom.wiring import assessment_of, execute

__all__ = ["AdloomError", "plan", "run"]


def plan(
    source: str, archive: str | None = None, *, edition: str = "main", budget_usd: Decimal | int | None = None
) -> dict[str, Any]:
    """What a run would buy, and for how much. Sends nothing, writes nothing, and needs neither key nor budget.

    ``source`` is a campaign file (a path, ``book.xlsx#Sheet`` or ``s3://…``), ``archive`` a folder or
    ``s3://bucket/prefix`` (default: ``ADLOOM_ARCHIVE``, else ``./archive``). ``credits`` and ``usd`` of the answer are
    estimates at the plan's prices. Raises AdloomError, with all problems of the campaign's files in one report.
    """
    return asyncio.run(_plan(_request(source, archive, edition, budget_usd, sandbox=False)))


def run(
    source: str,
    archive: str | None = None,
    *,
    edition: str = "main",
    budget_usd: Decimal | int | None = None,
    sandbox: bool = False,
) -> dict[str, Any]:
    """Buy what is missing, archive every image, write the manifest. **Spends money without asking**, up to the budget.

    The budget is ``budget_usd``, else the campaign's own; without either nothing is sent. ``sandbox`` buys from a
    stand-in instead: no key, no money. ``exit_code`` of the answer is that of the command line: 0 when everything is
    archived. Calling it again buys only what is missing, also after a crash. Raises AdloomError when nothing was sent
    or the archive failed.
    """
    return asyncio.run(_run(_request(source, archive, edition, budget_usd, sandbox=sandbox)))


def _request(
    source: str, archive: str | None, edition: str, budget_usd: Decimal | int | None, *, sandbox: bool
) -> RunRequest:
    if budget_usd is None:
        return RunRequest(source, archive, edition, Wish(sandbox=sandbox))
    usd = Decimal(budget_usd)
    if not is_amount(usd):
        raise SettingInvalid(f"budget_usd: {usd} is not an amount", remedy='Write it like Decimal("12.50").')
    return RunRequest(source, archive, edition, Wish(budget=Budget(usd=usd), sandbox=sandbox))


async def _plan(request: RunRequest) -> dict[str, Any]:
    settings = settings_for(request)
    store = open_store(settings.archive)
    try:
        return plan_summary(await assessment_of(request, settings, store, to_run=False))
    finally:
        await store.aclose()


async def _run(request: RunRequest) -> dict[str, Any]:
    settings = settings_for(request)
    with embedded_sandbox(settings) if request.wish.sandbox else nullcontext(settings) as settings:
        store = open_store(settings.archive)
        assessment = await assessment_of(request, settings, store, to_run=True)
        return result_summary(await execute(settings, store, assessment))
