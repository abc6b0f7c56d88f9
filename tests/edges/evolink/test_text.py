"""Text and amounts of strangers: cleaned, bounded, and never with a key in them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adloom.edges.evolink.text import Cleaner, Unreadable, amount, read_json

KEY = "sk-evo-canary-0123456789"


clean = Cleaner(KEY)


@pytest.mark.parametrize(
    ("foreign", "cleaned"),
    [
        (f"bad key {KEY}!", "bad key ***!"),
        ("bad key sk-other-123456", "bad key ***"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: ***"),
        ("see https://a.b/c?X-Amz-Signature=1 now", "see https://a.b/c?*** now"),
        ("see https://me:pw@a.b/c", "see https://a.b/c"),
        ("one\ntwo\x1b[31m\u202ethree\x00", "one two [31m three"),
        ("\ud800", "?"),
        (404, "404"),
        (None, ""),
        (True, ""),
        (["x"], ""),
    ],
)
def test_foreign_text_is_cleaned(foreign, cleaned):
    assert clean(foreign) == cleaned


@given(st.text(max_size=400), st.text(max_size=400))
def test_no_text_around_the_key_lets_it_through(before, after):
    shown = clean(before + KEY + after)
    assert KEY not in shown
    assert len(shown) <= 200
    shown.encode()
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("value", "read"), [(1, Decimal(1)), ("1.5", Decimal("1.5")), (Decimal("1E-31"), None), (True, None), (None, None),
                        (Decimal("NaN"), None), (Decimal("Infinity"), None), (Decimal("1E99"), None), ("x", None)]
)  # fmt: skip
def test_an_amount_is_a_plausible_number_or_nothing(value, read):
    assert amount(value) == read


def test_fractions_are_read_exactly_and_nonsense_not_at_all():
    assert read_json(b'{"a": 0.1}') == {"a": Decimal("0.1")}
    for nonsense in (b"NaN", b"-Infinity", b"", b"{" * 9999, b"1" * 5000):
        with pytest.raises(Unreadable):
            read_json(nonsense)
