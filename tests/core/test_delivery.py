"""What a campaign says about delivery survives the frozen plan, and rights end on their day."""

import pytest

from adloom.core.channel import Channel, Gate, SafeArea
from adloom.core.crop import Focus
from adloom.core.delivery import (
    AUTO,
    NOTHING_WANTED,
    DeliverySettings,
    Marking,
    Rights,
    Wanted,
    settings_from_json,
    wanted_from_json,
)

RIGHTS = Rights("logo", "Acme", "one year", "2026-12-31", ("feed", "story"))
FEED = Channel("feed", 1080, 1350, ("jpeg", "png"), 300_000, Gate.ADVISE, SafeArea(0.1, 0.2), format="png", keep=0.8)


@pytest.mark.parametrize(
    "wanted",
    [
        NOTHING_WANTED,
        Wanted(("feed",), Focus(0.2, 0.8), "A red mug", (Rights(), RIGHTS)),
        Wanted(focus=AUTO),
        Wanted(name="{{ sku }}-{{ variant }}"),
        Wanted(focus=Focus(0.0, 0.0)),
    ],
)
def test_a_row_is_read_back_from_the_plan_as_it_was_frozen(wanted: Wanted):
    assert wanted_from_json(wanted.to_json()) == wanted


@pytest.mark.parametrize(
    "settings",
    [
        DeliverySettings(),
        DeliverySettings({"feed": FEED}, Marking(on=False, system="in-house", prompt=True), after_run=True),
    ],
)
def test_a_head_is_read_back_from_the_plan_as_it_was_frozen(settings: DeliverySettings):
    assert settings_from_json(settings.to_json()) == settings


def test_a_campaign_that_says_nothing_freezes_nothing():
    assert NOTHING_WANTED.to_json() == DeliverySettings().to_json() == {}


def test_rights_last_until_the_end_of_their_day_and_on_their_channels():
    assert RIGHTS.refusal("feed", "2026-12-31") == ""
    assert RIGHTS.refusal("feed", "2027-01-01") == "the rights of logo ended on 2026-12-31"
    assert RIGHTS.refusal("billboard", "2026-12-31") == "the rights of logo are for feed, story only"
    assert Rights().refusal("billboard", "2099-01-01") == ""
