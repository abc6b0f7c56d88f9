from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adloom.core.results import (
    LINKS_LIVE_S,
    READ_ON_INTERVALS,
    Reading,
    Verdict,
    billed_beyond,
    ended_as,
    images_billed,
    judge,
    second_reading_after_s,
    told_charge,
)
from adloom.core.task import Task, TaskState

INTERVAL_S = 3.0
PATIENCE_S = READ_ON_INTERVALS * INTERVAL_S


def judged(*readings, asked=4, billed=None, known="", ended_ago_s=None, interval_s=INTERVAL_S):
    """The verdict on readings given as (time, links, whether it was about this task alone[, how many it bills])."""
    taken = [Reading(at_s, tuple(links), *more) for at_s, links, *more in readings]
    now_s = taken[-1].at_s
    return judge(
        taken,
        known=known,
        asked=asked,
        billed=billed,
        interval_s=interval_s,
        now_s=now_s,
        ended_ago_s=now_s if ended_ago_s is None else ended_ago_s,
    )


@pytest.mark.parametrize(
    ("used", "shown", "billed"),
    [
        ("6.12", 2, 4),
        ("4.59", 2, 3),
        ("3.06", 2, None),
        ("1.53", 2, None),
        ("2.30", 1, None),
        ("2.30", 0, None),
        ("1.53", 0, 1),
        ("0", 0, None),
        ("12.24", 2, None),
        (None, 2, None),
    ],
)
def test_a_charge_at_the_plans_price_for_more_than_is_shown_pays_for_these(used, shown, billed):
    assert billed_beyond(shown, used and Decimal(used), Decimal("6.12"), 4) == billed


@pytest.mark.parametrize(
    ("used", "reserved", "n", "billed"),
    [
        ("12.24", "12.24", 8, 8),
        ("6.12", "12.24", 8, 4),
        ("0", "12.24", 8, 0),
        ("1.53", "12.24", 8, 1),
        ("0.18", "12.24", 8, None),  # another currency
        ("0.10", "12.24", 8, None),  # nor is it a bill for nothing
        ("6.20", "12.24", 8, 4),
        ("4.1", "8", 8, 4),
        ("4.11", "8", 8, None),
        ("6.90", "12.24", 8, None),  # half an image more: something else is charged for
        ("97.92", "12.24", 8, 8),  # n² was charged
        ("1.53", "0", 1, None),
        (None, "12.24", 8, None),
        ("12.24", None, 8, None),
        ("-1.53", "12.24", 8, None),
    ],
)
def test_the_bill_is_the_charge_in_images_of_the_tasks_own_reserve(used, reserved, n, billed):
    assert images_billed(used and Decimal(used), reserved and Decimal(reserved), n) == billed


def test_what_a_charge_holds_beside_images_is_no_image():
    assert images_billed(Decimal("3.366"), Decimal("6.12"), 4) is None
    assert images_billed(Decimal("3.366"), Decimal("6.12"), 4, extras=Decimal("0.306")) == 2


@pytest.mark.parametrize(("links", "billed"), [("abcd", None), ("abcde", 4), ("abcd", 2)])
def test_one_reading_is_final_that_shows_all_that_was_asked_for(links, billed):
    assert judged((0, links, False), billed=billed) is Verdict.FINAL


@pytest.mark.parametrize(("links", "billed"), [("ab", 2), ("abc", 2), ("ab", 0)])
def test_one_reading_is_final_that_shows_all_that_is_billed_if_it_is_about_the_task_alone(links, billed):
    """A line of a batch may be a summary: the first links, and the charge for these."""
    told, untold = (0, links, True, billed), (0, links, True, None)
    assert judged(told, billed=billed) is Verdict.FINAL
    assert judged((0, links, False, billed), billed=billed) is Verdict.READ_ON
    assert judged((0, links, False, billed), told, billed=billed) is Verdict.FINAL
    assert judged((0, links, False, billed), untold, billed=billed) is Verdict.READ_ON
    assert judged((0, links, False, billed), (9, links, True, None), billed=billed) is Verdict.FINAL
    assert judged((0, links, False, billed), (9, links, False, billed), billed=billed) is Verdict.READ_ON
    assert judged((0, links, False, billed), (0, "", True, None), billed=billed) is Verdict.READ_ON
    assert judged((0, links, False, billed), (PATIENCE_S, "", True, None), billed=billed) is Verdict.HELD


@pytest.mark.parametrize(("links", "billed"), [("ab", None), ("", None), ("", 4), ("ab", 4), ("abc", 4)])
def test_one_reading_that_shows_less_is_not(links, billed):
    assert judged((0, links, True), billed=billed) is Verdict.READ_ON


def test_a_bill_for_nothing_is_believed_when_it_is_read_twice():
    """A charge of 0 is also what an API says before it knows the charge."""

    def verdict(*bills: int | None, gap_s: float = 9, ended_ago_s: float = 9) -> Verdict:
        readings = [Reading(number * gap_s, (), number > 0, bill) for number, bill in enumerate(bills)]
        at = {"interval_s": INTERVAL_S, "now_s": readings[-1].at_s, "ended_ago_s": ended_ago_s}
        return judge(readings, known=(), asked=4, billed=bills[-1], **at)

    assert verdict(0) is Verdict.READ_ON
    assert verdict(None, 0) is Verdict.READ_ON
    assert verdict(0, 0, gap_s=8) is Verdict.READ_ON
    assert verdict(0, 0) is Verdict.FINAL
    assert verdict(0, ended_ago_s=LINKS_LIVE_S) is Verdict.READ_ON
    assert verdict(0, 0, ended_ago_s=LINKS_LIVE_S) is Verdict.FINAL
    assert verdict(0, None, 0, gap_s=PATIENCE_S / 3, ended_ago_s=LINKS_LIVE_S) is Verdict.FINAL


@pytest.mark.parametrize(
    ("state", "links", "used", "status", "is_paid"),
    [
        (TaskState.FAILED, ("u0",), "1.53", "", True),
        (TaskState.CANCELLED, ("u0",), None, "charged", True),
        (TaskState.FAILED, (), "1.53", "charged", False),
        (TaskState.FAILED, ("u0",), "1.53", "released", False),
        (TaskState.FAILED, ("u0",), "1.53", "reserved", False),
        (TaskState.FAILED, ("u0",), None, "", False),
        (TaskState.PROCESSING, ("u0",), "1.53", "", False),
    ],
)
def test_images_that_are_shown_and_charged_are_paid_for_whatever_a_task_is_called(state, links, used, status, is_paid):
    task = Task("t", state, links, credits_used=used and Decimal(used), charge_status=status)
    assert ended_as(task) == (replace(task, state=TaskState.COMPLETED) if is_paid else task)


@pytest.mark.parametrize(
    ("used", "status", "shows", "told"),
    [
        ("6.12", "", True, "6.12"),
        ("6.12", "charged", True, "6.12"),
        ("6.12", "reserved", True, None),
        ("0", "unknown", False, None),
        ("0", "", True, None),
        ("0", "", False, "0"),
        ("0", "charged", True, "0"),
        (None, "charged", True, None),
    ],
)
def test_a_charge_of_nothing_for_images_that_are_there_is_not_told_yet(used, status, shows, told):
    task = Task("t", TaskState.COMPLETED, credits_used=used and Decimal(used), charge_status=status)
    assert told_charge(task, shows=shows) == (told and Decimal(told))


@pytest.mark.parametrize("interval_s", [0.2, 3.0])
def test_without_a_bill_two_readings_far_enough_apart_are_final_if_one_was_about_the_task_alone(interval_s):
    gap_s = second_reading_after_s(interval_s)
    assert gap_s == max(5, 3 * interval_s)
    assert judged((0, "ab", False), (gap_s, "ab", True), interval_s=interval_s) is Verdict.FINAL
    assert judged((0, "ab", True), (gap_s, "ab", False), interval_s=interval_s) is Verdict.FINAL
    assert judged((0, "ab", False), (gap_s, "ab", False), interval_s=interval_s) is Verdict.READ_ON
    assert judged((0, "ab", True), (gap_s - 0.1, "ab", True), interval_s=interval_s) is Verdict.READ_ON


def test_readings_that_differ_do_not_confirm_each_other():
    assert judged((0, "ab", True), (9, "abc", True)) is Verdict.READ_ON
    assert judged((0, "ab", True), (9, "a", True)) is Verdict.READ_ON
    assert judged((0, "ab", True), (9, "a", True), (18, "ab", True)) is Verdict.FINAL
    assert judged((0, "ab", True), (9, "ab", True), known="abc") is Verdict.READ_ON


def test_a_fresh_signature_makes_no_new_image():
    first, second = (tuple(f"https://r.example/{image}.jpg?sig={sig}" for image in "ab") for sig in (1, 2))
    assert judged((0, first, False), (9, second, True)) is Verdict.FINAL
    assert judged((0, first, False), (3, second, True), billed=4) is Verdict.READ_ON


def test_what_shows_nothing_without_a_bill_is_never_final():
    readings = [(3.0 * k, "", True) for k in range(100)]
    assert judged(*readings) is Verdict.READ_ON
    assert judged(*readings, (PATIENCE_S, "", True)) is Verdict.HELD


def test_what_is_billed_is_read_on_for_a_hundred_intervals_and_then_held():
    assert judged((PATIENCE_S - 1, "ab", True), billed=4) is Verdict.READ_ON
    assert judged((PATIENCE_S, "ab", True), billed=4) is Verdict.HELD


def test_a_day_after_its_end_what_a_task_has_not_shown_is_lost():
    assert judged((0, "ab", True), billed=4, ended_ago_s=LINKS_LIVE_S - 1) is Verdict.HELD
    assert judged((0, "ab", True), billed=4, ended_ago_s=LINKS_LIVE_S) is Verdict.NEVER_SHOWN
    assert judged((0, "ab", False), billed=4, ended_ago_s=LINKS_LIVE_S) is Verdict.READ_ON
    assert judged((0, "", True), ended_ago_s=LINKS_LIVE_S) is Verdict.NEVER_SHOWN


def test_however_old_a_task_is_a_shortfall_without_a_bill_is_read_twice():
    assert judged((0, "ab", True), ended_ago_s=LINKS_LIVE_S) is Verdict.READ_ON


def test_links_that_keep_changing_are_held_in_the_end():
    flicker = [(9.0 * k, "ab" if k % 2 else "cd"[: k % 3], True) for k in range(40)]
    assert judged(*flicker, asked=5) is Verdict.HELD
    first, late, last = ((at_s, links, True) for at_s, links in ((0, "ab"), (PATIENCE_S - 1, "cd"), (PATIENCE_S, "d")))
    assert judged(first, late, asked=5) is Verdict.READ_ON
    assert judged(first, late, last, asked=5) is Verdict.HELD


@given(
    readings=st.lists(st.tuples(st.floats(0.1, 20), st.sets(st.sampled_from("abcdef")), st.booleans()), min_size=1),
    asked=st.integers(1, 6),
    billed=st.none() | st.integers(0, 6),
)
def test_a_shortfall_is_never_final_below_the_bill_nor_on_one_reading_without_one(readings, asked, billed):
    at_s, taken = 0.0, []
    for wait_s, links, is_own in readings:
        at_s += wait_s
        taken.append((at_s, links, is_own))
    shown = set().union(*(links for _, links, _ in taken))
    if judged(*taken, asked=asked, billed=billed) is Verdict.FINAL and len(shown) < asked:
        if billed is None:
            assert shown
            assert sum(links == shown for _, links, _ in taken) > 1
            assert at_s - taken[0][0] >= 5
        else:
            assert len(shown) >= billed
