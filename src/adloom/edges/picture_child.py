"""The child process that decodes strangers' images; ``pictures`` starts it and speaks to it over its pipes.

It runs as a script, imports nothing of adloom, and holds no secret: its environment is emptied before it starts. On
stdin each image is 8 bytes of length, big-endian, and the bytes; on stdout each answer is one line of JSON, ``null`` or
``["jpeg", width, height]``. The first line is ``"ready"``. It ends when stdin does, so it cannot outlive its parent.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import warnings
from contextlib import suppress
from io import BytesIO

from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

MEMORY_BYTES = 1024**3  # 40 million pixels of 4 bytes, twice over, beside the interpreter and the file
CPU_S = 20  # a 4K JPEG takes a quarter of a second
PIXELS = 40_000_000  # the largest that the API makes has 16.8 million; beyond twice that it is no result of ours

_PLUGINS = (JpegImagePlugin, PngImagePlugin, WebPImagePlugin)  # imported here, so that Image.open looks for no others
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def main() -> None:
    """Serve images until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _limit(resource.RLIMIT_AS, MEMORY_BYTES)
    _limit(resource.RLIMIT_CORE, 0)
    Image.MAX_IMAGE_PIXELS = PIXELS
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    source, answers = sys.stdin.buffer, sys.stdout
    print('"ready"', file=answers, flush=True)
    while len(head := source.read(8)) == 8:  # noqa: PLR2004 - the length field
        size_bytes = int.from_bytes(head, "big")
        content = source.read(size_bytes)
        if len(content) < size_bytes:
            return
        _limit_cpu()
        print(json.dumps(look(content)), file=answers, flush=True)


def look(content: bytes) -> tuple[str, int, int] | None:
    """Decode the whole image: its kind, width and height, None if it is not a complete one of an accepted kind."""
    kind = _kind(content)
    if not kind or not _is_complete(kind, content):
        return None
    try:
        return kind, *_decode(kind, content)
    except Exception:  # noqa: BLE001 - whatever a stranger's bytes raise in whichever decoder, they are no picture
        return None


def _kind(content: bytes) -> str:
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return ""


def _is_complete(kind: str, content: bytes) -> bool:
    """Whether the end of the file is there: Pillow stops reading once it has the last row."""
    if kind == "jpeg":  # the end marker after the last scan; in between it cannot occur by chance
        return content.rfind(b"\xff\xd9") > content.rfind(b"\xff\xda")
    if kind == "png":
        return _PNG_END in content
    return len(content) >= int.from_bytes(content[4:8], "little") + 8


def _decode(kind: str, content: bytes) -> tuple[int, int]:
    if kind == "png":
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            image.verify()  # the checksums of all chunks, which loading alone does not look at
    with Image.open(BytesIO(content), formats=[kind.upper()]) as image:
        width_px, height_px = image.size
        if width_px * height_px > PIXELS:
            raise ValueError("too many pixels")
        if kind != "jpeg" and getattr(image, "is_animated", False):
            raise ValueError("an animation is no picture, and only its first frame would be decoded")
        image.load()
    return width_px, height_px


def _limit_cpu() -> None:
    """Allow this image CPU_S more seconds; the limit counts the life of the process, and killing is its only way."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + CPU_S + 1, resource.RLIM_INFINITY)


def _limit(what: int, soft: int, hard: int | None = None) -> None:
    with suppress(ValueError, OSError):  # a system without this limit, or with a tighter one already
        resource.setrlimit(what, (soft, soft if hard is None else hard))


if __name__ == "__main__":
    main()
