from datetime import date
from decimal import Decimal

import pytest

from adloom.core.limits import DEFAULT_MODEL, MODELS, PROFILES, REFERENCES_AND_IMAGES, STRICT, WIDE
from adloom.sandbox import tables


def test_the_default_model_is_in_the_table():
    assert DEFAULT_MODEL in MODELS


@pytest.mark.parametrize("model", MODELS.values(), ids=str)
def test_every_model_has_a_price_with_its_source_and_date(model):
    assert set(model.credits_by_quality) == set(model.qualities)
    assert all(isinstance(each, Decimal) and each > 0 for each in model.credits_by_quality.values())
    assert date.fromisoformat(model.priced_on) < date(2027, 1, 1)
    assert model.price_source
    assert model.default_quality in model.qualities


@pytest.mark.parametrize("model", MODELS.values(), ids=str)
def test_every_model_says_where_and_when_its_limits_were_read(model):
    assert model.source
    assert date.fromisoformat(model.read_on) < date(2027, 1, 1)
    assert 0 < model.pixels[0] < model.pixels[1]


@pytest.mark.parametrize("name", MODELS)
def test_the_sandbox_which_has_its_own_tables_agrees(name):
    """Both were written from the same pages by themselves: a slip in one of them shows here."""
    ours, theirs = MODELS[name], tables.MODELS[name]
    assert (ours.qualities, ours.priorities) == (theirs.qualities, theirs.priorities)
    assert ours.pixels == (theirs.least_pixels, theirs.most_pixels)
    assert (ours.default_quality, ours.images_per_call > 1, ours.references) == (
        theirs.default_quality, theirs.has_n, theirs.references,
    )  # fmt: skip
    assert ours.credits_per_reference == theirs.credits_per_reference
    assert ours.credits_per_search in (0, tables.CREDITS_PER_SEARCH)
    for quality in ours.qualities:
        for ratio in tables.ratios():
            assert ours.credits(quality) == theirs.price(*tables.pixels(theirs, quality, ratio), 0), (quality, ratio)


@pytest.mark.parametrize("name", MODELS)
def test_sizes_in_pixels_are_billed_as_the_sandbox_bills_them(name):
    ours, theirs = MODELS[name], tables.MODELS[name]
    for size in ("1280x720", "1500x1740", "1500x1741", "2048x2048", "2560x1440"):
        width, height = map(int, size.split("x"))
        assert ours.credits(ours.billed_quality(size, "")) == theirs.price(width, height, 0)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_every_profile_leaves_room_for_an_image_and_says_where_it_is_from(profile):
    assert profile.references.count < REFERENCES_AND_IMAGES
    assert profile.source


def test_what_strict_allows_wide_allows_too():
    strict, wide = STRICT.references, WIDE.references
    assert set(STRICT.ratios) <= set(WIDE.ratios)
    assert set(strict.formats) <= set(wide.formats)
    assert (strict.count, strict.ratio, strict.size_bytes) <= (wide.count, wide.ratio, wide.size_bytes)
    assert (strict.width_px, strict.height_px) <= (wide.width_px, wide.height_px)
    assert strict.least_side_px >= wide.least_side_px
