"""Words that a team forbids or requires in prompts: brand language, names of people, claims.

All of it is the team's own list; adloom brings none.

Words match regardless of case and as a whole: "art" is not in "party". Chinese, Japanese and Thai are written without
spaces between words, so there a word matches anywhere.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

EVERYWHERE = ""
"""The key of words that count for every locale."""

_WITHOUT_BLANKS = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]")


@dataclass(frozen=True, slots=True)
class WordRules:
    """Forbidden and required words by locale; the key ``""`` is for all."""

    forbid: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    require: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def problems(self, prompt: str, locale: str) -> Iterator[tuple[str, str]]:
        """What is wrong with a prompt, each with what would be right."""
        if not self.forbid and not self.require:
            return
        text = _folded(prompt)
        for word in _for_locale(self.forbid, locale):
            if _finder(word).search(text):
                yield f'the prompt has "{word}", which words: forbids', "another word"
        for word in _for_locale(self.require, locale):
            if not _finder(word).search(text):
                yield f'the prompt does not contain "{word}", which words: requires', "the word in the prompt"


def _for_locale(words: Mapping[str, tuple[str, ...]], locale: str) -> Iterator[str]:
    """The words for all, those for the locale, and those for its language where it has a region."""
    language = locale.partition("-")[0]
    for key in dict.fromkeys((EVERYWHERE, locale, language)):
        yield from words.get(key, ())


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@lru_cache(maxsize=4096)
def _finder(word: str) -> re.Pattern[str]:
    folded = _folded(word)
    before = r"(?<!\w)" if re.match(r"\w", folded) and not _WITHOUT_BLANKS.match(folded[0]) else ""
    after = r"(?!\w)" if re.search(r"\w$", folded) and not _WITHOUT_BLANKS.match(folded[-1]) else ""
    return re.compile(before + re.escape(folded) + after)
