"""A parsed campaign file becomes jobs that can be read: defaults applied, files named, every setting with its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adloom.campaign.axes.product import crossed_source, product_source
from adloom.campaign.axes.reader import AxesReader
from adloom.campaign.brand_words import read_words
from adloom.campaign.chains import check_chains, jobs_named, of_job
from adloom.campaign.delivery import BadChannel, DeliveryReader, channel_of, marking_of, rights_of
from adloom.campaign.jobs import (
    AxisPlace,
    Job,
    JobDelivery,
    Pattern,
    RowSource,
    Sample,
    included,
    plain_source,
    table_source,
)
from adloom.campaign.problems import Place, Report
from adloom.campaign.references.reader import ReadFrom, ReferenceReader
from adloom.campaign.schema.campaign import STAND_IN, HeadFile, JobFile, SettingsFile, read_head, read_jobs
from adloom.campaign.settings import AXES, STANDARD, SettingsReader, Texts
from adloom.campaign.sources.origin import Origin
from adloom.campaign.sources.workbook.reader import file_of, is_workbook
from adloom.campaign.sources.yaml_tree import Document, Tree
from adloom.campaign.sources.yaml_tree import Path as Keys
from adloom.core.alternatives import BadAlternatives, alternatives
from adloom.core.campaign import Campaign
from adloom.core.channel import KEEP, Channel
from adloom.core.cheapest import CHEAPEST
from adloom.core.delivery import DeliverySettings
from adloom.core.limits import PROFILES
from adloom.core.matrix import EXCLUDED_NAMES, Exclusions
from adloom.core.quoting import shown
from adloom.core.template import BadTemplate, is_template, prompt_template
from adloom.core.words import WordRules
from adloom.edges.addresses import BadAddress, check_url


@dataclass(frozen=True, slots=True)
class Assembled:
    """A campaign file as values; its problems are in the report."""

    head: HeadFile
    campaign: Campaign
    jobs: tuple[Job, ...]
    settings: SettingsReader
    delivery: DeliveryReader
    reference_places: dict[str, Place]
    """The places of named references that are addresses, by their content."""
    chained: Mapping[str, tuple[str, ...]]
    """The jobs that have approved images of others as references, each with the others."""


def assemble(read_from: ReadFrom, document: Document, content: Mapping[str, Tree], report: Report) -> Assembled:
    """Read head and jobs of a campaign file; problems go to the report."""
    head = read_head(document, content, report)
    profile = PROFILES[head.profile]
    named = {
        name: ("url", item.url) if item.url else ("file", item.file or "") for name, item in head.references.items()
    }
    references = ReferenceReader(named, read_from, profile.references)
    written = content.get("references")
    for name in written if isinstance(written, dict) else ():
        if name not in named:
            references.give_up(name)
    _check_head(head, document, references, report, loopback_urls=read_from.loopback_urls)
    builder = _JobBuilder(read_from.origin, document, head, report)
    read = read_jobs(document, content, report)
    jobs = tuple(builder.job(position, job) for position, job in read)
    referring = [(position, job.id, _listed(job.references)) for position, job in read]
    check_chains(referring, _ids_of(content), document, report)
    campaign = Campaign(
        name=head.campaign,
        source=read_from.origin.shown,
        budget=head.budget.value() if head.budget else None,
        pace=head.limits.value(),
        profile=head.profile,
        callback_url=head.callback_url,
        prices=head.prices,
        fallback=() if CHEAPEST in head.fallback else head.fallback,
        falls_back_on_cheapest=CHEAPEST in head.fallback,
        check_references=head.check_references == "true",
        delivery=DeliverySettings(
            _channels(head, document, report), marking_of(head.marking), "deliver" in head.after_run
        ),
        sheet_after_run="sheet" in head.after_run,
    )
    rights = {name: rights_of(name, item.rights) for name, item in head.references.items() if item.rights}
    written_channels = content.get("channels")
    delivery = DeliveryReader(
        campaign.delivery.channels,
        rights_of("images", head.rights) if head.rights else None,
        rights,
        written_channels if isinstance(written_channels, dict) else (),
        _keep(head),
    )
    places = {f"url:{each.url}": document.place(("references", name)) for name, each in head.references.items()}
    settings = SettingsReader(profile, references, campaign.fallback)
    chained = {job: names for _, job, listed in referring if (names := jobs_named(listed))}
    return Assembled(head, campaign, jobs, settings, delivery, places, chained)


def _listed(texts: Texts | None) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else texts or ()


def _ids_of(content: Mapping[str, Tree]) -> list[str]:
    """The ids of all jobs, also of those that cannot be read."""
    jobs = content.get("jobs")
    ids = [job.get("id") for job in jobs if isinstance(job, dict)] if isinstance(jobs, list) else []
    return [each for each in ids if isinstance(each, str)]


def _channels(head: HeadFile, document: Document, report: Report) -> dict[str, Channel]:
    found: dict[str, Channel] = {}
    for name, given in head.channels.items():
        try:
            found[name] = channel_of(name, given, _keep(head))
        except BadChannel as bad:
            at: Keys = ("channels", name, bad.key) if bad.key else ("channels", name)
            report.add(document.place(at), f"channels: {bad.message}", bad.allowed)
    return found


def _keep(head: HeadFile) -> float:
    return KEEP if head.keep is None else float(head.keep)


def _refuse_fragment(url: str) -> None:
    if "#" in url:
        raise BadAddress("nobody sends what follows a #, so no callback would arrive", "the address without it")


def _check_head(
    head: HeadFile, document: Document, references: ReferenceReader, report: Report, *, loopback_urls: bool
) -> None:
    """Check what needs more than its shape: addresses, files, and a model that is named in two places."""
    for name in head.references:
        try:
            references.read(name)
        except BadAddress as bad:
            references.give_up(name)
            report.add(document.place(("references", name)), f"reference {shown(name)}: {bad.message}", bad.allowed)
    if head.callback_url is not None:
        schemes = ("https", "http") if loopback_urls else ("https",)
        try:
            check_url(head.callback_url, schemes, loopback_urls=loopback_urls)
            _refuse_fragment(head.callback_url)
        except BadAddress as bad:
            report.add(document.place(("callback_url",)), f"callback_url: {bad.message}", bad.allowed)
    if head.model is not None and head.defaults.model is not None:
        report.add(
            document.place(("defaults", "model")), "the model is also named at the top of the file", "one of the two"
        )


class _JobBuilder:
    def __init__(self, origin: Origin, document: Document, head: HeadFile, report: Report) -> None:
        self._origin = origin
        self._document = document
        self._head = head
        self._report = report
        self._standard: dict[str, Texts] = dict(STANDARD)
        self._origins: dict[str, Place] = dict.fromkeys(STANDARD, Place(document.file))
        self._origins["fallback"] = document.place(("fallback",))
        if head.model is not None:
            self._standard["model"] = head.model
            self._origins["model"] = document.place(("model",))
        self._apply(head.defaults, ("defaults",), self._standard, self._origins)
        self._words = read_words(head.words, origin, self._file, report)

    def job(self, position: int, job: JobFile) -> Job:
        """One job with its defaults, rows and places."""
        at: Keys = ("jobs", position)
        settings, origins = dict(self._standard), dict(self._origins)
        self._apply(job, at, settings, origins)
        settings["references"] = tuple(of_job(text, job.id) for text in settings["references"])
        origins["prompt"] = self._document.place((*at, "prompt"))
        for locale in job.prompt if isinstance(job.prompt, dict) else ():
            origins[f"prompt {locale}"] = self._document.place((*at, "prompt", locale))
        self._check_templates(job, at)
        self._check_exclusions(job, at)
        source, axis_place = self._source(job, at)
        formats = math.prod(1 if isinstance(settings[name], str) else len(settings[name]) for name in AXES)
        return Job(
            name=job.id,
            prompt=job.prompt if isinstance(job.prompt, str) else "",
            settings=settings,
            origins=origins,
            source=source,
            axis_place=axis_place,
            formats=formats,
            exclude=tuple(
                Pattern(names, self._document.place((*at, "exclude", number)))
                for number, names in enumerate(job.exclude)
            ),
            include=tuple(
                included(row, self._document.place((*at, "include", number))) for number, row in enumerate(job.include)
            ),
            sample=self._sample(job),
            words=WordRules() if job.prompt == STAND_IN else self._words,
            prompts=job.prompt if isinstance(job.prompt, dict) else {},
            delivery=self._delivery(job, at),
        )

    def _delivery(self, job: JobFile, at: Keys) -> JobDelivery:
        """What the job says about delivery, else the defaults."""
        given: dict[str, Texts] = {}
        places: dict[str, Place] = {}
        for part, where in ((self._head.defaults, ("defaults",)), (job, at)):
            for name in ("deliver", "focus", "alt", "name"):
                if (value := getattr(part, name)) is not None:
                    given[name] = value
                    places[name] = self._document.place((*where, name))
        listed = given.get("deliver", ())
        channels = (listed,) if isinstance(listed, str) else listed
        focus, alt, name = (str(given.get(each, "")) for each in ("focus", "alt", "name"))
        return JobDelivery(channels, focus, alt, name, places)

    def _apply(self, given: SettingsFile, at: Keys, settings: dict[str, Texts], origins: dict[str, Place]) -> None:
        """Override earlier settings with those of a part of the file."""
        for name in STANDARD:
            value = getattr(given, name, None)
            if value is not None:
                settings[name] = (value,) if name == "references" and isinstance(value, str) else value
                origins[name] = self._document.place((*at, name))

    def _check_templates(self, job: JobFile, at: Keys) -> None:
        """Report a template that no row could use, once."""
        by_place: dict[Keys, str] = {}
        if isinstance(job.prompt, str):
            by_place[*at, "prompt"] = job.prompt
        elif job.prompt is not None:
            by_place = {(*at, "prompt", locale): template for locale, template in job.prompt.items()}
        for keys, template in by_place.items():
            try:
                alternatives(template)
                if is_template(template):
                    prompt_template(template)
            except (BadAlternatives, BadTemplate) as problem:
                where = f"the prompt of job {shown(job.id)}"
                self._report.add(self._document.place(keys), f"{where}: {problem.message}", problem.allowed)

    def _check_exclusions(self, job: JobFile, at: Keys) -> None:
        if (names := Exclusions(job.exclude).names) > EXCLUDED_NAMES:
            place, many = self._document.place((*at, "exclude")), f"{names:,} names to compare in every row"
            allowed = f"at most {EXCLUDED_NAMES}; entries with the same names count once"
            self._report.fatal(place, f"exclude: its entries have {many}", allowed)

    def _source(self, job: JobFile, at: Keys) -> tuple[RowSource, AxisPlace | None]:
        """The rows of a job before templating, and the place of each axis value."""
        axes = AxesReader(self._origin, self._document, self._report, self._file)
        place = self._document.place((*at, "matrix")) if job.matrix is not None else self._document.place((*at, "zip"))
        find, axis_place = axes.read(job, at)
        if job.rows is not None:
            file = self._file(job.rows, (*at, "rows"))
            if file is None:
                return _nothing, None
            name = self._origin.beside(job.rows)
            return (
                (table_source(file, name), None)
                if find is None
                else (crossed_source(file, name, find, place), axis_place)
            )
        if find is None:
            return (_nothing if job.include else plain_source(self._document.place(at))), None
        return product_source(find, place), axis_place

    def _sample(self, job: JobFile) -> Sample | None:
        if job.sample is None or job.sample.count is None:
            return None
        weights = {name: each for name, each in job.sample.weights.items() if name not in job.sample.axes}
        return Sample(job.sample.count, job.sample.seed, weights)

    def _file(self, text: str, keys: Keys, kind: str = "table") -> Path | None:
        """A table or list that the campaign names; None if it may not be read."""
        root = self._origin.folder
        place = self._document.place(keys)
        try:
            self._origin.fetch(text)
            inside = (root / text).resolve().is_relative_to(root.resolve())
            found = file_of(root / text).is_file()
        except (OSError, ValueError, RuntimeError):
            inside, found = True, False
        if not inside:
            self._report.add(place, f"{shown(text)} is outside the campaign file's folder", f"a {kind} inside it")
        elif not found:
            message = f"there is no file {shown(text)} next to the campaign file"
            what = "a .csv or .xlsx" if kind == "table" else "a .txt"
            self._report.add(place, message, f"the path of {what} file, relative to the campaign file")
        elif kind == "list":
            return root / text
        elif not (text.lower().endswith(".csv") or is_workbook(root / text)):
            self._report.add(place, f"{shown(text)} is not a table that can be read", "a .csv or .xlsx file")
        else:
            return root / text
        return None


def _nothing(_report: Report, _most: int) -> tuple[()]:
    """The source of a job whose rows could not be found, or that has only included ones."""
    return ()
