"""What the child process finds out about an image: kind, size, flags and a thumbnail, from one decoding.

A JPEG is decoded by libjpeg-turbo with its warnings as errors, since a half that was padded to its end only warns, and
at a scale that still reads every bit of it. All others are decoded whole by Pillow. What others wrote into the file
(Exif, XMP, profiles, comments) is not in the thumbnail: only its orientation and the meaning of its colours are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from io import BytesIO

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from adloom.edges.picture_small import LONGER_SIDE_PX, Notes, small_of

SCANS = 500
"""Scans per JPEG. Encoders write about ten; each costs a pass over the whole image, so 3,000 small ones took 48 s."""

PROFILE_BYTES = 1024**2
"""A larger colour profile is not read; printer profiles have about 500 kB."""

_PLUGINS = (  # imported here, so that Image.open looks for no others
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)
Image.MAX_IMAGE_PIXELS = None  # the process has bounds of memory and time
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # and no threads
_LOADED_LATE = (ImageOps, PpmImagePlugin, TiffImagePlugin)  # by Pillow, when the process may read no file any more
# The classes themselves, since Image.open looks into a JPEG for further images.
_HEADERS: Mapping[str, Callable[[BytesIO], Image.Image]] = {
    "bmp": BmpImagePlugin.BmpImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
}
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"


@dataclass(frozen=True, slots=True)
class Look:
    """What decoding a whole image showed."""

    kind: str
    width_px: int
    height_px: int
    flags: tuple[str, ...] = ()
    thumbnail: bytes = b""
    """A small JPEG; empty if none could be made, which does not make the image invalid."""
    likeness: str = ""
    """The hash for finding near duplicates, see ``picture_small.Small``; empty without a thumbnail."""


class Unjudged(Exception):
    """The image asks for more than this process may spend, so nothing is known about it."""


def look(content: bytes) -> Look | None:
    """Decode the whole image; None if it is not a complete one of an accepted kind. Raises Unjudged."""
    content = content.lstrip(b"\r\n\t ")  # some servers send a line break first
    kind = _kind(content)
    try:
        match kind:
            case "":
                return None
            case "jpeg":
                return _look_at_jpeg(content)
            case _:
                return _look_at_other(kind, content)
    except MemoryError as error:
        raise Unjudged("it needs more memory than a decoder may have") from error
    except Unjudged:
        raise
    except Exception:  # noqa: BLE001 - whatever a stranger's bytes raise in whichever decoder, they are not a picture
        return None


def header(content: bytes) -> tuple[str, int, int]:
    """Kind, width and height from the beginning of an image; no kind if unknown, 0 pixels if the header continues."""
    kind = "tiff" if content[:4] in (b"II*\0", b"MM\0*") else _kind(content)
    with suppress(Exception):  # whatever a cut or damaged header raises: it is read again with more bytes
        if kind in _HEADERS:
            with _HEADERS[kind](BytesIO(content)) as image:
                return kind, *image.size
    return kind, 0, 0


def _kind(content: bytes) -> str:
    for start, kind in ((b"\xff\xd8\xff", "jpeg"), (b"\x89PNG\r\n\x1a\n", "png"), (b"BM", "bmp")):
        if content.startswith(start):
            return kind
    if content[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    brands = content[8 : int.from_bytes(content[:4], "big")] if content[4:8] == b"ftyp" else b""
    return "avif" if b"avif" in brands or b"avis" in brands else ""


def _look_at_jpeg(content: bytes) -> Look:
    jpeg = _Jpeg(content)
    try:
        height_px, width_px, _, _ = simplejpeg.decode_jpeg_header(jpeg.bare)
    except ValueError:
        return _look_at_unusual_jpeg(jpeg)
    least = {"min_width": LONGER_SIDE_PX} if width_px >= height_px else {"min_height": LONGER_SIDE_PX}
    try:
        pixels = simplejpeg.decode_jpeg(jpeg.bare, strict=True, **least)
    except ValueError as error:
        if "Insufficient memory" in str(error):  # libjpeg's only word for it
            raise MemoryError from error
        raise
    return _with_small(Look("jpeg", width_px, height_px), Image.fromarray(pixels), jpeg.notes())


def _look_at_unusual_jpeg(jpeg: _Jpeg) -> Look:
    """A JPEG whose subsampling TurboJPEG cannot name; Pillow can, but does not report padding.

    Of a whole image, what comes after its last row changes nothing; where rows are missing it becomes rows.
    """
    noise = bytes(range(1, 255)) * 256
    shown = []
    for content in (jpeg.bare, jpeg.bare[:-2] + noise + b"\xff\xd9"):
        with Image.open(BytesIO(content), formats=["JPEG"]) as image:
            size = image.size
            image.draft(image.mode, (LONGER_SIDE_PX, LONGER_SIDE_PX))
            shown.append(image.copy())
    if shown[0].tobytes() != shown[1].tobytes():
        raise ValueError("rows are missing")
    return _with_small(Look("jpeg", *size), shown[0], jpeg.notes())


def _with_small(found: Look, image: Image.Image, notes: Notes) -> Look:
    with suppress(Exception):  # a picture without a thumbnail is still a picture
        small = small_of(image, notes)
        flags = (*found.flags, "blank") if small.is_blank else found.flags
        return replace(found, flags=flags, thumbnail=small.jpeg, likeness=small.likeness)
    return found


@dataclass(slots=True)
class _Jpeg:
    """The segments of a JPEG up to its end, without what others wrote about it.

    ``bare`` is what a decoder needs: tables, frame and scans, and of the rest only what defines the colours. Raises
    ValueError if the file ends too early.
    """

    content: bytes
    scans: int = 0
    exif: bytes = b""
    profile: dict[int, bytes] = field(default_factory=dict)
    bare: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.bare = b"".join(self._parts())

    def notes(self) -> Notes:
        """The metadata that is used."""
        profile = b"".join(self.profile[part] for part in sorted(self.profile))
        return Notes(_orientation(self.exif), _profile(profile))

    def _parts(self) -> Iterator[bytes]:
        yield b"\xff\xd8"
        markers = _markers(self.content)
        place = 2
        while True:
            at = int(markers[np.searchsorted(markers, place)])  # IndexError: there is no end
            code, start = self.content[at + 1], at + 2
            if code == 0xD9:  # noqa: PLR2004 - end of image
                yield b"\xff\xd9"
                return
            place = start + int.from_bytes(self.content[start : start + 2], "big")
            yield self._kept(code, self.content[at:place])
            if code == 0xDA:  # noqa: PLR2004 - start of scan: its data goes on to the next marker
                self.scans += 1
                if self.scans > SCANS:
                    raise Unjudged(f"a JPEG of more than {SCANS} scans")
                end = int(markers[np.searchsorted(markers, place)])
                yield self.content[place:end]
                place = end

    def _kept(self, code: int, segment: bytes) -> bytes:
        if code == 0xE0 and segment[4:9] == b"JFIF\x00":  # noqa: PLR2004 - APP0
            return _JFIF
        if code == 0xEE and segment[4:9] == b"Adobe" and segment[15:16] in {b"\0", b"\1", b"\2"}:  # noqa: PLR2004 - APP14
            return segment
        if code == 0xE1 and segment[4:10] == b"Exif\x00\x00":  # noqa: PLR2004 - APP1
            self.exif = self.exif or segment[4:]
        if code == 0xE2 and segment[4:16] == b"ICC_PROFILE\x00":  # noqa: PLR2004 - APP2, in numbered parts
            self.profile[segment[16]] = segment[18:]
        return b"" if 0xE0 <= code <= 0xEF or code == 0xFE else segment  # noqa: PLR2004 - APP0 to APP15, comment


def orientation_of(image: Image.Image) -> int:
    """How an image is turned to be shown, 1 to 8: as browsers do it, so that people choose what is delivered.

    That is by Exif, not by what XMP says; and never a WebP (Chromium of 2026 too). ``image`` is loaded.
    """
    return 1 if image.format == "WEBP" else _orientation(image.info.get("exif"))


def _orientation(content: object) -> int:
    exif = Image.Exif()
    with suppress(Exception):  # whatever Pillow's reader of Exif may raise
        exif.load(content if isinstance(content, bytes) else b"")
        found = exif.get(ExifTags.Base.Orientation)
        return found if isinstance(found, int) else 1
    return 1


def _profile(content: object) -> bytes:
    return content if isinstance(content, bytes) and len(content) <= PROFILE_BYTES else b""


def _markers(content: bytes) -> NDArray[np.intp]:
    """The places of markers in a JPEG, except stuffed bytes, fill bytes and restarts."""
    values = np.frombuffer(content, np.uint8)
    places = np.flatnonzero(values[:-1] == 0xFF)  # noqa: PLR2004
    codes = values[places + 1]
    found: NDArray[np.intp] = places[(codes >= 0xC0) & (codes != 0xFF) & ((codes < 0xD0) | (codes > 0xD8))]  # noqa: PLR2004
    return found


def _look_at_other(kind: str, content: bytes) -> Look:
    _require_its_end(kind, content)
    if kind == "png":
        with _opened(kind, content) as image:
            image.verify()  # the checksums of all chunks, which loading alone does not verify
    with _opened(kind, content) as image:
        is_animated = _gif_frames(content) > 1 if kind == "gif" else getattr(image, "is_animated", False)
        image.load()
        width_px, height_px = image.size
        notes = Notes(orientation_of(image), _profile(image.info.get("icc_profile")))
        clear = image.info.get("transparency")  # a PNG's text may have any name, this one too
        image.info = {"transparency": clear} if isinstance(clear, bytes | int | tuple) else {}
        flags = ("animated",) if is_animated else ()
        return _with_small(Look(kind, width_px, height_px, flags), image, notes)


def _opened(kind: str, content: bytes) -> Image.Image:
    return Image.open(BytesIO(content), formats=[kind.upper()])


def _require_its_end(kind: str, content: bytes) -> None:
    """Raise ValueError if the end of the file is missing: Pillow stops reading once it has the last row."""
    if (kind == "png" and _PNG_END not in content) or (
        kind == "webp" and len(content) < int.from_bytes(content[4:8], "little") + 8
    ):
        raise ValueError("the file is cut")


def _gif_frames(content: bytes) -> int:
    """The frames of a GIF. Raises IndexError where it ends before its last block."""
    place = 13 + _gif_colours(content[10])
    frames = 0
    while content[place] != 0x3B:  # noqa: PLR2004 - the trailer
        if content[place] == 0x2C:  # noqa: PLR2004 - an image
            frames += 1
            place += 11 + _gif_colours(content[place + 9])
        else:
            place += 2
        while size := content[place]:
            place += 1 + size
        place += 1
    return frames


def _gif_colours(packed: int) -> int:
    """The size of the colour table that a packed field announces."""
    return 3 * 2 ** ((packed & 7) + 1) if packed & 0x80 else 0
