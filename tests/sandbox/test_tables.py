"""The sandbox is strict about each model's own rules, and charges by quality, pixels, references and searches."""

from __future__ import annotations

import pytest

from adloom.sandbox import tables
from adloom.sandbox.submission import dimensions

FLASH, PRO, LITE = "doubao-seedream-5.0-flash", "doubao-seedream-5.0-pro", "doubao-seedream-5.0-lite"
ONE = ["https://a.example/1.png"]


@pytest.mark.parametrize(
    ("model", "fields", "param"),
    [
        (FLASH, {"n": 1}, "n"),
        (PRO, {"n": 4}, "n"),
        (FLASH, {"quality": "4K"}, "quality"),
        (FLASH, {"prompt_priority": "fast"}, "prompt_priority"),
        (PRO, {"size": "3072x3072"}, "size"),
        (PRO, {"image_urls": ONE * 11}, "image_urls"),
        (PRO, {"prompt": "word " * 5001}, "prompt"),
        (PRO, {"watermark": "false"}, "watermark"),
        (PRO, {"output_format": "webp"}, "output_format"),
        (PRO, {"background": "none"}, "background"),
        (PRO, {"background": "transparent"}, "background"),
        (PRO, {"background": "transparent", "image_urls": ONE, "output_format": "jpeg"}, "output_format"),
        (PRO, {"model_params": {}}, "model_params"),
        (LITE, {"watermark": False}, "watermark"),
        (LITE, {"quality": "1K"}, "quality"),
        (LITE, {"model_params": []}, "model_params"),
        (LITE, {"model_params": {"seed": 1}}, "model_params.seed"),
        (LITE, {"model_params": {"tools": [{"type": "code"}]}}, "model_params.tools"),
        ("doubao-seedream-4.0", {"output_format": "png"}, "output_format"),
    ],
)
async def test_what_a_model_does_not_take_is_refused_with_its_field(visit, model, fields, param):
    visitor = await visit()
    plain = {"prompt": "a mug", "model": model}
    answer = await visitor.http.post("/v1/images/generations", json=plain | fields, headers=visitor.headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert visitor.sandbox.charges() == []


@pytest.mark.parametrize(
    ("model", "fields", "credits_"),
    [
        (FLASH, {}, 1.1016),
        (FLASH, {"quality": "2K", "image_urls": ONE * 3}, 1.1016),
        (PRO, {"quality": "1.5K", "size": "16:9"}, 2.295),
        (PRO, {"quality": "2K", "size": "21:9"}, 4.59),
        (PRO, {"size": "1500x1740"}, 2.295),
        (PRO, {"size": "1500x1741"}, 4.59),
        (PRO, {"image_urls": ONE * 2}, 2.601),
        (LITE, {"quality": "3K", "n": 2}, 3.808),
        (LITE, {"n": 2, "model_params": {"tools": [{"type": "web_search"}]}}, 3.888),
    ],
)
async def test_each_model_reserves_its_own_price(visit, model, fields, credits_):
    visitor = await visit()
    plain = {"prompt": "Generate 2 different images: a mug", "model": model}
    answer = await visitor.http.post("/v1/images/generations", json=plain | fields, headers=visitor.headers)
    assert answer.json()["usage"]["credits_reserved"] == credits_


async def test_a_search_is_charged_once_and_images_are_charged_as_made(visit):
    visitor = await visit(task_seconds=0)
    params = {"tools": [{"type": "web_search"}], "output_format": "png"}
    body = {"prompt": "Generate 2 different images: a mug", "model": LITE, "n": 3, "model_params": params}
    await visitor.http.post("/v1/images/generations", json=body, headers=visitor.headers)
    visitor.sandbox.advance(1)
    (charge,) = visitor.sandbox.charges()
    assert (charge.made, float(charge.charged)) == (2, 3.848)


FOUR = tables.MODELS["doubao-seedream-4.0"]


def test_the_table_is_the_documented_one():
    assert dimensions(FOUR, "4:5", "2K", 0) == (1792, 2240)
    assert dimensions(FOUR, "3:2", "1K", 0) == (1248, 832)
    assert dimensions(FOUR, "16:9", "4K", 0) == (5504, 3040)
    assert dimensions(FOUR, "21:9", "2K", 0) == (3136, 1344)
    assert dimensions(FOUR, "1500x1000", "4K", 0) == (1500, 1000)
