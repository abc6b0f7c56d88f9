"""What a picture is taken for: whole or cut, like another, blank."""

from random import Random

import pytest
from PIL import Image
from support.annotated import saved
from support.pictures import animation, image, with_sampling

from adloom.core.likeness import near_duplicates
from adloom.edges import picture_look
from adloom.edges.picture_look import look


def likeness(image: Image.Image, kind: str = "JPEG", **options: object) -> tuple[str, str]:
    found = look(saved(image, kind, **options))
    assert found is not None
    return f"{kind} {image.size} {options}", found.likeness


def scene(seed: int) -> Image.Image:
    """Soft shapes on a wall, as an image API makes them."""
    return Image.frombytes("RGB", (12, 9), Random(seed).randbytes(324)).resize((1200, 900), Image.Resampling.BICUBIC)


def test_the_same_picture_is_known_in_another_size_format_and_quality():
    first = scene(1)
    copies = [
        likeness(first),
        likeness(first, quality=40),
        likeness(first.resize((480, 360))),
        likeness(first, "PNG"),
        likeness(first, "WEBP", quality=50),
    ]
    assert near_duplicates(copies) == {name for name, _ in copies[1:]}


def test_other_pictures_are_no_duplicates():
    assert near_duplicates([(str(seed), likeness(scene(seed))[1]) for seed in range(20)]) == set()
    assert near_duplicates([("a", ""), ("b", "")]) == set()


def test_a_picture_is_blank_when_nearly_all_of_it_has_one_colour():
    plain = Image.new("RGB", (1000, 800), (250, 240, 230))
    speck, print_, shade = plain.copy(), plain.copy(), Image.linear_gradient("L").resize((1000, 800))
    speck.paste("black", (500, 400, 520, 420))
    print_.paste("black", (100, 400, 900, 420))
    blanks = [plain, speck, Image.new("L", (64, 48)), Image.new("RGBA", (64, 64), (0, 0, 0, 0))]
    for blank in blanks:
        found = look(saved(blank, "PNG"))
        assert found is not None
        assert found.flags == ("blank",)
    for busy in (print_, shade, scene(1)):
        found = look(saved(busy, "JPEG", quality=60))
        assert found is not None
        assert found.flags == ()


@pytest.mark.parametrize(
    "content",
    [
        image("JPEG", quality=30),
        image("JPEG", quality=30, progressive=True),
        image("JPEG", quality=30, restart_marker_rows=1),
        image("JPEG", quality=30, mode="CMYK"),
        with_sampling(image("JPEG", quality=30, subsampling="4:4:4"), 0x31),
    ],
)
def test_a_jpeg_that_was_padded_to_its_end_is_no_picture(content):
    """libjpeg fills what is missing with grey, warns of it, and Pillow hides the warning."""
    begin = content.rindex(b"\xff\xda") + 10
    for share in (0.1, 0.4):
        assert picture_look.look(content[: begin + int((len(content) - begin) * share)] + b"\xff\xd9") is None
    assert picture_look.look(content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xd8\xff",
        b"<html>captive portal</html>",
        b'{"error": {"message": "expired"}}',
        image("TIFF"),
        b"GIF89a no",
        b"BM no",
        b"\0\0\0\x1cftypavif no",
        b"\xff\xd8\xff" + image("PNG"),
        b"%PDF-1.7\n",
        b"RIFF\x04\x00\x00\x00WEBP",
    ],
)
def test_anything_else_is_no_picture(content):
    assert picture_look.look(content) is None


@pytest.mark.parametrize(
    "content",
    [
        image("JPEG", quality=30),
        image("JPEG", progressive=True, quality=30),
        image("PNG", size=(16, 8)),
        image("WEBP", quality=30),
        image("AVIF", quality=30),
        image("GIF", mode="P", size=(16, 8)),
        image("BMP", size=(16, 8)),
        animation("GIF"),
        animation("WEBP"),
    ],
)
def test_a_picture_cut_at_any_byte_is_no_picture(content):
    assert [length for length in range(len(content)) if picture_look.look(content[:length])] == []
    assert picture_look.look(content)


def test_a_png_with_any_bit_flipped_behind_its_header_is_no_picture():
    content = image("PNG", size=(16, 8))
    for place in range(8, len(content) - 12):
        bent = content[:place] + bytes([content[place] ^ 0x10]) + content[place + 1 :]
        assert picture_look.look(bent) is None
