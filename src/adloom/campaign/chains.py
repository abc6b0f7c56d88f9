"""Chained jobs in a campaign file: ``references: [{job: hero, approved: true}]`` becomes a mark among the references.

A mark is text that no campaign file can hold, so that a job's references stay one list of texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from adloom.campaign.problems import Report, did_you_mean
from adloom.campaign.schema.checks import fault, kind, reference_list, slug_text
from adloom.core.quoting import shown

if TYPE_CHECKING:
    from adloom.campaign.sources.yaml_tree import Document, Path

_MARK = "\0"
ALLOWED = "{job: hero, approved: true}"


class Link(NamedTuple):
    """A job whose references are the approved images of another one."""

    job: str
    of: str


def references_of_job(value: object) -> object:
    """Texts and other jobs' approved images, or an empty list; other jobs as marks."""
    items = value if isinstance(value, list) else [value]
    if not any(isinstance(item, dict) for item in items):
        return reference_list(value)
    marks = [_mark(item) if isinstance(item, dict) else item for item in items]
    return [mark if mark.startswith(_MARK) else mark.strip() for mark in _texts(marks)]


def _texts(items: list[object]) -> list[str]:
    reference_list(items)
    return [str(item) for item in items]


def _mark(item: Mapping[str, object]) -> str:
    wrong = next((name for name in item if name not in ("job", "approved")), "")
    if wrong or "job" not in item:
        what = f"a reference to a job cannot have {shown(wrong)}" if wrong else "a reference to a job lacks its job"
        raise fault(what, ALLOWED)
    slug_text(item["job"])
    if item.get("approved") != "true":
        said = f", this says {kind(item['approved'])}" if "approved" in item else ""
        raise fault(f"only the approved images of a job can be references{said}", ALLOWED)
    return f"{_MARK}{_MARK}{item['job']}"


def of_job(text: str, job: str) -> str:
    """A reference as the job has it: a mark says whose it is."""
    return f"{_MARK}{job}{text[1:]}" if text.startswith(_MARK) else text


def link_of(text: str) -> Link | None:
    """What a mark refers to; None for any other text."""
    return Link(*text[1:].split(_MARK)) if text.startswith(_MARK) else None


def jobs_named(references: str | Iterable[str] | None) -> tuple[str, ...]:
    """The jobs whose approved images are among these references, each once."""
    texts = () if references is None or isinstance(references, str) else references
    return tuple(dict.fromkeys(link.of for text in texts if (link := link_of(text))))


def check_chains(
    named: Iterable[tuple[int, str, Iterable[str]]], jobs: Iterable[str], document: Document, report: Report
) -> None:
    """Report references to jobs that do not exist, and circular ones.

    ``named`` has the position of each job, its id and its references, ``jobs`` the ids of all jobs.
    """
    known = list(jobs)
    places: dict[Link, Path] = {}
    for position, job, references in named:
        for number, text in enumerate(references):
            if link := link_of(text):
                places.setdefault(Link(job, link.of), ("jobs", position, "references", number))
    after: dict[str, list[str]] = {}
    for link, path in places.items():
        place = document.place(path)
        if link.of not in known:
            message = f"there is no job {shown(link.of)}{did_you_mean(link.of, known)}"
            report.add(place, message, "jobs: " + ", ".join(known[:12]))
        elif circle := _way(after, link.of, link.job):
            way = " → ".join((link.job, *circle))
            message = "a job cannot wait for its own images" if len(circle) == 1 else f"jobs wait for each other: {way}"
            report.add(place, message, "another job, whose images do not depend on this one's")
        else:
            after.setdefault(link.job, []).append(link.of)


def _way(after: Mapping[str, list[str]], start: str, end: str) -> tuple[str, ...]:
    """The path of jobs from one to another along what they wait for; empty if there is none."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen = {start}
    while ways:
        way = ways.pop()
        if way[-1] == end:
            return way
        for job in after.get(way[-1], ()):
            if job not in seen:
                seen.add(job)
                ways.append((*way, job))
    return ()
