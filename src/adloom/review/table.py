"""Reads ``review.csv`` and ``review.json``: decisions, each with the place it was read at.

The columns are ``job,row,variant,take,decision`` and, optional, ``stars,note,change,by,time``. A missing column changes
nothing; an empty cell clears the value, except that an empty ``decision`` changes nothing. A line without any decision
is ignored. ``time`` (ISO 8601 with an offset, not before 2000) is when the person decided; without it the decision is
made now. A JSON file holds a list of objects with the same fields, or an object with such a list as ``decisions``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from adloom.core.crop import Focus, focus_of
from adloom.core.decision import MOST_CHARACTERS, MOST_STARS, Decision, Verdict, is_whole
from adloom.core.errors import CampaignInvalid, InputError, Problem
from adloom.gallery.choosing import Place

NEEDED = ("job", "row", "variant", "take", "decision")
OPTIONAL = ("stars", "note", "change", "by", "time", "focus")
SHEETS_TIME = "decided_at"
"""What an exported sheet calls the time: a team's own column may be named ``time``."""
COLUMNS = (*NEEDED, *OPTIONAL)
LARGEST_BYTES = 64 << 20
CLOCKS_DIFFER = timedelta(minutes=10)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Our own: an earlier time is a typing error, and a year below 1000 would make a key that cannot be read again."""
_WORDS = {"approve": "approved", "reject": "rejected", "clear": "cleared"}
_LIST = '[{"job": …}, …], or {"decisions": […]} with each name once'
_ITEM = '{"job": "hero", …} with each name once'
_BETWEEN = re.compile(r"[\s,:]*")


@dataclass(frozen=True, slots=True)
class Said:
    """One line of a file: which image, and what is decided about it. None changes nothing."""

    line: int
    place: Place
    verdict: Verdict | None
    stars: int | None = None
    note: str | None = None
    change: str | None = None
    by: str | None = None
    time: datetime | None = None
    focus: Focus | str | None = None
    """An empty text takes a focus back."""

    @property
    def is_empty(self) -> bool:
        return self.verdict is None and not self.stars and not self.note and not self.change and not self.focus

    def agrees_with(self, other: Said) -> bool:
        """Whether both decide the same, of whatever line and place."""
        return replace(self, line=other.line, place=other.place) == other

    def over(self, former: Decision | None, variant: str, by: str, now: datetime, writer: str) -> Decision:
        """The current decision with the changes of this line."""
        former = former or Decision(variant, Verdict.CLEARED)
        return Decision(
            variant=variant,
            verdict=former.verdict if self.verdict is None else self.verdict,
            stars=former.stars if self.stars is None else self.stars,
            note=former.note if self.note is None else self.note,
            change=former.change if self.change is None else self.change,
            focus=former.focus if self.focus is None else _set_focus(self.focus),
            by=self.by or by,
            time=self.time or now,
            writer=writer,
        )


def _set_focus(said: Focus | str) -> Focus | None:
    return said if isinstance(said, Focus) else None


@dataclass(slots=True)
class ReviewFile:
    """A file of decisions. ``writer`` is made from its bytes, so that the same file writes the same facts again."""

    name: str
    writer: str
    said: list[Said] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def refuse_problems(self) -> None:
        """Raises CampaignInvalid with all problems of the file."""
        if self.problems:
            found = tuple(sorted(self.problems, key=lambda problem: problem.line))
            raise CampaignInvalid(found, outcome="nothing was written")


def read_review(path: Path, now: datetime) -> ReviewFile:
    """Read a file; its problems are collected, not raised. Raises InputError when it cannot be read at all."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: this file cannot be read: {error.strerror}", remedy="Name a review.csv.") from error
    if len(content) > LARGEST_BYTES:
        raise InputError(f"{path} is larger than {LARGEST_BYTES >> 20} MiB", remedy="Cut it into several files.")
    found = ReviewFile(str(path), hashlib.sha256(content).hexdigest()[:16])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found.problems.append(Problem(found.name, line, 0, "this is not UTF-8", 'save it as "CSV UTF-8"'))
        return found
    lines = _json_lines(text, found) if path.suffix.lower() == ".json" else _csv_lines(text, found)
    seen: dict[Place, int] = {}
    for number, cells in lines:
        said = _said(number, cells, found, now)
        if said is None or said.is_empty:
            continue
        if said.place in seen:
            message = f"this image has a decision in line {seen[said.place]} already"
            found.problems.append(Problem(found.name, number, 0, message, "one line an image"))
            continue
        seen[said.place] = number
        found.said.append(said)
    return found


def _csv_lines(text: str, found: ReviewFile) -> Iterator[tuple[int, Mapping[str, str]]]:
    header, *_ = text.partition("\n")
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        columns = [cell.strip().lower() for cell in next(reader, [])]
        if not _has_columns(columns, found):
            return
        line = reader.line_num + 1
        for cells in reader:
            if any(cell.strip() for cell in cells):
                if len(cells) > len(columns):
                    message = f"this line has {len(cells)} cells and the header {len(columns)}"
                    found.problems.append(Problem(found.name, line, 0, message, "as many cells as columns"))
                elif lacking := [name for name in NEEDED if name in columns[len(cells) :]]:
                    message = f"this line does not have {', '.join(lacking)}"
                    found.problems.append(Problem(found.name, line, 0, message, "as many cells as columns"))
                else:
                    yield line, dict(zip(columns, cells, strict=False))
            line = reader.line_num + 1
    except csv.Error as error:
        found.problems.append(Problem(found.name, reader.line_num, 0, f"this is not a CSV: {error}"))


def _has_columns(columns: list[str], found: ReviewFile) -> bool:
    lacking = [name for name in NEEDED if name not in columns]
    twice = sorted({name for name in columns if name in COLUMNS and columns.count(name) > 1})
    if lacking:
        message = f"the header does not have {', '.join(lacking)}"
        found.problems.append(Problem(found.name, 1, 0, message, f"the columns {','.join(COLUMNS)}"))
    if twice:
        found.problems.append(Problem(found.name, 1, 0, f"the header has {', '.join(twice)} twice", "each once"))
    return not lacking and not twice


def _json_lines(text: str, found: ReviewFile) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        content = json.loads(text, object_pairs_hook=_each_name_once)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        found.problems.append(Problem(found.name, line, 0, "this is not JSON", "a list of decisions"))
        return
    items = content.get("decisions") if isinstance(content, dict) else content
    if not isinstance(items, list):
        found.problems.append(Problem(found.name, 1, 0, "there is no list of decisions", _LIST))
        return
    for line, item in zip(_lines_of_items(text), items, strict=True):
        if not isinstance(item, dict) or not all(isinstance(value, str | int | None) for value in item.values()):
            found.problems.append(Problem(found.name, line, 0, "this is not a decision", _ITEM))
        elif lacking := [name for name in NEEDED if name not in item]:
            found.problems.append(Problem(found.name, line, 0, f"this decision does not have {', '.join(lacking)}"))
        elif broken := [name for name in COLUMNS if not is_whole(str(item.get(name, "")))]:
            message = f"the {broken[0]} has half of a character"
            found.problems.append(Problem(found.name, line, 0, message, "whole characters only"))
        else:
            yield line, {name: "" if value is None else str(value) for name, value in item.items()}


def _each_name_once(pairs: list[tuple[str, object]]) -> dict[str, object] | None:
    """An object of a JSON file; None for one that has a name twice, so that nothing of it is lost silently."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else None


def _lines_of_items(text: str) -> Iterator[int]:
    """The line on which each item of the list of decisions begins; the text is known to be JSON with such a list."""
    decoder = json.JSONDecoder()
    at, line, counted = _behind(text, _list_of_decisions(text, decoder) + 1), 1, 0
    while text[at] != "]":
        line, counted = line + text.count("\n", counted, at), at
        yield line
        _, at = decoder.raw_decode(text, at)
        at = _behind(text, at)


def _list_of_decisions(text: str, decoder: json.JSONDecoder) -> int:
    """Where the list of decisions begins."""
    at = _behind(text, 0)
    if text[at] == "[":
        return at
    found, at = 0, _behind(text, at + 1)
    while text[at] != "}":
        name, at = decoder.raw_decode(text, at)
        at = _behind(text, at)
        found = at if name == "decisions" else found
        _, at = decoder.raw_decode(text, at)
        at = _behind(text, at)
    return found


def _behind(text: str, at: int) -> int:
    """Where the next token begins: behind spaces, commas and colons."""
    space = _BETWEEN.match(text, at)
    return space.end() if space else at


def _said(line: int, cells: Mapping[str, str], found: ReviewFile, now: datetime) -> Said | None:
    """One line; None if it has a problem."""
    problems: list[Problem] = []

    def wrong(message: str, allowed: str) -> None:
        problems.append(Problem(found.name, line, 0, message, allowed))

    cells = {name: cell.strip() for name, cell in cells.items()}
    decision = cells["decision"].lower()
    decision = _WORDS.get(decision, decision)
    if decision and decision not in tuple(Verdict):
        wrong(f"the decision {cells['decision'][:40]!r} is not known", f"one of {', '.join(Verdict)}")
    stars = cells.get("stars")
    if stars and not (len(stars) == 1 and stars.isdecimal() and int(stars) <= MOST_STARS):
        wrong(f"stars {stars[:40]!r} are not a number of stars", f"0 to {MOST_STARS}")
    for name in ("variant", "take"):
        if not (cells[name].isascii() and cells[name].isdecimal() and len(cells[name]) <= len("1000")):
            wrong(f"the {name} {cells[name][:40]!r} is not a number", "as assets.jsonl has it")
    for name in ("note", "change", "by"):
        if len(cells.get(name, "")) > MOST_CHARACTERS:
            wrong(f"the {name} has {len(cells[name])} characters", f"at most {MOST_CHARACTERS}")
    focus, bad_focus = _focus(cells.get("focus"))
    time, bad_time = _time(cells.get(SHEETS_TIME, cells.get("time", "")), now)
    read = ((bad_focus, "such as 0.5 0.3, from left and top"), (bad_time, "such as 2026-03-01T12:00:00Z"))
    problems += [Problem(found.name, line, 0, message, allowed) for message, allowed in read if message]
    found.problems += problems
    if problems:
        return None
    return Said(
        line=line,
        place=(cells["job"], cells["row"], int(cells["variant"]), int(cells["take"])),
        verdict=Verdict(decision) if decision else None,
        stars=None if stars is None else int(stars or 0),
        note=cells.get("note"),
        change=cells.get("change"),
        by=cells.get("by"),
        time=time,
        focus=focus,
    )


def _focus(text: str | None) -> tuple[Focus | str | None, str]:
    """A focus, or what is wrong with it."""
    if not text:
        return text, ""
    focus = focus_of(text)
    return focus, "" if focus else f"the focus {text[:40]!r} is not two fractions"


def _time(text: str, now: datetime) -> tuple[datetime | None, str]:
    """A time, or what is wrong with it."""
    if not text:
        return None, ""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None, f"the time {text[:40]!r} is not known"
    if time.tzinfo is None:
        return None, f"the time {text[:40]!r} does not say of which zone"
    if time > now + CLOCKS_DIFFER:
        return None, f"the time {text[:40]!r} has not come yet"
    if time < EARLIEST:
        return None, f"the time {text[:40]!r} is before the year {EARLIEST.year}"
    return time.astimezone(UTC), ""
