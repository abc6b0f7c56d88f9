import json
import re
from decimal import Decimal

import pytest
from support.fakes import MODEL, a_row, references

from adloom.core.callbacks import CallbackAddresses
from adloom.core.identity import row_digest
from adloom.core.order import Order, idempotency_key
from adloom.core.planned import Variant
from adloom.core.reference import Reference

VARIANTS = tuple(Variant(f"k{n}", n, 1) for n in (1, 2, 3))


def _order(n=3, callbacks=None, **row):
    return Order("c-1", a_row(**row), VARIANTS[:n], Decimal("1.53") * n, callbacks)


def test_the_body_is_the_request_in_compact_json():
    order = _order(
        references=references(2),
        callbacks=CallbackAddresses("https://hooks.example/x", "a/main/"),
        priority="fast",
        size="9:16",
    )
    assert json.loads(order.body()) == {
        "model": MODEL,
        "prompt": "Generate 3 different images: mug on an oak table",
        "n": 3,
        "size": "9:16",
        "quality": "1K",
        "image_urls": ["https://files.example/0.png", "https://files.example/1.png"],
        "prompt_priority": "fast",
        "callback_url": "https://hooks.example/x",
    }
    assert "\n" not in order.body()
    assert ": " not in order.body().replace("images: ", "")


def test_addresses_of_files_enter_the_body_and_nothing_else_of_an_order():
    file = Reference("sha256:1", None, "bottle.png")
    order = _order(references=(*references(1), file))
    with pytest.raises(ValueError, match="not hosted"):
        order.body()
    hosted = order.with_addresses({"sha256:1": "https://hosted.example/1"})
    assert json.loads(hosted.body())["image_urls"] == ["https://files.example/0.png", "https://hosted.example/1"]
    assert (hosted.call, hosted.variants, row_digest(hosted.row)) == (order.call, VARIANTS, row_digest(order.row))


def test_fields_that_were_not_asked_for_are_not_sent():
    assert set(json.loads(_order(n=1, quality="").body())) == {"model", "prompt", "n", "size", "prompt_priority"}


def test_a_prompt_is_sent_as_it_was_written_not_as_identities_see_it():
    assert (
        json.loads(_order(n=1, prompt="cafe\u0301 \r\n on oak\u00a0").body())["prompt"]
        == "cafe\u0301 \r\n on oak\u00a0"
    )


def test_chinese_is_sent_as_itself():
    assert "木桌" in _order(prompt="木桌上的杯子").body()


def test_the_body_never_differs_for_one_order():
    assert len({_order(references=references(3)).body() for _ in range(5)}) == 1


def test_an_intent_holds_all_that_a_later_run_needs():
    intent = _order().intent(edition_token="t", attempt=2, account="a", revision=7)
    assert intent["body"] == _order().body()
    assert intent["idempotency_key"] == idempotency_key("t", "c-1", 2)
    assert Decimal(intent["credits"]) == Decimal("4.59")
    assert intent["variants"] == [{"key": f"k{n}", "number": n, "take": 1} for n in (1, 2, 3)]
    assert (intent["outcome"], intent["account"], intent["revision"]) == ("bought", "a", 7)
    json.dumps(intent)


def test_each_edition_call_and_attempt_has_an_idempotency_key_of_its_own():
    keys = {idempotency_key(e, c, a) for e in ("e1", "e2") for c in ("c-1", "c-2") for a in (1, 2, 3)}
    assert len(keys) == 12
    assert all(re.fullmatch("[A-Za-z0-9._-]{16,96}", key) for key in keys)
