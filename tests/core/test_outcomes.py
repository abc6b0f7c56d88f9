from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import a_fact, an_image, an_intent, few

from adloom.core import outcomes as module
from adloom.core.facts import fold
from adloom.core.outcomes import AT_HAND, Outcomes, Status, TopUp, missing, shortfall, stands_for
from adloom.core.planned import Variant

KEYS = ["k1", "k2", "k3", "k4"]


def _variants(*numbers):
    return [Variant(f"k{n}", n, 1) for n in numbers]


ALL = _variants(1, 2, 3, 4)


DAY_S = 24 * 3600


def outcomes(calls):
    """All at once, which is the same as each when it is asked for."""
    found = module.outcomes(calls)
    known = {facts.call: facts for facts in calls}
    lazily = Outcomes(known.__getitem__, known)
    assert (dict(lazily), len(lazily)) == (found, len(found))
    assert [key in lazily for key in KEYS] == [key in found for key in KEYS]
    return found


def test_outcomes_of_many_calls_are_derived_one_after_another():
    names = [f"c-{number:03}" for number in range(3 * AT_HAND)]
    calls = [_bought(name, variants=[Variant(name, 1, 1)], links="a") for name in names]
    assert [outcomes(calls)[name].call for name in names] == names


def _bought(call, *, variants=ALL, links=(), images=(), shown=None, more=None, **intent):
    """A call that came to its end with these links, and what became of them; ``shown`` says what its bill says."""
    n = len(variants)
    facts = {
        "a1-intent": an_intent(n, **intent, variants=[variant.record() for variant in variants]),
        f"a1-accepted.{call}-task": a_fact(task=f"{call}-task", credits="1"),
        "a1-completed": a_fact(
            task=f"{call}-task",
            links=list(links),
            reported=len(links),
            **{"credits": str(1.5 * len(links)), **(shown or {})},
        ),
        **(more or {}),
    }
    if images:
        facts["a1-archived-1"] = a_fact(images=list(images), time=DAY_S)  # links have had their time
    return fold(call, facts)


def _open(call, more=None, *, variants=ALL, **intent):
    return fold(
        call,
        {
            "a1-intent": an_intent(len(variants), variants=[variant.record() for variant in variants], **intent),
            **(more or {}),
        },
    )


def _statuses(*calls):
    return [str(outcomes(calls)[key].status) for key in KEYS if key in outcomes(calls)]


def test_each_archived_image_goes_to_its_variant_in_the_order_of_the_links():
    found = outcomes([_bought("c-1", links="abcd", images=[an_image(n) for n in range(4)])])
    assert [found[key].status for key in KEYS] == [Status.ARCHIVED] * 4
    assert [found[key].image.index for key in KEYS] == [0, 1, 2, 3]
    assert {found[key].task for key in KEYS} == {"c-1-task"}
    assert all(outcome.covered for outcome in found.values())


def test_a_variant_bears_its_share_of_the_charge():
    found = outcomes([_bought("c-1", links="abc", images=[an_image(n) for n in range(3)])])
    assert [found[key].credits for key in KEYS] == [Decimal("1.5")] * 3 + [Decimal(0)]


def test_links_that_are_not_downloaded_yet_are_open_and_covered():
    found = outcomes([_bought("c-1", links="abcd", images=[an_image(1)])])
    assert [found[key].status for key in KEYS] == ["open", "archived", "open", "open"]
    assert all(outcome.covered for outcome in found.values())
    assert "paid" in found["k1"].reason


@pytest.mark.parametrize("fate", ["quarantined", "lost"])
def test_a_paid_image_that_is_no_asset_is_failed_with_its_reason(fate):
    found = outcomes([_bought("c-1", variants=_variants(1), links="a", images=[an_image(0, fate, reason="why")])])
    assert (found["k1"].status, found["k1"].covered, found["k1"].reason) == (Status.FAILED, True, "why")


def test_extras_belong_to_no_variant():
    images = [an_image(0), an_image(1, "extra", number=0)]
    assert set(outcomes([_bought("c-1", variants=_variants(1), links="ab", images=images)])) == {"k1"}


CASES = {
    "sending": ({}, "open", True),
    "waiting": ({"a1-refused-1": a_fact(kind="throttled", reason="429")}, "open", True),
    "running": ({"a1-accepted.t": a_fact(task="t", credits="1")}, "open", True),
    "stuck": ({"a1-accepted.t": a_fact(task="t", credits="1"), "a1-held": a_fact(reason="stuck")}, "held", True),
    "failed once": (
        {"a1-accepted.t": a_fact(task="t", credits="1"), "a1-failed": a_fact(reason="broken")}, "open", True,
    ),
    "failed once and stuck": (
        {
            "a1-accepted.t": a_fact(task="t", credits="1"), "a1-failed": a_fact(reason="broken"),
            "a1-held": a_fact(reason="not settled", time=9),
        }, "held", True,
    ),
    "unknown": ({"a1-unknown-1": a_fact(reason="no answer")}, "held", True),
    "refused": ({"a1-settled": a_fact(outcome="free", kind="request", final=True, reason="bad size")}, "refused", True),
    "moderated": ({"a1-settled": a_fact(outcome="free", kind="moderation", final=True, reason="no")}, "refused", True),
    "failed": ({"a1-settled": a_fact(outcome="free", kind="task", final=True, reason="broken")}, "failed", True),
    "failed and paid": (
        {"a1-settled": a_fact(outcome="charged", kind="task", credits="3", reason="gone")}, "failed", True,
    ),
    "free again": ({"a1-settled": a_fact(outcome="free", kind="task", final=False, reason="busy")}, "open", False),
    "account": ({"a1-settled": a_fact(outcome="free", kind="account", final=False, reason="402")}, "open", False),
    "released": ({"a1-settled": a_fact(outcome="released", kind="", reason="a person")}, "open", False),
    "withdrawn": (
        {"a1-refused-1": a_fact(kind="throttled", reason="429"), "a1-send-2": a_fact(outcome="withdrawn")},
        "open", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_call_without_images_says_what_became_of_all_its_variants(case):
    more, status, covered = CASES[case]
    found = outcomes([_open("c-1", more)])
    assert {(outcome.status, outcome.covered) for outcome in found.values()} == {(Status(status), covered)}
    assert set(found) == set(KEYS)


@pytest.mark.parametrize("case", sorted(set(CASES) - {"withdrawn"}))
def test_whatever_is_no_image_has_a_reason(case):
    found = outcomes([_open("c-1", CASES[case][0])])
    assert all(outcome.reason for outcome in found.values())
    assert not any(outcome.came_back or outcome.credits for outcome in found.values())


def test_a_call_that_was_only_withdrawn_says_nothing():
    assert outcomes([fold("c-1", {"a1-intent": a_fact(outcome="withdrawn", reason="r2")})]) == {}


def test_a_shortfall_leaves_its_last_variants_to_a_top_up():
    call = _bought("c-1", links="abc", images=[an_image(n) for n in range(3)])
    assert missing(call) == TopUp("c-1", 1, 0, tuple(_variants(4)))
    assert outcomes([call])["k4"].status is Status.OPEN
    assert outcomes([call])["k4"].covered


def test_nothing_is_topped_up_before_every_paid_image_is_seen_to():
    assert missing(_bought("c-1", links="abc", images=[an_image(0), an_image(1)])) is None
    assert missing(_open("c-1")) is None


def test_what_a_short_task_owes_is_known_before_its_images_are_fetched():
    call = _bought("c-1", links="abc", images=[an_image(0), an_image(1)])
    assert shortfall(call) == TopUp("c-1", 1, 0, tuple(_variants(4)))
    assert shortfall(_open("c-1")) is None


@pytest.mark.parametrize("fate", ["archived", "lost", "quarantined"])
def test_a_call_that_brought_all_it_was_paid_for_is_not_topped_up(fate):
    assert missing(_bought("c-1", links="abcd", images=[an_image(n, fate) for n in range(4)])) is None


def test_what_a_failed_task_kept_its_charge_for_is_not_asked_for_again_when_a_former_task_brings_too_few():
    """The former task had read failed, and completed after all once the next one had been bought."""
    free = {"outcome": "free", "kind": "task", "reason": "no", "credits": "0", "final": False}
    again = {
        "a1-settled": a_fact(free),
        "a2-intent": an_intent(4, variants=[variant.record() for variant in ALL]),
        "a2-accepted.task-2": a_fact(task="task-2", credits="6.12"),
        "a2-settled": a_fact({**free, "outcome": "charged", "credits": "6.12", "final": True}),
    }
    facts = _bought("c-1", links="ab", images=[an_image(0), an_image(1)], more=again)
    assert (missing(facts), shortfall(facts)) == (None, None)
    found = outcomes([facts])
    assert [found[key].status for key in KEYS] == [Status.ARCHIVED] * 2 + [Status.FAILED] * 2
    assert found["k4"].reason == "task task-2 for it failed and its charge was kept"


def test_a_call_that_brings_nothing_is_asked_for_once_more_and_then_short():
    first = _bought("c-1", links="")
    top_up = missing(first)
    assert top_up == TopUp("c-1", 1, 1, tuple(_variants(1, 2, 3, 4)))
    second = _bought("c-2", links="", round_number=1, fruitless=top_up.fruitless)
    assert missing(second) is None
    assert _statuses(first, second) == ["short"] * 4


def test_top_ups_go_on_while_each_brings_an_image():
    calls = [_bought("c-0", links="a", images=[an_image(0)])]
    for number in (1, 2, 3):
        top_up = missing(calls[-1])
        assert (top_up.round, top_up.fruitless) == (number, 0)
        calls.append(
            _bought(
                f"c-{number}", variants=list(top_up.variants), links="a", images=[an_image(0)], round_number=number,
                fruitless=top_up.fruitless,
            )
        )  # fmt: skip
    assert missing(calls[-1]) is None
    assert _statuses(*calls) == ["archived"] * 4
    assert {outcomes(calls)[key].call for key in KEYS} == {"c-0", "c-1", "c-2", "c-3"}


def test_an_image_between_two_fruitless_calls_starts_the_count_anew():
    second = _bought("c-2", links="a", images=[an_image(0)], round_number=1, fruitless=1)
    assert missing(second).fruitless == 0
    third = _bought("c-3", variants=_variants(2, 3, 4), links="", round_number=2, fruitless=0)
    assert missing(third).fruitless == 1


@few
@given(order=st.permutations(range(3)), last=st.sampled_from(sorted(CASES)))
def test_an_archived_image_beats_every_other_word_and_otherwise_the_latest_round_speaks(order, last):
    calls = [
        _bought("c-0", links="a", images=[an_image(0)]),
        _open("c-1", CASES["failed"][0], variants=_variants(1, 2, 3), round_number=1),
        _open("c-2", CASES[last][0], variants=_variants(1, 2), round_number=2),
    ]
    found = outcomes([calls[index] for index in order])
    assert found["k1"].status is Status.ARCHIVED
    assert (found["k2"].call, str(found["k2"].status)) == ("c-2", CASES[last][1])
    assert (found["k3"].call, found["k3"].status) == ("c-1", Status.FAILED)
    assert found["k4"].call == "c-0"


@few
@given(order=st.permutations(range(2)), free=st.sampled_from(["free again", "account", "released", "withdrawn"]))
def test_a_purchase_that_covers_beats_one_of_the_same_round_that_was_given_up(order, free):
    calls = [_open("c-1", CASES[free][0]), _open("c-2", CASES["running"][0], variants=_variants(1, 2))]
    found = outcomes([calls[index] for index in order])
    assert [found[key].call for key in KEYS] == ["c-2", "c-2", "c-1", "c-1"]


@few
@given(order=st.permutations(range(2)))
def test_two_purchases_of_one_variant_end_in_the_same_word_however_they_are_listed(order):
    calls = [
        _open("c-1", CASES["refused"][0], variants=_variants(1)),
        _open("c-2", CASES["running"][0], variants=_variants(1)),
    ]
    assert outcomes([calls[index] for index in order]) == outcomes(calls)


@pytest.mark.parametrize("names", [("c-1", "c-2"), ("c-2", "c-1")])
def test_a_held_purchase_is_told_before_a_shortfall_of_another_call(names):
    short, held = names
    calls = [
        _bought(short, variants=_variants(1, 2), links="a", images=[an_image(0)]),
        _open(held, CASES["unknown"][0], variants=_variants(2)),
    ]
    assert outcomes(calls)["k2"].call == held
    assert outcomes(calls)["k2"].status is Status.HELD


def test_a_call_stands_for_what_it_was_bought_for_until_it_is_free_again():
    assert stands_for(_open("c-1", CASES["unknown"][0], variants=_variants(1, 2)), {"k2", "k3"})
    assert not stands_for(_open("c-1", CASES["unknown"][0], variants=_variants(1, 2)), {"k3"})
    assert not stands_for(_open("c-1", CASES["released"][0], variants=_variants(1, 2)), {"k2"})


@pytest.mark.parametrize("free", ["free again", "account", "released", "withdrawn"])
def test_a_top_up_that_was_given_up_stays_owed_by_its_parent_and_is_not_planned_anew(free):
    parent = _bought("c-1", links="ab", images=[an_image(0), an_image(1)])
    child = _open("c-2", CASES[free][0], variants=_variants(3, 4), round_number=1, parent="c-1")
    found = outcomes([parent, child])
    assert [(found[key].status, found[key].covered) for key in KEYS[2:]] == [(Status.OPEN, True)] * 2
    assert missing(parent) is not None


def test_of_two_tasks_the_one_whose_links_are_fixed_is_named():
    facts = {
        "a1-intent": an_intent(1),
        "a1-accepted.a-late": a_fact(task="a-late", credits="1", time=9),
        "a1-accepted.first": a_fact(task="first", credits="1", time=5),
    }
    assert outcomes([fold("c-1", facts)])["k1"].task == "first"
    facts["a1-completed"] = a_fact(task="a-late", links=["u"], reported=1, credits="1")
    assert outcomes([fold("c-1", facts)])["k1"].task == "a-late"


def test_a_task_that_turns_up_supersedes_that_its_purchase_was_held():
    unknown = {
        "a1-unknown-1": a_fact(reason="lost", conflict=False),
        "a1-held": a_fact(time=10, reason="nothing could tell"),
    }
    assert _statuses(_open("c-1", unknown)) == ["held"] * 4
    later = {"a1-accepted.t": a_fact(time=20, task="t", credits="6")}
    assert _statuses(_open("c-1", unknown | later)) == ["open"] * 4


def test_a_task_that_a_run_gave_up_on_is_held():
    facts = {
        "a1-accepted.t": a_fact(time=0, task="t", credits="6"),
        "a1-held": a_fact(time=30, reason="its task does not end"),
    }
    found = outcomes([_open("c-1", facts)])["k1"]
    assert (found.status, found.reason) == ("held", "its task does not end")


def _held():
    return {"a1-held": a_fact(reason="not shown", time=9)}


@pytest.mark.parametrize(("more", "status"), [({}, "open"), (_held(), "held")])
def test_what_a_completed_task_has_not_shown_is_open_then_held_and_nobody_may_ask_for_it_again(more, status):
    shown = {"billed": 3, "final": False}
    call = _bought("c-1", links="ab", images=[an_image(0)], shown=shown, more=more)
    assert missing(call) is None
    assert _statuses(call) == ["archived", "open", status, status]
    assert all(outcome.covered for outcome in outcomes([call]).values())
    assert "shows 2 of 4 images; 3 images are billed" in outcomes([call])["k4"].reason


def test_what_a_completed_task_has_not_shown_without_a_bill_is_said_to_have_none():
    call = _bought("c-1", links="ab", shown={"billed": None, "final": False})
    assert "shows 2 of 4 images; its charge is not known" in outcomes([call])["k4"].reason


def test_a_task_that_completed_after_it_had_read_failed_came_back():
    assert outcomes([_bought("c-1", links="abcd", more={"a1-failed": a_fact(reason="broken")})])["k1"].came_back
    assert not outcomes([_bought("c-1", links="abcd")])["k1"].came_back


def test_what_was_billed_and_never_shown_has_failed_and_only_what_was_not_made_is_asked_for():
    bill = {"billed": 3, "credits": "3"}
    a_day_later = a_fact(task="c-1-task", links=[], reported=0, **bill, final=True, time=DAY_S)
    shown, more = {**bill, "final": False}, {"a1-completed-2": a_day_later}
    call = _bought("c-1", links="ab", images=[an_image(0), an_image(1)], shown=shown, more=more)
    assert _statuses(call) == ["archived", "archived", "failed", "open"]
    assert missing(call) == TopUp("c-1", 1, 0, tuple(_variants(4)))
    assert outcomes([call])["k3"].reason.startswith("billed, never shown")
    assert {str(outcome.credits) for outcome in outcomes([call]).values()} == {"1", "0"}
