"""What changed in a campaign file since its edition was last planned: new, edited, kept and removed rows.

A row is the same as long as its identity and its request are; its place, its variables and its number of variants may
change. A row that was renamed, or whose job was, is a new row, with a warning: its images are bought again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

from adloom.core.campaign import CampaignSource, Row
from adloom.core.identity import digest, row_digest, row_meaning
from adloom.core.outcomes import Outcome, Status
from adloom.core.planned import PlannedRow
from adloom.core.pricing import kind_of, price_of
from adloom.plan.planner import Planner

EXAMPLES = 3


@dataclass(slots=True)
class Changes:
    """Counts of rows, and what the change costs: the price of images that the last plan did not want.

    ``removed_images`` are archived images of rows that are gone or were edited: they are paid for and stay in the
    archive, but the manifest no longer has lines for them. ``renamed`` rows are among the new ones; ``examples`` are
    some of them, as the former and the new name.
    """

    revision: int
    new: int = 0
    edited: int = 0
    kept: int = 0
    removed: int = 0
    renamed: int = 0
    removed_images: int = 0
    more_images: int = 0
    fewer_images: int = 0
    credits: Decimal = Decimal(0)
    examples: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Former:
    """A row of the last plan, in few bytes."""

    request: str
    name: str
    variants: int
    archived: int


async def compare(
    source: CampaignSource, known: Mapping[str, Outcome], revision: int, planned: AsyncIterator[PlannedRow]
) -> Changes:
    """Compare a campaign file with the rows of the plan with this number."""
    gone: dict[int, tuple[_Former, ...]] = {}  # rows that share their images have one digest
    awaited: dict[str, _Former] = {}
    """Rows that waited for approvals: such a row stays itself when it has its references."""
    async for old in planned:
        if old.row.waits_for:
            awaited[_name(old.row)] = _former(old, known)
            continue
        key = _short(row_digest(old.row))
        gone[key] = (*gone.get(key, ()), _former(old, known))
    fresh: list[tuple[PlannedRow, Decimal]] = []
    changes = Changes(revision)
    for row in Planner(known, source.campaign.prices).plan(source.rows()):
        price = price_of(kind_of(row.row), source.campaign.prices)
        key = _short(row_digest(row.row))
        if before := gone.get(key):
            gone[key] = before[1:]
            _count_kept(changes, row, before[0], price)
        elif awaited.pop(_name(row.row), None):
            changes.kept += 1
            changes.credits += price * sum(len(call.variants) for call in row.calls)
        else:
            fresh.append((row, price))
    left = (*gone.values(), tuple(awaited.values()))
    _count_fresh(changes, fresh, [former for formers in left for former in formers])
    return changes


def _count_kept(changes: Changes, row: PlannedRow, before: _Former, price: Decimal) -> None:
    added = sum(variant.number > before.variants for call in row.calls for variant in call.variants)
    changes.kept += 1
    changes.more_images += max(0, len(row.variants) - before.variants)
    changes.fewer_images += max(0, before.variants - len(row.variants))
    changes.credits += added * price


def _count_fresh(changes: Changes, fresh: list[tuple[PlannedRow, Decimal]], gone: list[_Former]) -> None:
    names = {before.name for before in gone}
    requests = {before.request: before.name for before in gone}
    for row, price in fresh:
        name = _name(row.row)
        changes.credits += price * sum(len(call.variants) for call in row.calls)
        if name in names:
            changes.edited += 1
            continue
        changes.new += 1
        if (old_name := requests.get(_request(row.row))) is not None:
            changes.renamed += 1
            if len(changes.examples) < EXAMPLES:
                changes.examples = (*changes.examples, (old_name, name))
    changes.removed = len(gone) - changes.edited
    changes.removed_images = sum(before.archived for before in gone)


def _former(old: PlannedRow, known: Mapping[str, Outcome]) -> _Former:
    ends = (known.get(variant.key) for variant in old.variants[old.row.shared :])
    archived = sum(end is not None and end.status is Status.ARCHIVED for end in ends)
    return _Former(_request(old.row), _name(old.row), len(old.variants), archived)


def _name(row: Row) -> str:
    return f"{row.job}/{row.name}"


def _request(row: Row) -> str:
    return digest(row_meaning(row))[:32]


def _short(hex_digits: str) -> int:
    return int(hex_digits[:32], 16)
