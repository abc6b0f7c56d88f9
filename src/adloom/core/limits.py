"""Every number that belongs to the image API rather than to adloom, with its source and date.

Two profiles exist because EvoLink's own pages contradict each other: ``strict`` is the API reference of the Seedream
4.0 landing page, ``wide`` the newer reference pages. What ``strict`` allows, both allow. They hold for the whole
family; what one model takes and another does not is in ``MODELS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

IMAGES_PER_CALL = 15
"""``n`` is 1…15 (EvoLink reference pages of Seedream 4.0, 4.5 and 5.0 lite, read 2026-11); 5.0 flash and pro have no
``n`` and make one image a call: ``Model.images_per_call``."""

REFERENCES_AND_IMAGES = 15
"""Reference images + generated images ≤ 15 (same page; Volcengine 82379/1541523 says the same)."""

VARIANTS_PER_ROW = 1000
"""Our own: a row that wants more is more likely a typing error than a wish."""

LINKS_LIVE_S = 24 * 3600
"""A result link is good for 24 h after its task's end (EvoLink reference pages, read 2026-11)."""

PROMPT_CHARACTERS = 2000
"""``maxLength`` of the newest schema, in code points after the count phrase (EvoLink OpenAPI text, 2026-10). Seedream
5.0 flash and pro have none: theirs are ``Model.prompt_characters`` and ``Model.prompt_tokens``."""

PROMPT_TOKENS = 2000
"""The same page in words; no tokenizer is published, so ``prompt.estimated_tokens`` estimates on the safe side."""

CREDITS_PER_USD = Decimal(68)
"""EvoLink public price list, captured 2026-10-10 (6.8 CNY per USD, 10 credits per CNY)."""

PRICE_TOLERANCE = Decimal("0.05")
"""Our own: a ``credits_reserved`` further than this above the table stops buying, further below it is noted."""

PRICE_ROUNDING = Decimal("0.005")
"""Our own: a sum of one image that is rounded to a hundredth of a credit is off by 0.33 % at the lowest list price."""

RATIOS = ("auto", "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
WIDE_RATIOS = (*RATIOS, "9:21")
PRIORITIES = ("standard", "fast")

SIDE_RATIO = 16
"""``size: WxH`` may be at most this times as wide as high, or as high as wide (EvoLink OpenAPI text, 2026-10)."""


@dataclass(frozen=True, slots=True)
class ReferenceLimits:
    """What one reference image may be. ``ratio`` is the largest width ÷ height, and the largest of its inverse."""

    count: int
    formats: tuple[str, ...]
    ratio: int
    size_bytes: int
    width_px: int
    height_px: int
    least_side_px: int

    def fault_of_pixels(self, width: int, height: int) -> tuple[str, str] | None:
        """What is wrong with an image of so many pixels, and what is allowed; None for nothing."""
        longer, shorter = max(width, height), min(width, height)
        faults = (
            (width > self.width_px or height > self.height_px, f"at most {self.width_px}×{self.height_px}"),
            (shorter < self.least_side_px, f"at least {self.least_side_px} on each side"),
            (longer > self.ratio * shorter, f"no side more than {self.ratio} times the other"),
        )
        allowed = next((allowed for is_wrong, allowed in faults if is_wrong), "")
        return (f"has {width}×{height} pixels", allowed) if allowed else None

    def fault_of_bytes(self, size_bytes: int) -> tuple[str, str] | None:
        """The same for a file of so many bytes."""
        if size_bytes <= self.size_bytes:
            return None
        return f"has {size_bytes / 1e6:.1f} MB", f"at most {self.size_bytes / 1e6:g} MB"


@dataclass(frozen=True, slots=True)
class Profile:
    """One reading of the API's limits."""

    name: str
    source: str
    ratios: tuple[str, ...]
    references: ReferenceLimits


STRICT = Profile(
    name="strict",
    source="EvoLink Seedream 4.0 landing page, embedded API reference (the 2025-09 state of the model)",
    ratios=RATIOS,
    references=ReferenceLimits(10, ("jpeg", "png"), 3, 10_000_000, 6000, 6000, 15),
)
WIDE = Profile(
    name="wide",
    source="EvoLink Seedream 4.0 reference page and its OpenAPI text, 2026-10",
    ratios=WIDE_RATIOS,
    references=ReferenceLimits(14, ("jpeg", "png", "webp", "bmp", "tiff", "gif"), 16, 10_000_000, 6000, 6000, 15),
)
PROFILES: Mapping[str, Profile] = {profile.name: profile for profile in (STRICT, WIDE)}


@dataclass(frozen=True, slots=True)
class Model:
    """What one model of the family takes and costs.

    ``pixels`` bounds the total of ``size: WxH``, both ends allowed; ``source`` and ``read_on`` are where and when that,
    the qualities, the priorities and the options were read. ``credits_by_quality`` is the list price of an image. A
    size in pixels has no quality: where ``dearer_above_px`` is set, it is billed as the dearest quality above so many
    pixels and as the cheapest one up to there. ``references`` is the most that one request takes, before the profile's
    own limit. ``prompt_characters`` is None where only tokens are limited.
    """

    name: str
    qualities: tuple[str, ...]
    default_quality: str
    priorities: tuple[str, ...]
    pixels: tuple[int, int]
    source: str
    read_on: str
    credits_by_quality: Mapping[str, Decimal]
    priced_on: str
    price_source: str
    images_per_call: int = IMAGES_PER_CALL
    references: int = 14
    prompt_characters: int | None = PROMPT_CHARACTERS
    prompt_tokens: int = PROMPT_TOKENS
    options: tuple[str, ...] = ()
    dearer_above_px: int | None = None
    credits_per_reference: Decimal = Decimal(0)
    credits_per_search: Decimal = Decimal(0)

    def billed_quality(self, size: str, quality: str) -> str:
        """The quality whose price an image has; empty where a size in pixels costs what every size does."""
        if quality or self.dearer_above_px is None:
            return quality
        width, height = size.split("x")
        by_price = sorted(self.qualities, key=self.credits_by_quality.__getitem__)
        return by_price[-1] if int(width) * int(height) > self.dearer_above_px else by_price[0]

    def credits(self, quality: str) -> Decimal:
        """The list price of an image; that of the dearest quality where the quality is not one of the model's."""
        return self.credits_by_quality.get(quality) or max(self.credits_by_quality.values())


OPTIONS: Mapping[str, tuple[str, ...]] = {
    "output_format": ("jpeg", "png"),
    "background": ("opaque", "transparent"),
    "watermark": ("false", "true"),
    "web_search": ("false", "true"),
}
"""Further settings of some models and the words that they take, the API's default first (EvoLink reference pages of
Seedream 5.0 lite, flash and pro, read 2026-11)."""

CALLED_DEARER = ("doubao-seedream-4.0", "4K")
"""A model and quality that an older page calls dearer than the price list does (EvoLink Seedream 4.0 landing page)."""


def _one_price(qualities: tuple[str, ...], credits_: str) -> Mapping[str, Decimal]:
    return dict.fromkeys(qualities, Decimal(credits_))


_PRICE_LIST = "EvoLink public price list"
_MODELS = (
    Model(
        name="doubao-seedream-4.0",
        qualities=("1K", "2K", "4K"),
        default_quality="2K",
        priorities=PRIORITIES,
        pixels=(921_600, 16_777_216),  # 1280×720 … 4096×4096
        source="EvoLink Seedream 4.0 reference page and its OpenAPI text",
        read_on="2026-11-01",
        credits_by_quality=_one_price(("1K", "2K", "4K"), "1.53"),
        priced_on="2026-10-10",
        price_source=_PRICE_LIST,
    ),
    Model(
        name="doubao-seedream-4.5",
        qualities=("2K", "4K"),
        default_quality="2K",
        priorities=("standard",),
        pixels=(3_686_400, 16_777_216),  # 2560×1440 and up; no page names another top than 4.0's
        source="EvoLink Seedream 4.5 reference page and its OpenAPI text",
        read_on="2026-11-01",
        credits_by_quality=_one_price(("2K", "4K"), "2.04"),
        priced_on="2026-10-10",
        price_source=_PRICE_LIST,
    ),
    Model(
        name="doubao-seedream-5.0-lite",
        qualities=("2K", "3K", "4K"),  # an older page ends at 3K
        default_quality="2K",
        priorities=("standard",),
        pixels=(3_686_400, 16_777_216),  # as for 4.5
        source="EvoLink Seedream 5.0 lite reference page and its OpenAPI text",
        read_on="2026-11-01",
        credits_by_quality=_one_price(("2K", "3K", "4K"), "1.904"),
        priced_on="2026-10-10",
        price_source=_PRICE_LIST,
        options=("output_format", "web_search"),
        credits_per_search=Decimal("0.04"),
    ),
    Model(
        name="doubao-seedream-5.0-flash",
        qualities=("1K", "1.5K", "2K"),
        default_quality="1K",
        priorities=("standard",),
        pixels=(921_600, 4_624_220),
        source="EvoLink Seedream 5.0 flash reference page and its OpenAPI text",
        read_on="2026-11-28",
        credits_by_quality=_one_price(("1K", "1.5K", "2K"), "1.1016"),
        priced_on="2026-10-10",
        price_source=_PRICE_LIST,
        images_per_call=1,
        references=10,
        prompt_characters=None,
        prompt_tokens=4000,
        options=("output_format", "background", "watermark"),
    ),
    Model(
        name="doubao-seedream-5.0-pro",
        qualities=("1K", "1.5K", "2K"),
        default_quality="1K",
        priorities=PRIORITIES,
        pixels=(921_600, 4_624_220),
        source="EvoLink Seedream 5.0 pro reference page and its OpenAPI text",
        read_on="2026-11-28",
        credits_by_quality={"1K": Decimal("2.295"), "1.5K": Decimal("2.295"), "2K": Decimal("4.59")},
        priced_on="2026-10-10",
        price_source=_PRICE_LIST,
        images_per_call=1,
        references=10,
        prompt_characters=None,
        prompt_tokens=4000,
        options=("output_format", "background", "watermark"),
        dearer_above_px=2_610_000,
        credits_per_reference=Decimal("0.153"),
    ),
)
MODELS: Mapping[str, Model] = {model.name: model for model in _MODELS}


def is_another_model(named: str, asked: str) -> bool:
    """Whether a task names a model that can be asked for and is another one; an internal name says nothing."""
    return named != asked and named in MODELS


def images_per_call(model: str) -> int:
    """How many images one request to a model may ask for; a model that is not known takes ``n``."""
    known = MODELS.get(model)
    return known.images_per_call if known else IMAGES_PER_CALL


QUALITIES = tuple(
    sorted({quality for model in _MODELS for quality in model.qualities}, key=lambda each: float(each[:-1]))
)
DEFAULT_MODEL = "doubao-seedream-4.0"

LAST_TASKS = 10
FAILED_TASKS_TO_STOP = 8
"""Our own: when so many of a model's last tasks failed, and not for their prompts, it is not bought from any more.
Where one task in three fails, 8 of 10 do so by chance once in 300; a model whose tasks fail like this costs five
purchases an image."""
