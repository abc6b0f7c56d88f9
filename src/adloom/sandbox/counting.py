"""How many images a prompt asks for, as a model would read it."""

from __future__ import annotations

import re

_WORDS = {
    word: number
    for number, words in enumerate(
        (
            "one 一",
            "two 二 两",
            "three 三",
            "four 四",
            "five 五",
            "six 六",
            "seven 七",
            "eight 八",
            "nine 九",
            "ten 十",
            "eleven 十一",
            "twelve 十二",
            "thirteen 十三",
            "fourteen 十四",
            "fifteen 十五",
        ),
        start=1,
    )
    for word in words.split()
}
_LATIN = "|".join(word for word in _WORDS if word.isascii())
_CHINESE = "|".join(sorted((word for word in _WORDS if not word.isascii()), key=len, reverse=True))
_ADJECTIVES = r"(?:(?:different|distinct|separate|unique|similar|new|coherent|related)\s+){0,3}"
_NOUNS = r"(?:images?|pictures?|photos?|photographs?|variants?|variations?|versions?|illustrations?)\b"
_ENGLISH_COUNT = re.compile(
    rf"(?<![\w./-])(\d{{1,4}}|{_LATIN})\s+{_ADJECTIVES}{_NOUNS}",
    re.IGNORECASE,
)
_CHINESE_COUNT = re.compile(rf"(\d{{1,4}}|{_CHINESE})\s*[张幅]")


def images_asked(prompt: str) -> int:
    """The first count in the prompt (``Generate 3 different images``, ``3 images``, ``生成3张不同的图片``), else 1."""
    found = [match for match in (_ENGLISH_COUNT.search(prompt), _CHINESE_COUNT.search(prompt)) if match]
    if not found:
        return 1
    word = min(found, key=lambda match: match.start()).group(1).lower()
    return max(1, int(word) if word.isdigit() else _WORDS[word])
