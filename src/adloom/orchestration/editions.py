"""Which edition a flow run is for if nobody names one: the scheduled date, otherwise ``main``."""

from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext

from adloom.orchestration.artifacts import PREFECT_FAULTS


async def edition_of_flow_run() -> str:
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
