"""How records become bytes and back, and where an edition's objects are."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import few

from adloom.core.errors import RecordUnreadable
from adloom.ledger.edition import Edition, from_json, to_json, utc

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@few
@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_a_record_is_one_line_and_read_back_as_it_was(record: dict[str, object]):
    stored = to_json(record)
    assert stored.count(b"\n") == 1
    assert from_json(stored, "x.json") == record


def test_the_same_record_has_the_same_bytes_whatever_the_order_of_its_fields():
    assert to_json({"b": 1, "a": "红"}) == to_json({"a": "红", "b": 1}) == '{"a":"红","b":1}\n'.encode()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'"text"', b"null", b"\xff", b"[" * 100_000], ids=repr)
def test_what_is_no_record_is_named_and_never_a_traceback(content: bytes):
    with pytest.raises(RecordUnreadable, match=r"test/main/x\.json") as refused:
        from_json(content, Edition("test", "main").key("x.json"))
    assert "adloom verify" in refused.value.remedy


def test_times_are_utc_to_the_millisecond_and_sort_as_text():
    times = [utc(0), utc(1.5), utc(1_790_000_000.123)]
    assert times == ["1970-01-01T00:00:00.000Z", "1970-01-01T00:00:01.500Z", "2026-09-21T14:13:20.123Z"]
    assert json.loads(to_json({"time": times[1]}))["time"] == times[1]
