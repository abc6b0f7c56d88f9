"""Jobs as streams of source rows: a multiplied matrix, the lines of a CSV, or the one row of a plain job."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from adloom.campaign.problems import Place, Report
from adloom.campaign.schema.checks import OVERRIDES
from adloom.campaign.settings import Settings, Texts
from adloom.campaign.sources.table import Table, cells_of, survey
from adloom.core.campaign import Variables
from adloom.core.matrix import ROWS_PER_CAMPAIGN, Value, first_text
from adloom.core.quoting import shown
from adloom.core.words import WordRules

_WORDS_OF_A_PROMPT = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One row before templating.

    ``overrides`` holds the reserved keys that this row sets itself, ``columns`` the number of each name's cell in a
    CSV. ``axes`` are the texts of its matrix values, for its name. A ``combination`` has no place of its own in a file.
    An ``extra`` row is neither excluded nor sampled. ``crossed`` has the texts of axes that made several rows of one
    line of a file, by name. ``template`` is its prompt's, if that differs from what is written.
    """

    variables: Variables
    overrides: Mapping[str, Texts]
    place: Place
    columns: Mapping[str, int]
    axes: tuple[str, ...] = ()
    combination: bool = False
    extra: bool = False
    crossed: Mapping[str, str] = field(default_factory=dict)
    template: str | None = None

    def place_of(self, setting: str) -> Place:
        """The place where this row sets something."""
        return self.place._replace(column=self.columns.get(setting, self.place.column))


@dataclass(frozen=True, slots=True)
class Pattern:
    """One entry of ``exclude``."""

    names: Mapping[str, Value]
    place: Place


@dataclass(frozen=True, slots=True)
class Sample:
    """How many combinations of a job are taken; the seed and the weights of values, by axis and text, decide which."""

    count: int
    seed: str
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def weight(self, source: SourceRow) -> float:
        """The weight of a row: the product of its values' weights, 1 where none is given."""
        texts = {name: first_text(value) for name, value in source.variables.items()} | {
            name: str(value) for name, value in source.overrides.items()
        }
        return math.prod(weights.get(texts.get(axis, ""), 1.0) for axis, weights in self.weights.items())


@dataclass(frozen=True, slots=True)
class JobDelivery:
    """What a job says, as written, and where.

    ``places`` has those of ``deliver``, ``focus``, ``alt`` and ``name``.
    """

    channels: tuple[str, ...] = ()
    focus: str = ""
    alt: str = ""
    name: str = ""
    places: Mapping[str, Place] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """One job, ready to be read.

    ``settings`` are complete; ``origins`` says where each of them, and the prompt, was set. ``source`` yields the rows;
    its argument ``most`` is how many rows the campaign has left before it is too large. ``axis_place`` gives the place
    of a matrix value; None without a matrix.
    """

    name: str
    prompt: str
    settings: Settings
    origins: Mapping[str, Place]
    source: RowSource
    axis_place: AxisPlace | None = None
    formats: int = 1
    exclude: tuple[Pattern, ...] = ()
    include: tuple[SourceRow, ...] = ()
    sample: Sample | None = None
    words: WordRules = field(default_factory=WordRules)
    prompts: Mapping[str, str] = field(default_factory=dict)
    """The templates by locale, and the one for all others under ``fallback``; the job then has no ``prompt``."""
    delivery: JobDelivery = field(default_factory=JobDelivery)

    def place_of_prompt(self, locale: str | None) -> Place:
        """The place of the job's prompt, or of its prompt for a locale."""
        return self.origins.get(f"prompt {locale}") or self.origins["prompt"]


RowSource: TypeAlias = Callable[[Report, int], Iterable[SourceRow]]
AxisPlace: TypeAlias = "Callable[[str, Value | Texts], Place]"


def plain_source(place: Place) -> RowSource:
    """The source of a job without matrix and rows: one row without variables."""

    def rows(report: Report, most: int) -> Iterator[SourceRow]:
        if most < 1:
            too_many(report, place, 1)
            return
        yield SourceRow({}, {}, place, {}, combination=True)

    return rows


def table_source(path: Path, file: str) -> RowSource:
    """The source of a job with a CSV of rows."""

    def rows(report: Report, most: int) -> Iterator[SourceRow]:
        table = survey(path, file, report, most_rows=most)
        if table is not None:
            yield from table_rows(table, report)

    return rows


def table_rows(table: Table, report: Report) -> Iterator[SourceRow]:
    """The rows of a table, settings apart from variables."""
    reserved = [(number, name) for number, name in enumerate(table.columns) if name in OVERRIDES]
    others = [(number, name) for number, name in enumerate(table.columns) if name not in OVERRIDES]
    columns = {name: number for number, name in enumerate(table.columns, start=1)}
    _warn_of_near_names(table, report)
    for line, cells in cells_of(table, report):
        if not any(cells):
            report.count("{n} rows of the CSV are empty and were skipped", Place(table.file, line))
            continue
        overrides = {name: override_of(name, cells[number]) for number, name in reserved if cells[number].strip()}
        yield SourceRow(
            {name: cells[number] for number, name in others}, overrides, Place(table.file, line, 1), columns
        )


def _warn_of_near_names(table: Table, report: Report) -> None:
    """A column called ``Size`` or ``prompts`` is a variable, which is rarely intended."""
    alike = {
        name: known for known in OVERRIDES for name in (known.title(), known.upper(), known + "s", known.rstrip("s"))
    }
    for name in table.columns:
        if name not in OVERRIDES and name in alike and alike[name] not in table.columns:
            report.warn(
                f'{table.file}: the column {shown(name)} is read as a variable; the reserved column is "{alike[name]}"'
            )


def override_of(name: str, cell: str) -> Texts:
    """A reserved cell as a setting.

    References are separated by ``|`` or, without any, by spaces; a prompt is kept as written.
    """
    if name == "prompt":
        return cell
    if name == "references":
        return tuple(part.strip() for part in (cell.split("|") if "|" in cell else cell.split()) if part.strip())
    return cell.strip()


def value_of(axis: str, written: Value) -> Value | Texts:
    """What a row gets from a value of an axis."""
    return override_of(axis, str(written).strip()) if axis in OVERRIDES else written


def included(row: Mapping[str, object], place: Place) -> SourceRow:
    """An extra row of a job, from its entry under ``include``."""
    overrides: dict[str, Texts] = {}
    variables: dict[str, Value] = {}
    for name, value in row.items():
        if name in OVERRIDES:
            overrides[name] = tuple(map(str, value)) if isinstance(value, list) else override_of(name, str(value))
        else:
            variables[name] = value  # type: ignore[assignment]  # the schema has checked its shape
    return SourceRow(variables, overrides, place, {}, tuple(map(first_text, variables.values())), extra=True)


def too_many(report: Report, place: Place, count: int) -> None:
    """Report a job whose product is over the cap."""
    number = f"{count:,}" if count < 10**15 else "far too many"
    report.add(
        place,
        f"this makes {number} rows, too many together with the others",
        f"at most {ROWS_PER_CAMPAIGN:,} in a campaign",
    )


def words_of(prompt: str) -> str:
    """The first words of a prompt, for a name."""
    return " ".join(_WORDS_OF_A_PROMPT.findall(prompt[:200])[:6])
