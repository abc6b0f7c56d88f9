"""What a campaign file says about delivery, as values: channels, marking and rights of its head, and what a row wants.

A row's own ``deliver``, ``focus`` and ``alt`` are a column, an axis or a value of a mapping by that name. They remain
variables too, and a focus counts only if something is delivered, so campaigns that already had such a variable keep
their meaning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from adloom.campaign.jobs import JobDelivery, SourceRow
from adloom.campaign.problems import Place, Report, did_you_mean
from adloom.campaign.schema.delivery import ChannelFile, MarkingFile, RightsFile
from adloom.channels.shipped import shipped_channels
from adloom.core.campaign import Variables
from adloom.core.channel import KEEP, LARGEST_SIDE_PX, ORIGINAL, RESERVED, WRITTEN, Channel, Gate, SafeArea
from adloom.core.crop import Focus, Pixels, focus_of, serves
from adloom.core.delivery import AUTO, Marking, Rights, Wanted
from adloom.core.fit import pixels_of
from adloom.core.quoting import shown
from adloom.core.template import BadTemplate, is_template, prompt_template

_PIXELS = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_LEAST_BYTES = 3000
"""The overhead of a file: tables, the colour profile and the marks."""

_PIXELS_PER_BYTE = 400
"""For one uniform colour, at the lowest quality."""

FOCUS_ALLOWED = "[0.5, 0.3], fractions from left and top, or auto"


class BadChannel(ValueError):
    """A problem with a channel of the file: which key, and what would be right."""

    def __init__(self, key: str, message: str, allowed: str) -> None:
        super().__init__(message)
        self.key = key
        self.message = message
        self.allowed = allowed


def channel_of(name: str, given: ChannelFile, keep: float = KEEP) -> Channel:
    """A campaign's own channel, overriding the shipped one of the same name, if any. Raises BadChannel.

    ``keep`` counts where it has none of its own.
    """
    if name in RESERVED:
        raise BadChannel("", f"the name {shown(name)} is reserved", "another name")
    base = shipped_channels().get(name)
    if given.pixels is None and base is None:
        raise BadChannel("", f"the channel {shown(name)} has no pixels", "pixels: 2000x800")
    width, height = (base.width_px, base.height_px) if base else (0, 0)
    if given.pixels is not None:
        found = _PIXELS.fullmatch(given.pixels.strip().replace("×", "x"))
        if not found or max(int(found[1]), int(found[2])) > LARGEST_SIDE_PX:
            allowed = f"like 2000x800, at most {LARGEST_SIDE_PX} a side"
            raise BadChannel("pixels", f"{shown(given.pixels)} are no pixels", allowed)
        width, height = int(found[1]), int(found[2])
    ceiling = base.max_bytes if base else None
    if given.max_bytes is not None:
        ceiling, least = given.max_bytes, _LEAST_BYTES + width * height // _PIXELS_PER_BYTE
        if ceiling < least:
            message = f"no file of {width}x{height} pixels has so few bytes as {ceiling:,}"
            raise BadChannel("max_bytes", message, f"at least {least:,}, or fewer pixels")
    own = Channel(name, width, height, WRITTEN, ceiling) if base is None else base
    return replace(
        own,
        width_px=width,
        height_px=height,
        max_bytes=ceiling,
        formats=(given.format,) if given.format else own.formats,
        format=given.format or own.format,
        gate=Gate(given.gate) if given.gate else own.gate,
        safe=SafeArea(**given.safe.values()) if given.safe else own.safe,
        keep=float(given.keep) if given.keep is not None else keep,
    )


def marking_of(given: MarkingFile | str | None) -> Marking:
    """The head's marking."""
    if given is None:
        return Marking()
    if isinstance(given, str):
        return Marking(on=False)
    return Marking(
        system=given.system or "",
        creator=given.creator or "",
        credit=given.credit or "",
        prompt=given.prompt == "true",
    )


def rights_of(of: str, given: RightsFile) -> Rights:
    """The rights of a reference, or of the images."""
    until = given.valid_until.isoformat() if given.valid_until else ""
    channels = (given.channels,) if isinstance(given.channels, str) else given.channels
    return Rights(of, given.owner or "", given.licence or "", until, channels)


def focus_from(text: str) -> Focus | str | None:
    """A focus as written in a cell or key: two fractions or ``auto``; None for anything else."""
    if text.strip().lower() == AUTO:
        return AUTO
    return focus_of(text)


class DeliveryReader:
    """Reads the delivery settings of rows; problems in a job's own settings are reported once."""

    def __init__(
        self,
        channels: Mapping[str, Channel] = MappingProxyType({}),
        rights: Rights | None = None,
        of_references: Mapping[str, Rights] = MappingProxyType({}),
        unreadable: Collection[str] = (),
        keep: float = KEEP,
    ) -> None:
        """Take ``unreadable`` as names of channels that have problems of their own; ``keep`` is of shipped ones."""
        shipped = {name: replace(channel, keep=keep) for name, channel in shipped_channels().items()}
        self._channels = {**shipped, **channels}
        self._rights = rights
        self._of_references = of_references
        self._unreadable = frozenset(unreadable)
        self.is_bought: Callable[[str], bool] | None = None
        """Whether a variant, by its key, was ever requested; set once an archive has been read."""

    def concerns(self, job: JobDelivery, source: SourceRow) -> bool:
        """Whether anything says where a row's images go."""
        return bool(job.channels or job.name or _own(source.variables, "deliver"))

    def place_of_channels(self, job: JobDelivery, source: SourceRow) -> Place:
        """Where a row's channels are named."""
        return place_of(job, source, "deliver")

    def wanted(self, job: JobDelivery, source: SourceRow, references: Iterable[str], report: Report) -> Wanted:
        """What a row wants; problems go to the report. ``references`` are the names that the row uses."""
        own = _own(source.variables, "deliver")
        place = place_of(job, source, "deliver")
        listed = tuple(part.strip() for part in own.split("|")) if own else job.channels
        channels = self._known(tuple(dict.fromkeys(filter(None, listed))), place, report)
        if not channels:
            return Wanted(name=job.name)
        rights = [self._rights] if self._rights else []
        rights += [self._of_references[name] for name in dict.fromkeys(references) if name in self._of_references]
        return Wanted(
            channels, self._focus(job, source, report), self._alt(job, source, report), tuple(rights), job.name
        )

    def channels_of(self, wanted: Wanted) -> list[Channel]:
        """The channels that a row's images are cut for."""
        return [self._channels[name] for name in wanted.channels if name in self._channels]

    def check(self, wanted: Wanted, size: str, quality: str, place: Place, report: Report) -> None:
        """Report a channel that images of this size are too small for."""
        pixels = pixels_of(size, quality)
        for channel in self.channels_of(wanted) if pixels else ():
            if pixels and not serves(pixels, Pixels(channel.width_px, channel.height_px)):
                has = f"{size} at {quality} has {pixels.width}x{pixels.height}" if quality else f"the size is {size}"
                message = f"{channel.id} takes {channel.pixels} pixels, and {has}: nothing is ever enlarged"
                report.add(place, message, "a larger quality, another size, or size: fit")

    def _known(self, names: tuple[str, ...], place: Place, report: Report) -> tuple[str, ...]:
        for name in names:
            if name not in (*self._channels, *self._unreadable, ORIGINAL):
                near = did_you_mean(name, (*self._channels, ORIGINAL))
                report.add(place, f"the channel {shown(name)} is not known{near}", "one that `adloom channels` lists")
        return tuple(name for name in names if name in self._channels or name == ORIGINAL)

    def _focus(self, job: JobDelivery, source: SourceRow, report: Report) -> Focus | str | None:
        text = _own(source.variables, "focus") or job.focus
        if not text:
            return None
        if (focus := focus_from(text)) is None:
            report.add(place_of(job, source, "focus"), f"{shown(text)} is not a focus", FOCUS_ALLOWED)
        return focus

    def _alt(self, job: JobDelivery, source: SourceRow, report: Report) -> str:
        text = _own(source.variables, "alt") or job.alt
        try:
            return prompt_template(text).render(source.variables).strip() if is_template(text) else text.strip()
        except BadTemplate as bad:
            report.add(place_of(job, source, "alt"), f"alt: {bad.message}", bad.allowed)
            return ""


def _own(variables: Variables, name: str) -> str:
    """What a row itself says: a variable of the name, or a mapping's value."""
    if isinstance(found := variables.get(name), str) and found.strip():
        return found.strip()
    for each in variables.values():
        if isinstance(each, str) or not isinstance(each, Mapping):
            continue
        if isinstance(found := each.get(name), str) and found.strip():
            return found.strip()
    return ""


def place_of(job: JobDelivery, source: SourceRow, name: str) -> Place:
    """Where a row got its ``deliver``, ``focus`` or ``alt`` from."""
    return source.place_of(name) if _own(source.variables, name) else job.places.get(name, source.place)
