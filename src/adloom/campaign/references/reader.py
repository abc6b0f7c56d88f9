"""Reference images: turns names, addresses and files into values, or into the reason why not.

An address is passed to the API unfetched: only its text is checked; nothing is resolved or requested. A file must lie
inside the campaign file's folder, also after symbolic links, and be an image that the API takes. So must an object in
S3, which is read like a file.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import re
import stat
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from adloom.campaign.chains import Link
from adloom.campaign.problems import did_you_mean
from adloom.campaign.sources.origin import S3, Origin, beside
from adloom.campaign.sources.roots import is_below
from adloom.core.chain import NO_CHAINS, Chains, Master
from adloom.core.errors import InputError
from adloom.core.limits import PROFILES, ReferenceLimits
from adloom.core.quoting import shown
from adloom.core.reference import Reference, approved_images_of
from adloom.edges.addresses import BadAddress, check_url
from adloom.edges.conversion import CONVERTIBLE, NotConverted, to_png

HOSTABLE = ("jpeg", "png", "gif", "webp")
"""What EvoLink's file service takes (its file API page, 2026-10); bmp and tiff can only be given as addresses."""

NAMES_LOOKED_UP = 20
"""Unknown names for which the nearest known one is suggested; more than that are not typing errors."""

AS_THEY_ARE = {"jpeg", "png"}
"""Formats that are hosted as they are in every profile."""

LARGEST_BYTES = max(profile.references.size_bytes for profile in PROFILES.values())
_MAGIC = (
    (b"\xff\xd8\xff", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"GIF87a", "gif"), (b"GIF89a", "gif"), (b"BM", "bmp"),
    (b"II*\0", "tiff"), (b"MM\0*", "tiff"),
)  # fmt: skip


class BadReference(BadAddress):
    """A reference that cannot be used; ``allowed`` says what can be."""


@dataclass(frozen=True, slots=True)
class ReadFrom:
    """Where references may be: next to the campaign, at addresses on this machine too, in S3 below these roots alone.

    ``roots`` None means anywhere in S3.
    """

    origin: Origin
    loopback_urls: bool
    roots: tuple[str, ...] | None = None


class ReferenceReader:
    """Reads the references of one campaign. A file is read and hashed once."""

    def __init__(self, named: Mapping[str, tuple[str, str]], read_from: ReadFrom, limits: ReferenceLimits) -> None:
        """Take ``named`` as name → (``url`` or ``file``, its text)."""
        self._named = named
        self._origin = read_from.origin
        self._roots = read_from.roots
        self._limits = limits
        self._loopback_urls = read_from.loopback_urls
        self._files: dict[str, Reference] = {}
        self._opaque: set[str] = set()
        self.converted: dict[str, str] = {}
        """The format of each file that is converted before it is hosted, as people call the file."""
        self._chains: Chains = NO_CHAINS
        self._given_up: set[str] = set()
        self._wrong: set[str] = set()

    def give_up(self, name: str) -> None:
        """Report a name no further if its own entry is in the report: a row with it is never bought."""
        self._given_up.add(name)

    def opaque_among(self, references: Iterable[Reference]) -> list[str]:
        """The files among these references, by the names that people use, that have no transparency."""
        return [reference.shown for reference in references if reference.content in self._opaque]

    def refer(self, chains: Chains) -> None:
        """Take note of the approved images that chained jobs have."""
        self._chains = chains

    def approved(self, link: Link) -> tuple[Reference, ...]:
        """The approved images of a job that another one has as references, or a placeholder until there are any.

        Raises BadAddress for one that the API does not take.
        """
        chain = self._chains.get(link.job)
        masters = chain.of.get(link.of, ()) if chain else ()
        for master in masters:
            self._check_master(master)
        return tuple(master.reference for master in masters) or (approved_images_of(link.of),)

    def _check_master(self, master: Master) -> None:
        """Judge an archived image by what was recorded of it. Raises BadReference."""
        text = f"the approved image {master.key}"
        self._check_bytes(text, master.size_bytes)
        kind = master.media_type.removeprefix("image/")
        if kind not in self._hosted and not self._is_converted(kind):
            raise BadReference(f"{text} is a {kind} image", "one of " + ", ".join(self._hosted))
        self._check_pixels(text, master.width_px, master.height_px)

    def read(self, text: str) -> Reference:
        """The reference that a name, an address or a path denotes. Raises BadAddress."""
        if text in self._given_up:
            return Reference(f"given up:{text}", None, text)
        kind, value = self._named.get(text, ("", text))
        if value.startswith(S3):
            if value not in self._files:
                self._files[value] = self._object(value)
            return self._files[value]
        if kind == "url" or (not kind and "://" in value):
            return url_reference(value, loopback_urls=self._loopback_urls)
        if value.startswith("data:"):
            raise BadReference("a picture cannot be given as a data: address", "its address, or the path of its file")
        if not kind and not re.search(r"[./\\]", value):
            raise BadReference(f"there is no reference {shown(value)}{self._near(value)}", self._known())
        if value not in self._files:
            self._files[value] = self._file(value)
        return self._files[value]

    def _near(self, name: str) -> str:
        """The nearest known name, for the first wrong ones only: each is compared with every known one."""
        self._wrong.add(name)
        return did_you_mean(name, self._named) if len(self._wrong) <= NAMES_LOOKED_UP else ""

    def _known(self) -> str:
        return "known: " + (", ".join(islice(self._named, 12)) or "none") + "; or an address, or the path of a file"

    def _file(self, text: str) -> Reference:
        root = self._origin.folder.resolve()
        if "\0" in text or Path(text).is_absolute() or re.match(r"[A-Za-z]:|\\|~", text):
            raise BadReference(
                f"{shown(text)} is not a path relative to the campaign file", "a relative path like references/a.png"
            )
        try:
            self._origin.fetch(text)
            path = (root / text).resolve(strict=True)
            state = path.stat()
        except (OSError, RuntimeError) as error:
            raise BadReference(
                f"there is no file {shown(text)} next to the campaign file", "an existing file"
            ) from error
        if not path.is_relative_to(root):
            raise BadReference(f"{shown(text)} is outside the campaign file's folder", "a file inside it")
        if not stat.S_ISREG(state.st_mode):
            raise BadReference(f"{shown(text)} is not a file", "a picture")
        self._check_bytes(shown(text), state.st_size)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BadReference(f"{shown(text)} cannot be read: {error.strerror}", "a readable file") from error
        return Reference(self._checked(content, text), None, (root / text).relative_to(root).as_posix())

    def _object(self, address: str) -> Reference:
        from adloom.edges.s3.objects import ObjectUnreadable, read_object  # noqa: PLC0415 - boto3 takes half a second

        if self._roots is not None and not is_below(address, self._roots):
            raise BadReference(
                f"{shown(address)} is not in a folder that a form may read", "a prefix that the worker allows"
            )
        most = self._limits.size_bytes
        try:
            content = read_object(address, most + 1)
        except ObjectUnreadable as error:
            allowed = "an object like s3://bucket/folder/picture.png that your AWS settings let you read"
            raise BadReference(f"{shown(address)} cannot be read: {error}", allowed) from error
        if len(content) > most:
            raise BadReference(f"{shown(address)} is too large", f"at most {most / 1e6:g} MB")
        return Reference(self._checked(content, address), None, address)

    def _checked(self, content: bytes, text: str) -> str:
        """The identity of a picture whose type and pixels are allowed."""
        kind = _image_type(content)
        if kind not in self._hosted and not self._is_converted(kind):
            what = f"is a {kind} image" if kind else "is not an image of a known type"
            others = CONVERTIBLE if self._converts else ()
            raise BadReference(f"{shown(text)} {what}", "one of " + ", ".join((*self._hosted, *others)))
        name = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if not self._check_picture(content, text, kind):
            self._opaque.add(name)
        if self._is_converted(kind):
            self._check_conversion(content, text, kind)
        return name

    @property
    def _hosted(self) -> tuple[str, ...]:
        """The formats that are hosted as they are."""
        return tuple(name for name in self._limits.formats if name in HOSTABLE)

    @property
    def _converts(self) -> bool:
        """Whether other formats are converted: only if the profile accepts JPEG and PNG alone."""
        return set(self._limits.formats) == AS_THEY_ARE

    def _is_converted(self, kind: str) -> bool:
        return self._converts and kind in CONVERTIBLE

    def _check_conversion(self, content: bytes, text: str, kind: str) -> None:
        """Convert a file as it will be when it is hosted. Raises BadReference where that cannot be."""
        try:
            size_bytes = len(to_png(content))
        except NotConverted as error:
            raise BadReference(f"{shown(text)} is a damaged {kind} image", "a picture that opens") from error
        if size_bytes > self._limits.size_bytes:
            size = f"{size_bytes / 1e6:.1f} MB as a PNG"
            allowed = f"at most {self._limits.size_bytes / 1e6:g} MB, or a JPEG"
            raise BadReference(f"{shown(text)} has {size}, which it is converted to", allowed)
        self.converted[text] = kind

    def _check_picture(self, content: bytes, text: str, kind: str) -> bool:
        """Check an image; returns whether it may have transparent pixels. Raises BadReference."""
        from PIL import Image  # noqa: PLC0415 - slow to import, and most campaigns have no files

        try:
            with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content), formats=[kind]) as image:
                (width, height), frames = image.size, int(getattr(image, "n_frames", 1))
                is_transparent = image.has_transparency_data
        except Exception as error:
            raise BadReference(f"{shown(text)} is a damaged {kind} image", "a picture that opens") from error
        self._check_pixels(shown(text), width, height)
        if frames > 1 and not (kind == "gif" and self._is_converted(kind)):
            raise BadReference(f"{shown(text)} is animated", "a still picture")
        return is_transparent

    def _check_pixels(self, text: str, width: int, height: int) -> None:
        if fault := self._limits.fault_of_pixels(width, height):
            what, allowed = fault
            raise BadReference(f"{text} {what}", allowed)

    def _check_bytes(self, text: str, size_bytes: int) -> None:
        if fault := self._limits.fault_of_bytes(size_bytes):
            what, allowed = fault
            raise BadReference(f"{text} {what}", allowed)


def hosted_form(content: bytes, profile: str) -> bytes:
    """The bytes that are hosted for a reference file, found good before. Raises InputError without them."""
    if set(PROFILES[profile].references.formats) != AS_THEY_ARE or _image_type(content) not in CONVERTIBLE:
        return content
    try:
        return to_png(content)
    except NotConverted as error:
        raise InputError(f"a reference cannot be converted: {error}", remedy="Save it as a PNG or JPEG.") from error


async def read_file(source: str, name: str) -> bytes:
    """The bytes of a campaign's reference, already checked. Raises InputError if it can no longer be read."""
    address = name if name.startswith(S3) else beside(source, name)
    if address.startswith(S3):
        return await asyncio.to_thread(_read_object_again, address)
    try:
        return await asyncio.to_thread(_read_up_to, Path(address), LARGEST_BYTES + 1)
    except OSError as error:
        raise _gone(name, str(error.strerror)) from error


def _read_object_again(address: str) -> bytes:
    from adloom.edges.s3.objects import ObjectUnreadable, read_object  # noqa: PLC0415 - as above

    try:
        return read_object(address, LARGEST_BYTES + 1)
    except ObjectUnreadable as error:
        raise _gone(address, str(error)) from error


def _gone(name: str, why: str) -> InputError:
    return InputError(
        f"the reference {name} can no longer be read: {why}",
        remedy="Restore the file or change the campaign, then run it again.",
    )


def _read_up_to(path: Path, size_bytes: int) -> bytes:
    if not path.is_file():  # a pipe that took its place would be waited for
        raise FileNotFoundError(errno.ENOENT, "it no longer exists")
    with path.open("rb") as handle:
        return handle.read(size_bytes)


def _image_type(content: bytes) -> str:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return next((kind for magic, kind in _MAGIC if content.startswith(magic)), "")


def url_reference(url: str, *, loopback_urls: bool) -> Reference:
    """The reference for an address. Raises BadAddress."""
    check_url(url, ("https", "http"), loopback_urls=loopback_urls)
    parts = urlsplit(url)
    return Reference(f"url:{url}", url, urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")))
