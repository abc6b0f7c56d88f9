"""Pictures on demand: painted in a thread when a link is first fetched, kept in a bounded cache."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from io import BytesIO

from adloom.sandbox.dice import SeededRandom
from adloom.sandbox.settings import LiveSettings, SandboxSettings
from adloom.sandbox.submission import dimensions
from adloom.sandbox.tasks import SandboxTask

_PAINTERS = 2
_OFF_BY_PX = 6
_ORIENTATION, _A_QUARTER_TO_THE_RIGHT = 0x0112, 6  # Exif 2.32
_WRONG_BYTES = b"\x00\x01this is no picture\xff" * 40
_PAGE = b"<!doctype html><html><body><h1>We will be right back</h1></body></html>"


class Gallery:
    """The bytes behind result links. The same picture always has the same bytes, cached or painted again."""

    def __init__(self, board: LiveSettings, dice: SeededRandom) -> None:
        self._board = board
        self._dice = dice
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached_bytes = 0
        self._plain: dict[tuple[int, int, str], bytes] = {}
        self._painting = asyncio.Semaphore(_PAINTERS)

    async def picture(self, task: SandboxTask, index: int, damage: str) -> tuple[bytes, str]:
        """The file of one result and its media type, damaged in the given way (``""`` for none)."""
        media = media_of(task, self._board.settings, damage)
        off_px = _OFF_BY_PX if damage == "off_size" else 0
        whole = await self._whole(task, index, media, off_px)
        if damage == "html":
            return _PAGE, "text/html"
        if self._board.settings.picture_bytes:
            from adloom.sandbox.painting import painter  # noqa: PLC0415 - Pillow loads when the first picture is painted

            whole = painter.padded(whole, self._board.settings.picture_bytes)
        if damage in _REDRAWN:
            redraw, media = _REDRAWN[damage]
            return await asyncio.to_thread(redraw, whole), f"image/{media}"
        return _damaged(whole, damage), f"image/{media}"

    def lasting_damage(self, task: SandboxTask, index: int) -> str:
        """The damage of every fetch of this picture."""
        settings = self._board.settings
        if not self._dice.hits(settings.picture_damage_rate, "picture damage", task.ordinal, index):
            return ""
        return self._dice.pick(settings.picture_damage_kinds, "picture damage kind", task.ordinal, index)

    def clear(self) -> None:
        """Clear the cache."""
        self._cache.clear()
        self._cached_bytes = 0

    async def _whole(self, task: SandboxTask, index: int, media: str, off_px: int) -> bytes:
        fast = self._board.settings.fast_pictures
        name = f"{task.id}:{index}:{media}:{off_px}:{fast}"
        known = self._cache.get(name)
        if known is not None:
            self._cache.move_to_end(name)
            return known
        wanted = task.wanted
        width, height = dimensions(wanted.model, wanted.size, wanted.quality, self._dice.number("auto", wanted.prompt))
        size = (width - off_px, height - off_px)
        mark = f"sandbox {task.id} {index}"
        if fast:
            return await self._fast(size, media, mark)
        content = await self._painted(task, index, size, media, mark)
        self._keep(name, content)
        return content

    async def _fast(self, size: tuple[int, int], media: str, mark: str) -> bytes:
        from adloom.sandbox.painting import painter  # noqa: PLC0415 - Pillow loads when the first picture is painted

        key = (*size, media)
        if key not in self._plain:
            async with self._painting:
                self._plain[key] = await asyncio.to_thread(painter.plain, *size, media)
        return painter.marked(self._plain[key], mark)

    async def _painted(self, task: SandboxTask, index: int, size: tuple[int, int], media: str, mark: str) -> bytes:
        from adloom.sandbox.painting import painter  # noqa: PLC0415 - Pillow loads when the first picture is painted

        painting = painter.Painting(task.wanted.prompt, index, max(task.made, index + 1), *size, mark, media)
        async with self._painting:
            return await asyncio.to_thread(painter.paint, painting)

    def _keep(self, name: str, content: bytes) -> None:
        if name in self._cache:
            return
        self._cache[name] = content
        self._cached_bytes += len(content)
        while self._cached_bytes > self._board.settings.picture_cache_bytes and self._cache:
            _, oldest = self._cache.popitem(last=False)
            self._cached_bytes -= len(oldest)


def media_of(task: SandboxTask, settings: SandboxSettings, damage: str = "") -> str:
    """What a task's pictures are encoded as."""
    is_png = damage == "png" or task.wanted.output_format == "png"
    return "png" if is_png else settings.picture_format


def _damaged(whole: bytes, damage: str) -> bytes:
    if damage == "truncated":
        return whole[: len(whole) // 2]
    if damage == "padded":
        return whole[: len(whole) // 2] + b"\xff\xd9"
    if damage == "line_break":
        return b"\r\n" + whole
    if damage == "corrupt":
        middle = len(whole) // 2
        return whole[:middle] + bytes(len(whole) - middle)
    if damage == "wrong_bytes":
        return _WRONG_BYTES
    return b"" if damage == "empty" else whole


def _animated(whole: bytes) -> bytes:
    from PIL import Image  # noqa: PLC0415 - Pillow loads when the first picture is painted

    with Image.open(BytesIO(whole)) as image:
        frames = [image.resize((96, 96)).rotate(angle) for angle in (0, 120, 240)]
    out = BytesIO()
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=200)
    return out.getvalue()


def _annotated(whole: bytes) -> bytes:
    from PIL import Image, PngImagePlugin  # noqa: PLC0415 - Pillow loads when the first picture is painted

    notes = PngImagePlugin.PngInfo()
    for name, text in (("comment", "sandbox " * 9000), ("icc_profile", "no profile"), ("exif", "no Exif")):
        notes.add_text(name, text)
    out = BytesIO()
    with Image.open(BytesIO(whole)) as image:
        image.save(out, "PNG", pnginfo=notes, compress_level=1)
    return out.getvalue()


def _turned(whole: bytes) -> bytes:
    from PIL import Image  # noqa: PLC0415 - Pillow loads when the first picture is painted

    exif = Image.Exif()
    exif[_ORIENTATION] = _A_QUARTER_TO_THE_RIGHT
    out = BytesIO()
    with Image.open(BytesIO(whole)) as image:
        image.convert("RGB").save(out, "JPEG", exif=exif)
    return out.getvalue()


_LABEL = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/" TC260:AIGC="{&quot;Label&quot;:&quot;1&quot;}"
 Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/>
</rdf:RDF></x:xmpmeta>"""


def _labelled(whole: bytes) -> bytes:
    from PIL import Image  # noqa: PLC0415 - Pillow loads when the first picture is painted

    out = BytesIO()
    with Image.open(BytesIO(whole)) as image:
        image.convert("RGB").save(out, "JPEG", xmp=_LABEL)
    return out.getvalue()


def _blank(whole: bytes) -> bytes:
    from PIL import Image  # noqa: PLC0415 - Pillow loads when the first picture is painted

    out = BytesIO()
    with Image.open(BytesIO(whole)) as image:
        Image.new("RGB", image.size, "white").save(out, "JPEG")
    return out.getvalue()


_REDRAWN: Mapping[str, tuple[Callable[[bytes], bytes], str]] = {
    "blank": (_blank, "jpeg"),
    "labelled": (_labelled, "jpeg"),
    "turned": (_turned, "jpeg"),
    "annotated": (_annotated, "png"),
    "animated": (_animated, "webp"),
}
"""Pictures that are whole and odd: how one is made of another, and its type."""
