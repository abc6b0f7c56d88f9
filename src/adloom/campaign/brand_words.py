"""The ``words`` of a campaign file: what a team forbids or asks for in prompts, also from text files next to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from adloom.campaign.axes.product import values_in
from adloom.campaign.problems import Report
from adloom.campaign.schema.campaign import WordsFile
from adloom.campaign.sources.origin import Origin
from adloom.campaign.sources.yaml_tree import Path as Keys
from adloom.core.words import EVERYWHERE, WordRules

FindFile: TypeAlias = "Callable[[str, Keys, str], Path | None]"
ByLocale: TypeAlias = Mapping[str, Sequence[str]]


def read_words(words: WordsFile | None, origin: Origin, find_file: FindFile, report: Report) -> WordRules:
    """The rules of a campaign. A file holds forbidden words, one per line; problems with files are reported."""
    if words is None:
        return WordRules()
    forbid = {locale: tuple(each) for locale, each in _by_locale(words.forbid).items()}
    files = {EVERYWHERE: words.file} if isinstance(words.file, str) else words.file
    for locale, name in files.items():
        keys: Keys = ("words", "file", locale) if locale else ("words", "file")
        if name and (path := find_file(name, keys, "list")) is not None:
            listed = (word for _, word in values_in(path, origin.beside(name), report))
            forbid[locale] = (*forbid.get(locale, ()), *listed)
    require = {locale: tuple(each) for locale, each in _by_locale(words.require).items()}
    return WordRules(forbid, require)


def _by_locale(words: Sequence[str] | ByLocale) -> ByLocale:
    return words if isinstance(words, Mapping) else {EVERYWHERE: words}
