"""What one model of the family takes and another does not, for a request whose own shape is right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adloom.core.limits import MODELS, Model


@dataclass(frozen=True, slots=True)
class Misfit:
    """One field of a request that a model does not take: what is wrong, and what would be right."""

    field: str
    message: str
    allowed: str


def misfits(model: Model, size: str, quality: str, priority: str) -> Iterator[Misfit]:
    """Every field that this model does not take. An empty ``quality`` is the model's own default."""
    if quality and quality not in model.qualities:
        takers = _names(other for other in MODELS.values() if quality in other.qualities)
        yield _not_one_of("quality", quality, model, model.qualities, takers)
    if priority not in model.priorities:
        takers = _names(other for other in MODELS.values() if priority in other.priorities)
        yield _not_one_of("priority", priority, model, model.priorities, takers)
    if not takes_pixels(model, size):
        low, high = model.pixels
        takers = _names(other for other in MODELS.values() if takes_pixels(other, size))
        message = f"the size {size} has {_pixels(size):,} pixels"
        yield Misfit("size", message, _allowed(f"{low:,} to {high:,} for {model.name}", takers))


def takes_pixels(model: Model, size: str) -> bool:
    """Whether the model makes images of so many pixels; true of a ratio."""
    return ":" in size or size == "auto" or model.pixels[0] <= _pixels(size) <= model.pixels[1]


def _pixels(size: str) -> int:
    width, height = size.split("x")
    return int(width) * int(height)


def _not_one_of(field: str, word: str, model: Model, words: tuple[str, ...], takers: str) -> Misfit:
    message = f'the {field} "{word}" is not one of {model.name}\'s'
    return Misfit(field, message, _allowed("one of " + ", ".join(words), takers))


def _names(models: Iterator[Model]) -> str:
    return " and ".join(model.name for model in models)


def _allowed(what: str, takers: str) -> str:
    verb = "take" if " and " in takers else "takes"
    return f"{what}; {takers} {verb} it" if takers else what
