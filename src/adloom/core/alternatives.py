r"""Alternatives inside a prompt: ``a {red|blue} mug`` means two prompts, and is an axis by itself.

A group begins with a brace, holds ``|`` at least once and ends with a brace. Braces without ``|`` stay what they are,
and so do those of templates. ``\{a|b}`` is the text ``{a|b}``; inside a group ``\|`` and ``\}`` are text as well.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

_CLOSED_BY = {"{{": "}}", "{%": "%}", "{#": "#}"}
_INNER = re.compile(r"\{[^{}]*\|[^{}]*\}")
_NESTED = "alternatives are nested inside alternatives"
_FLAT = "one level, like {a|b|c}; \\{ for a brace that is text"


class BadAlternatives(ValueError):
    """Alternatives that cannot be read; ``allowed`` says what would be right."""

    def __init__(self, message: str, allowed: str) -> None:
        super().__init__(message)
        self.message = message
        self.allowed = allowed


@dataclass(frozen=True, slots=True)
class Alternatives:
    """A text cut at its groups: ``texts`` stand before, between and behind them, one more than there are ``groups``."""

    texts: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]

    @property
    def count(self) -> int:
        """How many texts this expands to."""
        return math.prod(map(len, self.groups))

    def chosen(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Every choice with its text; the last group turns fastest."""
        for choice in itertools.product(*self.groups):
            pieces = itertools.chain.from_iterable(itertools.zip_longest(self.texts, choice, fillvalue=""))
            yield choice, "".join(pieces)


@lru_cache(maxsize=1024)
def alternatives(text: str) -> Alternatives:
    """The groups of a text, none where it has none. Raises BadAlternatives."""
    texts, groups, literal, at = [], [], "", 0
    while at < len(text):
        if (end := _template_end(text, at)) > at:
            literal, at = literal + text[at:end], end
            continue
        escaped = text.startswith("\\{", at)
        group = _group(text, at + escaped) if escaped or text[at] == "{" else None
        if group is None:
            literal, at = literal + text[at], at + 1
        elif escaped:
            literal, at = literal + text[at + 1 : group[1]], group[1]
        else:
            texts.append(literal)
            groups.append(group[0])
            literal, at = "", group[1]
    return Alternatives((*texts, literal), tuple(groups))


def _template_end(text: str, at: int) -> int:
    """Where a template's own braces end that begin here; ``at`` where none do."""
    closed_by = _CLOSED_BY.get(text[at : at + 2])
    if closed_by is None:
        return at
    end = text.find(closed_by, at + 2)
    return len(text) if end < 0 else end + 2


def _group(text: str, start: int) -> tuple[tuple[str, ...], int] | None:
    """The values of a group that begins here and where it ends; None where there is no group."""
    values: list[str] = []
    value, at = "", start + 1
    if _template_end(text, start) > start:
        return None
    while at < len(text):
        if (end := _template_end(text, at)) > at:
            value, at = value + text[at:end], end
        elif text[at : at + 2] in ("\\|", "\\}"):
            value, at = value + text[at + 1], at + 2
        elif text[at] == "{":
            if values and _INNER.match(text, at):
                raise BadAlternatives(_NESTED, _FLAT)
            return None
        elif text[at] == "|":
            values.append(value)
            value, at = "", at + 1
        elif text[at] == "}":
            return ((*values, value), at + 1) if values else None
        else:
            value, at = value + text[at], at + 1
    return None
