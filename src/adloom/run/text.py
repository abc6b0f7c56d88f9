"""How a run ended, in words and as data."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from adloom.core.counting import counted
from adloom.core.exits import EXIT_HELD, EXIT_OK, EXIT_REASONS
from adloom.core.outcomes import Status
from adloom.plan.text import dollars, origin_data, waiting_lines
from adloom.run.run import Result

_FILE = "file://"


def result_lines(result: Result) -> list[str]:
    """How a run ended, in words."""
    totals, word = result.published.manifest["totals"], result.origin.word
    at = f" ({word.strip()})" if word else ""
    lines = [f"{counted(totals['wanted'], 'image')} wanted: {_ends(totals)}", *_asked_lines(result)]
    charged, at_risk = (Decimal(str(totals[f"credits_{name}"])) for name in ("charged", "at_risk"))
    sent = counted(totals["posts"], "purchase")
    lines.append(f"the edition so far: {sent} sent, {dollars(charged, result.origin)} charged")
    if at_risk:
        risk = f"{dollars(at_risk, result.origin)} at risk in purchases that are not settled"
        lines.append(f"{risk}: settle them with `{_resolve_command(result)}`")
    lines += [f"waits:   {line}" for line in waiting_lines(result.published.blocked)]
    lines += [f"note{at}: {note}" for note in result.notes]
    for stop in result.stops:
        lines.append(f"stopped{at}: {stop.message}")
        lines += [f"  {stop.remedy}"] if stop.remedy else []
    lines.append(f"{exit_reason(result)}; manifest: {result.published.address}")
    if result.gallery:
        lines.append(f"look at: {result.gallery}")
    if result.review and result.published.waiting:
        lines.append(f"choose:  {result.review} ({_waiting(result.published.waiting)})")
    return lines


def _resolve_command(result: Result) -> str:
    target = result.published.address.removesuffix("/manifest.json")
    if target.startswith(_FILE):  # the commands take a folder's path
        target = unquote(target.removeprefix(_FILE))
    return shlex.join(["adloom", "resolve", target])


def _waiting(images: int) -> str:
    return f"{counted(images, 'image')} {'waits' if images == 1 else 'wait'} for a decision"


def _ends(counts: Mapping[Status, int]) -> str:
    return ", ".join(f"{counts[status]} {status}" for status in Status if counts[status]) or "none"


def _asked_lines(result: Result) -> list[str]:
    """What a partial run covered, and what it left."""
    published = result.published
    if not published.selection:
        return []
    asked = published.asked
    left = published.manifest["totals"]["open"] - asked[Status.OPEN]
    others = f"{counted(left, 'image')} of other rows {'stays' if left == 1 else 'stay'} open"
    rest = f"; {others}: run without the selection to buy {'it' if left == 1 else 'them'}" if left else ""
    return [f"this run was for {sum(asked.values())} of them ({published.selection}): {_ends(asked)}{rest}"]


def exit_reason(result: Result) -> str:
    """How a run ended, in a few words."""
    if result.exit_code == EXIT_OK and result.published.selection:
        return "everything selected is archived"
    if result.exit_code == EXIT_OK and result.published.blocked:
        return "everything that does not wait for an approval is archived"
    if result.exit_code == EXIT_OK and result.published.manifest["totals"][Status.OPEN]:
        return "everything that was asked for is archived"
    if result.exit_code == EXIT_HELD and not result.published.asked[Status.HELD]:
        return "something may have been bought twice"
    return EXIT_REASONS[result.exit_code]


def result_summary(result: Result) -> dict[str, Any]:
    """How a run ended, as data."""
    manifest = result.published.manifest
    return {
        "campaign": manifest["campaign"],
        "edition": manifest["edition"],
        "status": manifest["status"],
        "totals": manifest["totals"],
        **origin_data(result.origin),
        "exit_code": result.exit_code,
        "exit_reason": exit_reason(result),
        **result.sent.told(),
        "selection": result.published.selection,
        "selected": {status.value: result.published.asked[status] for status in Status},
        "notes": list(result.notes),
        "stops": [{"reason": stop.reason, "message": stop.message, "remedy": stop.remedy} for stop in result.stops],
        "manifest": result.published.address,
        "gallery": result.gallery,
        "review": result.review,
        "waiting": result.published.waiting,
        "waits": manifest.get("waits", []),
    }
