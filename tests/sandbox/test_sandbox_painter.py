from __future__ import annotations

import io
import subprocess
import sys

import pytest
from PIL import Image, ImageChops

from adloom.sandbox import tables
from adloom.sandbox.painting.painter import Painting, marked, paint, plain
from adloom.sandbox.submission import dimensions

FOUR = tables.MODELS["doubao-seedream-4.0"]


def decoded(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


def a_painting(prompt: str = "a red mug", index: int = 0, **more) -> Painting:
    return Painting(**{"count": 3, "width_px": 448, "height_px": 560, "mark": "m"} | more, prompt=prompt, index=index)


@pytest.mark.parametrize("quality", ["1K", "2K", "4K"])
def test_every_ratio_has_its_pixels_and_decodes_whole(quality):
    for ratio in sorted(tables.ratios()):
        size = dimensions(FOUR, ratio, quality, 0)
        assert decoded(plain(*size, "jpeg")).size == size


def test_the_table_is_the_documented_one():
    assert dimensions(FOUR, "4:5", "2K", 0) == (1792, 2240)
    assert dimensions(FOUR, "3:2", "1K", 0) == (1248, 832)
    assert dimensions(FOUR, "16:9", "4K", 0) == (5504, 3040)
    assert dimensions(FOUR, "21:9", "2K", 0) == (3136, 1344)
    assert dimensions(FOUR, "1500x1000", "4K", 0) == (1500, 1000)


def test_the_same_painting_has_the_same_bytes():
    assert paint(a_painting()) == paint(a_painting())


def test_images_of_one_prompt_differ_visibly():
    first, second = decoded(paint(a_painting(index=0))), decoded(paint(a_painting(index=1)))
    assert sum(ImageChops.difference(first, second).convert("L").histogram()[16:]) > 0.1 * 448 * 560


@pytest.mark.parametrize("media", ["jpeg", "png"])
def test_a_mark_changes_the_bytes_and_not_the_picture(media):
    whole = plain(64, 48, media)
    one, other = marked(whole, "one"), marked(whole, "other")
    assert one != other
    assert decoded(one).tobytes() == decoded(other).tobytes()


@pytest.mark.parametrize(
    "prompt",
    [
        "生成3张不同的图片：红色杯子放在木桌上",
        "Café crème — “golden hour”",
        "☕🫖",
        "x" * 2000,
        "\x00\n\t",
        "Кружка на столе",
    ],
)
@pytest.mark.parametrize("size", [(448, 560), (1280, 80)])
def test_any_prompt_can_be_painted(prompt, size):
    picture = decoded(paint(a_painting(prompt, width_px=size[0], height_px=size[1])))
    assert picture.size == size


def test_pillow_and_everything_heavy_stay_out_until_a_picture_is_painted():
    heavy = "import sys, adloom.sandbox; print([m for m in ('PIL', 'pandas', 'numpy', 'prefect') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_nothing_of_the_product_is_imported():
    alone = (
        "import sys, adloom.sandbox; print([m for m in sys.modules if m.startswith('adloom.') and 'sandbox' not in m])"
    )
    answer = subprocess.run([sys.executable, "-c", alone], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
