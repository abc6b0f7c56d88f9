"""Crops: the right shape, never enlarged, and the focus always inside."""

from hypothesis import given
from hypothesis import strategies as st

from adloom.core.crop import DEFAULT_FOCUS, Crop, Focus, Pixels, crop, kept, part_of, serves

sides = st.integers(1, 7000)
pixels = st.builds(Pixels, sides, sides)
fractions = st.floats(0, 1)


@given(pixels, pixels, fractions, fractions)
def test_a_crop_lies_in_its_master_and_holds_the_focus(master, wanted, x, y):
    part = crop(master, wanted, Focus(x, y))
    assert 0 <= part.x <= part.x + part.width <= master.width
    assert 0 <= part.y <= part.y + part.height <= master.height
    assert part.x <= x * master.width <= part.x + part.width
    assert part.y <= y * master.height <= part.y + part.height


@given(pixels, pixels)
def test_a_crop_has_its_channel_s_shape_to_the_pixel(master, wanted):
    part = part_of(master, wanted)
    if serves(master, wanted):
        assert abs(part.width * wanted.height - part.height * wanted.width) <= max(wanted)
    assert part.width == master.width or part.height == master.height
    assert 0 < kept(master, wanted) <= 1


@given(pixels, pixels)
def test_a_master_serves_exactly_what_is_no_larger_than_it(master, wanted):
    assert serves(master, wanted) == (master.width >= wanted.width and master.height >= wanted.height)


def test_an_off_centre_focus_moves_the_crop_until_the_edge():
    master, story = Pixels(4000, 2000), Pixels(1080, 1920)
    assert crop(master, story, DEFAULT_FOCUS) == Crop(1438, 0, 1125, 2000)
    assert crop(master, story, Focus(0.9, 0.5)) == Crop(2875, 0, 1125, 2000)
    assert crop(master, story, Focus(0.3, 0.5)).x == 638
