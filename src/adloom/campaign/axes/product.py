"""The axes of a job: a matrix, lists of equal length under ``zip``, values from a file, and their product with rows.

A *dimension* is a list of choices that exclude each other; each choice gives one name or several their values. A matrix
has one dimension an axis, ``zip`` one for all its names together. The rows of a job are the product of its dimensions,
or of each row of a table with all of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from adloom.campaign.jobs import AxisPlace, RowSource, SourceRow, override_of, table_rows, too_many, value_of
from adloom.campaign.problems import Place, Report, not_utf_8
from adloom.campaign.schema.checks import OVERRIDES
from adloom.campaign.settings import Texts
from adloom.campaign.sources.table import LONGEST_CELL, cells_of, survey
from adloom.core.bidi import ALLOWED, first_control, said_of
from adloom.core.matrix import ROWS_PER_CAMPAIGN, Value, first_text, weighted_sample
from adloom.core.quoting import shown

LARGEST_LIST_BYTES = 1 << 20
"""The largest file with the values of one axis."""

CROSSINGS_HELD = 1000
"""Up to this many combinations are made once for all rows of a table; more are made again for each row."""

_Crossing: TypeAlias = "tuple[dict[str, Value], dict[str, Texts], dict[str, str]]"
"""Variables, settings, and the texts of both for the row's name."""

FindFile: TypeAlias = "Callable[..., Path | None]"
Dimension: TypeAlias = Sequence[Mapping[str, Value]]
Dimensions: TypeAlias = Callable[[Report], Sequence[Dimension]]
"""Finds the dimensions of a job; none if they cannot be read."""


@dataclass(frozen=True, slots=True)
class AxisSample:
    """How many choices of a dimension are taken; the seed and the weights of their values decide which."""

    count: int
    seed: str
    weights: Mapping[str, float]


def dimensions_of(
    matrix: Mapping[str, Sequence[Value]], zips: Sequence[Mapping[str, Sequence[Value]]]
) -> list[Dimension]:
    """The dimensions of a job, those of the matrix first."""
    single = [[{name: value} for value in values] for name, values in matrix.items()]
    side_by_side = [
        [dict(zip(group, choice, strict=True)) for choice in zip(*group.values(), strict=True)] for group in zips
    ]
    return [*single, *side_by_side]


def sampled(dimension: Dimension, name: str, sample: AxisSample) -> Dimension:
    """The choices of a dimension that a sample takes by one of its names, in their order."""
    contents = ((choice, sample.weights.get(first_text(choice[name]), 1.0)) for choice in dimension)
    picked = weighted_sample(contents, sample.count, sample.seed)
    return [choice for position, choice in enumerate(dimension) if position in picked]


def inline(dimensions: Sequence[Dimension]) -> Dimensions:
    """Dimensions that are written in the campaign file itself."""
    return lambda _report: dimensions


def product_source(find: Dimensions, place: Place) -> RowSource:
    """The source of a job without a table: every combination of its dimensions, none when they are too many."""

    def rows(report: Report, most: int) -> Iterator[SourceRow]:
        dimensions = _found(find, place, report, most)
        for chosen in _combinations(dimensions) if dimensions else ():
            variables, overrides = _parted(chosen)
            texts = tuple(first_text(value) for name, value in chosen.items() if name != "prompt")
            yield SourceRow(variables, overrides, place, {}, texts, combination=True)

    return rows


def crossed_source(path: Path, file: str, find: Dimensions, place: Place) -> RowSource:
    """Each row of a table with every combination of the dimensions."""

    def rows(report: Report, most: int) -> Iterator[SourceRow]:
        dimensions = _found(find, place, report, most)
        if not dimensions:
            return
        names = [name for dimension in dimensions for name in dimension[0]]
        table = survey(path, file, report, most_rows=most)
        if table is None:
            return
        if (count := len(table.lines) * _count(dimensions)) > most:
            too_many(report, place, count)
            return
        crossings = list(_crossings(dimensions)) if _count(dimensions) <= CROSSINGS_HELD else None
        for row in table_rows(table, report):
            if taken := [name for name in names if name in row.columns]:
                message = f"{shown(taken[0])} is an axis of the job and a column of {row.place.file}"
                report.add(place, message, "another name for one of the two")
                return
            for variables, overrides, crossed in crossings or _crossings(dimensions):
                yield SourceRow(
                    {**row.variables, **variables}, {**row.overrides, **overrides}, row.place, row.columns,
                    crossed=crossed,
                )  # fmt: skip

    return rows


def _found(find: Dimensions, place: Place, report: Report, most: int) -> Sequence[Dimension]:
    """The dimensions, none where they make too many rows or cannot be read."""
    dimensions = find(report)
    if dimensions and (count := _count(dimensions)) > most:
        too_many(report, place, count)
        return ()
    return dimensions


def axes_file(path: Path, file: str) -> Dimensions:
    """The axes of a matrix that is a CSV: each column one, its cells that are not empty the values."""

    def find(report: Report) -> Sequence[Dimension]:
        table = survey(path, file, report, most_rows=ROWS_PER_CAMPAIGN)
        if table is None:
            return ()
        axes: dict[str, list[str]] = {name: [] for name in table.columns}
        for _, cells in cells_of(table, report):
            for name, cell in zip(table.columns, cells, strict=True):
                if cell:
                    axes[name].append(cell)
        for number, (name, values) in enumerate(axes.items(), start=1):
            if not values:
                report.add(
                    Place(file, 1, number), f"the axis {shown(name)} has no values", "at least one cell below the name"
                )
            if name == "id":
                report.add(Place(file, 1, number), "an id cannot be an axis", "another name for the column")
        return dimensions_of(axes, ()) if table.sound and "id" not in axes and all(axes.values()) else ()

    return find


def axes_file_place(path: Path, file: str) -> AxisPlace:
    """The place of a value in a matrix CSV, by axis and value."""

    def place(axis: str, value: Value | Texts) -> Place:
        unheard = Report("")
        table = survey(path, file, unheard, most_rows=ROWS_PER_CAMPAIGN)
        if table is None or axis not in table.columns:
            return Place(file)
        number = table.columns.index(axis)
        written = ((line, value_of(axis, cells[number])) for line, cells in cells_of(table, unheard))
        lines = (line for line, each in written if each == value)
        return Place(file, next(lines, 0), number + 1)

    return place


def values_in(path: Path, file: str, report: Report) -> tuple[tuple[int, str], ...]:
    """The values of an axis from a text file, one per line, each with its line number; problems are reported."""
    try:
        with path.open("rb") as handle:
            content = handle.read(LARGEST_LIST_BYTES + 1)
    except OSError as error:
        report.add(Place(file), f"this file cannot be read: {error.strerror}", "a text file, one value a line")
        return ()
    if len(content) > LARGEST_LIST_BYTES:
        report.add(Place(file), f"this file has more than {LARGEST_LIST_BYTES:,} bytes", "a CSV of rows")
        return ()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        begins = content.rfind(b"\n", 0, error.start) + 1
        line = content.count(b"\n", 0, error.start) + 1
        wrong = not_utf_8(content[begins:], error.start - begins, begins)
        report.add(Place(file, line, 1), wrong, "save it as UTF-8")
        return ()
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    values = tuple((number, line) for number, line in lines if line)
    for number, value in values:
        if (at := first_control(value)) >= 0:
            report.add(Place(file, number, at + 1), said_of(value[at]), ALLOWED)
        if len(value) > LONGEST_CELL:
            report.add(Place(file, number, 1), f"this value has {len(value):,} characters", f"at most {LONGEST_CELL:,}")
        if not value.isprintable() and first_control(value) < 0:
            report.add(Place(file, number, 1), "this value contains a control character", "plain text")
    if not values:
        report.add(Place(file), "this file has no values", "one value a line")
    return values


def _count(dimensions: Sequence[Dimension]) -> int:
    return math.prod(map(len, dimensions))


def _combinations(dimensions: Sequence[Dimension]) -> Iterator[dict[str, Value]]:
    """Every combination; the last dimension varies fastest."""
    for choices in itertools.product(*dimensions):
        yield {name: value for choice in choices for name, value in choice.items()}


def _crossings(dimensions: Sequence[Dimension]) -> Iterator[_Crossing]:
    """What every combination adds to a row of a table."""
    for chosen in _combinations(dimensions):
        yield *_parted(chosen), {name: first_text(value) for name, value in chosen.items()}


def _parted(chosen: Mapping[str, Value]) -> tuple[dict[str, Value], dict[str, Texts]]:
    """The values that are variables, and those that are settings of the row."""
    variables = {name: value for name, value in chosen.items() if name not in OVERRIDES}
    overrides = {name: override_of(name, str(value).strip()) for name, value in chosen.items() if name in OVERRIDES}
    return variables, overrides
