"""Which rows of a plan a run is for: by job, by a condition on variables and settings, the first N, or a sample.

A selection restricts what a run buys, never what is planned: the other rows stay in the plan and in the manifest, open.
Conditions are expressions of the prompt templates' language. A row without a name that the condition uses is not
selected, so that one condition serves a campaign of many jobs; a name that no row has is an error.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from adloom.core.campaign import Row
from adloom.core.decision import Verdict
from adloom.core.errors import SettingInvalid
from adloom.core.identity import digest, row_digest
from adloom.core.outcomes import Status
from adloom.core.spelling import nearest
from adloom.core.template import BadTemplate, Condition, condition

Again: TypeAlias = Status | Verdict
"""What a run may be for once more: variants that ended without an image, or rejected ones."""


def again(word: str) -> Again:
    """The outcome or the decision that a form names."""
    return Verdict.REJECTED if word == Verdict.REJECTED else Status(word)


_EXAMPLE = 'Write it like: locale == "zh-CN"'
_NAMES_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Selection:
    """What a person asks for; nothing asked for means every row.

    ``sample`` rows are chosen by a hash of ``seed`` and row, so the same command picks the same rows again, and rows
    that come or go change few others. Raises SettingInvalid for what cannot be meant.
    """

    jobs: tuple[str, ...] = ()
    where: str = ""
    first: int | None = None
    sample: int | None = None
    seed: str = "0"

    def __post_init__(self) -> None:
        if self.first is not None and self.sample is not None:
            raise SettingInvalid("the first rows and a sample cannot be combined", remedy="Choose one of them.")
        for name, count in (("first", self.first), ("sample", self.sample)):
            if count is not None and count < 1:
                raise SettingInvalid(f"{name} {count} selects nothing", remedy=f"Use 1 or more, like {name} 10.")
        if self.where:
            _condition(self.where)

    @property
    def is_whole(self) -> bool:
        return not (self.jobs or self.where or self.first or self.sample)

    @property
    def words(self) -> str:
        """The selection for a person and for the plan; empty for the whole."""
        parts = [f"job {job}" for job in self.jobs]
        parts += [f"where {self.where}"] if self.where else []
        parts += [f"first {self.first}"] if self.first else []
        parts += [f"sample {self.sample}"] if self.sample else []
        parts += [f"seed {self.seed}"] if self.sample and self.seed != "0" else []
        return ", ".join(parts)


WHOLE = Selection()


class Picker:
    """Says of each row of a campaign, asked for all of them in plan order, whether a run is for it."""

    def __init__(self, selection: Selection, digests: frozenset[str] = frozenset()) -> None:
        self._selection = selection
        self._digests = digests
        self._condition = _condition(selection.where) if selection.where else None
        self._picked = 0

    @property
    def takes_all(self) -> bool:
        """Whether a run is for every row."""
        return self._selection.is_whole and not self._digests

    def takes(self, row: Row) -> bool:
        """Whether the next row is one of those. Raises SettingInvalid where the condition cannot be worked out."""
        picked = self._selection.sample is None and self.fits(row)
        return picked or (bool(self._digests) and row_digest(row) in self._digests)

    def fits(self, row: Row) -> bool:
        """Whether the next row is picked by itself, whatever the sample."""
        selection = self._selection
        if selection.first is not None and self._picked >= selection.first:
            return False
        picked = (not selection.jobs or row.job in selection.jobs) and self._fulfils(row)
        self._picked += picked
        return picked

    def _fulfils(self, row: Row) -> bool:
        if self._condition is None:
            return True
        try:
            return self._condition.holds(_names_of(row))
        except BadTemplate as problem:
            raise SettingInvalid(
                f"the condition {self._selection.where[:80]!r} for {row.job}/{row.name}: {problem.message}",
                remedy='Variables are text: write "12" in quotes, or sku|int for the number.',
            ) from problem


@dataclass(frozen=True, slots=True)
class Choice:
    """A selection compared with the rows of one campaign."""

    selection: Selection = WHOLE
    digests: frozenset[str] = frozenset()
    """Of a sample's rows; else of picked rows that share their images with an earlier one, which is picked too."""
    retakes_only: bool = False
    """Of the picked rows a run buys new takes alone."""

    def picker(self) -> Picker:
        """For one reading of all rows."""
        return Picker(self.selection, self.digests)


EVERYTHING = Choice()


def choose(selection: Selection, rows: Callable[[], Iterable[Row]]) -> Choice:
    """Hold a selection against a campaign's rows, which are read once unless all are wanted.

    Raises SettingInvalid for a job or a name that the campaign does not have, and when no row is picked.
    """
    if selection.is_whole:
        return EVERYTHING
    seen = _Seen()
    picker = Picker(selection)
    picked = (row for row in seen.noting(rows()) if picker.fits(row))
    if selection.sample is None:
        digests = frozenset(row_digest(row) for row in seen.counting(picked) if row.shared)
    else:
        every = (row_digest(row) for row in seen.counting(picked))
        hashed = ((digest("sample", selection.seed, each), each) for each in every)
        digests = frozenset(each for _, each in heapq.nsmallest(selection.sample, hashed))
    seen.check(selection)
    if not seen.picked:
        raise SettingInvalid(
            f"{selection.words} selects no row of the campaign", remedy="See all rows with `adloom plan` without it."
        )
    return Choice(selection, digests)


@dataclass(slots=True)
class _Seen:
    """The jobs and names of all rows, to tell a wrong word from one that picks nothing."""

    picked: int = 0
    jobs: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    def noting(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self.jobs.add(row.job)
            self.names.update(row.variables)
            yield row

    def counting(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            self.picked += 1
            yield row

    def check(self, selection: Selection) -> None:
        for job in selection.jobs:
            _must_be_one_of(job, self.jobs, f"job {job[:60]}: the campaign has no such job")
        for name in _condition(selection.where).names if selection.where else ():
            message = f"the condition {selection.where[:80]!r}: no row has a {name[:60]!r}"
            _must_be_one_of(name, {*self.names, *_SETTINGS}, message)


def _must_be_one_of(word: str, known: set[str], message: str) -> None:
    if word in known:
        return
    near = nearest(word, sorted(known))
    hint = f", did you mean {near[0][:60]!r}?" if near else ""
    more = ", …" if len(known) > _NAMES_SHOWN else ""
    raise SettingInvalid(message + hint, remedy=f"Known: {', '.join(sorted(known)[:_NAMES_SHOWN])}{more}.")


def _condition(text: str) -> Condition:
    try:
        return condition(text)
    except BadTemplate as problem:
        allowed = f" ({problem.allowed})" if problem.allowed else ""
        raise SettingInvalid(f"the condition {text[:80]!r}: {problem.message}{allowed}", remedy=_EXAMPLE) from problem


_SETTINGS = ("job", "row", "prompt", "model", "size", "quality", "priority", "grouping", "variants", "references")


def _names_of(row: Row) -> Mapping[str, object]:
    """What a condition sees of a row: its settings, and its variables over them."""
    return {
        "job": row.job,
        "row": row.name,
        "prompt": row.prompt,
        "model": row.model,
        "size": row.size,
        "quality": row.quality,
        "priority": row.priority,
        "grouping": row.grouping.value,
        "variants": row.variants,
        "references": [reference.shown for reference in row.references],
        **row.variables,
    }
