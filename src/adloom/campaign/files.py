"""Campaign files: a YAML or a CSV becomes a campaign and a stream of rows, or one report of everything wrong with it.

The files of a campaign are the YAML file and the CSVs it names, or one CSV by itself. A CSV by itself is one job; job
and campaign are named after the file. A sheet of a workbook, ``book.xlsx`` or ``book.xlsx#May``, may stand for any CSV.
Its reserved columns are ``id prompt variants size quality references grouping priority model``; for an empty cell in
one of them the option counts, or else the default. ``references`` holds names, addresses or paths, separated by ``|``
or, without any, by spaces. All other columns are variables, untouched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from adloom.campaign.assembly import assemble
from adloom.campaign.delivery import DeliveryReader
from adloom.campaign.file_names import FileNames
from adloom.campaign.jobs import Job, SourceRow, table_source
from adloom.campaign.merging import MERGED_JOBS, SharedImages
from adloom.campaign.problems import Place, Report
from adloom.campaign.references.check import place_of_references
from adloom.campaign.references.reader import ReadFrom, ReferenceReader
from adloom.campaign.rows import RowReader
from adloom.campaign.settings import STANDARD, SettingsReader, Texts
from adloom.campaign.sources.origin import origin_of
from adloom.campaign.sources.workbook.reader import file_of, is_workbook
from adloom.campaign.sources.yaml_tree import LARGEST_FILE_BYTES, read_yaml
from adloom.core.bidi import ALLOWED, first_control, said_of
from adloom.core.campaign import Campaign, Duplicates, Pace, Row
from adloom.core.chain import Chains
from adloom.core.cheapest import Cheapest
from adloom.core.errors import InputError, Problem
from adloom.core.identity import digest, slug
from adloom.core.limits import PROFILES
from adloom.core.matrix import ROWS_PER_CAMPAIGN

LONGEST_NAME = 300
"""Characters of a path in a message."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the command line gives for a CSV by itself; None where it gives nothing."""

    model: str | None = None
    size: str | None = None
    quality: str | None = None
    variants: int | None = None
    prompt: str | None = None


def open_campaign(
    source: str | Path,
    *,
    defaults: Defaults = Defaults(),
    loopback_urls: bool = False,
    reference_roots: tuple[str, ...] | None = None,
) -> FileCampaign:
    """Open the campaign at a path or an ``s3://`` address: its head is read now, its rows on demand.

    ``loopback_urls`` allows addresses on this machine, for when the API itself is there; ``reference_roots`` are the
    only ``s3://`` prefixes below which objects may be references. Raises InputError when there is no such file and
    CampaignInvalid when it cannot be read at all. Problems of the head that leave the rows readable are raised with
    theirs: by ``rows`` after the last row, or by ``campaign``, which then reads all rows first.
    """
    origin = origin_of(str(source))
    read_from = ReadFrom(origin, loopback_urls=loopback_urls, roots=reference_roots)
    path = origin.path
    _refuse_what_is_no_file(path, origin.shown)
    if path.suffix.lower() == ".csv" or is_workbook(path):
        return _open_table(read_from, defaults)
    if path.suffix.lower() in (".yaml", ".yml"):
        return _open_document(read_from)
    raise InputError(
        f"{origin.shown}: a campaign is a .yaml, .csv or .xlsx file.",
        remedy="Save it as one of these, or name another file.",
    )


def _refuse_what_is_no_file(path: Path, name: str) -> None:
    """Raise InputError if there is no file at a path."""
    try:
        file = file_of(path)
        if file.is_file():
            return
        what = "is not a file" if file.exists() else "does not exist"
    except OSError as error:  # a name that no disk takes, a loop of links
        what = f"cannot be read: {error.strerror}"
    raise InputError(
        f"{name[:LONGEST_NAME]}: this campaign {what}.", remedy="Check the path, or create a campaign with: adloom init"
    )


class TracedRow(NamedTuple):
    """A row and what it was made from."""

    row: Row
    source: SourceRow
    job: Job


@dataclass(slots=True)
class FileCampaign:
    """A campaign whose head has been read."""

    head: Campaign
    jobs: tuple[Job, ...]
    settings: SettingsReader
    duplicates: Duplicates
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    delivery: DeliveryReader = field(default_factory=DeliveryReader)
    reference_places: dict[str, Place] = field(default_factory=dict)
    """Where each address of a reference came from first, by its content, if the campaign has them looked at."""
    chained: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The jobs that have approved images of others as references, each with the others."""
    _warned: tuple[str, ...] = ()
    """Of approvals that have changed."""

    @property
    def campaign(self) -> Campaign:
        if self.problems:
            for _ in self.rows():
                pass
        return self.head

    def rows(self) -> Iterator[Row]:
        return (traced.row for traced in self.traced_rows())

    def knows(self, is_bought: Callable[[str], bool]) -> None:
        self.delivery.is_bought = is_bought

    def refer(self, chains: Chains) -> None:
        """Give chained jobs the approved images of others as references."""
        self.settings.refer(chains)
        self._warned = tuple(chain.warning for chain in chains.values() if chain.warning)

    def traced_rows(self) -> Iterator[TracedRow]:
        """Yield what ``rows`` yields, each with what it was made from. Raises CampaignInvalid as ``rows`` does."""
        report = Report(self.head.source, self.problems)
        count = 0
        cheapest = Cheapest() if self.head.falls_back_on_cheapest else None
        names = FileNames()
        sharing = SharedImages([job.name for job in self.jobs], self.delivery.is_bought)
        for job in self.jobs:
            reader = RowReader(job, self.settings, self.duplicates, report, self.delivery, sharing)
            for row, source in reader.rows(ROWS_PER_CAMPAIGN - count):
                count += 1
                if cheapest is not None:
                    cheapest.add(row)
                if row.delivery.name:
                    names.check(row, source, job, report)
                else:
                    names.check_default(row, source, report)
                if self.head.check_references and row.references:
                    self._note_places(row, source, job)
                yield TracedRow(row, source, job)
        if not count and not report.problems:
            allowed = "at least one: below the header of a table, and left by exclude and sample"
            report.add(Place(self.head.source), "the campaign has no rows", allowed)
        if cheapest is not None:
            self._fall_back_on(cheapest.chosen(self.head.prices), report)
        self._warn(report)
        self.warnings = report.warnings
        report.close()

    def _warn(self, report: Report) -> None:
        """Say what shows once all rows were read."""
        if self.duplicates is Duplicates.MERGE and len(self.jobs) > MERGED_JOBS:
            report.warn(f"duplicates: merge works within each job only, because there are more than {MERGED_JOBS} jobs")
        for name, kind in self.settings.converted.items():
            report.warn(f"{name} is a {kind} image: it is hosted as a PNG")
        for warning in self._warned:
            report.warn(warning)

    def _note_places(self, row: Row, source: SourceRow, job: Job) -> None:
        for reference in row.references:
            if reference.url is not None and reference.content not in self.reference_places:
                self.reference_places[reference.content] = place_of_references(source, job)

    def _fall_back_on(self, model: str, report: Report) -> None:
        """Use the cheapest model as the fallback; which one that is, is known once all rows have been read."""
        if not model:
            report.warn("fallback: cheapest finds no other model that supports every row, so there is no fallback")
        self.head = replace(self.head, fallback=(model,) if model else ())


def _open_table(read_from: ReadFrom, defaults: Defaults) -> FileCampaign:
    origin = read_from.origin
    path, file = origin.path, origin.shown
    book = file_of(path)
    stem = book.stem + path.name.removeprefix(book.name)
    name = slug(stem, 63) or "campaign-" + digest(stem)[:6]
    given = {
        "model": defaults.model,
        "size": defaults.size,
        "quality": defaults.quality,
        "variants": None if defaults.variants is None else str(defaults.variants),
    }
    settings: dict[str, Texts] = {**STANDARD, **{key: value for key, value in given.items() if value is not None}}
    origins = {key: Place(f"--{key}" if given.get(key) else file) for key in settings}
    origins["prompt"] = Place("--prompt") if defaults.prompt else Place(file)
    job = Job(name, defaults.prompt or "", settings, origins, table_source(path, file))
    profile = PROFILES["strict"]
    references = ReferenceReader({}, read_from, profile.references)
    head = Campaign(name, file, None, Pace(), profile.name, None, {})
    report = Report(file)
    if (at := first_control(job.prompt)) >= 0:
        report.add(Place("--prompt"), said_of(job.prompt[at]), ALLOWED)
    return FileCampaign(head, (job,), SettingsReader(profile, references), Duplicates.KEEP, report.problems)


def _open_document(read_from: ReadFrom) -> FileCampaign:
    origin = read_from.origin
    report = Report(origin.shown)
    try:
        with origin.path.open("rb") as handle:
            content = handle.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{origin.shown}: this campaign cannot be read: {error.strerror}.", remedy="Check its permissions."
        ) from error
    document = read_yaml(content, origin.shown, report)
    if not isinstance(document.content, dict):
        report.fatal(
            document.place(()), "this is not a campaign", "a mapping that starts with a line such as: campaign: my-name"
        )
    read = assemble(read_from, document, document.content, report)
    return FileCampaign(
        read.campaign,
        read.jobs,
        read.settings,
        read.head.duplicates,
        report.problems,
        delivery=read.delivery,
        reference_places=read.reference_places,
        chained=read.chained,
    )
