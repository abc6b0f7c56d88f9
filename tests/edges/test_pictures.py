import asyncio
import io
import os
import random
import signal
import socket
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

from adloom.core.errors import DecoderBroken, PictureUnjudged
from adloom.core.task import Picture
from adloom.edges import picture_child, picture_look
from adloom.edges.pictures import PictureDecoder

HONEST = Path(picture_child.__file__).read_text()


def image(kind="JPEG", size=(48, 32), mode="RGB", **options) -> bytes:
    width, height = size
    noise = random.Random(7).randbytes(width * height * 3)
    out = io.BytesIO()
    Image.frombytes("RGB", size, noise).convert(mode).save(out, kind, **options)
    return out.getvalue()


def smooth(size: tuple[int, int], kind="JPEG", **options) -> bytes:
    """A large picture that is quickly made."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(out, kind, **options)
    return out.getvalue()


def animation(kind: str) -> bytes:
    frames = [Image.new("RGB", (16, 8), color) for color in ("red", "blue", "green")]
    out = io.BytesIO()
    frames[0].save(out, kind, save_all=True, append_images=frames[1:], duration=100)
    return out.getvalue()


def with_sampling(content: bytes, factors: int) -> bytes:
    """A JPEG whose first colour is sampled otherwise than it was made; its data then describe more or fewer rows."""
    frame = content.index(b"\xff\xc0")
    return content[: frame + 11] + bytes([factors]) + content[frame + 12 :]


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


async def test_half_a_large_jpeg_with_an_end_marker_is_no_picture(decoder):
    content = smooth((2048, 2048), quality=90)
    assert await decoder.decode(content[: len(content) // 2] + b"\xff\xd9") is None


async def test_a_decoded_picture_has_type_extension_and_pixels(decoder):
    assert await decoder.decode(image("JPEG")) == Picture("image/jpeg", "jpg", 48, 32)
    assert await decoder.decode(image("PNG")) == Picture("image/png", "png", 48, 32)
    assert await decoder.decode(image("WEBP")) == Picture("image/webp", "webp", 48, 32)


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


async def test_a_lying_child_is_not_believed(decoder, monkeypatch, tmp_path):
    liar = tmp_path / "liar.py"
    liar.write_text(
        "import sys\nprint('\"ready\"', flush=True)\n"
        'while sys.stdin.buffer.read(9): print(\'["../x", 1, 1, [], "", 0]\', flush=True); '
        "sys.stdin.buffer.read(len(sys.argv))\n"
    )
    monkeypatch.setattr("adloom.edges.pictures._CHILD", liar)
    assert await decoder.decode(b"x") is None


async def test_children_see_neither_the_key_nor_ctrl_c(decoder, monkeypatch):
    monkeypatch.setenv("EVOLINK_API_KEY", "sk-evo-canary")
    await decoder.decode(image())
    child = decoder._idle[0]._process.pid
    assert b"canary" not in environment(child)
    os.kill(child, signal.SIGINT)
    assert await decoder.decode(image()) is not None
    assert decoder._idle[0]._process.pid == child
    assert os.getsid(child) != os.getsid(0)


async def test_children_are_started_when_needed_and_end_with_the_decoder():
    decoder = PictureDecoder()
    assert decoder._idle == []
    await asyncio.gather(*(decoder.decode(image()) for _ in range(6)))
    children = [child._process.pid for child in decoder._idle]
    assert len(children) == 2
    await decoder.aclose()
    assert not any(map(is_running, children))


async def test_children_end_when_their_parent_is_killed():
    script = (
        "import asyncio, sys\nfrom adloom.edges.pictures import PictureDecoder\n"
        "async def main():\n    decoder = PictureDecoder()\n    await decoder.decode(b'')\n"
        "    print(decoder._idle[0]._process.pid, flush=True)\n    await asyncio.sleep(60)\nasyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:  # noqa: ASYNC220
        child = int(await asyncio.to_thread(parent.stdout.readline))
        assert is_running(child)
        parent.kill()
    for _ in range(100):
        if not is_running(child):
            return
        await asyncio.sleep(0.02)
    pytest.fail("the child outlived its parent")


def environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("announced", ["600000", "-1", "1e9", '"x"'])
async def test_a_child_that_announces_too_much_is_not_listened_to(monkeypatch, tmp_path, announced):
    liar = tmp_path / "liar.py"
    liar.write_text(
        "import sys\nprint('\"ready\"', flush=True)\nsys.stdin.buffer.read(10)\n"
        f'print(\'["jpeg", 1, 1, [], "", {announced}]\', flush=True)\n'
        "while True: sys.stdout.buffer.write(bytes(65536))\n"
    )
    monkeypatch.setattr("adloom.edges.pictures._CHILD", liar)
    async with PictureDecoder(image_s=5) as decoder:
        try:
            assert await decoder.decode(b"x") is None
        except PictureUnjudged:
            return


A_USER = "    os.getuid() or os.setuid(65534)\n"  # a superuser may have as many threads as he likes
LEAVE = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x50000000))"
CAN_LEAVE_THE_NETWORK = subprocess.run([sys.executable, "-c", LEAVE], check=False).returncode == 0
TRIALS = {
    "write": "os.write(os.open({escape!r}, os.O_CREAT | os.O_WRONLY), b'x')",
    "files": "[open('/dev/null') for _ in range(100)]",
    "memory": "bytearray(2 * 1024**3)",
    "thread": "threading.Thread(target=print).start()",
} | ({"connect": "socket.socket().connect(({host!r}, {port}))"} if CAN_LEAVE_THE_NETWORK else {})
"""What a child whose decoder was taken over might try."""


@pytest.mark.parametrize("trial", TRIALS)
async def test_a_child_that_was_taken_over_is_held_in(decoder, monkeypatch, tmp_path, trial):
    taken, escape = tmp_path / "taken.py", tmp_path / "escape"
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        attempt = TRIALS[trial].format(host=host, port=port, escape=str(escape))
        taken.write_text(
            HONEST.replace(
                "def main() -> None:",
                "import os, socket, threading\ndef look(content):\n"
                f"    try:\n        {attempt}\n    except (OSError, MemoryError, RuntimeError) as error:\n"
                "        raise Unjudged('held ' + type(error).__name__)\n    return None\ndef main() -> None:",
            ).replace("    leave_the_network()\n", A_USER + "    leave_the_network()\n", 1)
        )
        monkeypatch.setattr("adloom.edges.pictures._CHILD", taken)
        with pytest.raises(PictureUnjudged, match="held"):
            await decoder.decode(b"x")
    assert not escape.exists() or escape.stat().st_size == 0
