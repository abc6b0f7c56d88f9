"""What a plan says of the models it buys from, beside what they cost."""

from adloom.core.limits import CALLED_DEARER
from adloom.core.plan_notes import notes_on
from adloom.core.pricing import Kind

LITE, FLASH = "doubao-seedream-5.0-lite", "doubao-seedream-5.0-flash"


def test_a_model_that_costs_what_its_list_says_has_no_note():
    assert notes_on([Kind("doubao-seedream-4.0", "1K")]) == ()


def test_a_price_that_two_pages_disagree_on_is_named_before_money_is_spent():
    (note,) = notes_on([Kind(*CALLED_DEARER)])
    assert note.startswith(" ".join(CALLED_DEARER))
    assert "the run stops at the first call" in note


def test_each_note_is_given_once_however_many_kinds_it_is_about():
    notes = notes_on([Kind(FLASH, "1K"), Kind(FLASH, "2K"), Kind(FLASH, "1K", references=2)])
    assert [note for note in notes if "watermark" in note] == [note for note in notes if note.startswith(FLASH)]
    assert len(notes) == len(set(notes))


def test_a_web_search_is_named_with_its_price_only_where_it_is_asked_for():
    assert any("a web search" in note for note in notes_on([Kind(LITE, "2K", searches=True)]))
    assert not any("a web search" in note for note in notes_on([Kind(LITE, "2K")]))
