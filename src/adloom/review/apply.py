"""Applies files of decisions: writes nothing unless every line of the file is valid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from adloom.core.decision import Decision
from adloom.core.errors import Problem
from adloom.gallery.choosing import Candidate, Choosing, Place
from adloom.ledger.decisions import Decisions, write_decision
from adloom.ports import Store
from adloom.review.table import ReviewFile, Said


@dataclass(frozen=True, slots=True)
class Applied:
    """The result of a file: decisions that were added, and lines that repeat what is known.

    ``overruled`` are those of its lines that it added before, each with the decision that stands since.
    """

    added: tuple[tuple[Candidate, Decision], ...]
    known: int
    overruled: tuple[tuple[Candidate, Decision], ...] = ()


async def apply(store: Store, choosing: Choosing, file: ReviewFile, by: str, now: datetime) -> Applied:
    """Store every decision of a file.

    ``by`` is who decided, if a line does not say. A line that repeats the current decision, or one that it names by who
    and when, or that the same file has already added, adds nothing. A line that names a decision so and says something
    else was changed by whoever applies the file, who decides now. Raises CampaignInvalid with all problems of the file,
    images that are not known among them; then nothing is written.
    """
    found = _resolved(choosing, file)
    file.refuse_problems()
    facts, standing = choosing.decisions.require_whole().facts, choosing.standing
    applied = {fact.variant for fact in facts.values() if fact.writer == file.writer}
    known = {(fact.variant, fact.by, fact.time): fact for fact in facts.values()}
    added: dict[str, tuple[Candidate, Decision]] = {}
    overruled: list[tuple[Candidate, Decision]] = []
    for said, candidate in found:
        key = candidate.variant.key
        former = standing.get(key)
        decision = said.over(former, key, by, now, file.writer)
        if named := known.get((key, decision.by, decision.time)):
            if said.over(named, key, by, now, file.writer).said == named.said:
                continue
            decision = replace(decision, by=by, time=now)
        said_already = former is not None and (former.said, former.by) == (decision.said, decision.by)
        if said_already or key in added:
            continue
        if key in applied:
            overruled += [(candidate, former)] if former is not None and former.said != decision.said else []
            continue
        after = None if decision.time == said.time else former  # a time that the file names is kept: the latest counts
        added[key] = candidate, await write_decision(store, choosing.edition, decision, after)
    return Applied(tuple(added.values()), len(found) - len(added), tuple(overruled))


def with_added(choosing: Choosing, applied: Applied) -> Choosing:
    """The same edition with what was added."""
    facts = {decision.key: decision for _, decision in applied.added}
    return replace(choosing, decisions=Decisions({**choosing.decisions.facts, **facts}, choosing.decisions.damaged))


def _resolved(choosing: Choosing, file: ReviewFile) -> list[tuple[Said, Candidate]]:
    by_place: dict[Place, Candidate] = {each.place: each for each in choosing.candidates}
    by_key = {each.variant.key: each for each in choosing.candidates}
    by_place |= {place: by_key[key] for place, key in choosing.shared.items() if key in by_key}
    found: list[tuple[Said, Candidate]] = []
    first: dict[str, Said] = {}
    for said in file.said:
        candidate = by_place.get(said.place)
        job, row, variant, take = said.place
        called = f"{job[:60]}/{row[:80]}, variant {variant}, take {take}"
        if candidate is None:
            message, allowed = f"there is no image {called}", "job, row, variant and take as assets.jsonl has them"
            file.problems.append(Problem(file.name, said.line, 0, message, allowed))
        elif not candidate.has_image:
            message = f"{called} has no image to decide on: it is {candidate.line['status']}"
            file.problems.append(Problem(file.name, said.line, 0, message, "decide on archived images only"))
        elif not said.agrees_with(first.setdefault(candidate.variant.key, said)):
            message = f"{called} is the same image as that of line {first[candidate.variant.key].line}, which differs"
            file.problems.append(Problem(file.name, said.line, 0, message, "one decision for rows that share an image"))
        else:
            found.append((said, candidate))
    return found
