"""Files: below the ceiling or refused, the highest quality that fits, in sRGB, the same bytes each time."""

import itertools
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from support.masters import exiftool, needs_exiftool, opened, picture, saved

from adloom.core.channel import WRITTEN, Gate
from adloom.core.crop import Crop, Pixels
from adloom.deliver.encode import BEST_QUALITY, FLOOR_QUALITY, DoesNotFit, Encoder, encode, fit
from adloom.deliver.marks.xmp import GENERATED, Marks, packet, version_of
from adloom.deliver.pixels import SRGB, Unusable, cut, open_master

XMP = packet(Marks(system="doubao-seedream-4.0", alt="a red mug", creative="hero-oak-v1"))
IMAGE = picture(320, 200, grain=4)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["jpeg", "webp"]), st.integers(1500, 40_000))
def test_a_file_is_the_best_that_fits_or_none(kind, most_bytes):
    try:
        made = fit(Encoder(IMAGE, kind, XMP), most_bytes, Gate.HARD)
    except DoesNotFit:
        assert len(encode(IMAGE, kind, FLOOR_QUALITY, XMP)) > most_bytes
        return
    assert len(made.content) <= most_bytes
    assert made.quality == BEST_QUALITY or len(encode(IMAGE, kind, made.quality + 1, XMP)) > most_bytes
    assert made.warning == ""


def test_an_advising_gate_lets_a_poorer_file_pass_with_a_warning():
    floor = len(encode(IMAGE, "jpeg", FLOOR_QUALITY, XMP))
    poorer = fit(Encoder(IMAGE, "jpeg", XMP), floor - 500, Gate.ADVISE)
    assert poorer.quality < FLOOR_QUALITY
    assert len(poorer.content) <= floor - 500
    assert "below the advised size" in poorer.warning
    larger = fit(Encoder(IMAGE, "jpeg", XMP), 1000, Gate.ADVISE)
    assert (larger.quality, len(larger.content)) == (FLOOR_QUALITY, floor)
    assert "above the advised size" in larger.warning


def test_room_is_left_for_the_signature_and_the_limit_is_named_as_it_is():
    floor = len(encode(IMAGE, "jpeg", FLOOR_QUALITY, XMP))
    limit = floor + 1000
    assert fit(Encoder(IMAGE, "jpeg", XMP), limit, Gate.HARD, 1000).quality == FLOOR_QUALITY
    said = f"quality 50 makes {floor:,} bytes, at most {limit:,} are allowed, of which the signature takes {limit:,}"
    with pytest.raises(DoesNotFit, match=said):
        fit(Encoder(IMAGE, "jpeg", XMP), limit, Gate.HARD, limit)
    assert said in fit(Encoder(IMAGE, "jpeg", XMP), limit, Gate.ADVISE, limit).warning


def test_a_png_fits_or_is_refused():
    size = len(encode(IMAGE, "png", None, XMP))
    assert fit(Encoder(IMAGE, "png", XMP), size, Gate.HARD).quality is None
    with pytest.raises(DoesNotFit, match=f"as PNG it has {size:,} bytes"):
        fit(Encoder(IMAGE, "png", XMP), size - 1, Gate.HARD)


@pytest.mark.parametrize("kind", WRITTEN)
def test_the_same_pixels_and_marks_are_the_same_bytes_with_the_srgb_profile(kind):
    first, second = (encode(IMAGE, kind, 80, XMP) for _ in range(2))
    assert first == second
    assert opened(first).info["icc_profile"] == SRGB
    assert opened(first).size == IMAGE.size


@needs_exiftool
@pytest.mark.parametrize("kind", WRITTEN)
def test_exiftool_finds_the_marks(kind, tmp_path):
    marks = Marks(
        system="doubao-seedream-4.0",
        version="4.0",
        creator='Müller & <"Söhne">',
        credit="ACME",
        prompt="a red mug",
        alt="Ein Becher\x00 杯",
        creative="hero-v1",
        owner="ACME Ltd",
        licence="C",
        master="ab" * 32,
    )
    found = exiftool(encode(IMAGE, kind, 80, packet(marks)), tmp_path)
    assert found["XMP-iptcExt:DigitalSourceType"] == GENERATED
    assert found["XMP-iptcExt:AISystemUsed"] == "doubao-seedream-4.0"
    assert str(found["XMP-iptcExt:AISystemVersionUsed"]) in ("4.0", "4")
    assert found["XMP-dc:Source"] == "sha256:" + "ab" * 32
    assert found["XMP-iptcExt:AIPromptInformation"] == "a red mug"
    assert found["XMP-dc:Creator"] == 'Müller & <"Söhne">'
    assert found["XMP-photoshop:Credit"] == "ACME"
    assert found["XMP-iptcCore:AltTextAccessibility"] == "Ein Becher 杯"
    assert str(found["XMP-dc:Identifier"]) == "hero-v1"
    assert found["XMP-dc:Rights"] == "ACME Ltd"
    assert found["XMP-xmpRights:UsageTerms"] == "C"
    assert found["ICC_Profile:ProfileDescription"] == "sRGB built-in"


def test_the_longest_texts_still_fit_into_a_jpeg():
    texts = Marks(*["\U0001f3a8" * 9000] * 10)
    assert opened(encode(IMAGE, "jpeg", 80, packet(texts))).size == IMAGE.size


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.sampled_from(["RGB", "RGBA", "L", "P", "CMYK", "LA"]), st.booleans())
def test_a_cut_has_exactly_its_pixels_whatever_the_master_is(width, height, mode, opaque):
    image = picture(120, 90).convert(mode)
    master = open_master(saved(image, "JPEG" if mode == "CMYK" else "PNG"))
    made = cut(master, Crop(10, 0, 100, 90), Pixels(width, height), opaque=opaque)
    assert made.size == (width, height)
    assert made.mode in ({"RGB"} if opaque else {"RGB", "RGBA"})


def test_what_is_clear_becomes_white_in_a_jpeg():
    image = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    made = cut(open_master(saved(image, "PNG")), Crop(0, 0, 40, 40), Pixels(20, 20), opaque=True)
    assert made.getpixel((10, 10)) == (255, 255, 255)


def test_colours_of_another_profile_become_srgb():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    assert lab is not None
    swapped = _swapped_profile()
    master = open_master(saved(Image.new("RGB", (60, 60), (255, 0, 0)), "PNG", icc_profile=swapped))
    red, green, _ = cut(master, Crop(0, 0, 60, 60), Pixels(30, 30), opaque=True).getpixel((15, 15))
    assert green > 200 > red


def _swapped_profile() -> bytes:
    """sRGB with the names of red's and green's primaries exchanged: what says red means green."""
    content = bytearray(SRGB)
    for place in range(132, 132 + 12 * int.from_bytes(content[128:132], "big"), 12):
        if content[place : place + 4] == b"rXYZ":
            content[place : place + 4] = b"gXYZ"
        elif content[place : place + 4] == b"gXYZ":
            content[place : place + 4] = b"rXYZ"
    return bytes(content)


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_greys_of_another_profile_become_srgb(mode):
    grey = Image.new("L", (60, 60), 128)
    image = Image.fromarray(np.full((60, 60), 128 << 8, np.uint16)) if mode == "I;16" else grey.convert(mode)
    assert image.mode == mode
    master = open_master(saved(image, "PNG", icc_profile=_linear_greys()))
    made = cut(master, Crop(0, 0, 60, 60), Pixels(30, 30), opaque=True)
    assert made.mode == "RGB"
    assert made.getpixel((15, 15)) == (188, 188, 188)  # half of the light


def test_a_grey_master_with_a_profile_keeps_what_is_clear():
    image = Image.new("LA", (40, 40), (0, 0))
    master = open_master(saved(image, "PNG", icc_profile=_linear_greys()))
    assert cut(master, Crop(0, 0, 40, 40), Pixels(20, 20), opaque=False).getpixel((10, 10))[3] == 0
    assert cut(master, Crop(0, 0, 40, 40), Pixels(20, 20), opaque=True).getpixel((10, 10)) == (255, 255, 255)


def test_a_grey_master_with_a_profile_of_colours_is_cut_as_one_of_colours():
    image = Image.new("L", (60, 60), 128)
    masters = [open_master(saved(each, "PNG", icc_profile=_darker_colours())) for each in (image, image.convert("RGB"))]
    made = [cut(master, Crop(0, 0, 60, 60), Pixels(30, 30), opaque=True).getpixel((15, 15)) for master in masters]
    assert made[0] == made[1] != (128, 128, 128)


def _darker_colours() -> bytes:
    """sRGB with an exponent of 3 in place of 2.4."""
    return SRGB.replace((157286).to_bytes(4, "big"), (3 << 16).to_bytes(4, "big"))


def _linear_greys() -> bytes:
    """The profile of a screen without colours, whose light is proportional to the value."""
    white = b"XYZ " + bytes(4) + SRGB[68:80]
    curve = b"curv" + bytes(4) + (1).to_bytes(4, "big") + (256).to_bytes(2, "big") + bytes(2)  # an exponent of 1
    tags = b"".join(
        name + place.to_bytes(4, "big") + size.to_bytes(4, "big")
        for name, place, size in ((b"wtpt", 156, 20), (b"kTRC", 176, 16))
    )
    content = bytearray(SRGB[:128] + (2).to_bytes(4, "big") + tags + white + curve)
    content[:4] = len(content).to_bytes(4, "big")
    content[16:20] = b"GRAY"
    return bytes(content)


def test_a_master_that_lies_on_its_side_is_cut_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise
    master = open_master(saved(picture(80, 40), "JPEG", exif=exif))
    assert master.pixels == Pixels(40, 80)


def test_an_animation_and_what_is_no_image_cannot_be_cut():
    frames = [picture(20, 20, seed) for seed in range(3)]
    animation = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    for content, reason in ((animation, "animation"), (b"\xff\xd8\xffnonsense", "does not decode")):
        with pytest.raises(Unusable, match=reason):
            open_master(content)


def test_a_bad_profile_is_no_reason_to_refuse_a_master():
    master = open_master(saved(picture(40, 40), "PNG", icc_profile=b"nonsense" * 20))
    assert cut(master, Crop(0, 0, 40, 40), Pixels(20, 20), opaque=True).size == (20, 20)


def test_the_profile_holds_no_time():
    assert SRGB[24:36] == bytes.fromhex("07ea00010001000000000000")
    assert ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(BytesIO(SRGB))).strip() == "sRGB built-in"


@pytest.mark.parametrize(
    ("model", "version"),
    [("doubao-seedream-4.0", "4.0"), ("doubao-seedream-4.0-turbo", "4.0"), ("model-v2", "2"), ("m", ""), ("", "")],
)
def test_the_version_is_that_of_the_model_s_name(model, version):
    assert version_of(model) == version


def test_every_mark_is_left_out_where_it_is_empty():
    bare = packet(Marks()).decode()
    assert GENERATED in bare
    for name in itertools.chain(
        ("AISystemUsed", "AIPrompt", "creator", "Credit", "AltText", "rights", "UsageTerms", "source", "identifier")
    ):
        assert f":{name}" not in bare
