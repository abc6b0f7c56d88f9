"""Which of a job's prompts a row gets by its locale."""

import pytest

from adloom.core.locale import key_for

PROMPTS = {"de": "…", "de-AT": "…", "pt-BR": "…", "fallback": "…"}


@pytest.mark.parametrize(
    ("locale", "key"),
    [
        ("de-AT", "de-AT"),
        ("de-CH", "de"),
        ("de_CH", "de"),
        ("de", "de"),
        ("pt-PT", "fallback"),  # another region's words are not this one's
        ("", "fallback"),
    ],
)
def test_a_locale_gets_its_own_prompt_else_its_languages_else_the_fallback(locale: str, key: str):
    assert key_for(PROMPTS, locale) == key


def test_a_locale_without_any_prompt_gets_none():
    assert key_for({"de": "…"}, "fr-FR") is None
