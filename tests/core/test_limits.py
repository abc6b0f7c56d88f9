from datetime import date
from decimal import Decimal

import pytest

from adloom.core.limits import DEFAULT_MODEL, MODELS, PROFILES, REFERENCES_AND_IMAGES, STRICT, WIDE
from adloom.sandbox import tables


def test_the_default_model_is_in_the_table():
    assert DEFAULT_MODEL in MODELS


@pytest.mark.parametrize("model", MODELS.values(), ids=str)
def test_every_model_has_a_price_with_its_source_and_date(model):
    assert isinstance(model.credits_per_image, Decimal)
    assert model.credits_per_image > 0
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
    assert ours.credits_per_image == theirs.credits_per_image


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
