"""What the image API promises, according to its pages.

Kept apart from the product's own tables on purpose: a number that is wrong there must not be wrong here too. Sources:
EvoLink's Seedream reference pages and their OpenAPI text, and its public price list, captured 2026-10-10.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

IMAGES_PER_CALL = 15
PROMPT_CHARACTERS = 2000
OLD_PROMPT_CHARACTERS = 1000
BATCH_IDS = 50
PAGE_SIZE = 50
CALLBACK_URL_CHARACTERS = 2048
SIDE_RATIO = 16
IDEMPOTENCY_KEY_PATTERN = r"[A-Za-z0-9._-]{16,96}"

FIELDS = frozenset(
    {"model", "prompt", "n", "size", "quality", "image_urls", "prompt_priority", "callback_url"},
)


@dataclass(frozen=True, slots=True)
class ModelRules:
    """What one model accepts, and its list price."""

    name: str
    credits_per_image: Decimal
    qualities: tuple[str, ...]
    priorities: tuple[str, ...]
    least_pixels: int
    most_pixels: int
    more_fields: frozenset[str] = frozenset()
    default_quality: str = "2K"
    has_n: bool = True
    references: int = 14
    prompt_tokens: int | None = None
    """None where characters are counted."""
    upper_tier: tuple[int, Decimal] | None = None
    """Above this many pixels an image costs this many credits."""
    credits_per_reference: Decimal = Decimal(0)
    own_pixels: bool = False
    """Whether its pixels by ratio are those of 5.0 flash and pro."""

    def price(self, width_px: int, height_px: int, references: int) -> Decimal:
        """Credits for one image with this many pixels."""
        price = self.credits_per_image
        if self.upper_tier is not None and width_px * height_px > self.upper_tier[0]:
            price = self.upper_tier[1]
        return price + references * self.credits_per_reference


MODELS: Mapping[str, ModelRules] = {
    rules.name: rules
    for rules in (
        ModelRules(
            "doubao-seedream-4.0", Decimal("1.53"), ("1K", "2K", "4K"), ("standard", "fast"), 921_600, 16_777_216
        ),
        ModelRules("doubao-seedream-4.5", Decimal("2.04"), ("2K", "4K"), ("standard",), 3_686_400, 16_777_216),
        ModelRules(
            "doubao-seedream-5.0-lite",
            Decimal("1.904"),
            ("2K", "3K", "4K"),
            ("standard",),
            3_686_400,
            16_777_216,
            frozenset({"model_params"}),
        ),
        ModelRules(
            "doubao-seedream-5.0-flash",
            Decimal("1.1016"),
            ("1K", "1.5K", "2K"),
            ("standard",),
            921_600,
            4_624_220,
            frozenset({"output_format", "background", "watermark"}),
            default_quality="1K",
            has_n=False,
            references=10,
            prompt_tokens=4000,
            own_pixels=True,
        ),
        ModelRules(
            "doubao-seedream-5.0-pro",
            Decimal("2.295"),
            ("1K", "1.5K", "2K"),
            ("standard", "fast"),
            921_600,
            4_624_220,
            frozenset({"output_format", "background", "watermark"}),
            default_quality="1K",
            has_n=False,
            references=10,
            prompt_tokens=4000,
            upper_tier=(2_610_000, Decimal("4.59")),
            credits_per_reference=Decimal("0.153"),
            own_pixels=True,
        ),
    )
}
CREDITS_PER_SEARCH = Decimal("0.04")
OUTPUT_FORMATS = ("jpeg", "png")
BACKGROUNDS = ("opaque", "transparent")


@dataclass(frozen=True, slots=True)
class ReferenceRules:
    """What one reference image may be."""

    count: int
    media_types: frozenset[str]
    ratio: int
    size_bytes: int = 10_000_000
    side_px: int = 6000
    least_side_px: int = 15


@dataclass(frozen=True, slots=True)
class ProfileRules:
    """One reading of the pages: they contradict each other."""

    ratios: frozenset[str]
    references: ReferenceRules


_RATIOS = frozenset({"1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"})
PROFILES: Mapping[str, ProfileRules] = {
    "strict": ProfileRules(_RATIOS, ReferenceRules(10, frozenset({"image/jpeg", "image/png"}), 3)),
    "wide": ProfileRules(
        _RATIOS | {"9:21"},
        ReferenceRules(
            14,
            frozenset({"image/jpeg", "image/png", "image/webp", "image/bmp", "image/tiff", "image/gif"}),
            16,
        ),
    ),
}

_UPRIGHT: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "1K": {
        "1:1": (1024, 1024),
        "2:3": (832, 1248),
        "3:4": (864, 1152),
        "4:5": (896, 1120),
        "9:16": (720, 1280),
        "9:21": (648, 1512),
    },
    "2K": {
        "1:1": (2048, 2048),
        "2:3": (1664, 2496),
        "3:4": (1728, 2304),
        "4:5": (1792, 2240),
        "9:16": (1600, 2848),
        "9:21": (1344, 3136),
    },
    "3K": {  # only 1:1, 4:5 and 9:16 are published; the others are the 2K sides times 1.5
        "1:1": (3072, 3072),
        "2:3": (2496, 3744),
        "3:4": (2592, 3456),
        "4:5": (2688, 3360),
        "9:16": (2304, 4096),
        "9:21": (2016, 4704),
    },
    "4K": {
        "1:1": (4096, 4096),
        "2:3": (3328, 4992),
        "3:4": (3520, 4704),
        "4:5": (3584, 4480),
        "9:16": (3040, 5504),
        "9:21": (2656, 6240),
    },
}

_UPRIGHT_OF_FLASH_AND_PRO: Mapping[str, Mapping[str, tuple[int, int]]] = {
    "1K": {
        "1:1": (1024, 1024),
        "2:3": (832, 1248),
        "3:4": (864, 1152),
        "4:5": (896, 1120),
        "9:16": (800, 1424),
        "9:21": (672, 1568),
    },
    "1.5K": {
        "1:1": (1536, 1536),
        "2:3": (1248, 1872),
        "3:4": (1344, 1792),
        "4:5": (1344, 1680),
        "9:16": (1152, 2048),
        "9:21": (1008, 2352),
    },
    "2K": {
        "1:1": (2048, 2048),
        "2:3": (1664, 2496),
        "3:4": (1776, 2368),
        "4:5": (1792, 2240),
        "9:16": (1584, 2816),
        "9:21": (1344, 3136),
    },
}


def pixels(model: ModelRules, quality: str, ratio: str) -> tuple[int, int]:
    """Width and height of a ratio at a quality. A landscape ratio is its portrait one, turned."""
    upright = (_UPRIGHT_OF_FLASH_AND_PRO if model.own_pixels else _UPRIGHT)[quality]
    if ratio in upright:
        return upright[ratio]
    wide, high = ratio.split(":")
    width, height = upright[f"{high}:{wide}"]
    return height, width


def tokens(prompt: str) -> int:
    """The approximate number of tokens of a prompt: 4,000 are 2,600 Chinese characters or 5,000 English words."""
    chinese = sum("\u4e00" <= letter <= "\u9fff" for letter in prompt)
    words = len([word for word in prompt.split() if word.isascii()])
    return round(chinese * 4000 / 2600 + words * 4000 / 5000)


def ratios() -> frozenset[str]:
    """Every ratio word of either profile, without ``auto``."""
    return PROFILES["wide"].ratios
