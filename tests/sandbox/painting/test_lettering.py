"""Words on a picture, whatever the prompt holds."""

from __future__ import annotations

import pytest
from support.sandbox_pictures import a_painting, decoded

from adloom.sandbox.painting.painter import paint


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
