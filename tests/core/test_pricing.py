from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import MODEL, a_row, few

from adloom.core.campaign import Budget
from adloom.core.errors import SettingInvalid
from adloom.core.pricing import (
    cap_credits,
    has_moved,
    is_dearer,
    is_same_price,
    kind_of,
    price_of,
    price_per_image,
    usd,
)


def test_the_table_tells_the_price_of_an_image():
    assert price_per_image(MODEL, "2K", {}) == Decimal("1.53")


def test_a_campaigns_own_price_beats_the_table_even_when_it_is_nothing():
    assert price_per_image(MODEL, "2K", {MODEL: Decimal("1.8")}) == Decimal("1.8")
    assert price_per_image(MODEL, "2K", {MODEL: Decimal(0)}) == Decimal(0)


def test_a_model_without_a_price_is_refused_with_the_words_that_mend_it():
    with pytest.raises(SettingInvalid) as caught:
        price_per_image("doubao-seedream-9.0", "2K", {MODEL: Decimal(1)})
    assert "prices: {doubao-seedream-9.0:" in caught.value.remedy


@pytest.mark.parametrize("size", ["1:1", "2048x2048"])
def test_a_model_that_no_table_knows_costs_what_the_campaign_says_and_nothing_beside_it(size):
    row = a_row(model="doubao-seedream-9.0", size=size)
    assert price_of(kind_of(row), {"doubao-seedream-9.0": Decimal(2)}) == 2


@pytest.mark.parametrize(
    ("credits_", "dollars"),
    [
        ("68", "1.0000"),
        ("1.53", "0.0225"),
        ("0", "0.0000"),
        ("15.3", "0.2250"),
        ("0.0034", "0.0000"),
        ("0.0102", "0.0002"),
    ],
)
def test_dollars_are_told_to_a_hundredth_of_a_cent(credits_, dollars):
    assert str(usd(Decimal(credits_))) == dollars


@pytest.mark.parametrize(
    ("budget", "cap"),
    [
        (Budget(usd=Decimal("12.00")), "816"),
        (Budget(usd=Decimal("0.10")), "6.8"),
        (Budget(credits=Decimal("99.99")), "99.99"),
        (Budget(images=40), "61.2"),
        (Budget(credits=Decimal(0)), "0"),
        (Budget(usd=Decimal(0)), "0"),
        (Budget(images=0), "0"),
    ],
)
def test_every_kind_of_budget_becomes_a_cap_in_credits(budget, cap):
    assert cap_credits(budget, Decimal("1.53")) == Decimal(cap)


@pytest.mark.parametrize(
    ("reserved", "moved"), [("1.53", False), ("1.6065", False), ("1.6066", True), ("1.4535", False), ("1.4534", True)]
)
def test_a_price_may_differ_by_a_twentieth_either_way(reserved, moved):
    assert has_moved(Decimal("1.53"), Decimal(reserved)) is moved


@few
@given(n=st.integers(1, 100_000))
def test_a_budget_in_images_pays_for_exactly_so_many(n):
    assert cap_credits(Budget(images=n), Decimal("1.53")) * 100 == n * 153


def test_a_price_may_be_one_for_all_qualities_or_one_a_quality():
    prices = {MODEL: {"4K": Decimal(3)}, "doubao-seedream-4.5": Decimal(2)}
    assert price_per_image(MODEL, "4K", prices) == 3
    assert price_per_image(MODEL, "2K", prices) == Decimal("1.53")
    assert [price_per_image("doubao-seedream-4.5", quality, prices) for quality in ("2K", "4K")] == [2, 2]


@pytest.mark.parametrize(
    ("reserved", "dearer", "moved"),
    [("1.6065", False, False), ("1.6066", True, True), ("1.4535", False, False), ("1.4534", False, True)],
)
def test_more_than_five_percent_above_is_dearer_and_as_much_below_another_price(reserved, dearer, moved):
    assert is_dearer(Decimal("1.53"), Decimal(reserved)) is dearer
    assert has_moved(Decimal("1.53"), Decimal(reserved)) is moved


def test_a_sum_that_the_api_rounds_is_the_same_price():
    assert is_same_price(Decimal("1.53"), Decimal("1.535"))
    assert not is_same_price(Decimal("1.53"), Decimal("1.54"))


def test_what_costs_nothing_costs_the_same_as_long_as_it_costs_nothing():
    assert is_same_price(Decimal(0), Decimal(0))
    assert not is_same_price(Decimal(0), Decimal("0.01"))
