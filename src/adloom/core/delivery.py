"""What a campaign says about delivery, for the whole and for each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adloom.core.channel import Channel, Evidence, Gate, SafeArea
from adloom.core.crop import Focus

AUTO = "auto"
"""The focus that adloom proposes by saliency."""


@dataclass(frozen=True, slots=True)
class Rights:
    """How a work may be used, and until when. An empty field means no statement.

    ``of`` is the work: ``images`` for the campaign's own, else the name of a reference. ``valid_until`` is a day as
    YYYY-MM-DD, the last on which it may be used; without ``channels`` it may be used on all.
    """

    of: str = "images"
    owner: str = ""
    licence: str = ""
    valid_until: str = ""
    channels: tuple[str, ...] = ()

    def refusal(self, channel: str, today: str) -> str:
        """Why a work may not be used on a channel today; empty where it may."""
        if self.valid_until and today > self.valid_until:
            return f"the rights of {self.of} ended on {self.valid_until}"
        if self.channels and channel not in self.channels:
            return f"the rights of {self.of} are for {', '.join(self.channels)} only"
        return ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a row says about its delivery.

    ``focus`` None is the default, ``auto`` a proposal; ``alt`` is filled in. ``name`` is the template of its files'
    names, filled in for each file.
    """

    channels: tuple[str, ...] = ()
    focus: Focus | str | None = None
    alt: str = ""
    rights: tuple[Rights, ...] = ()
    name: str = ""

    def to_json(self) -> dict[str, Any]:
        """As a frozen plan stores it; empty where the row says nothing."""
        found: dict[str, Any] = {}
        if self.channels:
            found["channels"] = list(self.channels)
        if self.focus is not None:
            found["focus"] = self.focus if isinstance(self.focus, str) else list(self.focus)
        if self.alt:
            found["alt"] = self.alt
        if self.rights:
            found["rights"] = [_rights_to_json(each) for each in self.rights]
        if self.name:
            found["name"] = self.name
        return found


NOTHING_WANTED = Wanted()


def wanted_from_json(record: Mapping[str, Any]) -> Wanted:
    """The reverse of ``Wanted.to_json``."""
    focus = record.get("focus")
    return Wanted(
        channels=tuple(record.get("channels", ())),
        focus=Focus(*focus) if isinstance(focus, list) else focus,
        alt=record.get("alt", ""),
        rights=tuple(Rights(**{**each, "channels": tuple(each["channels"])}) for each in record.get("rights", ())),
        name=record.get("name", ""),
    )


def _rights_to_json(rights: Rights) -> dict[str, Any]:
    names = ("of", "owner", "licence", "valid_until")
    return {name: getattr(rights, name) for name in names} | {"channels": list(rights.channels)}


@dataclass(frozen=True, slots=True)
class Marking:
    """What renditions say about how they were made. ``on`` False writes nothing at all, and adloom warns about that."""

    on: bool = True
    system: str = ""
    creator: str = ""
    credit: str = ""
    prompt: bool = False


@dataclass(frozen=True, slots=True)
class DeliverySettings:
    """What a campaign's head says: its own channels, its marking, and whether each run ends with a delivery."""

    channels: Mapping[str, Channel] = field(default_factory=dict)
    marking: Marking = Marking()
    after_run: bool = False

    def to_json(self) -> dict[str, Any]:
        """As a frozen plan stores it; empty where the head says nothing."""
        found: dict[str, Any] = {}
        if self.channels:
            found["channels"] = [_channel_to_json(channel) for channel in self.channels.values()]
        if self.marking != Marking():
            marking = self.marking
            names = ("on", "system", "creator", "credit", "prompt")
            found["marking"] = {name: getattr(marking, name) for name in names}
        if self.after_run:
            found["after_run"] = True
        return found


def settings_from_json(record: Mapping[str, Any]) -> DeliverySettings:
    """The reverse of ``DeliverySettings.to_json``."""
    channels = [_channel_from_json(each) for each in record.get("channels", ())]
    return DeliverySettings(
        channels={channel.id: channel for channel in channels},
        marking=Marking(**record.get("marking", {})),
        after_run=record.get("after_run", False),
    )


def _channel_to_json(channel: Channel) -> dict[str, Any]:
    safe = channel.safe
    return {
        "id": channel.id,
        "width_px": channel.width_px,
        "height_px": channel.height_px,
        "formats": list(channel.formats),
        "max_bytes": channel.max_bytes,
        "gate": channel.gate.value,
        "safe": [safe.top, safe.bottom, safe.left, safe.right],
        "format": channel.format,
        "keep": channel.keep,
    }


def _channel_from_json(record: Mapping[str, Any]) -> Channel:
    return Channel(
        id=record["id"],
        width_px=record["width_px"],
        height_px=record["height_px"],
        formats=tuple(record["formats"]),
        max_bytes=record["max_bytes"],
        gate=Gate(record["gate"]),
        safe=SafeArea(*record["safe"]),
        evidence=Evidence.CAMPAIGN,
        format=record["format"],
        keep=record["keep"],
    )
