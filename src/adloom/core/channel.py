"""A channel: a named place for images, with its pixels, formats and size limit, and the source of these numbers.

The numbers are data (``channels/channels.yaml``, and a campaign's own under ``channels:``); this is their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from math import gcd

FORMATS = ("jpeg", "png", "webp", "avif", "gif")
"""What a channel may accept. Renditions are written in all but the last: a GIF has only 256 colours."""

WRITTEN = FORMATS[:-1]
ORIGINAL = "original"
"""The reserved channel that receives masters unchanged."""

RESERVED = (ORIGINAL, "records")
"""Names of a delivery's own folders."""

STALE_AFTER_DAYS = 180
"""Our own: platforms change their sizes about once a year, so sources should be checked again after half of that."""

KEEP = 0.6
"""Our own: the minimum share of a master's area that a crop keeps; below it the composition changes."""

LARGEST_SIDE_PX = 16_384
"""Our own: WebP's largest side; no known channel needs a quarter of it."""


LARGEST_RATIO_PART = 21
"""Of 21:9, the widest shape that has a name of two whole numbers."""


class Gate(StrEnum):
    """What happens to a file that does not fit below the ceiling at an acceptable quality."""

    HARD = "hard"
    ADVISE = "advise"


class Evidence(StrEnum):
    """Whose page the numbers were read on."""

    OFFICIAL = "official"
    MIRROR = "mirror"
    SECONDARY = "secondary"
    CAMPAIGN = "campaign"


EVIDENCE_WORDS: Mapping[Evidence, str] = {
    Evidence.OFFICIAL: "the platform's own page",
    Evidence.MIRROR: "a copy of the platform's page on another site",
    Evidence.SECONDARY: "another party's guide",
    Evidence.CAMPAIGN: "the campaign file",
}


@dataclass(frozen=True, slots=True)
class SafeArea:
    """Margins that a platform covers with its own text and buttons, as fractions of height and width."""

    top: float = 0.0
    bottom: float = 0.0
    left: float = 0.0
    right: float = 0.0


@dataclass(frozen=True, slots=True)
class Channel:
    """One placement and its requirements.

    ``max_bytes`` None means no limit. ``format`` is the campaign's choice, empty if it made none. ``checked`` is the
    day when ``source`` was last read; None for a campaign's own channel.
    """

    id: str
    width_px: int
    height_px: int
    formats: tuple[str, ...]
    max_bytes: int | None
    gate: Gate = Gate.HARD
    safe: SafeArea = SafeArea()
    evidence: Evidence = Evidence.CAMPAIGN
    source: str = ""
    checked: date | None = None
    note: str = ""
    format: str = ""
    keep: float = KEEP
    """The minimum share of a master's area that ``size: fit`` keeps."""

    @property
    def pixels(self) -> str:
        return f"{self.width_px}x{self.height_px}"

    @property
    def ratio(self) -> str:
        """The shape as people name it: 4:5, or 1.91:1 where no small numbers say it."""
        divisor = gcd(self.width_px, self.height_px)
        width, height = self.width_px // divisor, self.height_px // divisor
        if max(width, height) <= LARGEST_RATIO_PART:
            return f"{width}:{height}"
        return f"{width / height:.2f}:1" if width > height else f"1:{height / width:.2f}"

    @property
    def written_as(self) -> str:
        """The format of its renditions: the campaign's, else JPEG where the channel takes it, else its first one."""
        if self.format:
            return self.format
        usable = [each for each in self.formats if each in WRITTEN]
        return "jpeg" if "jpeg" in usable else usable[0]

    def is_stale(self, today: date) -> bool:
        """Whether its source was last read too long ago to be trusted."""
        return self.checked is not None and (today - self.checked).days > STALE_AFTER_DAYS
