"""What a plan comes to when prices differ from its own."""

from dataclasses import replace
from decimal import Decimal

from support.fakes import PRICE, a_row

from adloom.core.order import Order
from adloom.core.planned import Variant
from adloom.core.pricing import kind_of
from adloom.guards.forecast import Forecast

CUP, BOWL = a_row("cup", quality="2K"), a_row("bowl", quality="4K")


def an_order(call: str, n: int = 1, **changes: object) -> Order:
    order = Order(call, CUP, tuple(Variant(f"{call}-{each}", each, 1) for each in range(n)), PRICE * n)
    return replace(order, **changes)


def a_forecast(cups: int = 10, bowls: int = 0) -> Forecast:
    return Forecast(PRICE * (cups + bowls), {kind_of(CUP): cups, kind_of(BOWL): bowls}, {})


def test_at_the_plans_prices_it_stays():
    forecast = a_forecast()
    for number in range(10):
        forecast.read_reserve(an_order(f"c-{number}"), PRICE)
    assert forecast.total == PRICE * 10
    assert not forecast.has_grown


def test_a_dearer_price_counts_for_all_that_is_left_of_its_kind():
    forecast = a_forecast(cups=10, bowls=5)
    forecast.read_reserve(an_order("c-1"), PRICE + 1)
    assert forecast.total == PRICE * 15 + 10
    assert forecast.has_grown


def test_a_price_that_has_fallen_back_counts_only_for_what_was_bought_at_it():
    forecast = a_forecast()
    forecast.read_reserve(an_order("c-1"), PRICE + 1)
    forecast.read_reserve(an_order("c-2"), PRICE)
    assert forecast.total == PRICE * 10 + 1


def test_a_fallback_is_compared_with_what_the_plan_reserves_for_the_row():
    forecast = a_forecast()
    cost = Decimal("2.04")
    forecast.read_reserve(an_order("c-1", fallback_model="doubao-seedream-4.5", credits=cost), cost)
    assert forecast.total == cost * 10


def test_a_call_that_is_bought_again_counts_once():
    forecast = a_forecast(cups=1)
    for cost in (PRICE + 1, PRICE + 2):
        forecast.read_reserve(an_order("c-1"), cost)
    assert forecast.total == PRICE + 2


def test_what_was_not_made_and_is_asked_for_again_counts_once():
    forecast = a_forecast(cups=4)
    forecast.read_reserve(an_order("c-1", 4), 4 * (PRICE + 1))
    forecast.read_charge("c-1", 3 * (PRICE + 1))
    assert forecast.total == PRICE * 4 + 3
    forecast.read_reserve(an_order("c-2", parent="c-1"), PRICE + 1)
    assert forecast.total == (PRICE + 1) * 4
    forecast.read_charge("c-2", PRICE + 2)
    forecast.read_charge("c-of-an-earlier-run", PRICE)
    assert forecast.total == (PRICE + 1) * 4
