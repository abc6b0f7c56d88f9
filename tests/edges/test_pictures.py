import asyncio
import io
import zlib
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin
from support.pictures import animation, image, with_sampling

from adloom.core.errors import DecoderBroken, PictureUnjudged
from adloom.core.task import Picture
from adloom.edges import picture_child
from adloom.edges.pictures import PictureDecoder

HONEST = Path(picture_child.__file__).read_text()


def smooth(size: tuple[int, int], kind="JPEG", **options) -> bytes:
    """A large picture that is quickly made."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(out, kind, **options)
    return out.getvalue()


def with_adobe_transform(content: bytes, transform: int) -> bytes:
    place = content.index(b"Adobe") + 11
    return content[:place] + bytes([transform]) + content[place + 1 :]


def with_scans(scans: int) -> bytes:
    """A progressive JPEG that repeats its last scan."""
    content = image("JPEG", progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * scans + content[-2:]


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that unpacks to a large black picture."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    packed = zlib.compress(bytes((width // 8 + 1) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.fixture
async def decoder():
    decoder = PictureDecoder()
    yield decoder
    await decoder.aclose()


@pytest.mark.parametrize(
    ("content", "picture"),
    [
        (image("JPEG"), Picture("image/jpeg", "jpg", 48, 32)),
        (image("JPEG", progressive=True), Picture("image/jpeg", "jpg", 48, 32)),
        (image("JPEG", mode="CMYK"), Picture("image/jpeg", "jpg", 48, 32)),
        (image("JPEG") + b"trailing", Picture("image/jpeg", "jpg", 48, 32)),
        (image("PNG"), Picture("image/png", "png", 48, 32)),
        (image("PNG", mode="P"), Picture("image/png", "png", 48, 32)),
        (image("WEBP"), Picture("image/webp", "webp", 48, 32)),
        (image("WEBP", lossless=True), Picture("image/webp", "webp", 48, 32)),
        (image("AVIF"), Picture("image/avif", "avif", 48, 32)),
        (image("BMP"), Picture("image/bmp", "bmp", 48, 32)),
        (image("GIF", mode="P"), Picture("image/gif", "gif", 48, 32)),
        (b"\r\n" + image("JPEG"), Picture("image/jpeg", "jpg", 48, 32)),
        (image("JPEG").replace(b"JFIF\0\1", b"JFIF\0\7"), Picture("image/jpeg", "jpg", 48, 32)),
        (with_adobe_transform(image("JPEG", mode="CMYK"), 7), Picture("image/jpeg", "jpg", 48, 32)),
        (image("JPEG", restart_marker_rows=1), Picture("image/jpeg", "jpg", 48, 32)),
        (with_sampling(image("JPEG", subsampling="4:4:4"), 0x31), Picture("image/jpeg", "jpg", 48, 32)),
    ],
)
async def test_a_whole_picture_is_told_by_its_bytes(decoder, content, picture):
    assert await decoder.decode(content) == picture


async def test_a_valid_jpeg_of_49_megapixels_is_a_picture(decoder):
    assert await decoder.decode(smooth((7000, 7000))) == Picture("image/jpeg", "jpg", 7000, 7000)
    assert await decoder.decode(smooth((7000, 7000), progressive=True)) == Picture("image/jpeg", "jpg", 7000, 7000)


@pytest.mark.parametrize(
    ("kind", "media_type", "extension"),
    [
        ("PNG", "image/png", "png"),
        ("WEBP", "image/webp", "webp"),
        ("GIF", "image/gif", "gif"),
        ("AVIF", "image/avif", "avif"),
    ],
)
async def test_an_animation_is_a_picture_with_a_flag(decoder, kind, media_type, extension):
    assert await decoder.decode(animation(kind)) == Picture(media_type, extension, 16, 8, ("animated", "blank"))


async def test_half_a_large_jpeg_with_an_end_marker_is_no_picture(decoder):
    content = smooth((2048, 2048), quality=90)
    assert await decoder.decode(content[: len(content) // 2] + b"\xff\xd9") is None


async def test_a_decoded_picture_has_type_extension_and_pixels(decoder):
    assert await decoder.decode(image("JPEG")) == Picture("image/jpeg", "jpg", 48, 32)
    assert await decoder.decode(image("PNG")) == Picture("image/png", "png", 48, 32)
    assert await decoder.decode(image("WEBP")) == Picture("image/webp", "webp", 48, 32)


async def test_bombs_cost_their_own_verdict_and_others_go_on(decoder):
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 80_000_000, zip=True)
    bombs = [png_bomb(60_000, 60_000), image("PNG", pnginfo=text)]
    assert max(map(len, bombs)) < 1_000_000
    found = await asyncio.gather(*map(decoder.decode, [*bombs, image()]), return_exceptions=True)
    assert isinstance(found[0], PictureUnjudged)
    assert found[1:] == [None, Picture("image/jpeg", "jpg", 48, 32)]


async def test_forty_eight_million_pixels_are_a_picture(decoder):
    assert await decoder.decode(png_bomb(8000, 6000)) == Picture("image/png", "png", 8000, 6000, ("blank",))


async def test_a_jpeg_of_thousands_of_scans_is_not_decoded(decoder):
    """Each scan is a pass over the whole image: a small file of 3,000 took a core for 48 s."""
    with pytest.raises(PictureUnjudged, match="scans"):
        await decoder.decode(with_scans(3000))
    assert len(decoder._idle) == 1


@pytest.fixture
def poisonable(monkeypatch, tmp_path):
    """A child that some images kill, each in its own way; the images that were handed to children are noted."""
    deadly = tmp_path / "deadly.py"
    source = (
        HONEST.replace(
            "def main() -> None:",
            "import os\nhonest = look\ndef look(content):\n"
            f"    with open({str(tmp_path / 'seen')!r}, 'ab') as seen: seen.write(content[:6] + b'\\n')\n"
            "    if content.startswith(b'poison'): os.kill(os.getpid(), 9)\n"
            "    while content.startswith(b'costly'): pass\n"
            "    return honest(content)\ndef main() -> None:",
        )
        .replace("\nCPU_S = 20\n", "\nCPU_S = 0\n")
        .replace("resource.RLIMIT_FSIZE: 0,", "")
    )
    deadly.write_text(source)
    monkeypatch.setattr("adloom.edges.pictures._CHILD", deadly)
    return lambda: (tmp_path / "seen").read_bytes().split()


async def test_an_image_that_kills_its_child_is_not_judged_and_takes_no_other_with_it(decoder, poisonable):
    images = [image(), b"poison", image(), b"poison", image()]
    found = await asyncio.gather(*map(decoder.decode, images), return_exceptions=True)
    assert found[::2] == [Picture("image/jpeg", "jpg", 48, 32)] * 3
    assert all(isinstance(error, PictureUnjudged) for error in found[1::2])


async def test_an_image_that_nobody_could_judge_is_not_tried_again_by_the_same_process(decoder, poisonable):
    for _download in range(3):
        with pytest.raises(PictureUnjudged):
            await decoder.decode(b"poison")
    assert poisonable().count(b"poison") == 2
    assert await decoder.decode(image()) is not None


async def test_an_image_that_used_up_its_time_gets_no_second_try(decoder, poisonable):
    with pytest.raises(PictureUnjudged):
        await decoder.decode(b"costly")
    assert poisonable() == [b"costly"]


async def test_an_image_that_hangs_its_child_is_not_judged(monkeypatch, tmp_path):
    slow = tmp_path / "slow.py"
    slow.write_text("import time\nprint('\"ready\"', flush=True)\ntime.sleep(60)\n")
    monkeypatch.setattr("adloom.edges.pictures._CHILD", slow)
    decoder = PictureDecoder(image_s=0.2)
    with pytest.raises(PictureUnjudged):
        await decoder.decode(image())
    await decoder.aclose()


@pytest.mark.parametrize("script", ["raise SystemExit(1)", "print('null', flush=True); input()"])
async def test_a_decoder_that_does_not_start_is_no_verdict_on_the_image(decoder, monkeypatch, tmp_path, script):
    broken = tmp_path / "broken.py"
    broken.write_text(script)
    monkeypatch.setattr("adloom.edges.pictures._CHILD", broken)
    with pytest.raises(DecoderBroken):
        await decoder.decode(image())
