"""Painted pictures: the size that was asked for, the same bytes each time, different for each image."""

from __future__ import annotations

import pytest
from PIL import ImageChops
from support.sandbox_pictures import a_painting, decoded

from adloom.sandbox import tables
from adloom.sandbox.painting.painter import marked, paint, plain
from adloom.sandbox.submission import dimensions

FOUR = tables.MODELS["doubao-seedream-4.0"]


@pytest.mark.parametrize("quality", ["1K", "2K", "4K"])
def test_every_ratio_has_its_pixels_and_decodes_whole(quality):
    for ratio in sorted(tables.ratios()):
        size = dimensions(FOUR, ratio, quality, 0)
        assert decoded(plain(*size, "jpeg")).size == size


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
