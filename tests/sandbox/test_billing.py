"""Money: accounts, prices, reserves and charges, and the ways of not having enough."""

from __future__ import annotations

from decimal import Decimal

import pytest


async def test_the_charge_log_tells_each_accepted_post_with_what_became_of_it(visit):
    visitor = await visit()
    await visitor.buy(key="k" * 16, prompt="Generate 2 different images: a mug", n=3, size="4:5", quality="1K")
    await visitor.post(model="doubao-seedream-5.0-lite")
    await visitor.post(n=99)
    first, second = visitor.sandbox.charges()
    assert (first.n, first.made, first.idempotency_key, first.size, first.quality) == (3, 2, "k" * 16, "4:5", "1K")
    assert (first.reserved, first.charged, first.released) == (Decimal("4.59"), Decimal("3.06"), Decimal("1.53"))
    assert first.state == "completed"
    assert (second.state, second.reserved, second.charged) == ("running", Decimal("1.904"), Decimal(0))
    assert "sk-evo-test" not in str(first)


async def test_tasks_are_charged_when_the_log_is_read_after_their_time(visit):
    visitor = await visit(task_seconds=5)
    await visitor.post()
    assert visitor.sandbox.charges()[0].state == "running"
    visitor.sandbox.advance(6)
    assert visitor.sandbox.charges()[0].charged == Decimal("1.53")


async def test_an_empty_account_is_refused_with_402(visit):
    visitor = await visit(balance_credits=3)
    assert (await visitor.post()).status_code == 200
    refused = await visitor.post()
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (402, "insufficient_user_quota")
    assert error["account_balance_credits"] == 1.47
    assert "fallback_suggestion" in error
    visitor.sandbox.set_credits(balance=Decimal(2))
    assert (await visitor.post()).status_code == 200


async def test_a_keys_total_limit_is_refused_with_402(visit):
    visitor = await visit(key_limit_credits="2")
    await visitor.buy()
    error = (await visitor.post()).json()["error"]
    assert (error["code"], error["total_limit_credits"]) == ("insufficient_token_quota", 2.0)


async def test_a_keys_daily_limit_lifts_on_the_next_day(visit):
    visitor = await visit(daily_limit_credits="2")
    await visitor.buy()
    error = (await visitor.post()).json()["error"]
    assert (error["code"], error["reset_timezone"]) == ("token_daily_quota_exceeded", "Asia/Shanghai")
    visitor.sandbox.advance(86_400)
    assert (await visitor.post()).status_code == 200


async def test_a_failure_gives_the_whole_reserve_back(visit):
    visitor = await visit(final_failure_rate=1, balance_credits="1.53")
    for _ in range(3):
        await visitor.buy()
    assert (await visitor.get("/v1/credits")).json()["data"]["user"] == {"remaining_credits": 1.53, "used_credits": 0.0}


async def test_credits_are_told_for_the_key_and_the_account(visit):
    visitor = await visit(balance_credits=100, key_limit_credits=10)
    await visitor.buy(prompt="Generate 2 different images: a mug", n=2)
    assert (await visitor.get("/v1/credits")).json() == {
        "success": True,
        "message": "",
        "data": {
            "token": {"remaining_credits": 6.94, "used_credits": 3.06, "unlimited_credits": False},
            "user": {"remaining_credits": 96.94, "used_credits": 3.06},
        },
    }


async def test_credits_can_lag_behind_a_settlement(visit):
    visitor = await visit(credits_lag_s=30)
    await visitor.buy()
    assert (await visitor.get("/v1/credits")).json()["data"]["user"]["used_credits"] == 0
    visitor.sandbox.advance(31)
    assert (await visitor.get("/v1/credits")).json()["data"]["user"]["used_credits"] == 1.53


async def test_the_price_can_move(visit):
    visitor = await visit(credits_per_image="1.8")
    assert (await visitor.post(n=2)).json()["usage"]["credits_reserved"] == 3.6


@pytest.mark.parametrize(("charged", "cost"), [(True, "1.53"), (False, "0")])
async def test_whether_cancelling_costs_is_a_switch(visit, charged, cost):
    visitor = await visit(cancelled_rate=1, cancelled_is_charged=charged)
    await visitor.buy()
    assert visitor.sandbox.charges()[0].charged == Decimal(cost)


async def test_the_price_can_move_at_a_purchase_and_move_back(visit):
    visitor = await visit(price_steps={2: 2, 4: "0.8", 5: 1})
    for _ in range(6):
        await visitor.post()
    reserved = [charge.reserved for charge in visitor.sandbox.charges()]
    assert reserved == [Decimal("1.53") * factor for factor in (1, 2, 2, Decimal("0.8"), 1, 1)]


async def test_more_can_be_charged_than_was_reserved(visit):
    visitor = await visit(charge_factor=10, balance_credits=100)
    answer = await visitor.task(await visitor.buy(n=2, prompt="Generate 2 different images: a mug"))
    assert (answer["usage"]["credits_used"], answer["billing"]["refund_scope"]) == (30.6, "none")
    (charge,) = visitor.sandbox.charges()
    assert (charge.reserved, charge.charged, charge.released) == (Decimal("3.06"), Decimal("30.6"), 0)
    assert (await visitor.get("/v1/credits")).json()["data"]["user"]["remaining_credits"] == 69.4
