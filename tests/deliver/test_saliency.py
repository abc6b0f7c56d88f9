"""The proposed focus, held against ten pictures whose subject is known."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter
from support.masters import picture

from adloom.core.crop import Focus, Pixels, crop
from adloom.deliver.saliency import salient_point

SUBJECTS = [(0.5, 0.5), (0.3, 0.35), (0.7, 0.3), (0.25, 0.6), (0.75, 0.65), (0.5, 0.3), (0.5, 0.7), (0.35, 0.5),
            (0.65, 0.5), (0.4, 0.4)]  # fmt: skip
ACROSS = [(1200, 800), (800, 1200), (1000, 1000)]


def _scene(number: int) -> tuple[Image.Image, tuple[float, float]]:
    """A soft background of muted colours, and one object with an outline of its own."""
    width, height = ACROSS[number % len(ACROSS)]
    x, y = SUBJECTS[number]
    muted = np.asarray(picture(width, height, number, grain=300), np.float32) * 0.2 + 130
    image = Image.fromarray(muted.astype(np.uint8))
    brush, radius = ImageDraw.Draw(image), min(width, height) // 8
    box = (x * width - radius, y * height - radius, x * width + radius, y * height + radius)
    colour = ((200, 40, 30), (20, 60, 160), (240, 200, 40), (20, 20, 20), (250, 250, 250))[number % 5]
    (brush.ellipse if number % 2 else brush.rectangle)(box, fill=colour)
    return image.filter(ImageFilter.GaussianBlur(2)), (x, y)


@pytest.mark.parametrize("number", range(len(SUBJECTS)))
def test_the_proposal_is_on_the_subject(number: int):
    image, (x, y) = _scene(number)
    found = salient_point(image)
    assert abs(found.x - x) < 0.1
    assert abs(found.y - y) < 0.1
    part = crop(Pixels(*image.size), Pixels(300, 600), found)
    assert part.x <= x * image.width <= part.x + part.width


def test_a_picture_of_one_colour_has_its_focus_in_the_middle():
    found = salient_point(Image.new("RGB", (90, 60), "red"))
    assert abs(found.x - 0.5) < 0.05
    assert abs(found.y - 0.5) < 0.05


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK"])
def test_any_mode_has_a_focus(mode: str):
    assert isinstance(salient_point(picture(80, 60).convert(mode)), Focus)
