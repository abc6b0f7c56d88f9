"""The documented error envelope, amounts as JSON writes them, and advice to wait."""

import json
from decimal import Decimal
from email.utils import parsedate_to_datetime

import pytest

from adloom.sandbox.answers import Refusal, html_reply, number, retry_after


@pytest.mark.parametrize("amount", ["1.53", "0.1", "22.95", "153000", "0.0225"])
def test_an_amount_is_written_as_it_is(amount: str):
    assert json.dumps(number(Decimal(amount))) in (amount, f"{amount}.0")


def test_a_refusal_has_the_status_as_its_code_unless_it_has_a_word():
    by_status, by_word = Refusal(400, "bad size", param="size"), Refusal(402, "empty", code="insufficient_user_quota")
    error = json.loads(by_status.reply().body)["error"]
    assert (error["code"], error["type"], error["param"]) == (400, "invalid_request_error", "size")
    assert json.loads(by_word.reply().body)["error"]["code"] == "insufficient_user_quota"
    assert json.loads(by_status.reply(string_code=True).body)["error"]["code"] == "invalid_request_error"


def test_an_unknown_status_is_an_invalid_request_and_further_fields_are_kept():
    error = json.loads(Refusal(418, "a teapot", more={"hint": "coffee"}).reply().body)["error"]
    assert (error["type"], error["hint"]) == ("invalid_request_error", "coffee")


def test_a_proxys_page_is_no_json():
    reply = html_reply(502, "Bad Gateway")
    assert (reply.status, reply.media_type) == (502, "text/html")
    assert b"<h1>502 Bad Gateway</h1>" in reply.body


def test_advice_to_wait_is_none_seconds_or_a_date():
    assert retry_after("", 0) == {}
    assert retry_after("7", 0) == {"Retry-After": "7"}
    date = parsedate_to_datetime(retry_after("date:90", 1_790_000_000)["Retry-After"])
    assert date.timestamp() == 1_790_000_090
