"""Words of strangers in messages: on one line, short, and never obeyed by a terminal."""

from hypothesis import given
from hypothesis import strategies as st
from support.fakes import few

from adloom.core.quoting import printable, shown


@few
@given(st.text())
def test_whatever_a_file_says_is_shown_and_not_obeyed(text: str):
    assert printable(text).isprintable()
    assert shown(text).isprintable()


def test_text_that_a_terminal_can_show_is_left_alone():
    assert printable("red mug, 红色 «ü»") == "red mug, 红色 «ü»"


def test_control_characters_are_spelled_out():
    assert printable("a\x1b[2Jb\nc\u202e") == r"a\x1b[2Jb\nc\u202e"


def test_long_text_is_cut_with_a_mark_and_text_that_just_fits_is_not():
    assert shown("x" * 60) == '"' + "x" * 60 + '"'
    assert shown("x" * 61) == '"' + "x" * 59 + '…"'
    assert shown("abcdef", limit=3) == '"ab…"'
