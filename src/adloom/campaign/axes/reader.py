"""The axes of a campaign file's jobs become dimensions, with their places, values from files and samples."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from adloom.campaign.axes.product import (
    AxisSample,
    Dimension,
    Dimensions,
    axes_file,
    axes_file_place,
    dimensions_of,
    inline,
    sampled,
    values_in,
)
from adloom.campaign.jobs import AxisPlace, value_of
from adloom.campaign.problems import Place, Report, did_you_mean
from adloom.campaign.schema.campaign import JobFile
from adloom.campaign.schema.checks import OVERRIDES, list_file
from adloom.campaign.settings import Texts
from adloom.campaign.sources.origin import Origin
from adloom.campaign.sources.yaml_tree import Document
from adloom.campaign.sources.yaml_tree import Path as Keys
from adloom.core.locale import FALLBACK, LOCALE
from adloom.core.matrix import Value, first_text
from adloom.core.quoting import shown

FindFile: TypeAlias = "Callable[..., Path | None]"
Placed: TypeAlias = tuple[tuple[Place, Value], ...]
"""The values of one axis, each with its place."""


class AxesReader:
    """Reads the axes of jobs; problems go to the report."""

    def __init__(self, origin: Origin, document: Document, report: Report, find_file: FindFile) -> None:
        self._origin = origin
        self._document = document
        self._report = report
        self._find_file = find_file

    def read(self, job: JobFile, at: Keys) -> tuple[Dimensions | None, AxisPlace | None]:
        """The dimensions of a job and the places of their values; None if it has none."""
        if isinstance(job.matrix, str):
            return self._from_table(job, job.matrix, at)
        matrix = {
            name: self._values(name, values, (*at, "matrix", name)) for name, values in (job.matrix or {}).items()
        }
        groups = [self._group(group, at, number) for number, group in enumerate(job.zip)]
        if job.prompt and isinstance(job.prompt, dict) and job.rows is None:
            matrix |= self._locales(job.prompt, {*matrix, *itertools.chain(*groups)}, (*at, "prompt"))
        if not matrix and not groups:
            return None, None
        self._refuse_repetition(matrix, groups, at)
        axes = {**matrix, **{name: values for group in groups for name, values in group.items()}}
        dimensions = dimensions_of(
            {name: [value for _, value in values] for name, values in matrix.items()},
            [{name: [value for _, value in values] for name, values in group.items()} for group in groups],
        )
        dimensions = self._sampled(dimensions, job, at, axes)
        self._check_weights(job, at, axes)

        def place(axis: str, value: Value | Texts) -> Place:
            written = axes.get(axis, ())
            return next((at for at, each in written if value_of(axis, each) == value), self._document.place(at))

        if not all(dimensions):
            return inline(()), place
        return inline(dimensions), place

    def _from_table(self, job: JobFile, name: str, at: Keys) -> tuple[Dimensions | None, AxisPlace | None]:
        if job.zip:
            place = self._document.place((*at, "zip"))
            self._report.add(
                place, "zip cannot be combined with a matrix that is a file", "a matrix in the campaign file"
            )
        if job.sample and (job.sample.axes or job.sample.weights):
            place = self._document.place((*at, "sample"))
            self._report.add(place, "axes and weights need a matrix in the campaign file", "{count: 6, seed: 7}")
        file = self._find_file(name, (*at, "matrix"))
        if file is None:
            return inline(()), None
        shown_as = self._origin.beside(name)
        return axes_file(file, shown_as), axes_file_place(file, shown_as)

    def _values(self, name: str, values: object, keys: Keys) -> Placed:
        """The values of one axis, each with its place."""
        if listed := list_file(values):
            if name in OVERRIDES and name == "id":
                return ()
            file = self._find_file(listed, (*keys, "file"), "list")
            if file is None:
                return ()
            shown_as = self._origin.beside(listed)
            return tuple((Place(shown_as, line, 1), value) for line, value in values_in(file, shown_as, self._report))
        assert isinstance(values, list)  # noqa: S101 - the schema has checked it
        return tuple((self._document.place((*keys, number)), value) for number, value in enumerate(values))

    def _group(self, group: Mapping[str, object], at: Keys, number: int) -> dict[str, Placed]:
        """The paired axes of one ``zip``; none if they differ in length."""
        keys: Keys = (*at, "zip", number)
        if (*at, "zip", next(iter(group))) in self._document.values:
            keys = (*at, "zip")  # one mapping, without a list around it
        read = {name: self._values(name, values, (*keys, name)) for name, values in group.items()}
        first, *others = read.items()
        for name, values in others:
            if len(values) != len(first[1]) and values and first[1]:
                message = f"zip: {shown(name)} has {len(values)} values, {shown(first[0])} has {len(first[1])}"
                self._report.add(self._document.place((*keys, name)), message, "lists of equal length")
        shortest = min(map(len, read.values()))
        return {name: values[:shortest] for name, values in read.items()}

    def _locales(self, prompts: Mapping[str, str], taken: Collection[str], keys: Keys) -> dict[str, Placed]:
        """The locales of a prompt as an axis, unless another axis names them."""
        locales = [locale for locale in prompts if locale != FALLBACK]
        named = tuple((self._document.place((*keys, locale), of_key=True), locale) for locale in locales)
        return {} if LOCALE in taken or not named else {LOCALE: named}

    def _refuse_repetition(self, matrix: Collection[str], groups: Sequence[Collection[str]], at: Keys) -> None:
        for name in itertools.chain(*groups):
            if name in matrix:
                place = self._document.place((*at, "zip"))
                self._report.add(place, f"{shown(name)} is in both matrix and zip", "each name once")

    def _sampled(
        self, dimensions: Sequence[Dimension], job: JobFile, at: Keys, axes: Collection[str]
    ) -> list[Dimension]:
        """The dimensions without the choices that a per-axis sample leaves out."""
        found = list(dimensions)
        if job.sample is None:
            return found
        for name, count in job.sample.axes.items():
            number = next((each for each, dimension in enumerate(found) if dimension and name in dimension[0]), None)
            if number is None:
                self._refuse_axis(name, (*at, "sample", "axes", name), axes)
                continue
            sample = AxisSample(count, f"{job.sample.seed}/{name}", job.sample.weights.get(name, {}))
            found[number] = sampled(found[number], name, sample)
        return found

    def _check_weights(self, job: JobFile, at: Keys, axes: Mapping[str, Sequence[tuple[Place, Value]]]) -> None:
        for name, weights in (job.sample.weights if job.sample else {}).items():
            keys: Keys = (*at, "sample", "weights", name)
            if name not in axes:
                self._refuse_axis(name, keys, axes)
                continue
            texts = [first_text(value) for _, value in axes[name]]
            for text in weights:
                if text not in texts:
                    message = f"weights: {shown(name)} has no value {shown(text)}{did_you_mean(text, texts)}"
                    self._report.add(self._document.place((*keys, text)), message, "a value of the axis, as written")

    def _refuse_axis(self, name: str, keys: Keys, axes: Collection[str]) -> None:
        message = f"sample: there is not an axis {shown(name)}{did_you_mean(name, axes)}"
        self._report.add(self._document.place(keys), message, "known: " + (", ".join(axes) or "none"))
