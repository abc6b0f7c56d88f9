"""Calls that are over, written into a ledger without running anything: for archives of thousands of them."""

from decimal import Decimal

from support.fakes import PRICE

from adloom.core.campaign import Row
from adloom.core.identity import asset_stems, call_id, digest, row_digest, variant_key
from adloom.core.order import Order
from adloom.core.planned import Variant
from adloom.core.records import Decided, Image, ImageFate, images_record
from adloom.ledger.ledger import Ledger


def order_of(row: Row) -> Order:
    """The purchase of a row's one variant."""
    variant = Variant(variant_key(row_digest(row), 1), 1, 1)
    return Order(call_id([variant.key]), row, (variant,), PRICE, None)


async def finish(ledger: Ledger, row: Row) -> str:
    """Write all facts of the purchase of a row whose image is archived, as a run writes them; its call."""
    order = order_of(row)
    (variant,) = order.variants
    task = f"task-{order.call}"
    seen = digest(order.call)
    intent = order.intent(edition_token="edition", attempt=1, account="fingerprint", revision=1)
    await ledger.decide(order.call, "a1-intent", intent)
    await ledger.accept(order.call, 1, task, str(PRICE), credits_told=True, model=row.model, replayed=False)
    await ledger.note(
        order.call,
        "a1-completed",
        {"task": task, "links": [f"https://results.example/{task}/0?sig={seen}"], "reported": 1, "credits": str(PRICE)}
        | {"told": True, "billed": 1, "final": True},
    )
    charge = {"outcome": Decided.CHARGED, "credits": str(Decimal(PRICE)), "reason": "", "kind": "", "final": True}
    await ledger.decide(order.call, "a1-settled", charge)
    key = asset_stems(row.job, row.label, 1, variant.key)[0] + ".jpg"
    image = Image(0, 1, ImageFate.ARCHIVED, key, seen, 31_234, "image/jpeg", 1024, 1024, likeness=seen)
    await ledger.note(order.call, "a1-archived-1", images_record([image]))
    return order.call
