"""How many images a prompt asks for."""

from __future__ import annotations

import pytest

from adloom.sandbox.counting import images_asked


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        ("a red mug", 1),
        ("Generate 3 different images: a red mug", 3),
        ("generate 12 images of mugs", 12),
        ("please make four pictures", 4),
        ("2 distinct new variations of a mug", 2),
        ("生成5张不同的图片：红色杯子", 5),
        ("生成三张不同的图片：红色杯子", 3),
        ("请画十二张图", 12),
        ("a 3 litre jug", 1),
        ("shot at 50 mm, f/2 images", 1),
        ("Generate 2 different images: a wall with 7 pictures", 2),
    ],
)
def test_the_number_of_images_is_read_from_the_prompt(prompt, count):
    assert images_asked(prompt) == count
