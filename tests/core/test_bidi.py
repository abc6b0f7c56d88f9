"""Characters that turn the direction of text are found, and only they."""

import pytest

from adloom.core.bidi import first_control, said_of


@pytest.mark.parametrize("control", "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
def test_every_control_is_found_where_it_is(control: str):
    text = f"mug {control}on oak"
    assert first_control(text) == 4
    assert first_control(text, 5) == -1
    assert f"U+{ord(control):04X}" in said_of(control)


@pytest.mark.parametrize("text", ["red mug", "كوب أحمر على طاولة", "ספל אדום", "a\u200db\u200fc"])
def test_text_of_any_language_has_none(text: str):
    assert first_control(text) == -1
