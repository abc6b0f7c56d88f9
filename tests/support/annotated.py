"""Images with words of strangers in every place that a file has for them, well made and not."""

import io
import struct
import zlib
from collections.abc import Iterator

from PIL import ExifTags, Image, ImageCms, PngImagePlugin

CANARY = b"CANARY"
ALLOWED = {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
"""What a thumbnail says beside its pixels: that it is a JPEG."""


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def png_with(*chunks: bytes) -> bytes:
    """A PNG with chunks behind its header."""
    content = saved(Image.new("RGB", (64, 48), "teal"), "PNG")
    return content[:33] + b"".join(chunks) + content[33:]


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    """A JPEG with segments behind its first marker."""
    content = saved(Image.new("RGB", (64, 48), "teal"), "JPEG")
    written = b"".join(bytes([0xFF, code]) + (len(data) + 2).to_bytes(2, "big") + data for code, data in segments)
    return content[:2] + written + content[2:]


def text_of(**texts: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    return info


def written_on() -> Iterator[tuple[str, bytes]]:
    """Images with words of strangers in every place that there is for them, well made and not."""
    teal = Image.new("RGB", (64, 48), "teal")
    words = CANARY * 40
    exif = teal.getexif()
    exif[ExifTags.Base.ImageDescription] = words.decode()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + words
    for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
        yield f"{kind} exif", saved(teal, kind, exif=exif)
        yield f"{kind} profile", saved(teal, kind, icc_profile=profile)
        if kind != "PNG":
            yield f"{kind} xmp", saved(teal, kind, xmp=words)
    yield "PNG comment of 70 kB", saved(teal, "PNG", pnginfo=text_of(comment="C" * 70_000 + words.decode()))
    for name in ("icc_profile", "xmp", "exif", "Raw profile type exif", "XML:com.adobe.xmp", "dpi", "transparency"):
        yield f"PNG text {name}", saved(teal, "PNG", pnginfo=text_of(**{name: words.decode()}))
    yield "PNG eXIf nonsense", png_with(chunk(b"eXIf", b"MM\x00\x2b" + words))
    yield "PNG bad profile", png_with(chunk(b"iCCP", b"x\x00\x00" + zlib.compress(words)))
    short = struct.pack("<2sHIHHHIhhI", b"II", 42, 8, 1, 0x0112, 3, 1, -1, 0, 0)
    yield "JPEG exif of a negative side", jpeg_with((0xE1, b"Exif\x00\x00" + short + words))
    yield "JPEG exif nonsense", jpeg_with((0xE1, b"Exif\x00\x00MM\xff\xff" + words))
    yield "JPEG bad profile", jpeg_with((0xE2, b"ICC_PROFILE\x00\x01\x01" + words))
    yield "JPEG comment", jpeg_with((0xFE, words), (0xED, b"Photoshop 3.0\x00" + words), (0xEF, words))
    yield "JPEG words behind the end", saved(teal, "JPEG") + words
    yield "WebP of a huge profile", saved(teal, "WEBP", icc_profile=profile + CANARY * 3_000_000)
    yield "GIF comment", saved(teal.convert("P"), "GIF", comment=words)
