"""What came last in a run: the newest first, and no more than a page has room for."""

from decimal import Decimal

from support.fakes import a_row

from adloom.core.order import Order
from adloom.core.planned import Variant
from adloom.run.latest import Latest


def order(call: str, images: int = 2) -> Order:
    variants = tuple(Variant(f"{call}-{number}", number, 1) for number in range(1, images + 1))
    return Order(call, a_row(call), variants, Decimal(images))


def calls(latest: Latest) -> list[str]:
    return [each.call for each in latest]


def test_the_newest_order_comes_first_and_each_once():
    latest = Latest(most=6)
    for call in ("a", "b", "c", "a"):
        latest.put(order(call))
    assert calls(latest) == ["a", "c", "b"]


def test_the_oldest_orders_make_room_by_their_images():
    latest = Latest(most=6)
    for call, images in (("a", 2), ("b", 2), ("c", 1), ("d", 3)):
        latest.put(order(call, images))
    assert calls(latest) == ["d", "c", "b"]
    latest.put(order("huge", 15))
    assert calls(latest) == ["huge"]
    assert not Latest()
