"""The fewest masters: as few as trying everything finds, served without enlarging, and stable once bought."""

from contextlib import suppress
from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adloom.channels.shipped import shipped_channels
from adloom.core.channel import KEEP, Channel
from adloom.core.crop import Pixels, kept, serves
from adloom.core.fit import Fit, NoFit, fit, is_wrong_size, pixels_of
from adloom.core.limits import RATIOS

SIZES = tuple(ratio for ratio in RATIOS if ratio != "auto")
SHIPPED = [each for each in shipped_channels().values() if each.id not in ("gdn-728x90", "gdn-320x50", "gdn-160x600")]
some = st.lists(st.sampled_from(SHIPPED), min_size=1, max_size=6, unique=True)


def _serves(size: str, channel: Channel, quality: str = "4K") -> bool:
    pixels, wanted = pixels_of(size, quality), Pixels(channel.width_px, channel.height_px)
    return pixels is not None and serves(pixels, wanted) and kept(pixels, wanted) >= KEEP


def _area(channels: list[Channel], chosen: tuple[str, ...]) -> float:
    return sum(
        max(kept(pixels_of(s, "4K"), Pixels(c.width_px, c.height_px)) for s in chosen if _serves(s, c))
        for c in channels
    )


def _brute_force(channels: list[Channel]) -> list[tuple[str, ...]]:
    """Every smallest set of sizes that serves all channels."""
    sets = chain.from_iterable(combinations(SIZES, count) for count in range(1, len(SIZES) + 1))
    serving = [each for each in sets if all(any(_serves(size, c) for size in each) for c in channels)]
    return [each for each in serving if len(each) == len(serving[0])] if serving else []


@settings(max_examples=60, deadline=None)
@given(some)
def test_the_set_is_a_smallest_one_and_of_these_the_one_that_keeps_most(channels):
    smallest = _brute_force(channels)
    if not smallest:
        with pytest.raises(NoFit):
            fit(channels, SIZES, "4K")
        return
    found = fit(channels, SIZES, "4K")
    assert len(found.sizes) == len(smallest[0])
    assert _area(channels, found.sizes) == pytest.approx(max(_area(channels, each) for each in smallest))
    assert sorted(name for names in found.channels.values() for name in names) == sorted(c.id for c in channels)
    for size, names in found.channels.items():
        assert all(_serves(size, shipped_channels()[name]) for name in names)


@settings(max_examples=60, deadline=None)
@given(some, st.sampled_from(SHIPPED))
def test_a_channel_that_a_bought_master_serves_buys_nothing(channels, added):
    try:
        bought = fit(channels, SIZES, "4K").sizes
    except NoFit:
        return
    if any(_serves(size, added) for size in bought):
        assert set(fit([*channels, added], SIZES, "4K", bought).sizes) <= set(bought)


@given(some)
@settings(max_examples=30, deadline=None)
def test_the_order_of_channels_changes_nothing(channels):
    with suppress(NoFit):
        assert set(fit(channels, SIZES, "4K").sizes) == set(fit(channels[::-1], SIZES, "4K").sizes)


def test_one_master_serves_many_shapes():
    names = ("meta-feed-square", "reddit-landscape", "google-square", "gdn-300x250")
    assert fit([shipped_channels()[name] for name in names], SIZES, "2K").sizes in (("4:3",), ("1:1",), ("5:4",))


def test_a_channel_that_no_size_serves_says_why():
    with pytest.raises(NoFit, match="meta-story takes 1080x1920 pixels, and no size has as many at 1K"):
        fit([shipped_channels()["meta-story"]], SIZES, "1K")
    with pytest.raises(NoFit, match="gdn-728x90 has a shape of which no size keeps 60%"):
        fit([shipped_channels()["gdn-728x90"]], SIZES, "4K")


def test_no_channels_need_no_master():
    assert fit([], SIZES, "2K") == Fit({})


@pytest.mark.parametrize(
    ("size", "quality", "pixels"),
    [
        ("16:9", "2K", (2560, 1440)),
        ("9:16", "4K", (3040, 5504)),
        ("4:3", "1K", (1152, 864)),
        ("1200x900", "", (1200, 900)),
        ("auto", "2K", None),
        ("3:4", "3K", None),
    ],
)
def test_the_pixels_of_a_size(size, quality, pixels):
    assert pixels_of(size, quality) == pixels


@pytest.mark.parametrize(
    ("made", "size", "quality", "is_wrong"),
    [
        ((1280, 720), "1280x720", "", False),
        ((1280, 721), "1280x720", "", True),
        ((2048, 2048), "1:1", "2K", False),
        ((1024, 1024), "1:1", "2K", True),  # the lower quality
        ((1600, 2848), "9:16", "2K", False),  # of the two tables, the other one
        ((2560, 1440), "9:16", "2K", True),
        ((2048, 2048), "4:5", "2K", True),
        ((800, 1424), "9:16", "1K", False),
        ((6240, 2656), "21:9", "4K", False),
        ((3072, 1728), "16:9", "3K", False),  # nothing is published for it
        ((100, 300), "auto", "2K", False),
    ],
)
def test_other_pixels_than_were_asked_for_are_told_from_those_of_another_table(made, size, quality, is_wrong):
    assert is_wrong_size(Pixels(*made), size, quality) is is_wrong


@pytest.mark.parametrize("quality", ["1K", "2K", "4K"])
def test_every_published_size_is_right(quality):
    assert not [size for size in SIZES if is_wrong_size(pixels_of(size, quality), size, quality)]
