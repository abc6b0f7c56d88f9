from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from adloom.core.decision import Decision, Verdict, conflicts, decision_from, is_fact, standing

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
VARIANT = "a" * 64
REJECTED = Decision(VARIANT, Verdict.REJECTED, 2, "too dark", "brighter", by="ann", time=NOON, writer="0" * 16)


def test_a_fact_reads_back_as_it_was_written():
    assert is_fact(REJECTED.key)
    assert decision_from(REJECTED.key, REJECTED.record()) == REJECTED


def test_the_latest_decision_stands_and_of_equal_times_the_higher_writer_in_whatever_order_they_are_read():
    approved = replace(REJECTED, verdict=Verdict.APPROVED, by="bob", time=NOON + timedelta(microseconds=1))
    tied = replace(approved, verdict=Verdict.CLEARED, writer="f" * 16)
    for order in permutations([REJECTED, approved, tied]):
        assert standing(order) == {VARIANT: tied}


def test_keys_sort_as_times_do():
    times = [NOON + timedelta(seconds=step, microseconds=step) for step in range(90)]
    keys = [replace(REJECTED, time=time).key for time in times]
    assert keys == sorted(keys)


def test_last_words_of_two_people_that_differ_are_a_conflict_and_a_changed_mind_is_none():
    mind = replace(REJECTED, verdict=Verdict.APPROVED, time=NOON + timedelta(hours=1))
    assert conflicts([REJECTED, mind]) == {}
    bob = replace(mind, by="bob", verdict=Verdict.REJECTED, time=NOON + timedelta(minutes=5))
    assert conflicts([REJECTED, mind, bob]) == {VARIANT: (mind, bob)}
    assert conflicts([REJECTED, mind, replace(bob, verdict=Verdict.CLEARED)]) == {}


@pytest.mark.parametrize(
    "damage",
    [
        {"variant": "b" * 64},
        {"decision": "maybe"},
        {"stars": 6},
        {"stars": True},
        {"note": ["x"]},
        {"time": "2026-03-01T12:00:00"},
        {"time": "noon"},
        {"writer": "1" * 16},
        {"schema": "adloom.decision/2"},
    ],
)
def test_what_is_not_the_decision_that_its_name_promises_is_refused(damage: dict[str, object]):
    with pytest.raises(ValueError, match=r"."):
        decision_from(REJECTED.key, {**REJECTED.record(), **damage})


@pytest.mark.parametrize("key", ["decisions/x/y.json", "decisions/" + VARIANT + "/../x.json", "decisions/"])
def test_other_objects_are_no_facts(key: str):
    assert not is_fact(key)
