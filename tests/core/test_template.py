from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adloom.core.template import LONGEST, BadTemplate, is_template, prompt_template

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
        ("{{ empty }}ends with a line feed\n", "ends with a line feed\n"),
        ("literal {# not a comment #} % text", "literal {# not a comment #} % text"),
    ],
)
def test_a_template_is_filled_in(text, prompt):
    assert prompt_template(text).render(VARIABLES) == prompt


@given(st.text().filter(lambda text: not is_template(text)))
def test_text_without_braces_is_literal(text):
    assert prompt_template(text).render({}) == text


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
