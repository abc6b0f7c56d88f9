import tracemalloc

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


def test_what_calls_have_in_common_is_kept_once():
    records, common = Records(1), "a prompt that all calls of a campaign have in common, word by word. " * 40
    for number in range(100):
        records.put(f"call-{number}", "a1-intent", Entry({"body": common, "number": number}, str(number)))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(100, 400):
            records.put(f"call-{number}", "a1-intent", Entry({"body": common, "number": number}, str(number)))
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown / 300 < len(common) / 4
    assert records.of("call-7")["a1-intent"].record == {"body": common, "number": 7}
