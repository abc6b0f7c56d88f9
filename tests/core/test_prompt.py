import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import few

from adloom.core.prompt import count_phrase, is_mostly_chinese, length_problem, names_its_own_count, sent_prompt


def test_one_image_is_asked_for_without_a_count_phrase():
    assert sent_prompt("a mug", 1) == "a mug"


@pytest.mark.parametrize(
    ("prompt", "sent"),
    [
        ("a mug", "Generate 4 different images: a mug"),
        ("木桌上的红杯子", "生成4张不同的图片：木桌上的红杯子"),
        ("琥珀精华 bottle", "Generate 4 different images: 琥珀精华 bottle"),
        ("琥珀精华液产品 4K", "生成4张不同的图片：琥珀精华液产品 4K"),
        ("35mm, f/1.8, 100%", "Generate 4 different images: 35mm, f/1.8, 100%"),
    ],
)
def test_the_count_phrase_speaks_the_prompts_language(prompt, sent):
    assert sent_prompt(prompt, 4) == sent


@few
@given(prompt=st.text(max_size=80), n=st.integers(1, 15))
def test_what_a_person_wrote_is_sent_unchanged_behind_the_phrase(prompt, n):
    assert sent_prompt(prompt, n).endswith(prompt)
    assert (str(n) in count_phrase(prompt, n)) == (n > 1)


def test_digits_and_signs_speak_no_language():
    assert not is_mostly_chinese("2026 — 100 % ★")
    assert is_mostly_chinese("茶 2026 — 100 %")


@pytest.mark.parametrize("n", [1, 2, 15])
def test_the_count_phrase_counts_towards_the_length(n):
    most = 2000 - len(count_phrase("a", n))
    assert length_problem("a" * most, n) is None
    assert str(2001) in (length_problem("a" * (most + 1), n) or "")


def test_chinese_characters_weigh_more_than_one_token():
    assert length_problem("茶" * 1290, 1) is None
    assert "tokens" in (length_problem("茶" * 1300, 1) or "")


@pytest.mark.parametrize(
    "prompt",
    [
        "Generate 3 mugs",
        "mugs, 4 different images",
        "12 variants of a mug",
        "生成 5 张海报",
        "6张不同的图片",
        "DRAW 2",
        "make 2",
        "create 9",
        "3 Pictures",
        "3 verſions",
    ],
)
def test_a_prompt_that_names_its_own_count_is_noticed(prompt):
    assert names_its_own_count(prompt)


@pytest.mark.parametrize("prompt", ["a mug with 3 spoons", "50mm lens, f/2", "2026 edition", "3个杯子"])
def test_other_numbers_are_no_count(prompt):
    assert not names_its_own_count(prompt)
