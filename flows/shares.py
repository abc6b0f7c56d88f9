"""One edition bought by several flow runs, on any workers of the work pool: each on its share of the plan.

The run that a person starts is the first of them and starts the others. Nobody waits for a flow run: what a dead one
leaves is bought and collected by the others, because each goes around the whole plan. So a worker may be killed, and
Prefect may lose a run, without harm; the first run ends when the whole edition has.
"""

from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.deployments import arun_deployment
from prefect.logging import get_run_logger
from pydantic import Field

from adloom.core.campaign import Budget
from adloom.core.errors import AdloomError
from adloom.core.outcomes import Status
from adloom.core.selection import Selection
from adloom.edges.campaign_files import Defaults
from adloom.flows.board import PREFECT_FAULTS
from adloom.flows.ending import bad_input
from adloom.flows.purchase import Prepared, buy, interrupt_on_sigterm
from adloom.look import Outlook, Share, Wish
from adloom.session import RunRequest, open_store, outlook_of, settings_for

DEPLOYMENT = "share/share"
NO_DEFAULTS = Defaults()


def shares_of(outlook: Outlook, runs: int) -> int:
    """How many runs can share an edition: each needs one call in flight and one submit a minute of the limits."""
    pace = outlook.pace
    return max(1, min(runs, pace.in_flight, pace.submits_per_minute or runs, outlook.surveyed.asked.calls))


async def start_others(request: RunRequest, runs: int) -> None:
    """Start the runs of all shares but the first. One that cannot be started leaves its share to the others."""
    budget = request.wish.budget
    parameters = {
        "campaign": request.source,
        "edition": request.edition,
        "budget_usd": float(budget.usd) if budget and budget.usd else 0,
        "only": min(request.wish.only) if request.wish.only else "",
        "first_rows": request.wish.selection.first or 0,
        "defaults": asdict(request.defaults),
        "runs": runs,
    }
    for number in range(1, runs):
        try:
            await arun_deployment(DEPLOYMENT, parameters={**parameters, "number": number}, timeout=0)
        except PREFECT_FAULTS as error:
            get_run_logger().warning("share %d was not started (%s); the others buy it", number, type(error).__name__)


@flow(name="share", retries=0, persist_result=False)
async def buy_share(
    campaign: str,
    edition: str,
    number: int,
    runs: int,
    budget_usd: Annotated[float, Field(ge=0)] = 0,
    only: str = "",
    first_rows: int = 0,
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
        first_rows: As in the run of the whole.
        defaults: What the rows of a CSV have that do not say otherwise: size, quality, variants, prompt.
    """
    wish = Wish(
        budget=Budget(usd=Decimal(str(budget_usd))) if budget_usd else None,
        only=frozenset({Status(only)}) if only else frozenset(),
        selection=Selection(first=first_rows or None),
        share=Share(number, runs),
    )
    request = RunRequest(campaign, None, edition, wish, defaults)
    try:
        settings = settings_for(request)
        store = open_store(settings.archive)
        outlook = await outlook_of(request, settings, store, to_run=True)
        return await buy(Prepared(settings, store, outlook, interrupt_on_sigterm))
    except AdloomError as error:
        return bad_input(error)
