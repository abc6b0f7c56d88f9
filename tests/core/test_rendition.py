"""The plan of a delivery: one file for each master and channel, under names that never collide."""

import csv
import io
from dataclasses import replace

import pytest

from adloom.core.channel import ORIGINAL, Channel
from adloom.core.crop import Focus
from adloom.core.delivery import AUTO, Marking, Rights, Wanted
from adloom.core.errors import InputError
from adloom.core.rendition import Master, MasterOrders, Order, focus_source, jsonl, line_of, orders_of, recipe, table

FEED, STORY = Channel("feed", 1080, 1080, ("jpeg",), 300_000), Channel("story", 1080, 1920, ("png",), None)
KNOWN = {"feed": FEED, "story": STORY}
TODAY = "2026-11-29"


def _master(variant: int = 1, *, take: int = 1, **fields: object) -> Master:
    given = Master(
        f"k{variant}-{take}", "hero", "mug", "mug", variant, take, f"assets/hero/mug-{variant}.png", "0" * 64,
        "image/png", 2048, 2048, "red mug", "model", {"colour": "red"}, Wanted(channels=("feed",)),
    )  # fmt: skip
    return replace(given, **fields)


def _orders(*masters: Master, asked: tuple[str, ...] = (), template: str = "") -> list[MasterOrders]:
    return list(orders_of(masters, KNOWN, asked, template, TODAY))


def _stems(*masters: Master, asked: tuple[str, ...] = (), template: str = "") -> list[str]:
    return [order.stem for each in _orders(*masters, asked=asked, template=template) for order in each.orders]


def test_a_row_names_its_channels_and_a_person_may_ask_for_others():
    assert _stems(_master()) == ["feed/hero-mug-v1"]
    assert _stems(_master(), asked=("story", ORIGINAL)) == ["story/hero-mug-v1", "original/hero-mug-v1"]


def test_another_take_of_an_image_has_a_name_of_its_own():
    assert _stems(_master(), _master(take=2)) == ["feed/hero-mug-v1", "feed/hero-mug-v1-t2"]


def test_names_are_filled_in_from_a_rows_own_variables_and_safe_in_a_file_name():
    assert _stems(_master(), template="{{ colour }}/{{ creative }} ü!") == ["feed/red-hero-mug-v1"]
    assert len(_stems(_master(), template="x" * 200)[0]) == len("feed/") + 150


@pytest.mark.parametrize(
    ("asked", "template", "what"),
    [
        (("feed",), "same", "two images would be delivered as feed/same: hero/mug, variant 1 and hero/mug, variant 2"),
        (("feed",), "{{ colur }}", "--name: "),
        (("feed",), "{{ colour }", "--name"),
        (("feed",), "…", "--name makes an empty name for hero/mug, variant 1"),
        (("fed",), "", "the channel 'fed' is not known, did you mean 'feed'?"),
    ],
)
def test_what_cannot_be_named_or_placed_is_bad_input_before_anything_is_made(asked, template, what):
    with pytest.raises(InputError) as refused:
        _orders(_master(), _master(2), asked=asked, template=template)
    assert what in str(refused.value)
    assert refused.value.remedy


def test_a_row_s_channel_that_is_known_no_more_is_named_with_its_image():
    with pytest.raises(InputError, match="hero/mug, variant 1 is for the channel 'fed', which is not known"):
        _orders(_master(wanted=Wanted(channels=("fed",))))


def test_two_names_that_a_file_system_takes_for_one_collide():
    with pytest.raises(InputError, match="two images"):
        _orders(_master(variables={"v": "A"}), _master(2, variables={"v": "a"}), template="{{ v }}")


def test_an_image_without_rights_is_refused_and_still_listed():
    wanted = Wanted(("feed", "story"), rights=(Rights(), Rights("logo", channels=("story",))))
    (orders,) = _orders(_master(wanted=wanted))
    assert [order.refusal for order in orders.orders] == ["the rights of logo are for story only", ""]
    line = line_of(orders.master, orders.orders[0], Marking())
    assert (line["status"], line["reason"]) == ("refused", "the rights of logo are for story only")


def test_whatever_changes_a_files_bytes_changes_its_recipe_and_words_do_not():
    master, order = _master(), Order("feed", FEED, "feed/hero-mug-v1")
    same = recipe(master, order, b"xmp", "cert", "maker")
    assert recipe(replace(master, label="cup", variables={}), order, b"xmp", "cert", "maker") == same
    others = [
        recipe(master, order, b"other", "cert", "maker"),
        recipe(master, order, b"xmp", "", "maker"),
        recipe(master, order, b"xmp", "cert", "newer"),
        recipe(master, replace(order, stem="feed/other"), b"xmp", "cert", "maker"),
        recipe(master, replace(order, refusal="rights"), b"xmp", "cert", "maker"),
        recipe(replace(master, wanted=Wanted(focus=Focus(0.1, 0.1))), order, b"xmp", "cert", "maker"),
        recipe(replace(master, wanted=Wanted(focus=AUTO)), order, b"xmp", "cert", "maker"),
        *(
            recipe(master, replace(order, channel=replace(FEED, **change)), b"xmp", "cert", "maker")
            for change in ({"width_px": 1000}, {"height_px": 1000}, {"max_bytes": None}, {"format": "png"})
        ),
    ]
    assert len({same, *others}) == 1 + len(others)


def test_a_copy_of_the_master_depends_on_nothing_but_its_place():
    master, order = _master(), Order(ORIGINAL, None, "original/hero-mug-v1")
    assert recipe(master, order, b"xmp", "cert", "maker") == recipe(master, order, b"", "", "newer")


def test_where_a_focus_came_from_is_recorded():
    focuses = (None, AUTO, Focus(0.5, 0.5))
    assert [focus_source(_master(wanted=Wanted(focus=focus))) for focus in focuses] == ["default", "auto", "given"]


def test_unmarked_files_are_not_listed_as_disclosed():
    order = Order("feed", FEED, "feed/hero-mug-v1")
    assert line_of(_master(), order, Marking())["ai_disclosure"] == "trainedAlgorithmicMedia"
    assert line_of(_master(), order, Marking(on=False))["ai_disclosure"] == ""


def test_the_lists_have_a_line_for_each_file_and_a_spreadsheet_reads_it():
    order = Order("feed", FEED, "feed/hero-mug-v1")
    lines = [
        line_of(_master(wanted=Wanted(alt="Becher, rot")), order, Marking()),
        line_of(_master(2), order, Marking()),
    ]
    assert jsonl(lines).count(b"\n") == 2
    read = list(csv.DictReader(io.StringIO(table(lines).decode("utf-8-sig"))))
    assert [(row["creative"], row["alt"]) for row in read] == [("hero-mug-v1", "Becher, rot"), ("hero-mug-v2", "")]
