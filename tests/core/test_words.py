import pytest

from adloom.core.words import WordRules

RULES = WordRules(
    forbid={"": ("cheap", "No.1"), "en": ("guys",), "zh-CN": ("最好",), "de": ("Größe",)},
    require={"": ("no text",), "zh": ("无文字",)},
)


def _said(prompt, locale=""):
    return [message for message, _ in RULES.problems(prompt, locale)]


@pytest.mark.parametrize(
    ("prompt", "locale", "said"),
    [
        ("a mug, no text", "", []),
        ("a CHEAP mug, no text", "", ['the prompt has "cheap", which words: forbids']),
        ("a cheaper mug, no text", "", []),
        ("a dirtcheap mug, no text", "", []),
        ("a mug, no\n  text", "", []),
        ("the no.1 mug, no text", "", ['the prompt has "No.1", which words: forbids']),
        ("guys with a mug, no text", "fr", []),
        ("guys with a mug, no text", "en", ['the prompt has "guys", which words: forbids']),
        ("guys with a mug, no text", "en-GB", ['the prompt has "guys", which words: forbids']),
        ("GRÖSSE, no text", "de", ['the prompt has "Größe", which words: forbids']),
        ("a mug", "", ['the prompt does not contain "no text", which words: requires']),
        ("这是最好的杯子, no text, 无文字", "zh-CN", ['the prompt has "最好", which words: forbids']),
        ("杯子, no text", "zh-CN", ['the prompt does not contain "无文字", which words: requires']),
        ("ｃｈｅａｐ mug, no text", "", ['the prompt has "cheap", which words: forbids']),
    ],
)
def test_words_count_as_wholes_by_locale_and_without_case(prompt, locale, said):
    assert _said(prompt, locale) == said
