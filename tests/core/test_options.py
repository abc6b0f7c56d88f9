"""Options of the models: what they mean, who they are part of, and what is sent for them."""

import json
from decimal import Decimal

import pytest
from support.fakes import a_row, an_intent, references

from adloom.core.family import sent_options, standing_options, unsupported
from adloom.core.identity import row_digest
from adloom.core.limits import MODELS
from adloom.core.order import Order
from adloom.core.planned import Variant
from adloom.core.pricing import Kind, kind_fields, kind_of, price_of
from adloom.core.records import Intent

FOUR, LITE, FLASH, PRO = (f"doubao-seedream-{name}" for name in ("4.0", "5.0-lite", "5.0-flash", "5.0-pro"))


def _body(model, n=1, **row):
    row = a_row(model=model, **row)
    variants = tuple(Variant(f"k{number}", number, 1) for number in range(1, n + 1))
    return json.loads(Order("c-1", row, variants, Decimal(1)).body())


def _kind_of_an_intent(fields):
    return Intent.of({**an_intent(1), "time": "2026-11-01T00:00:00.000Z", "writer": "w", **fields}).kind


def test_an_option_at_its_default_is_none():
    off = {"output_format": "jpeg", "background": "opaque", "watermark": "false", "web_search": "false"}
    assert standing_options(off) == standing_options(dict.fromkeys(off, "")) == ()
    assert standing_options(off | {"watermark": "true"}) == (("watermark", "true"),)


def test_a_transparent_background_means_a_png_whether_it_is_said_or_not():
    alone = standing_options({"background": "transparent"})
    assert alone == standing_options({"background": "transparent", "output_format": "png"})


def test_options_change_who_a_row_is_and_their_lack_leaves_it_what_it_was():
    bare = a_row()
    assert row_digest(bare) == row_digest(a_row(options=()))
    digests = {row_digest(a_row(options=(option,))) for option in (("watermark", "true"), ("web_search", "true"))}
    assert len(digests | {row_digest(bare)}) == 3


def test_each_model_is_sent_its_own_fields_and_no_other():
    assert not {"output_format", "watermark", "background", "model_params"} & set(_body(FOUR, n=3))
    assert "model_params" not in _body(LITE)
    assert _body(LITE, options=(("output_format", "png"), ("web_search", "true")))["model_params"] == {
        "output_format": "png",
        "tools": [{"type": "web_search"}],
    }
    flash = _body(FLASH)
    assert "n" not in flash
    assert (flash["output_format"], flash["watermark"]) == ("jpeg", False)
    assert sent_options(PRO, (("background", "transparent"),)) == {
        "output_format": "png",
        "background": "transparent",
        "watermark": False,
    }
    assert sent_options("a model of a later version", (("watermark", "true"),)) == {}


@pytest.mark.parametrize(
    ("model", "options", "references", "field", "allowed"),
    [
        (FOUR, {"web_search": "true"}, 0, "web_search", f"{LITE} supports it"),
        (LITE, {"watermark": "true"}, 0, "watermark", f"{FLASH} and {PRO} support it"),
        (PRO, {"background": "transparent"}, 0, "background", "one PNG with an alpha channel"),
        (PRO, {"background": "transparent"}, 2, "background", "one PNG with an alpha channel"),
        (FLASH, {}, 11, "references", f"at most 10 for {FLASH}; {FOUR}, doubao-seedream-4.5 and {LITE} support it"),
    ],
)
def test_what_a_model_does_not_take_is_said_with_those_that_do(model, options, references, field, allowed):
    (misfit,) = unsupported(MODELS[model], "1:1", "2K", "standard", tuple(options.items()), references)
    assert (misfit.field, misfit.allowed) == (field, allowed)


@pytest.mark.parametrize(
    ("row", "credits_"),
    [
        ({"model": PRO, "size": "1:1", "quality": "1.5K"}, "2.295"),
        ({"model": PRO, "size": "1:1", "quality": "2K"}, "4.59"),
        ({"model": PRO, "size": "1500x1740", "quality": ""}, "2.295"),
        ({"model": PRO, "size": "1500x1741", "quality": ""}, "4.59"),
        ({"model": PRO, "size": "1:1", "quality": "1K", "references": references(3)}, "2.754"),
        ({"model": FLASH, "size": "1:1", "quality": "2K", "references": references(3)}, "1.1016"),
        ({"model": LITE, "size": "1:1", "quality": "4K", "options": (("web_search", "true"),)}, "1.944"),
        ({"model": FOUR, "size": "2048x2048", "quality": ""}, "1.53"),
    ],
)
def test_an_image_costs_what_its_model_quality_pixels_and_references_cost(row, credits_):
    kind = kind_of(a_row(**row))
    assert price_of(kind, {}) == Decimal(credits_)
    assert _kind_of_an_intent({"model": kind.model, **kind_fields(kind)}) == kind


def test_a_campaigns_own_price_leaves_what_is_charged_beside_it():
    assert price_of(Kind(PRO, "2K", references=2), {PRO: Decimal(4)}) == Decimal("4.306")


def test_a_kind_that_an_older_version_wrote_down_is_read():
    assert _kind_of_an_intent({"model": FOUR, "quality": "2K"}) == Kind(FOUR, "2K")
