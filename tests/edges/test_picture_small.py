"""Thumbnails: what they show, and that nothing that others wrote into a file gets into them."""

import io

import pytest
from PIL import ExifTags, Image, ImageCms
from support.annotated import ALLOWED, CANARY, saved, written_on

from adloom.edges import picture_look
from adloom.edges.picture_look import look


def shown(content: bytes) -> Image.Image:
    found = look(content)
    assert found is not None
    return Image.open(io.BytesIO(found.thumbnail))


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
def test_a_turned_photo_is_shown_as_browsers_show_it(kind: str):
    turned = Image.new("RGB", (1000, 500), "red")
    turned.paste("blue", (0, 0, 500, 500))
    exif = turned.getexif()
    exif[ExifTags.Base.Orientation] = 6
    with shown(saved(turned, kind, exif=exif)) as image:
        assert image.size == ((480, 240) if kind == "WEBP" else (240, 480))
        red, _, blue = image.getpixel((120, 20))
        assert blue > 200 > red
    with shown(saved(turned, "JPEG", xmp=b'<rdf:Description tiff:Orientation="6"/>')) as image:
        assert image.size == (480, 240)


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


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in written_on()])
def test_no_word_of_a_stranger_is_in_a_thumbnail(content: bytes):
    found = look(content)
    assert found is not None
    assert (found.width_px, found.height_px) == (64, 48)
    with Image.open(io.BytesIO(found.thumbnail)) as image:
        assert set(image.info) <= ALLOWED
    assert CANARY not in found.thumbnail
    assert len(found.thumbnail) < 2_000


def test_a_picture_that_cannot_be_shown_small_is_a_picture(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> bytes:
        raise MemoryError

    monkeypatch.setattr(picture_look, "small_of", fail)
    for kind in ("JPEG", "PNG"):
        found = look(saved(Image.new("RGB", (64, 48)), kind))
        assert found is not None
        assert found.thumbnail == b""
