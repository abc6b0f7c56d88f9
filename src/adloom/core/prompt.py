"""The prompt as it is sent: with its count phrase, and checked against the API's length limit."""

from __future__ import annotations

import math
import re

from adloom.core.limits import PROMPT_CHARACTERS, PROMPT_TOKENS

_CJK = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]")
_WORD = re.compile(r"[^\W\d_]", re.UNICODE)
_OWN_COUNT = re.compile(
    r"\b(?:generate|create|make|draw)\s+\d+\b|\b\d+\s+(?:different\s+)?(?:images|pictures|variants|versions)\b"
    r"|生成\s*\d+\s*张|\d+\s*张(?:不同的)?(?:图|图片|照片)",
    re.IGNORECASE,
)
_WORDS_OF_A_COUNT = ("generate", "create", "make", "draw", "images", "pictures", "variants", "versions", "张")
ADVISED_CHARACTERS = 1000
"""The older reference page's own maximum, and the tightest one found (EvoLink Seedream 4.0, earlier address)."""


def count_phrase(prompt: str, n: int) -> str:
    """The words that ask for ``n`` images, empty for one.

    ``n`` of the request is only a ceiling: the API makes as many images as the prompt names.
    """
    if n == 1:
        return ""
    return f"生成{n}张不同的图片：" if is_mostly_chinese(prompt) else f"Generate {n} different images: "


def sent_prompt(prompt: str, n: int) -> str:
    """The prompt exactly as a call for ``n`` images sends it."""
    return count_phrase(prompt, n) + prompt


def changed_prompt(prompt: str, change: str) -> str:
    """The prompt of a later take: the row's own, and on a line of its own what the reviewer wished to be different."""
    return f"{prompt}\n{change}" if change else prompt


def is_mostly_chinese(prompt: str) -> bool:
    """Whether more than half of the characters are Chinese."""
    letters = len(_WORD.findall(prompt))
    return letters > 0 and 2 * len(_CJK.findall(prompt)) > letters


def names_its_own_count(prompt: str) -> bool:
    """Whether the prompt itself seems to ask for a number of images, which would contradict the count phrase."""
    folded = prompt.casefold()  # most prompts with a number have none of the words, which is found ten times sooner
    return any(word in folded for word in _WORDS_OF_A_COUNT) and _OWN_COUNT.search(prompt) is not None


def estimated_tokens(prompt: str) -> int:
    """A safe estimate: 1.54 tokens a Chinese character, 0.35 any other (from EvoLink's own gloss on its 5.0 pages)."""
    chinese = len(_CJK.findall(prompt))
    return math.ceil(1.54 * chinese + 0.35 * (len(prompt) - chinese))


def length_problem(
    prompt: str, n: int, characters: int | None = PROMPT_CHARACTERS, tokens: int = PROMPT_TOKENS
) -> str | None:
    """Why the prompt for a call of ``n`` images is too long, None when it is not; these are the model's limits."""
    sent = sent_prompt(prompt, n)
    if characters is not None and len(sent) > characters:
        return f"the prompt has {len(sent)} characters with its count phrase, {characters} are allowed"
    if (estimated := estimated_tokens(sent)) > tokens:
        return f"the prompt has about {estimated} tokens with its count phrase, {tokens} are allowed"
    return None
