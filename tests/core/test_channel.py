"""A channel says in which format its files are written, and when its numbers are too old to trust."""

from datetime import date, timedelta

import pytest

from adloom.core.channel import STALE_AFTER_DAYS, Channel


def _channel(*formats: str, chosen: str = "", checked: date | None = None) -> Channel:
    return Channel("feed", 1080, 1080, formats, None, format=chosen, checked=checked)


@pytest.mark.parametrize(
    ("formats", "chosen", "written"),
    [
        (("png", "jpeg"), "", "jpeg"),
        (("gif", "webp", "png"), "", "webp"),  # a GIF is never written
        (("jpeg", "png"), "png", "png"),
    ],
)
def test_files_are_written_as_the_campaign_says_else_as_jpeg_else_as_the_first_that_can_be(formats, chosen, written):
    assert _channel(*formats, chosen=chosen).written_as == written


def test_numbers_are_stale_the_day_after_their_last_one():
    read = date(2026, 1, 1)
    channel = _channel("jpeg", checked=read)
    assert not channel.is_stale(read + timedelta(days=STALE_AFTER_DAYS))
    assert channel.is_stale(read + timedelta(days=STALE_AFTER_DAYS + 1))


def test_a_campaigns_own_numbers_are_never_stale():
    assert not _channel("jpeg").is_stale(date(2099, 1, 1))
