"""Notes on the models that a plan buys from, in addition to what they cost."""

from __future__ import annotations

from collections.abc import Iterable

from adloom.core.limits import CALLED_DEARER, MODELS
from adloom.core.pricing import Kind, search_credits


def notes_on(kinds: Iterable[Kind]) -> tuple[str, ...]:
    """Notes on the kinds of images that are to be bought, each once."""
    notes: dict[str, None] = {}
    for kind in sorted(kinds):
        known = MODELS.get(kind.model)
        if (kind.model, kind.quality) == CALLED_DEARER:
            page = f"{kind.model} {kind.quality} is planned at the price of the list"
            notes[
                f"{page}; an older EvoLink page gives a higher price; if that applies, the run stops at the first call"
            ] = None
        if known is not None and "watermark" in known.options:
            notes[f"{kind.model} is asked for no watermark, except where the campaign says watermark: true"] = None
        if searching := search_credits(kind):
            price = f"a web search of {kind.model} costs {searching:f} credits"
            notes[f"{price}; one an image is planned, and the model decides how often it searches"] = None
    return tuple(notes)
