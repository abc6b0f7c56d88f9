"""Errors and warnings about a campaign's files, collected so that a person sees them all at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, NoReturn

from adloom.core.errors import CampaignInvalid, Problem
from adloom.core.quoting import printable, shown
from adloom.core.spelling import nearest

PROBLEMS_KEPT = 1000
"""More than anyone reads; a file of 100,000 wrong rows must not fill the memory."""

_PLACES_SHOWN = 3
_TEXT_BEFORE = 20


class Place(NamedTuple):
    """A place in a file. Lines and columns count from 1, 0 means none; in a CSV the column counts cells."""

    file: str
    line: int = 0
    column: int = 0


def not_utf_8(line: bytes, start: int, offset: int) -> str:
    """The message about the byte at ``start`` of a line that begins at ``offset`` of its file."""
    if offset == 0 and line[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "this is UTF-16 text, not UTF-8"
    before = line[:start].decode("utf-8", "replace")[-_TEXT_BEFORE:]
    where = f", after {shown(before)}" if before else ""
    return f"byte {offset + start:,} (0x{line[start]:02X}{where}) is not UTF-8 text"


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The nearest right word as the end of a message, empty when none is near."""
    by_lower = {choice.lower(): choice for choice in choices}
    near = nearest(word.lower(), by_lower)
    return f", did you mean {shown(by_lower[near[0]])}?" if near else ""


class Report:
    """The problems and warnings of one reading of a campaign. Equal problems are kept once."""

    def __init__(self, main_file: str, problems: Iterable[Problem] = ()) -> None:
        self._files = {main_file: 0}
        self._problems: dict[Problem, None] = dict.fromkeys(problems)
        self._left_out = 0
        self._notes: dict[str, tuple[int, list[Place]]] = {}
        self._warnings: dict[str, None] = {}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems in file order, the campaign file first."""
        ordered = sorted(self._problems, key=lambda p: (self._files.get(p.file, len(self._files)), p.line, p.column))
        if self._left_out:
            ordered.append(
                Problem(next(iter(self._files)), 0, 0, f"{self._left_out} more problems are not listed here")
            )
        return tuple(ordered)

    @property
    def warnings(self) -> tuple[str, ...]:
        """All warnings: first the individual ones, then the counted ones with their first places."""
        return (*self._warnings, *(_counted(text, count, places) for text, (count, places) in self._notes.items()))

    def add(self, place: Place, message: str, allowed: str = "") -> None:
        """Record one problem."""
        problem = Problem(*place, printable(message), printable(allowed))
        self._files.setdefault(place.file, len(self._files))
        if problem in self._problems:
            return
        if len(self._problems) >= PROBLEMS_KEPT:
            self._left_out += 1
        else:
            self._problems[problem] = None

    def fatal(self, place: Place, message: str, allowed: str = "") -> NoReturn:
        """Record a problem after which nothing more can be read, and raise all of them."""
        self.add(place, message, allowed)
        raise CampaignInvalid(self.problems)

    def warn(self, text: str) -> None:
        """Record one warning."""
        self._warnings[printable(text)] = None

    def count(self, text: str, place: Place) -> None:
        """Count one more place of a warning. ``text`` holds ``{n}`` where the count belongs."""
        count, places = self._notes.setdefault(text, (0, []))
        if len(places) < _PLACES_SHOWN:
            places.append(place)
        self._notes[text] = (count + 1, places)

    def close(self) -> None:
        """Raise CampaignInvalid when there was any problem."""
        if self._problems:
            raise CampaignInvalid(self.problems)


def _counted(text: str, count: int, places: list[Place]) -> str:
    where = ", ".join(f"{place.file}:{place.line}" if place.line else place.file for place in dict.fromkeys(places))
    return f"{text.replace('{n}', f'{count:,}')} ({where}{', …' if count > len(places) else ''})"
