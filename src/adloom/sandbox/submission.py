"""The body of the paid POST: every documented range, refused with 400 and the field's name."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlsplit

from adloom.sandbox import tables
from adloom.sandbox.answers import Refusal
from adloom.sandbox.settings import SandboxSettings

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """A submission that passed every check."""

    model: tables.ModelRules
    prompt: str
    n: int
    size: str
    quality: str
    priority: str
    references: tuple[str, ...]
    callback_url: str
    output_format: str = "jpeg"
    searches: bool = False


def read_json(body: bytes) -> dict[str, object]:
    """A JSON object, else a refusal."""
    try:
        content = json.loads(body)
    except ValueError:
        raise _bad("the body is not JSON", "") from None
    if not isinstance(content, dict):
        raise _bad("the body must be a JSON object", "")
    return content


def read_wanted(content: Mapping[str, object], settings: SandboxSettings) -> Wanted:
    """Check a submission against the pages, in the order of the table of parameters."""
    model = _model(content.get("model"))
    known = (tables.FIELDS if model.has_n else tables.FIELDS - {"n"}) | model.more_fields
    unknown = sorted(set(content) - known)
    if unknown and settings.refuse_unknown_fields:
        raise _bad(f"unknown field {unknown[0]}", unknown[0])
    quality = _choice(content, "quality", model.qualities, model.default_quality)
    references = _references(content.get("image_urls"), model, settings)
    output_format, searches = _options(content, model, len(references))
    return Wanted(
        model=model,
        prompt=_prompt(content.get("prompt"), model, settings),
        n=_count(content.get("n", 1)) if model.has_n else 1,
        size=_size(content.get("size", "auto"), model, settings),
        quality=quality,
        priority=_choice(content, "prompt_priority", model.priorities, "standard"),
        references=references,
        callback_url=_callback_url(content.get("callback_url"), settings),
        output_format=output_format,
        searches=searches,
    )


def _options(content: Mapping[str, object], model: tables.ModelRules, references: int) -> tuple[str, bool]:
    """Output format, and whether the web is searched, from fields that only some models have."""
    if "model_params" in model.more_fields:
        inner = content.get("model_params", {})
        if not isinstance(inner, Mapping):
            raise _bad("model_params must be an object", "model_params")
        return _choice(inner, "output_format", tables.OUTPUT_FORMATS, "jpeg"), _searches(inner)
    if not model.more_fields:
        return "jpeg", False
    if not isinstance(content.get("watermark", False), bool):
        raise _bad("watermark must be true or false", "watermark")
    output_format = _choice(content, "output_format", tables.OUTPUT_FORMATS, "jpeg")
    if _choice(content, "background", tables.BACKGROUNDS, "opaque") == "opaque":
        return output_format, False
    if content.get("output_format") == "jpeg":
        raise _bad("a transparent background cannot be jpeg", "output_format")
    if references != 1:
        raise _bad("a transparent background needs exactly one input image", "background")
    return "png", False


def _searches(inner: Mapping[str, object]) -> bool:
    unknown = sorted(set(inner) - {"output_format", "tools"})
    if unknown:
        raise _bad(f"unknown field model_params.{unknown[0]}", f"model_params.{unknown[0]}")
    tools = inner.get("tools", [])
    if not isinstance(tools, list) or any(tool != {"type": "web_search"} for tool in tools):
        raise _bad("model_params.tools takes web_search alone", "model_params.tools")
    return bool(tools)


def price(wanted: Wanted) -> Decimal:
    """Credits for one image by the price list. A ratio is billed by the pixels that its quality has."""
    size = "1:1" if wanted.size == "auto" else wanted.size
    width, height = dimensions(wanted.model, size, wanted.quality, 0)
    return wanted.model.price(width, height, len(wanted.references))


def dimensions(model: tables.ModelRules, size: str, quality: str, fate: int) -> tuple[int, int]:
    """Pixels of a picture; ``fate`` picks the ratio that ``auto`` leaves to the model."""
    if size == "auto":
        words = sorted(tables.PROFILES["strict"].ratios)
        size = words[fate % len(words)]
    if ":" in size:
        return tables.pixels(model, quality, size)
    width, height = size.lower().split("x")
    return int(width), int(height)


def _bad(message: str, param: str) -> Refusal:
    return Refusal(400, message, param=param)


def _model(value: object) -> tables.ModelRules:
    if not isinstance(value, str) or not value:
        raise _bad("model is required", "model")
    if value not in tables.MODELS:
        raise Refusal(404, f"model {value} was not found", param="model", code="model_not_found")
    return tables.MODELS[value]


def _prompt(value: object, model: tables.ModelRules, settings: SandboxSettings) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _bad("prompt is required", "prompt")
    if model.prompt_tokens is not None:
        if (tokens := tables.tokens(value)) > model.prompt_tokens:
            raise _bad(f"prompt has {tokens} tokens, at most {model.prompt_tokens} are allowed", "prompt")
        return value
    limit = tables.OLD_PROMPT_CHARACTERS if settings.short_prompts else tables.PROMPT_CHARACTERS
    if len(value) > limit:
        raise _bad(f"prompt has {len(value)} characters, at most {limit} are allowed", "prompt")
    return value


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= tables.IMAGES_PER_CALL:
        raise _bad(f"n must be an integer from 1 to {tables.IMAGES_PER_CALL}", "n")
    return value


def _choice(content: Mapping[str, object], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = content.get(name, default)
    if not isinstance(value, str) or value not in allowed:
        raise _bad(f"{name} must be one of {', '.join(allowed)}", name)
    return value


def _size(value: object, model: tables.ModelRules, settings: SandboxSettings) -> str:
    if not isinstance(value, str):
        raise _bad("size must be a string", "size")
    if value == "auto" or value in tables.PROFILES[settings.profile].ratios:
        return value
    match = re.fullmatch(r"([1-9]\d{0,5})[xX]([1-9]\d{0,5})", value)
    if match is None:
        raise _bad(f"size {value} is neither a known ratio nor WIDTHxHEIGHT", "size")
    width, height = int(match[1]), int(match[2])
    if not model.least_pixels <= width * height <= model.most_pixels:
        raise _bad(f"size must have {model.least_pixels} to {model.most_pixels} pixels in total", "size")
    if max(width, height) > tables.SIDE_RATIO * min(width, height):
        raise _bad("size must have a ratio between 1/16 and 16", "size")
    return value


def _references(value: object, model: tables.ModelRules, settings: SandboxSettings) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(url, str) for url in value):
        raise _bad("image_urls must be an array of URLs", "image_urls")
    most = min(model.references, tables.PROFILES[settings.profile].references.count)
    if len(value) > most:
        raise _bad(f"at most {most} image_urls are allowed", "image_urls")
    for url in value:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise _bad("image_urls must be http or https URLs", "image_urls")
    return tuple(value)


def _callback_url(value: object, settings: SandboxSettings) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > tables.CALLBACK_URL_CHARACTERS:
        raise _bad(f"callback_url must be a URL of at most {tables.CALLBACK_URL_CHARACTERS} characters", "callback_url")
    parts = urlsplit(value)
    host = parts.hostname or ""
    if settings.allow_loopback_callbacks and host in LOOPBACK_HOSTS:
        return value
    if parts.scheme != "https" or not host:
        raise _bad("callback_url must be an HTTPS URL", "callback_url")
    if is_internal(host):
        raise _bad("callback_url must not point to an internal address", "callback_url")
    return value


def is_internal(host: str) -> bool:
    """Whether a host names this machine or a private network. Names are not resolved."""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return not address.is_global
