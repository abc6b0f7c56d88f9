import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import few

from adloom.core.alternatives import BadAlternatives, alternatives


def _texts(text):
    return [made for _, made in alternatives(text).chosen()]


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("a {red|blue} mug", ["a red mug", "a blue mug"]),
        ("{a|b} {c|d}", ["a c", "a d", "b c", "b d"]),
        ("{soft |}light", ["soft light", "light"]),
        ("a mug", ["a mug"]),
        ("{a} mug {}", ["{a} mug {}"]),
        ("{{ a|upper }} on {oak|{{ b|lower }}}", ["{{ a|upper }} on oak", "{{ a|upper }} on {{ b|lower }}"]),
        ("{% if a %}{b|c}{% endif %}", ["{% if a %}b{% endif %}", "{% if a %}c{% endif %}"]),
        (r"\{a|b} mug", ["{a|b} mug"]),
        (r"a \ mug \{x}", [r"a \ mug \{x}"]),
        (r"{a\|b|c\}}", ["a|b", "c}"]),
        ('{"a": {"b": 1}}', ['{"a": {"b": 1}}']),
        ("{a|b", ["{a|b"]),
        ("a | b }", ["a | b }"]),
        ("{{ a", ["{{ a"]),
    ],
)
def test_a_group_with_a_bar_stands_for_each_of_its_values(text, texts):
    assert _texts(text) == texts


def test_a_choice_is_told_with_its_text():
    assert list(alternatives("{a|b} x").chosen()) == [(("a",), "a x"), (("b",), "b x")]


def test_groups_inside_groups_are_refused():
    with pytest.raises(BadAlternatives, match="inside"):
        alternatives("a {red|{dark|light} blue} mug")


@few
@given(st.lists(st.lists(st.text("ab |}", max_size=4), min_size=2, max_size=3), min_size=1, max_size=3))
def test_whatever_values_are_written_as_text_come_back(groups):
    def written(value):
        return value.replace("|", "\\|").replace("}", "\\}")

    text = "x".join("{" + "|".join(map(written, group)) + "}" for group in groups)
    assert [list(group) for group in alternatives(text).groups] == groups


@few
@given(st.text("ab{}|\\% ", max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        found = alternatives(text)
    except BadAlternatives:
        return
    assert len(found.texts) == len(found.groups) + 1
    assert found.count == len(list(found.chosen()))


def test_a_long_row_of_braces_is_read_at_once():
    alternatives("{a" * 9000)
    with pytest.raises(BadAlternatives):
        alternatives("{a|" * 6000 + "}")
