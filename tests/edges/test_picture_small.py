"""Thumbnails: what they show, and that nothing that others wrote into a file gets into them."""

import io
import struct
import zlib
from collections.abc import Iterator

import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from adloom.edges import picture_look
from adloom.edges.picture_look import look

CANARY = b"CANARY"


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def shown(content: bytes) -> Image.Image:
    found = look(content)
    assert found is not None
    return Image.open(io.BytesIO(found.thumbnail))


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


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "JPEG"),
        ("CMYK", "JPEG"),
        ("L", "JPEG"),
        ("L", "PNG"),
        ("1", "PNG"),
        ("LA", "PNG"),
        ("RGBA", "PNG"),
        ("P", "PNG"),
        ("I;16", "PNG"),
        ("RGBA", "WEBP"),
        ("RGB", "AVIF"),
        ("RGB", "BMP"),
        ("P", "GIF"),
    ],
)
def test_a_thumbnail_has_the_shape_of_its_image_and_at_most_480_pixels(mode: str, kind: str):
    with shown(saved(Image.new(mode, (1600, 900)), kind)) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (480, 270))


def test_a_small_image_is_not_enlarged():
    with shown(saved(Image.new("RGB", (48, 32)), "JPEG")) as image:
        assert image.size == (48, 32)


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGB"), ("PNG", "I;16")])
def test_a_thumbnail_has_the_colours_of_its_image(kind: str, mode: str):
    gradient = Image.linear_gradient("L").resize((900, 600))
    whole = Image.merge("RGB", [gradient, gradient.rotate(180), Image.new("L", gradient.size, 90)])
    if mode == "I;16":
        whole = gradient.convert("RGB")
        content = saved(gradient.convert("I").point(lambda value: value * 257).convert("I;16"), kind)
    else:
        content = saved(whole.convert(mode), kind, **({"quality": 95} if kind == "JPEG" else {}))
    with shown(content) as image:
        for place in ((10, 10), (240, 160), (470, 310)):
            expected = whole.resize(image.size).getpixel(place)
            assert all(abs(a - b) < 12 for a, b in zip(image.getpixel(place), expected, strict=True))


def test_a_transparent_image_is_shown_on_white():
    for content in (
        saved(Image.new("RGBA", (64, 64), (0, 0, 0, 0)), "PNG"),
        saved(Image.new("P", (64, 64)), "PNG", transparency=0),
    ):
        with shown(content) as image:
            assert min(image.getpixel((32, 32))) > 250


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_turned_photo_is_shown_upright(kind: str):
    turned = Image.new("RGB", (1000, 500), "red")
    turned.paste("blue", (0, 0, 500, 500))
    exif = turned.getexif()
    exif[ExifTags.Base.Orientation] = 6
    with shown(saved(turned, kind, exif=exif)) as image:
        assert image.size == (240, 480)
        red, _, blue = image.getpixel((120, 20))
        assert blue > 200 > red


def swapped_profile() -> bytes:
    """sRGB with the red and the blue primary exchanged, so that what a profile does can be seen."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    names = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}
    count = int.from_bytes(profile[128:132], "big")
    table = b"".join(
        names.get(profile[place : place + 4], profile[place : place + 4]) + profile[place + 4 : place + 12]
        for place in range(132, 132 + 12 * count, 12)
    )
    return profile[:132] + table + profile[132 + 12 * count :]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_colour_profile_is_heeded_and_not_passed_on(kind: str):
    content = saved(Image.new("RGB", (64, 48), "red"), kind, icc_profile=swapped_profile())
    with shown(content) as image:
        assert "icc_profile" not in image.info
        red, _, blue = image.getpixel((32, 24))
        assert blue > 200 > red


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


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in written_on()])
def test_no_word_of_a_stranger_is_in_a_thumbnail(content: bytes):
    found = look(content)
    assert found is not None
    assert (found.width_px, found.height_px) == (64, 48)
    with Image.open(io.BytesIO(found.thumbnail)) as image:
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert CANARY not in found.thumbnail
    assert len(found.thumbnail) < 2_000


def test_a_picture_that_cannot_be_shown_small_is_a_picture(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(picture_look, "thumbnail", fail)
    for kind in ("JPEG", "PNG"):
        found = look(saved(Image.new("RGB", (64, 48)), kind))
        assert found is not None
        assert found.thumbnail == b""
