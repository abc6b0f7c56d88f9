"""Numbers, dates and durations of an .xlsx as a person sees them, in a column of general format.

Excel saves a date as a number of days, and only the format of its cell shows that it is one.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from functools import lru_cache

WINDOWS_EPOCH = dt.datetime(1899, 12, 30)  # noqa: DTZ001 - Excel has no time zones
MAC_EPOCH = dt.datetime(1904, 1, 1)  # noqa: DTZ001
_LEAP_BUG_ENDS = 60  # Excel's 1900 has a 29 February
_DAY_MS = 86_400_000
_FORMAT_CHARACTERS = 255  # Excel's own limit of a number format
_LITERAL = re.compile(r'".*?"|\[(?!hh?\]|mm?\]|ss?\])[^\]]*\]')
_OF_A_DATE = re.compile(r"(?<![_\\])[dmhysDMHYS]")
_OF_A_DURATION = re.compile(r"\[(?:hh?|mm?|ss?)\]", re.IGNORECASE)
_DATES = {*range(14, 23), *range(45, 48)}  # numbers of the formats that are not written down, ECMA-376 part 1, 18.8.30
_DURATIONS = {46}


class Formats:
    """Which of a workbook's cell formats make a number a date, and which a duration: by their positions."""

    def __init__(self) -> None:
        self.dates: set[int] = set()
        self.durations: set[int] = set()
        self._count = 0

    def add(self, number: int, written: str | None) -> None:
        """Take the next format: its number, and its text where the workbook writes it down."""
        if written is None:
            is_date, is_duration = number in _DATES, number in _DURATIONS
        else:
            first = written[:_FORMAT_CHARACTERS].split(";")[0]
            is_date = _OF_A_DATE.search(_LITERAL.sub("", first)) is not None
            is_duration = _OF_A_DURATION.search(first) is not None
        if is_date:
            self.dates.add(self._count)
        if is_duration:
            self.durations.add(self._count)
        self._count += 1


@lru_cache(maxsize=4096)
def shown_number(text: str, epoch: dt.datetime | None, *, is_duration: bool) -> str | None:
    """A number as Excel shows it in a column of general format, or the date that it represents; None if neither."""
    value = float(text) if re.search("[.eE]", text) else int(text)
    if not math.isfinite(value):
        return None
    if epoch is None:
        return str(int(value)) if value == int(value) else repr(value)
    try:
        if is_duration:
            return str(dt.timedelta(milliseconds=round(value * _DAY_MS)))
        return _date(value, epoch)
    except (OverflowError, ValueError):
        return None


def _date(value: float, epoch: dt.datetime) -> str:
    day, fraction = divmod(value, 1)
    time = dt.timedelta(milliseconds=round(fraction * _DAY_MS))
    if 0 <= value < 1 and not time.days:
        return _time((WINDOWS_EPOCH + time).time())
    if 0 < value < _LEAP_BUG_ENDS and epoch == WINDOWS_EPOCH:
        day += 1
    return _moment(epoch + dt.timedelta(days=day) + time)


def shown_date(text: str) -> str:
    """A date that the file holds as text, in ISO 8601."""
    if "T" not in text and ":" in text:
        return _time(dt.time.fromisoformat(text))
    return _moment(dt.datetime.fromisoformat(text).replace(tzinfo=None))


def _time(time: dt.time) -> str:
    return time.isoformat("minutes" if not time.second else "seconds")


def _moment(moment: dt.datetime) -> str:
    return moment.date().isoformat() if moment.time() == dt.time() else moment.isoformat(" ", "seconds")
