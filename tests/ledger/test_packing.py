from hypothesis import given
from hypothesis import strategies as st

from adloom.ledger.packing import Entry, Records

PUTS = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["a1-intent", "a1-settled"]), st.integers()))


@given(PUTS, st.integers(1, 6))
def test_every_record_is_there_however_few_calls_are_kept_unpacked(puts: list[tuple[str, str, int]], most: int):
    records, expected = Records(most), dict[str, dict[str, Entry]]()
    for call, name, number in puts:
        entry = Entry({"written": number, "text": "花"}, str(number))
        records.put(call, name, entry)
        expected.setdefault(call, {})[name] = entry
    assert records.calls() == tuple(expected)
    assert {call: dict(records.of(call)) for call in records.calls()} == expected
    assert records.count() == sum(map(len, expected.values()))


def test_a_call_without_records_has_none_and_does_not_come_to_exist_by_asking():
    records = Records()
    assert records.of("a") == {}
    assert records.calls() == ()
