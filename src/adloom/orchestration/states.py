"""The Prefect state of a run: Completed only if everything is archived, otherwise a state that says why."""

from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from adloom.core.errors import AdloomError, InputError
from adloom.core.exits import (
    EXIT_ACCOUNT,
    EXIT_BUDGET,
    EXIT_HELD,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_OUTAGE,
    EXIT_REASONS,
)
from adloom.core.outcomes import Status
from adloom.run.run import Result

STATE_NAMES = {
    EXIT_BUDGET: "OverBudget",
    EXIT_ACCOUNT: "AccountStopped",
    EXIT_HELD: "Held",
    EXIT_OUTAGE: "Outage",
}
"""The names of the states of type Failed; a run with missing images is named after how they ended."""

FALLEN_SHORT = {Status.SHORT: "Short", Status.REFUSED: "Refused", Status.FAILED: "GivenUp", Status.OPEN: "Unfinished"}

REMEDIES = {
    EXIT_INCOMPLETE: "The table of failures says why. To buy them once more: run it with only = {only}.",
    EXIT_HELD: "Nobody can tell whether these were bought: `adloom resolve` shows and settles them.",
}


def final_state(result: Result, *, is_sandbox: bool = False) -> State[Any]:
    """Completed when everything is archived; else a state of another name that says why, and what to do."""
    message = final_message(result, is_sandbox=is_sandbox)
    if result.exit_code == EXIT_OK and not result.published.asked.get(Status.OPEN):
        return Completed(message=message)
    if result.exit_code == EXIT_INTERRUPTED:
        return Cancelled(name="Interrupted", message=message)
    return Failed(name=STATE_NAMES.get(result.exit_code) or _name_of_incomplete(result), message=message)


def bad_input(error: AdloomError) -> State[Any]:
    """The end of a flow run that sent nothing, because a person has to change something first."""
    return Failed(name="BadInput" if isinstance(error, InputError) else "Failed", message=str(error))


def final_message(result: Result, *, is_sandbox: bool = False) -> str:
    """How a run ended, in one paragraph."""
    totals = result.published.manifest["totals"]
    others = (f", {totals[status]} {status}" for status in Status if status is not Status.ARCHIVED and totals[status])
    charged = f"${totals['usd']:.2f} charged{' by the sandbox, no real money' if is_sandbox else ''}."
    counts = f"{totals['archived']} of {totals['wanted']} images archived{''.join(others)}; {charged}"
    part = f" This run was for a part of it: {result.published.selection}." if result.published.selection else ""
    return " ".join(
        text for text in (counts + part, reason_of(result), f"Manifest: {result.published.address}") if text
    )


def reason_of(result: Result) -> str:
    """Why a run is not complete and what to do about it; empty when it is."""
    if result.stops:
        return " ".join(f"Stopped: {stop.message}. {stop.remedy}".rstrip() for stop in result.stops)
    return "" if result.exit_code == EXIT_OK else _reason(result)


def _name_of_incomplete(result: Result) -> str:
    """The one way in which images are missing; a general name when there are several."""
    names = [name for status, name in FALLEN_SHORT.items() if result.published.asked.get(status)]
    return names[0] if len(names) == 1 else "Incomplete" if names else "Failed"


def _reason(result: Result) -> str:
    only = " or ".join(
        status for status in (Status.SHORT, Status.REFUSED, Status.FAILED) if result.published.asked.get(status)
    )
    remedy = REMEDIES.get(result.exit_code, "").format(only=only)
    return f"{EXIT_REASONS[result.exit_code].capitalize()}. {remedy}".rstrip()
