"""What a file says about how it was made, in plain words: XMP, C2PA and the AIGC label.

Valid and trusted are different things.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adloom.core.errors import InputError
from adloom.deliver.children import CannotBeDone, Child, ChildDied
from adloom.deliver.marks.credentials import EXTRA

LARGEST_BYTES = 64 * 1024**2
"""As the largest image that is archived."""

_KINDS = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found. ``manifest`` is None where the C2PA library is not installed or does not read this type."""

    media_type: str
    xmp: bool
    c2pa: bool
    aigc: bool
    source_type: str
    manifest: Mapping[str, Any] | None
    has_anchor: bool

    @property
    def is_valid(self) -> bool | None:
        """Whether the manifest belongs to these unchanged bytes; None without a manifest."""
        return None if not self._state else self._state in ("Valid", "Trusted")

    @property
    def is_trusted(self) -> bool | None:
        """Whether an anchor vouches for the signer; None without a manifest."""
        return None if not self._state else self._state == "Trusted"

    @property
    def _state(self) -> str:
        return str(self.manifest["state"]) if self.manifest else ""

    def as_data(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return {
            "media_type": self.media_type,
            "xmp": self.xmp,
            "c2pa": self.c2pa,
            "aigc": self.aigc,
            "source_type": self.source_type or None,
            "valid": self.is_valid,
            "trusted": self.is_trusted,
            "manifest": self.manifest if self._state else None,
        }

    def lines(self) -> list[str]:
        """In words."""
        types = dict.fromkeys([self.source_type, *(self.manifest or {}).get("source_types", ())])
        source = ", ".join(filter(None, types))
        lines = [f"type      {self.media_type}", f"made by   {source or 'it does not say'}"]
        lines.append(f"xmp       {'yes' if self.xmp else 'none'}")
        if self.aigc:
            lines.append("aigc      yes: the label of China's rules for generated content")
        return lines + self._manifest_lines()

    def _manifest_lines(self) -> list[str]:
        if self.manifest is None or (self.c2pa and not self._state):
            told = f"there is a manifest that is not examined here: pip install '{EXTRA}'" if self.c2pa else "none"
            return [f"c2pa      {told}"]
        if not self._state:
            problems = ", ".join(self.manifest["problems"])
            return [f"c2pa      none; the file is damaged ({problems})" if problems else "c2pa      none"]
        by = f"signed by {self.manifest['issuer']}" if self.manifest["issuer"] else "signed"
        lines = [f"c2pa      {by}: {', '.join(self.manifest['actions']) or 'no action'}"]
        lines += [f"parent    {parent}" for parent in self.manifest["parents"]]
        if not self.is_valid:
            problems = ", ".join(self.manifest["problems"]) or "no reason is given"
            return [*lines, f"valid     NO: the file is not what was signed ({problems})", "trusted   no"]
        lines.append("valid     yes: nothing was changed since it was signed")
        if self.is_trusted:
            return [*lines, "trusted   yes: your anchor vouches for the signer"]
        why = "your anchor does not vouch for the signer" if self.has_anchor else "no anchor was given (--anchor)"
        return [*lines, f"trusted   no: {why}, so anybody may have signed in that name"]


async def inspect(path: Path, anchor: Path | None) -> Inspection:
    """Read a file in a process of its own. Raises InputError for what is not a file or not a certificate."""
    content = _read(path, "Name an image file.")
    if len(content) > LARGEST_BYTES:
        raise InputError(f"{path} has more than {LARGEST_BYTES // 1024**2} MiB", remedy="Name an image.")
    pem = "Name a PEM file, such as the root.pem of your keys."
    anchors = _read(anchor, pem).decode("ascii", "replace") if anchor else ""
    if anchor and "-----BEGIN CERTIFICATE" not in anchors:
        raise InputError(f"{anchor} holds no certificate", remedy=pem)
    media_type = _media_type(content)
    try:
        async with Child() as child:
            _, told = await child.ask("inspect", content, media_type=media_type, anchors=anchors)
    except (ChildDied, CannotBeDone) as error:
        raise InputError(f"{path} cannot be examined: {error or 'reading it ended its process'}") from error
    found = json.loads(told)
    carried = found["carried"]
    return Inspection(
        media_type=media_type or "no image of a known type",
        xmp=carried["xmp"],
        c2pa=carried["c2pa"],
        aigc=carried["aigc"],
        source_type=carried["source_type"],
        manifest=found["manifest"],
        has_anchor=anchor is not None,
    )


def _read(path: Path, remedy: str) -> bytes:
    try:
        if not path.is_file():
            raise InputError(f"there is no file {path}", remedy=remedy)
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", remedy="Check its permissions.") from error


def _media_type(content: bytes) -> str:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content[4:8] == b"ftyp":
        return "image/avif"
    return next((media_type for start, media_type in _KINDS if content.startswith(start)), "")
