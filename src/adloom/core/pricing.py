"""What things cost. Money is ``Decimal``: credits with every digit the API gives, dollars by the table's rate."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal

from adloom.core.campaign import Budget, Prices
from adloom.core.errors import SettingInvalid
from adloom.core.limits import CREDITS_PER_USD, MODELS, PRICE_ROUNDING, PRICE_TOLERANCE


def price_per_image(model: str, quality: str, prices: Prices) -> Decimal:
    """Credits for one image: the campaign's own price, else the table's.

    Raises SettingInvalid for a model without a known price.
    """
    own = prices.get(model)
    if isinstance(own, Mapping):
        own = own.get(quality)
    if own is not None:
        return own
    if (known := MODELS.get(model)) is not None:
        return known.credits_per_image
    raise SettingInvalid(
        f"the price of {model} is not known", remedy=f"Set `prices: {{{model}: <credits per image>}}` in the campaign."
    )


def usd(credits_: Decimal) -> Decimal:
    """Credits in dollars by the table's rate, to a hundredth of a cent."""
    return (credits_ / CREDITS_PER_USD).quantize(Decimal("0.0001"), rounding=ROUND_HALF_EVEN)


def cap_credits(budget: Budget, dearest_image: Decimal) -> Decimal:
    """The budget as a cap in credits. ``dearest_image`` prices a budget in images: the campaign's dearest."""
    if budget.credits is not None:
        return budget.credits
    if budget.usd is not None:
        return budget.usd * CREDITS_PER_USD
    return Decimal(budget.images or 0) * dearest_image


def is_same_price(last: Decimal, now: Decimal) -> bool:
    """Whether two prices of an image differ by no more than the API's rounding of a sum may make them."""
    return abs(now - last) <= last * PRICE_ROUNDING


def is_dearer(quoted: Decimal, reserved: Decimal) -> bool:
    """Whether the API wants too much above what was quoted to go on buying."""
    return reserved - quoted > quoted * PRICE_TOLERANCE


def has_moved(quoted: Decimal, reserved: Decimal) -> bool:
    """Whether what the API reserved is another price than what was quoted, dearer or cheaper."""
    return abs(reserved - quoted) > quoted * PRICE_TOLERANCE
