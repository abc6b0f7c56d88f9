"""What delivered files will be called, looked at before anything is bought: two of one name are an error with lines."""

from __future__ import annotations

from dataclasses import dataclass, field

from adloom.campaign.jobs import Job, SourceRow
from adloom.campaign.problems import Place, Report
from adloom.campaign.seen import FirstLineIndex, number_of
from adloom.core.campaign import Row
from adloom.core.channel import ORIGINAL
from adloom.core.file_name import Named
from adloom.core.quoting import shown
from adloom.core.template import BadTemplate

_FILES = 1024
_LAST_LINE = 4_000_000
"""Beyond it a message names this line; a campaign has no more than a million rows."""


@dataclass(slots=True)
class FileNames:
    """The names that a campaign's templates have made so far, and the first line of each."""

    _lines: FirstLineIndex = field(default_factory=FirstLineIndex)
    _files: dict[str, int] = field(default_factory=dict)
    _has_warned: bool = False

    def check_default(self, row: Row, source: SourceRow, report: Report) -> None:
        """Warn, once, of names without a template that are another file's already: labels of rows may be equal."""
        if self._has_warned:
            return
        for variant in range(row.shared + 1, row.variants + 1):
            stem = Named(row.job, row.name, row.label, variant, 1, row.variables).stem("", "")
            for channel in row.delivery.channels:
                first = self._first(f"{channel}/{stem}".lower(), source.place)
                if first is not None:
                    self._has_warned = True
                    report.warn(
                        f"two images would be delivered as {channel}/{stem}: one is from {first}, one from "
                        f"{source.place.file}:{source.place.line}; give their rows an id, or set `name`"
                    )
                    return

    def check(self, row: Row, source: SourceRow, job: Job, report: Report) -> None:
        """Report a name that cannot be made, is empty, or is another file's already."""
        place = job.delivery.places["name"]
        for variant in range(1, row.variants + 1):
            named = Named(row.job, row.name, row.label, variant, 1, row.variables)
            for channel in row.delivery.channels or (ORIGINAL,):
                try:
                    stem = named.stem(channel, row.delivery.name)
                except BadTemplate as bad:
                    report.add(place, f"name: {bad.message}", bad.allowed)
                    return
                if not stem:
                    message = f"name: it is empty for {shown(f'{row.job}/{row.name}')}"
                    report.add(place, message, "letters or digits, or {{ creative }}, which is never empty")
                    return
                if (first := self._first(f"{channel}/{stem}".lower(), source.place)) is not None:
                    message = f"two images would be delivered as {shown(f'{channel}/{stem}')}: one is from {first}"
                    report.add(source.place, message, "what tells them apart, like {{ row }} and {{ variant }}")
                    return

    def _first(self, name: str, place: Place) -> str | None:
        """Where a name came first; None when that is now."""
        files = self._files
        number = files.setdefault(place.file, min(len(files), _FILES - 1))
        found = self._lines.first(number_of(name), min(place.line, _LAST_LINE) * _FILES + number)
        if found is None:
            return None
        return f"{list(files)[found % _FILES]}:{found // _FILES}"
