"""Traces rows back to the lines of the files that made them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from adloom.campaign.delivery import place_of
from adloom.campaign.files import FileCampaign, TracedRow
from adloom.campaign.jobs import Job, SourceRow
from adloom.campaign.problems import Place
from adloom.campaign.settings import AXES, STANDARD
from adloom.core.campaign import Row
from adloom.core.errors import SettingInvalid
from adloom.core.explanation import Explanation, Part
from adloom.core.limits import MODELS, OPTIONS
from adloom.core.locale import LOCALE, key_for
from adloom.core.matrix import Value
from adloom.core.spelling import nearest

NAMES_OFFERED = 5


def explain(campaign: FileCampaign, wanted: str, most: int) -> tuple[tuple[Explanation, ...], int]:
    """The first ``most`` rows that ``wanted`` names (a job, or a row as ``job/row``), and how many there are.

    A row can be named by its name, its id or, if unambiguous, by the readable part of its name. Raises CampaignInvalid
    with every problem of the campaign's files, SettingInvalid when nothing goes by that name.
    """
    job, _, row = wanted.partition("/")
    _check_job(campaign, job)
    named = (each for each in campaign.traced_rows() if each.job.name == job and _goes_by(each, row))
    found = tuple(islice(named, most))
    count = len(found) + sum(1 for _ in named)
    if not found:
        raise _no_such_row(campaign, job, row)
    looks = campaign.campaign.check_references
    return tuple(_explanation(each, looks=looks) for each in found), count


def _check_job(campaign: FileCampaign, job: str) -> None:
    jobs = [each.name for each in campaign.jobs]
    if job not in jobs:
        near = nearest(job, jobs)
        hint = f", did you mean {near[0]}?" if near else ""
        raise SettingInvalid(f"--explain {job[:60]}: there is no such job{hint}", remedy=f"Jobs: {', '.join(jobs)}.")


def _goes_by(traced: TracedRow, wanted: str) -> bool:
    row = traced.row
    return not wanted or wanted in (row.name, row.label, traced.source.overrides.get("id"))


def _no_such_row(campaign: FileCampaign, job: str, wanted: str) -> SettingInvalid:
    near = nearest(wanted, _names(campaign, job), NAMES_OFFERED, 0.4) or list(
        islice(_names(campaign, job), NAMES_OFFERED)
    )
    message = f"--explain {job}/{wanted[:80]}: job {job} has no such row"
    return SettingInvalid(message, remedy=f"Rows have names such as: {', '.join(near)}." if near else "It has no rows.")


def _names(campaign: FileCampaign, job: str) -> Iterator[str]:
    return (row.name for row in campaign.rows() if row.job == job)


def _explanation(traced: TracedRow, *, looks: bool) -> Explanation:
    row, source, job = traced
    own = "prompt" in source.overrides
    key = key_for(job.prompts, str(source.variables.get(LOCALE, ""))) or ""
    template = Part(
        "template",
        source.template or (str(source.overrides["prompt"]) if own else job.prompts.get(key, job.prompt)),
        _written(_place_of(job, source, "prompt") if own else job.place_of_prompt(key)),
    )
    variables = tuple(Part(name, _text(value), _origin(job, source, name)) for name, value in source.variables.items())
    place, settings = _written(source.place), tuple(_settings(row, source, job))
    if looks and any(reference.url for reference in row.references):
        settings += (
            Part("check_references", "true: its addresses are looked at before anything is bought", "the head"),
        )
    return Explanation(row, place, source.combination, template, variables, settings)


def _settings(row: Row, source: SourceRow, job: Job) -> Iterator[Part]:
    options = {name: OPTIONS[name][0] for name in MODELS[row.model].options} | dict(row.options)
    names = [name for name in STANDARD if name not in OPTIONS or name in options]
    values = {name: options.get(name) or str(getattr(row, name)) for name in names if name != "references"}
    values["references"] = ", ".join(reference.shown for reference in row.references) or "none"
    if not row.quality:
        values["quality"] = "none, because the size is in pixels"
    for name in names:
        if name in source.overrides:
            origin = f"this row, {_written(_place_of(job, source, name))}"
        else:
            origin = _written(job.origins[name]) if job.origins[name].line else _unset(job.origins[name])
        axis = name in AXES and not isinstance(source.overrides.get(name, job.settings[name]), str)
        yield Part(name, values[name], f"an axis, {origin}" if axis else origin)
    yield from _delivery(row, source, job)


def _delivery(row: Row, source: SourceRow, job: Job) -> Iterator[Part]:
    """What the row says about delivery, where it says anything."""
    wanted = row.delivery
    focus = wanted.focus if isinstance(wanted.focus, str) else ", ".join(map(str, wanted.focus or ()))
    for name, value in (("deliver", ", ".join(wanted.channels)), ("focus", focus), ("alt", wanted.alt)):
        if value:
            yield Part(name, value, _written(place_of(job.delivery, source, name)))
    if wanted.name:
        yield Part("name", wanted.name, _written(job.delivery.places["name"]))


def _unset(place: Place) -> str:
    return f"the option {place.file}" if place.file.startswith("--") else "the default"


def _origin(job: Job, source: SourceRow, name: str) -> str:
    return _written(_place_of(job, source, name))


def _place_of(job: Job, source: SourceRow, name: str) -> Place:
    """Where a row got a value from: in a matrix each value has a place of its own."""
    if name.startswith("choice_") and name in source.crossed:
        key = key_for(job.prompts, str(source.variables.get(LOCALE, "")))
        return source.place_of("prompt") if "prompt" in source.overrides else job.place_of_prompt(key)
    if job.axis_place is not None and (source.combination or name in source.crossed):
        return job.axis_place(name, source.overrides.get(name) or source.variables[name])
    return source.place_of(name)


def _written(place: Place) -> str:
    return ":".join(str(part) for part in place if part)


def _text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
