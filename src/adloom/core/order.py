"""One call as it is bought: what it is for, what it may cost and the exact bytes that are sent."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from adloom.core.callbacks import CallbackAddresses
from adloom.core.campaign import Row
from adloom.core.family import sent_options
from adloom.core.identity import row_digest, variant_key
from adloom.core.limits import images_per_call
from adloom.core.planned import Variant
from adloom.core.pricing import Kind, kind_fields, kind_of
from adloom.core.prompt import changed_prompt, sent_prompt


@dataclass(frozen=True, slots=True)
class Order:
    """A call ready to be bought.

    ``variants`` are 1…15, all of one row, and with the same ``change`` where a reviewer wished for one. ``parent``,
    ``round`` and ``fruitless`` place a top-up in its chain; a first call has round 0. A stray belongs to a row that is
    not this run's: it is seen through, and nothing more is bought for it. ``fallback_model`` is sent in place of the
    row's own model where that was unavailable; ``credits`` are its price then.
    """

    call: str
    row: Row
    variants: tuple[Variant, ...]
    credits: Decimal
    callbacks: CallbackAddresses | None = None
    parent: str = ""
    round: int = 0
    fruitless: int = 0
    is_stray: bool = False
    fallback_model: str = ""

    @property
    def n(self) -> int:
        return len(self.variants)

    @property
    def prompt(self) -> str:
        """The prompt without its count phrase."""
        return changed_prompt(self.row.prompt, self.variants[0].change)

    @property
    def model(self) -> str:
        """The model that is sent: the row's own, unless that was unavailable."""
        return self.fallback_model or self.row.model

    @property
    def kind(self) -> Kind:
        """What the price of its images depends on."""
        return kind_of(self.row, self.model)

    def keys_of_all_takes(self) -> Iterator[str]:
        """The keys of its variants, and of their earlier takes."""
        row_key = row_digest(self.row) if any(variant.take > 1 for variant in self.variants) else ""
        for variant in self.variants:
            yield variant.key
            for take in range(1, variant.take):
                yield variant_key(row_key, variant.number, take)

    def with_addresses(self, urls: Mapping[str, str]) -> Order:
        """The same order with addresses for its files, by content. What the order is does not change with them."""
        references = tuple(replace(each, url=each.url or urls[each.content]) for each in self.row.references)
        return replace(self, row=replace(self.row, references=references))

    def image_urls(self) -> list[str]:
        """The addresses of the references. Raises ValueError for a file that is not hosted yet."""
        urls = [reference.url for reference in self.row.references if reference.url]
        if len(urls) < len(self.row.references):
            raise ValueError(f"a reference of call {self.call} is not hosted")
        return urls

    def body(self, attempt: int = 1) -> str:
        """The request as it is sent. Fields at their defaults are sent too: a default of the API may change."""
        body: dict[str, Any] = {
            "model": self.model,
            "prompt": sent_prompt(self.prompt, self.n),
            **({"n": self.n} if images_per_call(self.model) > 1 else {}),
            "size": self.row.size,
        }
        if self.row.quality:
            body["quality"] = self.row.quality
        if self.row.references:
            body["image_urls"] = self.image_urls()
        body["prompt_priority"] = self.row.priority
        body |= sent_options(self.model, self.row.options)
        if self.callbacks:
            body["callback_url"] = self.callbacks.of(self.call, attempt)
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"))

    def intent(self, *, edition_token: str, attempt: int, account: str, revision: int) -> Mapping[str, Any]:
        """The fields of the ``intent`` record: everything that a later run needs to settle or repeat this purchase."""
        return {
            "outcome": "bought",
            "body": self.body(attempt),
            "idempotency_key": idempotency_key(edition_token, self.call, attempt),
            "account": account,
            "credits": str(self.credits),
            "revision": revision,
            "job": self.row.job,
            "row": self.row.name,
            "label": self.row.label,
            "model": self.model,
            **kind_fields(self.kind),
            "variants": [variant.record() for variant in self.variants],
            "parent": self.parent,
            "round": self.round,
            "fruitless": self.fruitless,
        }


def idempotency_key(edition_token: str, call: str, attempt: int) -> str:
    """The key of one attempt: 55 characters of ``[a-z0-9-]``; EvoLink's clients send 16…96 of ``[A-Za-z0-9._-]``.

    The edition's token makes it differ between archives that hold the same campaign.
    """
    return "adloom-" + hashlib.sha256(f"{edition_token}/{call}/{attempt}".encode()).hexdigest()[:48]
