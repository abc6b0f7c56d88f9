import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import few

from adloom.core.campaign import Grouping
from adloom.core.split import fewest_calls, room, split


@few
@given(variants=st.integers(0, 100), references=st.integers(0, 14), grouping=st.sampled_from(Grouping))
def test_every_number_is_in_exactly_one_call_in_its_order(variants, references, grouping):
    numbers = range(1, variants + 1)
    assert [n for call in split(numbers, references=references, grouping=grouping) for n in call] == list(numbers)


@few
@given(variants=st.integers(1, 100), references=st.integers(0, 14), grouping=st.sampled_from(Grouping))
def test_no_call_asks_for_more_than_fifteen_or_forgets_its_references(variants, references, grouping):
    for call in split(range(variants), references=references, grouping=grouping):
        assert 1 <= len(call) <= 15
        assert references + len(call) <= 15


@few
@given(variants=st.integers(0, 100), references=st.integers(0, 14))
def test_a_set_takes_the_fewest_calls_that_are_legal(variants, references):
    calls = split(range(variants), references=references, grouping=Grouping.SET)
    assert len(calls) == fewest_calls(variants, references=references) == -(-variants // (15 - references))


def test_independent_variants_share_no_call():
    assert split([3, 5, 9], references=2, grouping=Grouping.INDEPENDENT) == ((3,), (5,), (9,))


def test_numbers_need_not_follow_each_other():
    assert split([2, 7, 40], references=13, grouping=Grouping.SET) == ((2, 7), (40,))


@pytest.mark.parametrize("grouping", Grouping)
@pytest.mark.parametrize("references", [15, 16, 40])
def test_references_that_leave_no_room_are_refused(references, grouping):
    assert room(references) == 0
    with pytest.raises(ValueError, match="leave no room"):
        split([1], references=references, grouping=grouping)


@pytest.mark.parametrize(("references", "images"), [(0, 15), (1, 14), (10, 5), (14, 1)])
def test_a_call_has_room_for_what_the_references_leave(references, images):
    assert room(references) == images
