"""One edition bought by several flow runs, on any workers of the work pool, each with its share of the plan.

The run that a person starts is the first of them and starts the others. Nobody waits for a flow run: what a dead one
leaves is bought and collected by the others, because each goes around the whole plan. So a worker may be killed, and
Prefect may lose a run, without harm; the first run ends when the whole edition has.
"""

from decimal import Decimal
from typing import Annotated, Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from pydantic import Field

from adloom.campaign.files import Defaults
from adloom.core.campaign import Budget
from adloom.core.errors import AdloomError, SettingInvalid
from adloom.core.selection import Selection, again
from adloom.orchestration.form_limits import form_limits
from adloom.orchestration.purchase import Prepared, buy, interrupt_on_sigterm
from adloom.orchestration.states import bad_input
from adloom.plan.assessment import Share, Wish
from adloom.targets import RunRequest, open_store, settings_for
from adloom.wiring import assessment_of

NO_DEFAULTS = Defaults()
MAY_BUY = (StateType.RUNNING, StateType.COMPLETED, StateType.FAILED, StateType.CRASHED)
"""States of a whole whose shares may buy: a share may start late, and continues for a whole that died. One that waits
for an approval is paused, and one that was declined is cancelled."""


async def _refuse_people(campaign: str) -> None:
    """Raise SettingInvalid for a share that no run of the whole has started: nobody was asked whether it may spend."""
    whole = await _whole_of(FlowRunContext.get())
    asked = {} if whole is None else whole.parameters
    named = {asked.get(name, "").strip() for name in ("campaign", "other_campaign", "csv_file")}
    if whole is None or whole.state_type not in MAY_BUY or asked.get("dry_run") is not False:
        named = set()
    if campaign not in named:
        raise SettingInvalid(
            "share: this deployment is only started by the run of a whole campaign, which asks for approval first",
            remedy="Run campaign/by-hand or csv/bulk and set runs to more than 1.",
        )


async def _whole_of(context: FlowRunContext | None) -> FlowRun | None:
    """The flow run that has started this one."""
    if context is None or context.flow_run is None or context.flow_run.parent_task_run_id is None:
        return None
    async with get_client() as client:
        try:
            task = await client.read_task_run(context.flow_run.parent_task_run_id)
            return await client.read_flow_run(task.flow_run_id) if task.flow_run_id else None
        except ObjectNotFound:
            return None


@flow(name="share", retries=0, persist_result=False)
async def buy_share(
    campaign: str,
    edition: str,
    number: int,
    runs: int,
    budget_usd: Annotated[float, Field(ge=0)] = 0,
    only: str = "",
    refresh: str = "",
    first_rows: int = 0,
    job: str = "",
    where: str = "",
    defaults: Defaults = NO_DEFAULTS,
) -> State[Any]:
    """Buy a share of an edition. Started by the flow run of the whole, not by people.

    Args:
        campaign: Path of the campaign file, as the worker reads it.
        edition: The edition that is shared.
        number: Which share, from 0.
        runs: How many shares there are.
        budget_usd: As in the run of the whole.
        only: As in the run of the whole; empty for what is missing.
        refresh: As in the run of the whole.
        first_rows: As in the run of the whole.
        job: As in the run of the whole.
        where: As in the run of the whole.
        defaults: What the rows of a CSV have that do not say otherwise: size, quality, variants, prompt.
    """
    try:
        await _refuse_people(campaign)
        limits = form_limits()
        limits.check_source("campaign", campaign)
        wish = Wish(
            budget=Budget(usd=Decimal(str(budget_usd))) if budget_usd else None,
            only=frozenset({again(only)}) if only else frozenset(),
            selection=Selection(tuple(filter(None, job.split(","))), where, first_rows or None),
            share=Share(number, runs),
            ceiling=limits.ceiling,
            refresh=frozenset(filter(None, refresh.split(","))),
        )
        references = limits.reference_roots(campaign)
        request = RunRequest(campaign, None, edition, wish, defaults, references)
        settings = settings_for(request)
        store = open_store(settings.archive)
        assessment = await assessment_of(request, settings, store, to_run=True)
        return await buy(Prepared(settings, store, assessment, interrupt_on_sigterm))
    except AdloomError as error:
        return bad_input(error)
