"""``fallback: cheapest`` takes the model that costs least of those that take every row."""

from support.fakes import a_row, references

from adloom.core.campaign import Grouping
from adloom.core.cheapest import Cheapest

FOUR, FOUR_FIVE, LITE, FLASH, PRO = (
    f"doubao-seedream-{name}" for name in ("4.0", "4.5", "5.0-lite", "5.0-flash", "5.0-pro")
)


def _chosen(*rows, prices=None):
    cheapest = Cheapest()
    for row in rows:
        cheapest.add(row)
    return cheapest.chosen(prices or {})


def test_it_is_flash_where_every_call_is_for_one_image():
    assert _chosen(a_row(quality="2K", variants=1)) == FLASH
    assert _chosen(a_row(quality="2K", variants=4, grouping=Grouping.INDEPENDENT)) == FLASH


def test_a_call_for_several_images_needs_a_model_that_takes_n():
    assert _chosen(a_row(quality="2K", variants=4)) == LITE


def test_what_one_row_needs_no_other_row_can_do_without():
    assert _chosen(a_row(quality="2K"), a_row(quality="4K")) == LITE
    assert _chosen(a_row(quality="1K", priority="fast")) == PRO
    assert _chosen(a_row(quality="2K"), a_row(quality="2K", prompt="word " * 450, model=FLASH)) in {PRO, LITE}
    assert _chosen(a_row(quality="1K", model=FLASH, prompt="word " * 450, references=references(2))) == PRO


def test_none_is_chosen_where_none_takes_every_row():
    assert _chosen(a_row(quality="1K", variants=2)) == ""


def test_a_model_that_a_row_names_is_taken_only_where_nothing_else_fits():
    assert _chosen(a_row(quality="2K", variants=2), a_row(quality="2K", variants=2, model=LITE)) == FOUR_FIVE
    rows = [a_row(quality="4K", variants=2, model=model) for model in (FOUR, FOUR_FIVE, LITE)]
    assert _chosen(*rows) == FOUR


def test_the_campaigns_own_prices_count():
    assert _chosen(a_row(quality="2K", variants=1), prices={FLASH: 9, FOUR_FIVE: 1}) == FOUR_FIVE
