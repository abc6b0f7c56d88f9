"""Has the addresses of a campaign's references looked at before anything is bought, for campaigns that ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from adloom.campaign.jobs import Job, SourceRow
from adloom.campaign.problems import Place, Report
from adloom.core.errors import Problem
from adloom.core.quoting import shown
from adloom.core.reference import Reference

if TYPE_CHECKING:
    from adloom.edges.reference_hosts import ReferenceHosts  # its HTTP client, which reading a campaign does not need


def place_of_references(source: SourceRow, job: Job) -> Place:
    """Where a row's references were written."""
    own = source.overrides.get("references")
    if own is None:
        return job.origins["references"]
    if job.axis_place is not None and (source.combination or "references" in source.crossed):
        return job.axis_place("references", own)
    return source.place_of("references")


async def check_references(
    addresses: Iterable[Reference], places: Mapping[str, Place], file: str, hosts: ReferenceHosts
) -> tuple[Problem, ...]:
    """Look at references, each once, and report those that the API could not use.

    ``places`` says by a reference's content where it came from, ``file`` is the campaign's own.
    """
    asked = [(each, each.url) for each in addresses if each.url is not None]
    found = await asyncio.gather(*(hosts.fault(url) for _, url in asked))
    report = Report(file)
    for (reference, _), fault in zip(asked, found, strict=True):
        if fault is not None:
            place = places.get(reference.content, Place(file))
            report.add(place, f"the reference {shown(reference.shown, 120)} {fault.message}", fault.allowed)
    return report.problems
