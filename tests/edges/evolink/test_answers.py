"""Answers of the API: what each proves about the money, by status, code and type."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adloom.core.errors import (
    AccountStopped,
    KeyConflict,
    ModelUnavailable,
    ModerationRefused,
    OutcomeUnknown,
    ReadFailed,
    ReferenceTooSlow,
    RequestRefused,
    Throttled,
)
from adloom.edges.evolink.answers import Answer, accepted, advised_s, purchase_error, read_error
from adloom.edges.evolink.tasks import read_credits, read_list, read_task, read_tasks
from adloom.edges.evolink.text import Cleaner

KEY = "sk-evo-canary-0123456789"
NOW = 1_760_000_000.0
clean = Cleaner(KEY)


def answer(status, body, **headers) -> Answer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, content)


def envelope(code="", kind="", message="no", **more) -> dict:
    return {"error": {"code": code, "type": kind, "message": message, **more}}


def judged(status, body, **headers):
    return purchase_error(answer(status, body, **headers), clean, NOW)


PAGE = b"<html><title>502 Bad Gateway</title></html>"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, envelope(400, "invalid_request_error", param="size"), RequestRefused),
        (404, envelope(404, "not_found_error"), ModelUnavailable),
        (400, envelope("model_unavailable"), ModelUnavailable),
        (404, envelope("no_available_channel"), ModelUnavailable),
        (429, envelope("model_unavailable", "rate_limit_error"), Throttled),
        (503, envelope("model_unavailable"), OutcomeUnknown),
        (403, envelope("key_model_not_allowed"), AccountStopped),
        (413, envelope(413, "request_too_large_error"), RequestRefused),
        (400, envelope("invalid_parameters", message="Timeout while downloading url"), ReferenceTooSlow),
        (422, envelope("nobody_has_heard_of_it"), RequestRefused),
        (400, envelope("content_policy_violation"), ModerationRefused),
        (400, envelope("sensitive_content"), ModerationRefused),
        (403, envelope("moderation_blocked", "permission_error"), ModerationRefused),
        (422, envelope("input_moderation_failed"), ModerationRefused),
        (401, envelope(401, "authentication_error"), AccountStopped),
        (402, envelope(402, "insufficient_quota_error"), AccountStopped),
        (403, envelope(403, "permission_error"), AccountStopped),
        (400, envelope("key_disabled"), AccountStopped),
        (429, envelope("insufficient_user_quota", "insufficient_quota_error"), AccountStopped),
        (429, envelope(429, "rate_limit_error"), Throttled),
        (429, {"error": {"message": "slow down"}}, Throttled),
        (409, envelope("idempotency_conflict"), KeyConflict),
        (400, envelope("idempotency_conflict"), KeyConflict),
        (400, envelope("paid_outcome_unknown"), OutcomeUnknown),
        (429, envelope("paid_outcome_unknown"), OutcomeUnknown),
        (503, envelope("paid_outcome_unknown"), OutcomeUnknown),
        (408, envelope(408), OutcomeUnknown),
        (409, envelope(409), OutcomeUnknown),
        (425, envelope(425), OutcomeUnknown),
        (500, envelope(500, "internal_server_error"), OutcomeUnknown),
        (502, envelope(502, "upstream_error"), OutcomeUnknown),
        (503, envelope(503, "service_unavailable_error"), OutcomeUnknown),
        (599, envelope("content_policy_violation"), OutcomeUnknown),
        (101, envelope(400), OutcomeUnknown),
        (301, envelope(400), OutcomeUnknown),
        (307, b"", OutcomeUnknown),
        (308, envelope("content_policy_violation"), OutcomeUnknown),
        *(
            (status, body, OutcomeUnknown)
            for status in (400, 401, 402, 403, 404, 429)
            for body in (b"", PAGE, b"[]", b'"no"', {"error": "no"}, {"error": {}}, {"error": [1]}, {"code": 400}, b"{")
        ),
    ],
)
def test_an_answer_is_judged_by_status_code_and_type(status, body, error):
    assert type(judged(status, body)) is error


@given(message=st.text(max_size=60), status=st.sampled_from([400, 404, 409, 429, 500]))
def test_the_message_never_decides(message, status):
    assert type(judged(status, envelope(status, message="x"))) is type(
        judged(status, envelope(status, message=message))
    )


@pytest.mark.parametrize(
    ("status", "code", "what", "remedy"),
    [
        (402, "insufficient_user_quota", "no credits left", "Top up"),
        (402, "insufficient_token_quota", "key's total limit", "another key"),
        (402, "token_daily_quota_exceeded", "key's daily limit", "midnight (Asia/Shanghai)"),
        (403, "key_disabled", "disabled", "EVOLINK_API_KEY"),
        (403, "key_expired", "expired", "EVOLINK_API_KEY"),
        (403, "key_model_not_allowed", "model", "another model"),
        (403, "ip_restricted", "address", "public address"),
        (403, "user_disabled", "account is disabled", "support"),
        (401, "", "not accepted", "EVOLINK_API_KEY"),
        (402, "", "not enough credits", "Top up"),
        (403, "", "may not", "permissions"),
    ],
)
def test_a_stopped_account_says_why_and_what_to_do(status, code, what, remedy):
    error = judged(status, envelope(code or status, reset_timezone="Asia/Shanghai"), x_request_id="r-1")
    assert what in error.message
    assert "request r-1" in error.message
    assert remedy in error.remedy
    assert "created no task for this call" in error.remedy
    assert (error.status, error.request_id) == (status, "r-1")


def test_a_refusal_names_the_field_and_carries_the_ids():
    error = judged(400, envelope("invalid_value", param="size", message="bad size"), x_oneapi_request_id="r-2")
    assert str(error).startswith("EvoLink refused the request's size (HTTP 400 invalid_value, request r-2): bad size\n")
    assert (error.status, error.code, error.request_id) == (400, "invalid_value", "r-2")


@pytest.mark.parametrize(
    ("headers", "error", "seconds"),
    [
        ({"retry_after": "7"}, {}, 7),
        ({"retry_after": "0"}, {}, 1),
        ({"retry_after": "86400"}, {}, 300),
        ({"retry_after": "Thu, 09 Oct 2025 08:53:50 GMT"}, {}, 30),
        ({"retry_after": "Thu, 09 Oct 2025 08:53:50 GMT", "date": "Thu, 09 Oct 2025 08:53:40 GMT"}, {}, 10),
        ({"retry_after": "Thu, 09 Oct 1980 08:53:50 GMT"}, {}, 1),
        ({"retry_after": "soon"}, {"fallback_suggestion": "retry after 60 seconds"}, 60),
        ({"retry_after": "5"}, {"fallback_suggestion": "retry after 60 seconds"}, 5),
        ({}, {"fallback_suggestion": "Retry after 2.5s"}, 2.5),
        ({}, {"message": "limit of 60 a minute; try again in 9 seconds"}, 9),
        ({}, {"message": "limit of 60 seconds"}, None),
        ({}, {}, None),
    ],
)
def test_the_servers_advice_is_read_from_the_header_before_the_text(headers, error, seconds):
    throttled = judged(429, {"error": {"code": 429, **error}}, **headers)
    assert throttled.retry_after_s == seconds


def test_advice_without_an_envelope_is_taken_from_the_header_alone():
    assert advised_s(answer(503, PAGE, retry_after="4"), NOW) == 4


def test_an_acceptance_is_read_with_its_reserve_and_replay():
    body = b'{"id":"task-unified-1-a","model":"m","usage":{"credits_reserved":4.590000000000000001}}'
    found = accepted(answer(200, body, idempotency_replayed="true", x_request_id="r"), clean)
    assert found.task_id == "task-unified-1-a"
    assert found.credits_reserved == Decimal("4.590000000000000001")
    assert found.replayed
    assert found.request_id == "r"


@pytest.mark.parametrize(
    "usage", [None, [], "x", {}, {"credits_reserved": None}, {"credits_reserved": True}, {"credits_reserved": -1},
              {"credits_reserved": "many"}, {"credits_reserved": [1]}, {"credits_reserved": 10**30}]
)  # fmt: skip
def test_an_odd_usage_block_does_not_spoil_an_acceptance(usage):
    assert accepted(answer(201, {"id": "t", "usage": usage}), clean).credits_reserved is None


@pytest.mark.parametrize(
    "body",
    [b"", PAGE, b'{"id":"task-1"', b"null", b"[]", b'{"id": NaN}', b"\xff\xfe", b"[" * 200_000, {}, {"id": None},
     {"id": 7}, {"id": ""}, {"id": "a/b"}, {"id": "a b"}, {"id": "a\n"}, {"id": "x" * 201}, {"id": ".."}, {"id": "ä"},
     {"id": "\ud800"}, {"error": {"code": 400}}, b'{"id":"t","usage":1E999999999999999999999}'],
)  # fmt: skip
def test_an_unreadable_acceptance_is_unknown(body):
    with pytest.raises(OutcomeUnknown):
        accepted(answer(200, body), clean)


@pytest.mark.parametrize(
    ("status", "error"), [(401, AccountStopped), (402, AccountStopped), (403, AccountStopped), (400, ReadFailed),
                          (404, ReadFailed), (429, ReadFailed), (500, ReadFailed), (503, ReadFailed), (302, ReadFailed)]
)  # fmt: skip
def test_a_failed_read_is_tried_again_unless_the_account_is_stopped(status, error):
    for body in (PAGE, envelope(status)):
        assert type(read_error(answer(status, body), clean, NOW)) is error


def test_a_read_carries_the_servers_advice():
    assert read_error(answer(503, PAGE, retry_after="9"), clean, NOW).retry_after_s == 9


def test_credits_tell_the_keys_budget_and_the_accounts():
    both = {"token": {"remaining_credits": Decimal("120.5")}, "user": {"remaining_credits": Decimal("800.25")}}
    found = read_credits({"data": both})
    assert (found.key_remaining, found.account_remaining) == (Decimal("120.5"), Decimal("800.25"))
    both["token"]["unlimited_credits"] = True
    assert read_credits({"data": both}).key_remaining is None
    assert read_credits({"data": {"token": {}}}) is None


FIELDS = ["id", "status", "results", "url", "usage", "cost", "billing", "error", "code", "data", "user"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(FIELDS),
        inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(json_values)
def test_no_json_is_too_odd_to_be_read(value):
    read_task(value, clean)
    read_tasks(value, clean)
    read_list(value, clean)
    read_credits(value)
    judged(400, value if isinstance(value, dict) else {"error": value})
