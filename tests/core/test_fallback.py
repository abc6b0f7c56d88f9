from decimal import Decimal

import pytest
from support.fakes import a_fact, a_row, an_intent

from adloom.core.facts import fold
from adloom.core.fallback import Fallback
from adloom.core.order import Order

OWN, NEXT, LAST = "doubao-seedream-4.0", "doubao-seedream-4.5", "doubao-seedream-5.0-lite"
ORDER = Order("c-1", a_row("mug", variants=2), ({"key": "k1"}, {"key": "k2"}), Decimal("3.06"))
FALLBACK = Fallback((NEXT, LAST), {LAST: Decimal("1.5")}, "run-a")
REFUSED = {"a{n}-settled": {"outcome": "free", "kind": "model", "final": False}}
FAILED = {
    "a{n}-failed": {"task": "t", "code": "model_unavailable"},
    "a{n}-settled": {"outcome": "free", "kind": "task", "final": False},
}


def _facts(*ends):
    records = {}
    for number, end in enumerate(ends, start=1):
        records[f"a{number}-intent"] = an_intent()
        records |= {name.format(n=number): a_fact(fields) for name, fields in end.items()}
    return fold("c-1", records)


@pytest.mark.parametrize("end", [REFUSED, FAILED], ids=["refused", "failed"])
def test_each_free_failure_of_a_model_gives_the_call_to_the_next_at_its_price(end):
    sent = [FALLBACK.order_for(ORDER, _facts(*[end] * times)) for times in range(4)]
    assert [order.model for order in sent] == [OWN, NEXT, LAST, OWN]
    assert [order.credits for order in sent] == [Decimal("3.06"), Decimal("4.08"), Decimal("3.0"), Decimal("3.06")]
    assert {order.call for order in sent} == {"c-1"}
    assert [FALLBACK.is_exhausted(ORDER, _facts(*[end] * times)) for times in (1, 2, 3, 4)] == [
        False,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    "end",
    [
        {},
        {"a{n}-settled": {"outcome": "free", "kind": "account", "final": False}},
        {"a{n}-settled": {"outcome": "free", "kind": "task", "final": False}, "a{n}-failed": {"code": "service_error"}},
        {"a{n}-settled": {"outcome": "charged", "kind": "task"}, "a{n}-failed": {"code": "model_unavailable"}},
        {"a{n}-failed": {"code": "model_unavailable"}},
        {"a{n}-unknown-1": {"reason": "lost"}},
        {"a{n}-settled": {"outcome": "released", "reason": "r"}},
    ],
)
def test_nothing_else_changes_the_model(end):
    assert FALLBACK.order_for(ORDER, _facts(end)) is ORDER


def test_a_later_run_begins_with_the_rows_own_model_again():
    later = Fallback(FALLBACK.models, FALLBACK.prices, "run-b")
    assert later.order_for(ORDER, _facts(REFUSED)) is ORDER


def test_a_call_of_one_of_the_fallback_models_tries_that_first_and_once():
    order = Order("c-1", a_row("mug", model=NEXT, variants=2), ORDER.variants, Decimal("4.08"))
    tried = [FALLBACK.order_for(order, _facts(*[REFUSED] * times)).model for times in range(3)]
    assert tried == [NEXT, LAST, NEXT]


def test_an_order_that_was_begun_with_another_model_goes_back_to_its_own_at_its_own_price():
    begun = Order("c-1", ORDER.row, ORDER.variants, Decimal("4.08"), fallback_model=NEXT)
    again = FALLBACK.order_for(begun, _facts())
    assert (again.model, again.fallback_model, again.credits) == (OWN, "", Decimal("3.06"))
