from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adloom.core.template import LONGEST, MOST_HANDLED, BadTemplate, condition, is_template, prompt_template

VARIABLES = {"product": {"name": "amber serum", "copy": "glow", "items": "2"}, "light": "dawn", "empty": ""}


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("{{ product.name }} at {{ light }}", "amber serum at dawn"),
        ("{{ product['name']|title }}", "Amber Serum"),
        ("{{ product.copy }} {{ product.items }}", "glow 2"),
        ("{% if light == 'dawn' %}soft{% else %}hard{% endif %} light", "soft light"),
        ("{{ light if product is mapping else 'noon' }}", "dawn"),
        ("{{ nothing|default('plain') }}", "plain"),
        ("{{ light[:2] ~ '!' }}", "da!"),
        ("{{ light|replace('a', 'o') }}", "down"),
        ("{{ light + '-' + light }} {{ 1 + 2 }} {{ [light] + [empty] }}", "dawn-dawn 3 ['dawn', '']"),
        (
            "{{ light|truncate(2, true, '', 0) }} {{ product.items|int|upper }} {{ product }}",
            "da 2 {'name': 'amber serum', 'copy': 'glow', 'items': '2'}",
        ),
        ("{{ empty }}ends with a line feed\n", "ends with a line feed\n"),
        ("literal {# not a comment #} % text", "literal {# not a comment #} % text"),
    ],
)
def test_a_template_is_filled_in(text, prompt):
    assert prompt_template(text).render(VARIABLES) == prompt


@given(st.text().filter(lambda text: not is_template(text)))
def test_text_without_braces_is_literal(text):
    assert prompt_template(text).render({}) == text


_PIECES = st.sampled_from(
    ["{{ a }}", "{{a}}", "{{ b -}} ", " {{- a }}", "{{ c }}", "{{ pair }}", "{{ absent }}", "{{ true }}", "{{ 'x' }}",
     "{{ a|upper }}", "{% if a %}y{% endif %}", "text ", "\n", "\r\n", "}} ", "{# #}", "{{ a }"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=5).map("".join))
def test_a_template_that_only_names_texts_is_filled_in_as_jinja_would(text):
    """One that Jinja2 has to fill in, because of an empty text at its end, makes the same, or fails the same."""

    def made(template: str) -> object:
        try:
            return prompt_template(template).render({"a": "one", "b": "", "c": "{{ a }}", "pair": {"x": "y"}})
        except BadTemplate as bad:
            return bad.message, bad.allowed

    if is_template(text):
        assert made(text) == made(text + "{{ '' }}")


def test_a_text_that_is_too_long_for_a_template_is_refused_by_its_name():
    with pytest.raises(BadTemplate, match='the variable "a" has 20,001 characters'):
        prompt_template("{{ a }}").render({"a": "x" * (LONGEST + 1)})
    with pytest.raises(BadTemplate, match="makes more than 20,000 characters"):
        prompt_template("{{ a }}{{ a }}").render({"a": "x" * (LONGEST // 2 + 1)})


@given(st.text())
def test_a_value_is_never_a_template(value):
    assert prompt_template("{{ value }}").render({"value": value + "{{ light }}"}) == value + "{{ light }}"


@pytest.mark.parametrize(
    ("text", "message", "allowed"),
    [
        ("{{ ligt }}", 'there is no variable "ligt", did you mean "light"?', "known here: product, light, empty"),
        ("{{ product.nam }}", 'there is no variable "nam", did you mean "name"?', "known here: name, copy, items"),
        ("{{ light.upper }}", 'there is no "upper" inside a text', "only paired values have parts"),
        ("{{ light.__class__ }}", 'there is no "__class__" inside a text', ""),
        ("{{ product.__class__ }}", 'there is no variable "__class__"', ""),
        ("{{ light|attr('upper') }}", 'there is no filter "attr"', "filters: capitalize"),
        ("{{ light.upper() }}", "calls like name() are not available", "{{ name|upper }}"),
        ("{{ range(9) }}", "calls like name() are not available", ""),
        ("{{ 'a' * 999999999 }}", '"*" is not available', ""),
        ("{{ 9 ** 99999999 }}", '"**" is not available', ""),
        ("{{ '%999999999d' % 1 }}", '"%" is not available', ""),
        ("{% for a in light %}x{% endfor %}", '"for" is not available', "variables, {% if %}"),
        ("{% set a = light %}", '"set" is not available', ""),
        ("{% macro a() %}{% endmacro %}", '"macro" is not available', ""),
        ("{% include '/etc/passwd' %}", '"include" is not available', ""),
        ("{{ light", "the template cannot be read", "every {{ has its }}"),
        ("{{ light|nofilter }}", 'there is no filter "nofilter"', ""),
        ("{{ light is odd }}", 'there is no test "odd"', "tests: defined"),
        ("{{ " + "(" * 3000 + "light" + ")" * 3000 + " }}", "the template is nested too deeply", ""),
        ("{{ light + 1 }}", "the template cannot be filled in", ""),
        ("{{ self }}", '"self" cannot be used in a template', "another name for the variable"),
        ("{{ none }}", "there is no value where the prompt needs text", "a variable"),
        ("x" * LONGEST + "{{ light }}", "characters", "at most 20,000"),
    ],
)
def test_what_cannot_be_used_is_named(text, message, allowed):
    with pytest.raises(BadTemplate) as caught:
        prompt_template(text).render(VARIABLES)
    assert message in caught.value.message
    assert allowed in caught.value.allowed


def test_chained_replacements_cannot_grow_without_bound():
    started = time.perf_counter()
    with pytest.raises(BadTemplate, match="more than 20,000 characters"):
        prompt_template("{{ 'a'" + "|replace('a', 'aaaaaaaaaa')" * 12 + " }}").render({})
    assert time.perf_counter() - started < 1


def test_the_output_is_bounded():
    with pytest.raises(BadTemplate, match="makes more than 20,000 characters"):
        prompt_template("{{ a }}" * 2000).render({"a": "x" * 8000})


def filled_in_within(most_bytes: int, text: str, **variables: object) -> str:
    """What is said of a template that cannot be filled in, after no more memory than this was taken for it."""
    template = prompt_template(text)
    tracemalloc.start()
    try:
        with pytest.raises(BadTemplate) as caught:
            template.render(variables)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < most_bytes
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ " + "a ~ " * 2000 + "a }}", "the template makes more than 20,000 characters"),
        ("{{ " + "a|upper ~ " * 1500 + "a }}", "the template makes more than 20,000 characters"),
        ("{{ " + "a + " * 50 + "a }}", "filters and ~ take in more than 200,000 characters"),
        ("{{ [" + "a, " * 2000 + "a] }}", "a list or paired values make more than 20,000 characters"),
        ("{{ [" + "a, " * 2000 + "a]|upper }}", "a list or paired values make more than 20,000 characters"),
        ("{{ [" + "a|upper, " * 1500 + "a] }}", "filters and ~ take in more than 200,000 characters"),
        ("{{ [" + "many, " * 2000 + "many] }}", "a list or paired values make more than 20,000 characters"),
        ("{{ a" + "|upper" * 100 + " }}", "filters and ~ take in more than 200,000 characters"),
        ("{{ book }}", 'the variable "book" has 20,001 characters'),
        ("{{ book|truncate(9) }}", 'the variable "book" has 20,001 characters'),
        ("{{ many.book|lower }}", 'the variable "book" has 20,001 characters'),
        ("{{ many['book']|lower }}", 'the variable "book" has 20,001 characters'),
        ("{{ many }}", "a list or paired values make more than 20,000 characters"),
    ],
    ids=lambda text: text[:24],
)
def test_a_template_that_multiplies_is_stopped_before_it_has(text: str, message: str):
    book = "x" * (LONGEST + 1)
    assert message in filled_in_within(2_000_000, text, a="x" * 8000, book=book, many={"book": book})


def test_a_condition_is_bounded_as_well():
    with pytest.raises(BadTemplate, match=f"more than {MOST_HANDLED:,} characters"):
        condition("a" + "|upper" * 100 + " == 'x'").holds({"a": "x" * 8000})


def test_names_are_compared_once_for_all_rows():
    template = prompt_template("{{ ligt }}")
    messages = set()
    for number in range(3):
        with pytest.raises(BadTemplate) as caught:
            template.render({"light": str(number)} | {f"column{each}": "" for each in range(500)})
        messages.add(caught.value.message)
    assert messages == {'there is no variable "ligt", did you mean "light"?'}
