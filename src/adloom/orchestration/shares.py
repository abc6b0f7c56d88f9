"""Starts the runs that share an edition with the one that a person started."""

from __future__ import annotations

from dataclasses import asdict

from prefect.deployments import arun_deployment
from prefect.logging import get_run_logger

from adloom.orchestration.artifacts import PREFECT_FAULTS
from adloom.plan.assessment import Assessment
from adloom.targets import RunRequest

DEPLOYMENT = "share/share"


def shares_of(assessment: Assessment, runs: int) -> int:
    """How many runs can share an edition: each needs one call in flight and one submit per minute of the limits."""
    pace = assessment.pace
    return max(1, min(runs, pace.in_flight, pace.submits_per_minute or runs, assessment.surveyed.asked.calls))


async def start_others(request: RunRequest, runs: int) -> None:
    """Start the runs of all shares but the first. One that cannot be started leaves its share to the others."""
    budget = request.wish.budget
    parameters = {
        "campaign": request.source,
        "edition": request.edition,
        "budget_usd": float(budget.usd) if budget and budget.usd else 0,
        "only": min(request.wish.only) if request.wish.only else "",
        "refresh": ",".join(sorted(request.wish.refresh)),
        "first_rows": request.wish.selection.first or 0,
        "job": ",".join(request.wish.selection.jobs),
        "where": request.wish.selection.where,
        "defaults": asdict(request.defaults),
        "runs": runs,
    }
    for number in range(1, runs):
        try:
            await arun_deployment(DEPLOYMENT, parameters={**parameters, "number": number}, timeout=0)
        except PREFECT_FAULTS as error:
            get_run_logger().warning(
                "share %d was not started (%s); the other runs buy its part", number, type(error).__name__
            )
