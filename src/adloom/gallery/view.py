"""What the pages show, as plain values: rows with a card for each image and each missing one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from adloom.core.campaign import flat
from adloom.core.identity import thumb_key
from adloom.core.manifest import asset_lines
from adloom.core.outcomes import Outcome, Status
from adloom.core.planned import PlannedRow

IMAGES_PER_PAGE = 400
"""A page of 400 images is 250…550 kB of HTML; 100,000 images are 250 pages."""

SHOWN_MISSING = 30
"""Rows with missing images that the first page links to; the totals say how many there are."""

DISPLAY_PX = (400, 300)
"""The box that an image is shown in; a thumbnail of 480 pixels stays sharp in it on most screens."""

_WIDE = 1.3
_FIRST_PAGE = "gallery.html"
_UNITS = (("MB", 1_000_000), ("kB", 1_000))


@dataclass(frozen=True, slots=True)
class Shot:
    """An archived image: where the original is, what is shown, and at which size."""

    title: str
    original: str
    source: str
    width: int
    height: int
    alt: str
    caption: str

    @property
    def is_wide(self) -> bool:
        return self.width > self.height * _WIDE


@dataclass(frozen=True, slots=True)
class Gap:
    """Neighbouring variants of a row that ended the same way without an image."""

    title: str
    status: Status
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class RowView:
    """One row of the plan as the page shows it."""

    anchor: str
    job: str
    label: str
    name_rest: str
    prompt: str
    variables: tuple[tuple[str, str], ...]
    traits: tuple[str, ...]
    references: tuple[str, ...]
    shots: tuple[Shot, ...]
    gaps: tuple[Gap, ...]


@dataclass(slots=True)
class JobEntry:
    """One job of the table of contents. ``page`` is where it begins, 0 while none of its rows is shown."""

    name: str
    page: int = 0
    rows: int = 0
    wanted: int = 0
    archived: int = 0


@dataclass(frozen=True, slots=True)
class Missing:
    """A row with missing images, as the first page links to it."""

    page: int
    anchor: str
    job: str
    label: str
    gaps: tuple[Gap, ...]


@dataclass(slots=True)
class Contents:
    """What is on which page. Built by ``add``, page after page, then only read."""

    pages: int = 0
    jobs: dict[str, JobEntry] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)
    missing_rows: int = 0
    untouched_rows: int = 0
    """Rows that are on no page, since nothing was bought for them yet."""
    found: Counter[Status] = field(default_factory=Counter)

    def add(self, rows: Sequence[PlannedRow], known: Mapping[str, Outcome]) -> Iterator[Mapping[str, Any]]:
        """Count a page; yields the lines of its archived images."""
        self.pages += 1
        for planned in rows:
            lines = list(asset_lines(planned, known))
            archived = [line for line in lines if line["key"]]
            self.found.update(Status(line["status"]) for line in lines)
            job = self._count(planned)
            job.page = job.page or self.pages
            job.archived += len(archived)
            if gaps := tuple(gap for gap in _gaps(lines) if gap.status is not Status.OPEN):
                self._miss(planned, gaps)
            yield from archived

    def leave_out(self, planned: PlannedRow) -> None:
        """Count a row that is not shown."""
        self._count(planned)
        self.untouched_rows += 1
        self.found[Status.OPEN] += len(planned.variants)

    def _count(self, planned: PlannedRow) -> JobEntry:
        job = self.jobs.setdefault(planned.row.job, JobEntry(planned.row.job))
        job.rows += 1
        job.wanted += len(planned.variants)
        return job

    def _miss(self, planned: PlannedRow, gaps: tuple[Gap, ...]) -> None:
        self.missing_rows += 1
        if len(self.missing) < SHOWN_MISSING:
            row = planned.row
            self.missing.append(Missing(self.pages, row_anchor(planned), row.job, row.label, gaps))


def is_shown(planned: PlannedRow, known: Mapping[str, Outcome], *, all_fit: bool) -> bool:
    """Whether a row is shown: if the edition does not fit on one page, only rows that were begun are."""
    return all_fit or any(variant.key in known for variant in planned.variants)


def page_name(number: int) -> str:
    """The file of a page; pages count from 1."""
    return _FIRST_PAGE if number == 1 else f"gallery-{number}.html"


def row_anchor(planned: PlannedRow) -> str:
    """The place of a row on its page."""
    return f"row/{planned.row.job}/{planned.row.name}"


def row_view(planned: PlannedRow, known: Mapping[str, Outcome], thumbs: Collection[str]) -> RowView:
    """A row with its cards. ``thumbs`` are the keys of the thumbnails that exist."""
    row = planned.row
    lines = list(asset_lines(planned, known))
    traits = (row.size, row.quality, row.model, "" if row.priority in ("", "standard") else f"{row.priority} priority")
    starts_with_label = row.name.startswith(row.label) and row.label
    return RowView(
        anchor=row_anchor(planned),
        job=row.job,
        label=row.label if starts_with_label else row.name,
        name_rest=row.name.removeprefix(row.label) if starts_with_label else "",
        prompt=row.prompt,
        variables=tuple(flat(row.variables)),
        traits=tuple(trait for trait in traits if trait),
        references=tuple(reference.shown for reference in row.references),
        shots=tuple(shot(line, thumbs) for line in lines if line["key"]),
        gaps=tuple(_gaps(lines)),
    )


def size_text(size_bytes: int) -> str:
    """A file size for a person."""
    unit, bytes_per_unit = next((unit for unit in _UNITS if size_bytes >= unit[1]), ("bytes", 1))
    return f"{size_bytes / bytes_per_unit:.{1 if unit == 'MB' else 0}f}\u00a0{unit}"


def shot(line: Mapping[str, Any], thumbs: Collection[str]) -> Shot:
    """The card of an archived image, from its line of ``assets.jsonl``."""
    width_px, height_px = line["width_px"], line["height_px"]
    scale = min(DISPLAY_PX[0] / width_px, DISPLAY_PX[1] / height_px, 1)
    thumb = thumb_key(line["key"])
    kind = line["media_type"].removeprefix("image/").upper()
    return Shot(
        title=_variants([line]),
        original=line["key"],
        source=thumb if thumb in thumbs else line["key"],
        width=max(1, round(width_px * scale)),
        height=max(1, round(height_px * scale)),
        alt=f"{line['job']}, {_variants([line])}: {line['prompt'][:120]}",
        caption=" · ".join((f"{width_px}\u00a0×\u00a0{height_px}", kind, size_text(line["size_bytes"]), *_words(line))),
    )


def _words(line: Mapping[str, Any]) -> list[str]:
    return [flag.replace("_", " ") for flag in line.get("flags", ())]


def _gaps(lines: Iterable[Mapping[str, Any]]) -> Iterator[Gap]:
    for (status, reason), group in groupby(lines, key=lambda line: (line["status"], line["reason"])):
        if status is not Status.ARCHIVED:
            variants = list(group)
            yield Gap(_variants(variants), status, len(variants), reason or "")


def _variants(lines: Sequence[Mapping[str, Any]]) -> str:
    """The variants that a card is about; neighbours, so the first and the last name them all."""
    first, last = lines[0], lines[-1]
    if first is last:
        return f"variant {first['variant']}" + (f", take {first['take']}" if first["take"] > 1 else "")
    return f"variants {first['variant']}–{last['variant']}"
