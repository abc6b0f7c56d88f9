"""One reading of a whole campaign against what the archive covers. Writes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from adloom.core.campaign import CampaignSource
from adloom.core.decision import NOTHING_DECIDED, Decision
from adloom.core.errors import InputError, SettingInvalid
from adloom.core.limits import MODELS
from adloom.core.outcomes import Outcome
from adloom.core.packing import Packing
from adloom.core.planned import PlannedRow
from adloom.core.prompt import changed_prompt, length_problem
from adloom.core.reference import Reference
from adloom.core.selection import EVERYTHING, Again, Choice
from adloom.plan.planner import Planner, Totals
from adloom.plan.revision import row_line


@dataclass(frozen=True, slots=True)
class Survey:
    """One reading of a whole campaign against what the archive holds: nothing is written."""

    totals: Totals
    asked: Totals
    rows_sha256: str
    files: tuple[Reference, ...] = ()
    """The reference files needed for what is left to buy, each content once."""
    addresses: tuple[Reference, ...] = ()
    """The same of references at addresses, if the campaign has them looked at."""
    chained: frozenset[str] = frozenset()
    """The jobs of what is asked for and left to buy with approved images as references."""
    packing: Packing | None = None
    """How rows with the same request share calls; None if there are no such rows."""


def survey(
    source: CampaignSource,
    known: Mapping[str, Outcome],
    only: frozenset[Again] = frozenset(),
    choice: Choice = EVERYTHING,
    decisions: Mapping[str, Decision] = NOTHING_DECIDED,
) -> Survey:
    """Plan every row without keeping any.

    Raises CampaignInvalid with every problem of the campaign's files, SettingInvalid for a change that makes a prompt
    too long.
    """

    def planner_with(packing: Packing | None) -> Planner:
        return Planner(
            known, source.campaign.prices, only, choice.picker(), asked_only=True, decisions=decisions, packing=packing
        )

    planner = planner_with(None)
    surveyed = _survey(planner, source)
    if not planner.repeats:
        return surveyed
    packing = planner.packing_of(source.rows(), source.campaign.fallback, choice.picker())
    packing.start()
    return _survey(planner_with(packing), source)


def _survey(planner: Planner, source: CampaignSource) -> Survey:
    rows = hashlib.sha256()
    files: dict[str, Reference] = {}
    addresses: dict[str, Reference] = {}
    looks = source.campaign.check_references
    chained: set[str] = set()
    for planned in hashed(planner.plan(source.rows()), rows):
        if planned.calls:
            if any(reference.asset for reference in planned.row.references):
                chained.add(planned.row.job)
            _refuse_long_changes(planned)
            files |= {each.content: each for each in planned.row.references if each.url is None}
            addresses |= {each.content: each for each in planned.row.references if looks and each.url is not None}
    return Survey(
        planner.totals,
        planner.asked,
        rows.hexdigest(),
        tuple(files.values()),
        tuple(addresses.values()),
        frozenset(chained),
        planner.packing,
    )


def _refuse_long_changes(planned: PlannedRow) -> None:
    model = MODELS.get(planned.row.model)
    bounds = (model.prompt_characters, model.prompt_tokens) if model else ()
    for call in planned.calls:
        prompt = changed_prompt(planned.row.prompt, call.variants[0].change)
        if call.variants[0].change and (problem := length_problem(prompt, len(call.variants), *bounds)):
            numbers = ", ".join(str(variant.number) for variant in call.variants)
            raise SettingInvalid(
                f"{planned.row.job}/{planned.row.name}, variant {numbers}: with the reviewer's change, {problem}",
                remedy="Shorten the change: decide on the image again.",
            )


def refuse_change(source: CampaignSource, before: str, now: str) -> None:
    """Raises InputError when a campaign's rows, by their hashes, are not those that were looked at."""
    if before != now:
        raise InputError(
            f"{source.campaign.source}: its rows changed while the run was starting, or another run has just bought "
            "some of their images; nothing was sent",
            remedy="Run the same command again when the campaign's files are no longer being written.",
        )


def hashed(rows: Iterator[PlannedRow], digest: hashlib._Hash) -> Iterator[PlannedRow]:
    """The same rows; ``digest`` is fed with each."""
    for planned in rows:
        digest.update(row_line(planned.row))
        yield planned
