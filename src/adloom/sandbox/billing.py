"""Money: accounts, reserves, charges, and the three ways of not having enough."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal

from adloom.sandbox.answers import Refusal, number
from adloom.sandbox.settings import SandboxSettings

RESET_ZONE = timezone(timedelta(hours=8))  # Asia/Shanghai, where the gateway's day ends
ZERO = Decimal(0)


def fingerprint(key: str) -> str:
    """A name for a key that is safe to show."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]


def day(now: float) -> str:
    """The gateway's calendar day."""
    return datetime.fromtimestamp(now, RESET_ZONE).date().isoformat()


@dataclass(slots=True)
class Account:
    """One key and its account. Credits are what the owner paid for; the limits belong to the key."""

    name: str
    balance: Decimal
    key_limit: Decimal | None
    daily_limit: Decimal | None
    reserved: Decimal = ZERO
    charged: Decimal = ZERO
    released: Decimal = ZERO
    today: str = ""
    used_today: Decimal = ZERO
    recent: deque[tuple[float, Decimal]] = field(default_factory=deque)

    @classmethod
    def opened(cls, name: str, settings: SandboxSettings) -> Account:
        """A fresh account with what the settings give it."""
        return cls(name, settings.balance_credits, settings.key_limit_credits, settings.daily_limit_credits)

    def grant(self, amounts: Mapping[str, Decimal | None]) -> None:
        """Set what is left of the balance, and the key's limits."""
        balance = amounts.get("balance")
        if balance is not None:
            self.balance = balance + self.charged + self.reserved
        if "key_limit" in amounts:
            self.key_limit = amounts["key_limit"]
        if "daily_limit" in amounts:
            self.daily_limit = amounts["daily_limit"]

    def reserve(self, amount: Decimal, now: float) -> None:
        """Set an amount aside, or refuse with the fitting kind of 402."""
        self._turn_the_day(now)
        if amount > self.balance - self.charged - self.reserved:
            raise self._refused("insufficient_user_quota", "the account balance is used up", amount)
        if self.key_limit is not None and amount > self.key_limit - self.charged - self.reserved:
            raise self._refused("insufficient_token_quota", "this key's total limit is used up", amount)
        if self.daily_limit is not None and amount > self.daily_limit - self.used_today:
            raise self._refused("token_daily_quota_exceeded", "this key's daily limit is used up", amount)
        self.reserved += amount
        self.used_today += amount

    def settle(self, reserved: Decimal, charged: Decimal, now: float, *, seen_late: bool = False) -> None:
        """Turn a reserve into a charge and release the rest; the statement may show it late."""
        self._turn_the_day(now)
        self.reserved -= reserved
        self.charged += charged
        self.released += max(ZERO, reserved - charged)
        self.used_today = max(ZERO, self.used_today - (reserved - charged))
        if seen_late:
            self.recent.append((now, charged))

    def statement(self, now: float, lag_s: float) -> dict[str, object]:
        """The documented answer of ``GET /v1/credits``; settlements younger than the lag still show as reserved."""
        while self.recent and self.recent[0][0] <= now - lag_s:
            self.recent.popleft()
        unseen = sum((charged for _, charged in self.recent), ZERO)
        used = self.charged - unseen
        key_left = ZERO if self.key_limit is None else self.key_limit - self.charged - self.reserved
        return {
            "success": True,
            "message": "",
            "data": {
                "token": {
                    "remaining_credits": number(key_left + unseen if self.key_limit is not None else ZERO),
                    "used_credits": number(used),
                    "unlimited_credits": self.key_limit is None,
                },
                "user": {
                    "remaining_credits": number(self.balance - self.reserved - used),
                    "used_credits": number(used),
                },
            },
        }

    def _turn_the_day(self, now: float) -> None:
        today = day(now)
        if today != self.today:
            self.today = today
            self.used_today = ZERO

    def _refused(self, code: str, message: str, amount: Decimal) -> Refusal:
        more: dict[str, object] = {
            "estimated_credits": number(amount),
            "account_balance_credits": number(self.balance - self.charged - self.reserved),
            "key_name": f"key-{self.name}",
            "action_url": "https://evolink.ai/dashboard/billing",
        }
        if code == "insufficient_token_quota" and self.key_limit is not None:
            more |= {"total_limit_credits": number(self.key_limit), "used_credits": number(self.charged)}
        if code == "token_daily_quota_exceeded" and self.daily_limit is not None:
            more |= {
                "daily_limit_credits": number(self.daily_limit),
                "daily_used_credits": number(self.used_today),
                "reset_timezone": "Asia/Shanghai",
            }
        return Refusal(402, message, code=code, more=more)
