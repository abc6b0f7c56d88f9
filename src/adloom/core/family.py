"""Which model supports what, for a request that is otherwise valid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from adloom.core.campaign import Options
from adloom.core.limits import MODELS, OPTIONS, Model


@dataclass(frozen=True, slots=True)
class Unsupported:
    """One field of a request that a model does not take: what is wrong, and what would be right."""

    field: str
    message: str
    allowed: str


def unsupported(
    model: Model, size: str, quality: str, priority: str, options: Options = (), references: int = 0
) -> Iterator[Unsupported]:
    """Every field that this model does not take. An empty ``quality`` is the model's own default."""
    if quality and quality not in model.qualities:
        takers = _takers(lambda other: quality in other.qualities)
        yield _not_one_of("quality", quality, model, model.qualities, takers)
    if priority not in model.priorities:
        takers = _takers(lambda other: priority in other.priorities)
        yield _not_one_of("priority", priority, model, model.priorities, takers)
    if not takes_pixels(model, size):
        low, high = model.pixels
        takers = _takers(lambda other: takes_pixels(other, size))
        message = f"the size {size} has {_pixels(size):,} pixels"
        yield Unsupported("size", message, _allowed(f"{low:,} to {high:,} for {model.name}", takers))
    if references > model.references:
        takers = _takers(lambda other: references <= other.references)
        message = f"{references} reference images"
        yield Unsupported("references", message, _allowed(f"at most {model.references} for {model.name}", takers))
    yield from _misfits_of_options(model, dict(options), references)


def _misfits_of_options(model: Model, options: dict[str, str], references: int) -> Iterator[Unsupported]:
    for name in options:
        if name not in model.options:
            yield Unsupported(name, f"{model.name} has no {name}", _taken(_takers(partial(_has_option, name))))
    if options.get("background") == "transparent" and "background" in model.options and references != 1:
        here = f"here are {references}" if references else "here is none"
        message = f"a transparent background needs one reference image, {here}"
        yield Unsupported("background", message, "one PNG with an alpha channel")


def standing_options(options: dict[str, str]) -> Options:
    """Options as a request means them: those at the API's default are left out, as are those that others imply."""
    kept = {name: word for name, word in options.items() if word and word != OPTIONS[name][0]}
    if kept.get("background") == "transparent":
        kept.pop("output_format", None)  # such an image is always a PNG
    return tuple(sorted(kept.items()))


def sent_options(model: str, options: Options) -> dict[str, Any]:
    """The request fields that represent the options.

    A model's own fields are sent at their defaults, too: upstream, a watermark is on by default. Seedream 5.0 lite has
    them inside ``model_params``, and none where nothing was asked for.
    """
    known, wanted = MODELS.get(model), dict(options)
    if known is None or not known.options:
        return {}
    if "web_search" in known.options:
        inner: dict[str, Any] = {}
        if "output_format" in wanted:
            inner["output_format"] = wanted["output_format"]
        if "web_search" in wanted:
            inner["tools"] = [{"type": "web_search"}]
        return {"model_params": inner} if inner else {}
    transparent = wanted.get("background") == "transparent"
    fields: dict[str, Any] = {"output_format": "png" if transparent else wanted.get("output_format", "jpeg")}
    if transparent:
        fields["background"] = "transparent"
    return fields | {"watermark": wanted.get("watermark") == "true"}


def takes_pixels(model: Model, size: str) -> bool:
    """Whether the model makes images of so many pixels; true of a ratio."""
    return ":" in size or size == "auto" or model.pixels[0] <= _pixels(size) <= model.pixels[1]


def those_that_take(fits: Callable[[Model], bool]) -> str:
    """The models that take something, as the end of a sentence; empty where none does."""
    return _taken(_takers(fits))


def _has_option(name: str, model: Model) -> bool:
    return name in model.options


def _pixels(size: str) -> int:
    width, height = size.split("x")
    return int(width) * int(height)


def _not_one_of(field: str, word: str, model: Model, words: tuple[str, ...], takers: str) -> Unsupported:
    message = f'the {field} "{word}" is not available for {model.name}'
    return Unsupported(field, message, _allowed("one of " + ", ".join(words), takers))


def _takers(fits: Callable[[Model], bool]) -> str:
    names = [model.name for model in MODELS.values() if fits(model)]
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _taken(takers: str) -> str:
    verb = "support" if " and " in takers else "supports"
    return f"{takers} {verb} it" if takers else ""


def _allowed(what: str, takers: str) -> str:
    return f"{what}; {_taken(takers)}" if takers else what
