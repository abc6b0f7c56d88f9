"""What things cost. Money is ``Decimal``: credits with every digit the API gives, dollars by the table's rate."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from typing import NamedTuple

from adloom.core.campaign import Budget, Prices, Row
from adloom.core.errors import SettingInvalid
from adloom.core.limits import CREDITS_PER_USD, MODELS, PRICE_ROUNDING, PRICE_TOLERANCE


class Kind(NamedTuple):
    """Everything that an image's price depends on.

    ``quality`` is the one that is billed, empty for a size in pixels without price tiers. ``searches`` says whether the
    model may search the web.
    """

    model: str
    quality: str
    references: int = 0
    searches: bool = False


def kind_of(row: Row, model: str = "") -> Kind:
    """What the price of a row's images depends on, made by ``model`` in place of its own where one is given."""
    model = model or row.model
    known = MODELS.get(model)
    quality = known.billed_quality(row.size, row.quality) if known and row.size else row.quality
    return Kind(model, quality, len(row.references), ("web_search", "true") in row.options)


def price_of(kind: Kind, prices: Prices) -> Decimal:
    """Credits for one image: the campaign's own price, else the table's, and what the table charges in addition.

    Raises SettingInvalid for a model without a known price.
    """
    return price_per_image(kind.model, kind.quality, prices) + surcharge(kind)


def surcharge(kind: Kind) -> Decimal:
    """Credits for references and searching, in addition to the image itself. One search an image is assumed."""
    known = MODELS.get(kind.model)
    references = known.credits_per_reference * kind.references if known else Decimal(0)
    return references + search_credits(kind)


def search_credits(kind: Kind) -> Decimal:
    """The part of a price that is for searching: the API may charge it above what it has reserved."""
    known = MODELS.get(kind.model)
    return known.credits_per_search if known and kind.searches else Decimal(0)


def kind_fields(kind: Kind) -> dict[str, str | int | bool]:
    """A kind as an ``intent`` record has it."""
    fields: dict[str, str | int | bool] = {"quality": kind.quality}
    if kind.references:
        fields["references"] = kind.references
    if kind.searches:
        fields["searches"] = True
    return fields


def price_per_image(model: str, quality: str, prices: Prices) -> Decimal:
    """Credits for one image without references and searches: the campaign's own price, else the table's.

    Raises SettingInvalid for a model without a known price.
    """
    own = prices.get(model)
    if isinstance(own, Mapping):
        own = own.get(quality)
    if own is not None:
        return own
    if (known := MODELS.get(model)) is not None:
        return known.credits(quality)
    raise SettingInvalid(
        f"the price of {model} is not known", remedy=f"Set `prices: {{{model}: <credits per image>}}` in the campaign."
    )


def usd(credits_: Decimal) -> Decimal:
    """Credits in dollars by the table's rate, to a hundredth of a cent."""
    return (credits_ / CREDITS_PER_USD).quantize(Decimal("0.0001"), rounding=ROUND_HALF_EVEN)


def cap_credits(budget: Budget, dearest_image: Decimal) -> Decimal:
    """The budget as a cap in credits. ``dearest_image`` prices a budget in images: the campaign's most expensive."""
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
    """Whether what the API reserved is another price than what was quoted, more expensive or cheaper."""
    return abs(reserved - quoted) > quoted * PRICE_TOLERANCE
