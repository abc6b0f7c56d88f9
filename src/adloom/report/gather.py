"""Reads the editions that a report is about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

from adloom.core.campaign import flat
from adloom.core.manifest import lines_of_takes
from adloom.core.outcomes import outcomes
from adloom.ledger.decisions import read_facts
from adloom.ledger.edition import Edition
from adloom.ledger.ledger import Ledger
from adloom.plan.revision import planned_rows, read_newest
from adloom.ports import Store
from adloom.report.figures import Counting, Report, axes_of


async def gather(store: Store, editions: Iterable[Edition], open_ledger: Callable[[Edition], Ledger]) -> list[Report]:
    """The report of these editions: one of real money, one of the sandbox's, or both where the archive holds both.

    An edition without a plan has nothing to report.
    """
    reports: dict[bool, Report] = {}
    for edition in editions:
        ledger = open_ledger(edition)
        await ledger.load()
        revision = await read_newest(store, edition)
        if revision is None:
            continue
        sandbox = revision.origin.is_stand_in
        calls = [ledger.facts(call) for call in ledger.calls()]
        known, standing = outcomes(calls), (await read_facts(store, edition)).standing
        rows = [planned async for planned in planned_rows(store, edition, revision)]
        counting = Counting(
            reports.setdefault(sandbox, Report(sandbox)),
            edition.campaign,
            edition.edition,
            axes_of(planned.row.variables for planned in rows),
            {(planned.row.job, planned.row.name): dict(flat(planned.row.variables)) for planned in rows},
        )
        for facts in calls:
            counting.add_call(facts)
        for loss in ledger.losses:
            counting.add_loss(Decimal(str(loss["totals"].get("credits_charged", 0))))
        for planned in rows:
            latest = {variant.key for variant in planned.variants}
            for variant, line in lines_of_takes(planned, known, standing):
                decision = standing.get(variant.key) if variant.number > planned.row.shared else None
                if variant.number > planned.row.shared:
                    counting.add_image(line, decision, is_latest=variant.key in latest)
    return [reports[sandbox] for sandbox in sorted(reports)]
