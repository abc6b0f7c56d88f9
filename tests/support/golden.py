"""The plans of the checked-in campaigns as text: a change of splitting, price or identity shows as a difference.

    python tests/golden.py && git diff tests/golden

A changed call id means that images which somebody has bought already would be bought again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from adloom.campaign.files import open_campaign
from adloom.core.prompt import sent_prompt
from adloom.plan.planner import Planner
from adloom.plan.survey import survey

CAMPAIGNS = Path(__file__).parents[2] / "campaigns"
GOLDEN = Path(__file__).parents[1] / "golden"


def sources() -> list[Path]:
    """The checked-in campaigns; a CSV that is only a part of one would be none by itself."""
    parts = {CAMPAIGNS / "axes.csv", CAMPAIGNS / "banners.csv"}
    files = [path for path in sorted(CAMPAIGNS.iterdir()) if path.suffix in (".yaml", ".csv", ".xlsx")]
    return [path for path in files if path not in parts] + [CAMPAIGNS / "calendar.xlsx#May"]


def plan_of(source: Path) -> str:
    return "\n".join(_lines(source)) + "\n"


def golden_of(source: Path) -> Path:
    return GOLDEN / (source.name.replace("#", "-") + ".txt")


def _lines(source: Path) -> Iterator[str]:
    campaign = open_campaign(source)
    packing = survey(campaign, {}).packing
    if packing is not None:
        packing.start()
    planner = Planner({}, campaign.campaign.prices, packing=packing)
    for planned in planner.plan(campaign.rows()):
        row = planned.row
        look = " ".join(filter(None, (row.model, row.size, row.quality, row.priority)))
        yield f"{row.job}/{row.name}: {row.variants} × {look}"
        for call in planned.calls:
            yield f"  {call.id} {sent_prompt(row.prompt, len(call.variants))}"
        if row.delivery.channels:
            yield f"  deliver {', '.join(row.delivery.channels)}"
        yield from (f"  reference {reference.content}" for reference in row.references)
    totals = planner.totals
    yield f"{totals.rows} rows, {totals.images} images, {totals.calls} calls, {totals.credits} credits"
    yield from (f"warning: {warning.replace(f'{CAMPAIGNS}/', '')}" for warning in campaign.warnings)


if __name__ == "__main__":
    for path in sources():
        golden_of(path).write_text(plan_of(path), encoding="utf-8")
