"""Approval in Prefect's UI before the first purchase of a run that costs more than a set amount.

The flow run is suspended: its process ends, and a worker starts it again once somebody has answered. Its request is
found again under the same key, which contains the amount: if the plan has become more expensive meanwhile, it asks
again.
"""

from decimal import Decimal
from typing import Any

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.flow_runs import asuspend_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from prefect.states import Cancelled
from pydantic import Field

from adloom.core.errors import SettingInvalid
from adloom.core.pricing import usd
from adloom.plan.assessment import Assessment
from adloom.plan.text import plan_lines

ANSWERED_WITHIN_S = 7 * 24 * 3600


class Approval(RunInput):
    """The form that a suspended flow run is resumed with."""

    approve: bool = Field(default=False, title="Buy it", description="Off: the run ends and nothing is sent.")


async def ask_for_approval(assessment: Assessment, above_usd: float) -> State[Any] | None:
    """Wait for a person if the run would spend more than ``above_usd``; 0 never asks.

    None when it may continue, else the state in which it ends. Raises SettingInvalid for a flow run that nobody could
    answer for.
    """
    price = usd(assessment.to_buy)
    if not above_usd or price <= Decimal(str(above_usd)) or not (assessment.fits and assessment.may_buy):
        return None
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        raise SettingInvalid(
            f"this run would spend ${price:.2f} and needs approval above ${above_usd:.2f}",
            remedy="Only a deployment's run can wait for approval; set approve_above_usd to 0.",
        )
    form = Approval.with_initial_data(description="```\n" + "\n".join(plan_lines(assessment)) + "\n```")
    get_run_logger().info("This run would spend $%.2f, more than $%.2f: Resume asks for a yes first.", price, above_usd)
    answer = await asuspend_flow_run(
        wait_for_input=form, key=f"spend-{price * 100:.0f}-cents", timeout=ANSWERED_WITHIN_S
    )
    if answer.approve:
        return None
    return Cancelled(name="Declined", message=f"Somebody declined to spend ${price:.2f}; nothing was sent.")
