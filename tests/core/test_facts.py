import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import a_fact, an_image, an_intent, few

from adloom.core.errors import RecordUnreadable
from adloom.core.facts import Money, Stage, fold, money_of, task_name
from adloom.core.links import mark
from adloom.core.records import ImageFate, Intent

INTENT = an_intent(2)
FREE = {"outcome": "free", "reason": "no", "credits": "0"}


def accepted(task="task-1", credits_="3.06", time=5):
    return a_fact(task=task, credits=credits_, time=time)


def settled(outcome="free", kind="task", *, final=False, credits_="0"):
    return a_fact(outcome=outcome, kind=kind, final=final, credits=credits_, reason="because")


def completed(*links, credits_="3.06", task="task-1", **more):
    return a_fact(task=task, links=list(links), reported=len(links), credits=credits_, **more)


def unshown(*links, billed=None, credits_="3.06"):
    return completed(*links, credits_=credits_, billed=billed, told=billed is not None, final=False)


def archived(*images, hours=0):
    return a_fact(images=list(images), time=hours * 3600)


REFUSED = a_fact(kind="throttled", reason="429")
UNKNOWN = a_fact(reason="no answer")
WITHDRAWN = a_fact(outcome="withdrawn", reason="stopped")
SEND = a_fact(outcome="bought")
RELEASED = settled("released", kind="")
NOTHING = ("0", "0", "0")

STAGES = {
    "nothing": ({}, Stage.UNBOUGHT, NOTHING),
    "withdrawn": ({"a1-intent": WITHDRAWN}, Stage.UNBOUGHT, NOTHING),
    "intent": ({"a1-intent": INTENT}, Stage.SENDING, ("0", "3.06", "0")),
    "free answer": ({"a1-intent": INTENT, "a1-refused-1": REFUSED}, Stage.WAITING, ("0", "3.06", "0")),
    "second send": (
        {"a1-intent": INTENT, "a1-refused-1": REFUSED, "a1-send-2": SEND}, Stage.SENDING, ("0", "3.06", "0"),
    ),
    "second answer free": (
        {"a1-intent": INTENT, "a1-refused-1": REFUSED, "a1-send-2": SEND, "a1-refused-2": REFUSED},
        Stage.WAITING, ("0", "3.06", "0"),
    ),
    "second send withdrawn": (
        {"a1-intent": INTENT, "a1-refused-1": REFUSED, "a1-send-2": WITHDRAWN}, Stage.UNBOUGHT, NOTHING,
    ),
    "second send unknown": (
        {"a1-intent": INTENT, "a1-refused-1": REFUSED, "a1-send-2": SEND, "a1-unknown-2": UNKNOWN},
        Stage.UNKNOWN, ("0", "3.06", "3.06"),
    ),
    "unknown": ({"a1-intent": INTENT, "a1-unknown-1": UNKNOWN}, Stage.UNKNOWN, ("0", "3.06", "3.06")),
    "unknown, then known as free": (
        {"a1-intent": INTENT, "a1-unknown-1": UNKNOWN, "a1-refused-1": REFUSED}, Stage.WAITING, ("0", "3.06", "0"),
    ),
    "unknown and held": (
        {"a1-intent": INTENT, "a1-unknown-1": UNKNOWN, "a1-held": UNKNOWN}, Stage.UNKNOWN, ("0", "3.06", "3.06"),
    ),
    "accepted": (
        {"a1-intent": INTENT, "a1-accepted.task-1": accepted(credits_="3.2")}, Stage.ACCEPTED, ("0", "3.2", "0"),
    ),
    "accepted after all": (
        {"a1-intent": INTENT, "a1-unknown-1": UNKNOWN, "a1-held": UNKNOWN, "a1-accepted.task-1": accepted()},
        Stage.ACCEPTED, ("0", "3.06", "0"),
    ),
    "failed, charge not settled": (
        {"a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-failed": UNKNOWN},
        Stage.FAILING, ("0", "3.06", "0"),
    ),
    "failed free": (
        {"a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-settled": settled()}, Stage.UNBOUGHT, NOTHING,
    ),
    "failed for good": (
        {"a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-settled": settled(final=True)},
        Stage.FAILED, NOTHING,
    ),
    "failed and charged": (
        {"a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-settled": settled("charged", credits_="3.06")},
        Stage.FAILED, ("3.06", "0", "0"),
    ),
    "request refused": (
        {"a1-intent": INTENT, "a1-refused-1": REFUSED, "a1-settled": settled(kind="request", final=True)},
        Stage.REFUSED, NOTHING,
    ),
    "refused, and its run died before it settled that": (
        {"a1-intent": INTENT, "a1-refused-1": a_fact(kind="moderation", reason="no"), "a1-send-2": WITHDRAWN},
        Stage.REFUSED, NOTHING,
    ),
    "moderated": ({"a1-intent": INTENT, "a1-settled": settled(kind="moderation", final=True)}, Stage.REFUSED, NOTHING),
    "account": ({"a1-intent": INTENT, "a1-settled": settled(kind="account")}, Stage.UNBOUGHT, NOTHING),
    "released": ({"a1-intent": INTENT, "a1-unknown-1": UNKNOWN, "a1-settled": RELEASED}, Stage.UNBOUGHT, NOTHING),
    "released too early": (
        {"a1-intent": INTENT, "a1-unknown-1": UNKNOWN, "a1-settled": RELEASED, "a1-accepted.task-1": accepted()},
        Stage.ACCEPTED, ("0", "3.06", "0"),
    ),
    "completed": (
        {"a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-completed": completed("u0", "u1")},
        Stage.COMPLETED, ("3.06", "0", "0"),
    ),
    "partly archived": (
        {
            "a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-completed": completed("u0", "u1"),
            "a1-settled": settled("charged", credits_="3.06"), "a1-archived-1": archived(an_image(1)),
        },
        Stage.COMPLETED, ("3.06", "0", "0"),
    ),
    "archived in two goes": (
        {
            "a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-completed": completed("u0", "u1"),
            "a1-archived-1": archived(an_image(1)), "a1-archived-2": archived(an_image(0, "lost"), hours=24),
        },
        Stage.ARCHIVED, ("3.06", "0", "0"),
    ),
    "completed and showing less than is billed": (
        {"a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-completed": unshown("u0", billed=2)},
        Stage.UNSHOWN, ("3.06", "0", "1.53"),
    ),
    "completed and showing nothing, without a bill": (
        {"a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-completed": unshown()},
        Stage.UNSHOWN, ("3.06", "0", "3.06"),
    ),
    "all shown at the second reading": (
        {
            "a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-completed": unshown("u0", billed=2),
            "a1-completed-2": completed("u0", "u1"), "a1-archived-1": archived(an_image(0)),
        },
        Stage.COMPLETED, ("3.06", "0", "0"),
    ),
    "a link that came after the end": (
        {
            "a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-completed": completed("u0"),
            "a1-archived-1": archived(an_image(0)), "a1-completed-2": completed("u1", "u0"),
        },
        Stage.COMPLETED, ("3.06", "0", "0"),
    ),
    "billed, never shown": (
        {
            "a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-completed": unshown("u0", billed=2),
            "a1-archived-1": archived(an_image(0)), "a1-completed-2": completed(billed=2, time=24 * 3600),
        },
        Stage.ARCHIVED, ("3.06", "0", "0"),
    ),
    "a link of a final reading is gone with a former ledger": (
        {
            "a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-completed": unshown("u1", billed=2),
            "a1-archived-1": archived(an_image(0)), "a1-completed-2": completed("u1", billed=2, time=9),
        },
        Stage.UNSHOWN, ("3.06", "0", "1.53"),
    ),
    "given up while its link lived": (
        {
            "a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-completed": completed("u0", "u1"),
            "a1-archived-1": archived(an_image(1), an_image(0, "lost"), hours=23),
        },
        Stage.COMPLETED, ("3.06", "0", "0"),
    ),
    "completed with nothing": (
        {"a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-completed": completed(credits_="0")},
        Stage.ARCHIVED, NOTHING,
    ),
    "completed after a release": (
        {
            "a1-intent": INTENT, "a1-settled": RELEASED, "a1-accepted.task-1": accepted(),
            "a1-completed": completed("u0", "u1"),
        },
        Stage.COMPLETED, ("3.06", "0", "0"),
    ),
    "second attempt": (
        {"a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-settled": settled(), "a2-intent": INTENT},
        Stage.SENDING, ("0", "3.06", "0"),
    ),
    "failed, and completed after all": (
        {
            "a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-failed": UNKNOWN, "a1-settled": settled(),
            "a1-completed": completed("u0", "u1"),
        },
        Stage.COMPLETED, ("3.06", "0", "0"),
    ),
    "completed after all while the next attempt runs": (
        {
            "a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-settled": settled(),
            "a1-completed": completed("u0", "u1"), "a2-intent": INTENT, "a2-accepted.task-2": accepted("task-2"),
        },
        Stage.ACCEPTED, ("3.06", "3.06", "0"),
    ),
    "completed after all when the next attempt has come to nothing": (
        {
            "a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-settled": settled(),
            "a1-completed": completed("u0", "u1"), "a2-intent": INTENT, "a2-refused-1": REFUSED,
        },
        Stage.COMPLETED, ("3.06", "3.06", "0"),
    ),
    "completed after all when the next attempt has failed for good": (
        {
            "a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-settled": settled(),
            "a1-completed": completed("u0", "u1"), "a2-intent": INTENT, "a2-accepted.task-2": accepted("task-2"),
            "a2-settled": settled(final=True),
        },
        Stage.COMPLETED, ("3.06", "0", "0"),
    ),
    "under way when the next attempt was taken back": (
        {
            "a1-intent": INTENT, "a1-refused-1": REFUSED, "a1-send-2": SEND, "a1-accepted.task-1": accepted(),
            "a2-intent": INTENT, "a2-refused-1": REFUSED, "a2-send-2": WITHDRAWN,
        },
        Stage.ACCEPTED, ("0", "3.06", "0"),
    ),
    "both attempts completed": (
        {
            "a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-settled": settled(),
            "a1-completed": completed("u0", "u1"), "a2-intent": INTENT, "a2-accepted.task-2": accepted("task-2"),
            "a2-completed": completed("v0", "v1", task="task-2"), "a2-archived-1": archived(an_image(0), an_image(1)),
        },
        Stage.ARCHIVED, ("6.12", "0", "0"),
    ),
    "second attempt behind a charged one": (
        {
            "a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-settled": settled("charged", credits_="1.53"),
            "a2-intent": INTENT, "a2-unknown-1": UNKNOWN,
        },
        Stage.UNKNOWN, ("1.53", "3.06", "3.06"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STAGES)
def test_the_facts_tell_how_far_a_call_has_come_and_what_it_cost(case):
    facts, stage, money = STAGES[case]
    state = fold("c-1", facts)
    assert state.stage is stage
    assert money_of(state) == Money(*map(Decimal, money))


def test_links_that_come_later_follow_the_others_in_the_order_of_first_sight():
    shown = {f"a1-completed-{n}": unshown(f"u{n}", "u1", billed=15) for n in range(2, 13)}
    state = fold("c-1", {"a1-intent": INTENT, "a1-completed": unshown("u1", billed=15), **shown})
    assert state.latest.links == tuple(f"u{n}" for n in range(1, 13))


def test_what_another_task_showed_is_not_mixed_in():
    facts = {"a1-intent": INTENT, "a1-completed": completed("u0", "u1"), "a1-completed-2": completed("x", task="other")}
    assert fold("c-1", facts).latest.links == ("u0", "u1")


def test_the_first_reading_that_was_final_tells_the_charge():
    facts = {
        "a1-intent": INTENT, "a1-completed": unshown("u0", billed=2, credits_="9"),
        "a1-completed-2": completed("u0", "u1", credits_="3"), "a1-completed-3": completed("u2", credits_="7"),
    }  # fmt: skip
    assert money_of(fold("c-1", facts)) == Money(charged=Decimal(3))


def test_every_stage_can_be_reached():
    assert {stage for _, stage, _ in STAGES.values()} == set(Stage) - {Stage.RELEASED}


EVERYTHING = {
    "a1-intent": INTENT,
    "a1-refused-1": REFUSED,
    "a1-unknown-1": UNKNOWN,
    "a1-send-2": a_fact(outcome="bought", writer="run-b"),
    "a1-unknown-2": UNKNOWN,
    "a1-held": UNKNOWN,
    "a1-accepted.task-1": accepted(),
    "a1-accepted.task-2": accepted("task-2", "1.6", time=5),
    "a1-accepted.task-0": accepted("task-0", "1.7", time=6),
    "a1-failed": UNKNOWN,
    "a1-settled": settled("charged", credits_="3.06"),
    "a1-completed": completed("u0", "u1", "u2"),
    "a1-archived-1": archived(an_image(0), an_image(2)),
    "a1-archived-2": archived(an_image(1), an_image(0, "lost", key="", reason="too late"), hours=25),
    "a2-intent": an_intent(2, writer="run-b"),
    "a2-send-2": WITHDRAWN,
    "a2-refused-1": REFUSED,
    "a10-intent": an_intent(2, writer="run-c"),
}


@few
@given(st.lists(st.sampled_from(sorted(EVERYTHING)), unique=True), st.randoms(use_true_random=False))
def test_facts_tell_the_same_in_whatever_order_they_are_listed(names, random):
    shuffled = list(names)
    random.shuffle(shuffled)
    one, other = (fold("c-1", {name: EVERYTHING[name] for name in order}) for order in (names, shuffled))
    assert one == other
    assert (one.stage, money_of(one)) == (other.stage, money_of(other))


@few
@given(st.lists(st.sampled_from(sorted(EVERYTHING)), unique=True, min_size=1))
def test_a_task_once_known_is_never_forgotten(names):
    known = {f"task-{n}" for n in range(3) if f"a1-accepted.task-{n}" in names}
    state = fold("c-1", {name: EVERYTHING[name] for name in names})
    first = next((attempt for attempt in state.attempts if attempt.number == 1), None)
    assert set(first.tasks if first else ()) == known


@few
@given(st.lists(st.sampled_from(sorted(EVERYTHING)), unique=True))
def test_an_accepted_attempt_is_never_free_to_buy_again_without_a_settlement(names):
    state = fold("c-1", {name: EVERYTHING[name] for name in names if name.startswith("a1-")})
    if any("accepted" in name for name in names) and "a1-settled" not in names:
        assert state.stage in (Stage.ACCEPTED, Stage.FAILING, Stage.COMPLETED, Stage.ARCHIVED)


def test_attempts_count_by_number_not_by_letters():
    state = fold("c-1", {f"a{number}-intent": INTENT for number in (2, 10, 9, 1)})
    assert [attempt.number for attempt in state.attempts] == [1, 2, 9, 10]
    assert state.next_attempt == 11


def test_a_refused_attempt_is_free_and_so_stands_in_no_other_ones_way():
    facts = {
        "a1-intent": INTENT, "a1-refused-1": a_fact(kind="moderation", reason="no"), "a1-send-2": WITHDRAWN,
        "a2-intent": INTENT, "a2-settled": settled(kind="account"),
    }  # fmt: skip
    state = fold("c-1", facts)
    assert (state.stage, state.former_are_free, state.next_attempt) == (Stage.UNBOUGHT, True, 3)


def test_the_owner_is_who_decided_to_send_last():
    facts = {"a1-send-2": a_fact(outcome="bought", writer="run-b"), "a1-intent": INTENT, "a1-refused-1": REFUSED}
    assert fold("c-1", facts).latest.owner == "run-b"
    assert fold("c-1", facts).latest.sends == 2


def test_a_withdrawn_intent_tells_nothing_of_what_the_call_is_for():
    assert fold("c-1", {"a1-intent": WITHDRAWN}).intent is None
    assert fold("c-1", {"a1-intent": INTENT, "a1-settled": RELEASED, "a2-intent": WITHDRAWN}).intent == Intent.of(
        INTENT
    )


def test_only_attempts_that_came_to_a_task_count_for_the_limit():
    facts = {
        "a1-intent": INTENT,
        "a1-settled": settled(kind="account"),
        "a2-intent": INTENT,
        "a2-accepted.t": accepted("t"),
    }
    assert fold("c-1", facts).task_attempts == 1


def test_of_two_answers_of_one_moment_every_reader_counts_the_same_task():
    found = {f"a1-accepted.task-{number}": accepted(f"task-{number}", f"1.{number}", time=5) for number in (2, 1)}
    state = fold("c-1", {"a1-intent": INTENT, **found})
    assert state.latest.task == "task-1"
    assert money_of(state) == Money(reserved=Decimal("1.1") + Decimal("3.06"))


def test_the_first_word_on_an_image_stands():
    state = fold("c-1", {"a1-archived-2": EVERYTHING["a1-archived-2"], "a1-archived-1": EVERYTHING["a1-archived-1"]})
    assert [(image.index, image.fate) for image in state.latest.images] == [(n, ImageFate.ARCHIVED) for n in range(3)]
    assert state.latest.archived_facts == 2


def _of_link(index, sha256, link="", fate="archived"):
    """One image of a record, its bytes, and the link that stood at its index."""
    return {**an_image(index, fate), "sha256": sha256}, {str(index): {"link": mark(link)}} if link else {}


@pytest.mark.parametrize(
    ("later", "counts"),
    [
        ([_of_link(1, "b", "u1")], "ab"),
        ([_of_link(1, "a", "u0")], "a"),  # fetched for the other place, where that link was then
        ([_of_link(1, "a", "u1")], "aa"),  # equal pictures
        ([_of_link(1, "a")], "aa"),  # of a version that did not say
        ([_of_link(1, "a", "u0"), _of_link(1, "b", "u1")], "ab"),
        ([_of_link(1, "c", "u0")], "ac"),  # any picture of the task may fill any place
    ],
)
def test_bytes_that_came_for_another_place_count_once(later, counts):
    records = [_of_link(0, "a", "u0"), *later]
    facts = {f"a1-archived-{n}": archived(image) | {"seen": seen} for n, (image, seen) in enumerate(records, 1)}
    state = fold("c-1", {"a1-intent": INTENT, "a1-completed": completed("u0", "u1"), **facts})
    assert [image.sha256 for image in state.latest.images] == list(counts)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"a1-intent": {**INTENT, "schema": "adloom.fact/2"}}, "a1-intent has the schema 'adloom.fact/2'"),
        ({"a1-intent": {key: value for key, value in INTENT.items() if key != "schema"}}, "has the schema None"),
        ({"a1-refunded": UNKNOWN}, "a1-refunded is a kind of record that this version does not know"),
        ({"intent": INTENT}, "is a kind of record"),
        ({"a1-intent": INTENT, "a1-intent.bak": INTENT}, "is a kind of record"),
        ({"a1-intent ": INTENT}, "is a kind of record"),
        ({"ax-intent": INTENT}, "is a kind of record"),
    ],
)
def test_facts_of_a_newer_or_foreign_kind_are_refused_rather_than_guessed_at(facts, why):
    with pytest.raises(RecordUnreadable, match=re.escape(why)) as caught:
        fold("c-1", facts)
    assert "version" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("a1-settled", a_fact(credits="0")),
        ("a1-accepted.task-1", accepted(credits_="a lot")),
        ("a1-completed", a_fact(task="task-1", links=None, reported=0, credits="0")),
        ("a1-held", {**UNKNOWN, "time": "yesterday"}),
    ],
)
def test_a_fact_that_cannot_be_read_is_named_rather_than_left_out(name, record):
    with pytest.raises(RecordUnreadable, match=re.escape(f"ledger/c-1/{name} is not what")) as caught:
        fold("c-1", {"a1-intent": INTENT, name: record})
    assert "backup" in caught.value.remedy


@pytest.mark.parametrize("task", ["task-unified-1757165031-uyujaw3d", "A_b-9"])
def test_a_safe_task_id_is_its_own_name(task):
    assert task_name(task) == task


@pytest.mark.parametrize("task", ["", "../../x", "a b", "x" * 101, "-x", "图", "a.b", "h\n"])
def test_any_other_task_id_is_named_by_its_hash(task):
    assert task_name(task).startswith("h-")
    assert fold("c-1", {f"a1-accepted.{task_name(task)}": accepted(task)}).latest.tasks == (task,)


def test_the_name_of_a_task_stays_what_it_was_when_it_was_written_down():
    assert task_name("a b") == "h-541e27fe8b978a09c9f563ba3c0e1938"


def test_different_tasks_have_different_names():
    assert len({task_name(task) for task in ("a b", "a  b", "ab", "AB", "a/b")}) == 5


def _fates(*records):
    facts = {"a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-completed": completed("u0", "u1")}
    named = {f"a1-archived-{number}": record for number, record in enumerate(records, 1)}
    return {image.index: image.fate for image in fold("c-1", {**facts, **named}).latest.images}


@pytest.mark.parametrize("fate", ["lost", "quarantined"])
def test_an_image_is_not_believed_to_be_gone_before_its_link_has_had_24_hours(fate):
    assert _fates(archived(an_image(0, fate), hours=23.99)) == {}
    assert _fates(archived(an_image(0, fate), hours=24)) == {0: fate}


def test_an_attempt_whose_intent_is_lost_asked_for_nothing_and_was_quoted_nothing():
    latest = fold("c", {"a1-accepted.task-1": accepted()}).latest
    assert (latest.asked, latest.quoted) == (0, 0)
    two = {f"a1-accepted.{task}": accepted(task) for task in ("task-1", "task-2")}
    assert money_of(fold("c", two)) == Money()


@pytest.mark.parametrize(
    ("later", "was"),
    [
        ({"a1-completed": completed("l1"), "a1-settled": settled("free")}, True),
        ({"a1-completed": completed("l1"), "a1-settled": RELEASED}, True),
        ({"a1-completed": completed("l1"), "a1-settled": settled("charged")}, False),
        ({"a1-completed": completed("l1")}, False),
        ({"a1-settled": settled("free")}, False),
    ],
)
def test_a_purchase_was_given_up_if_it_counted_as_free_and_completed_after_all(later, was):
    facts = fold("c", {"a1-intent": INTENT, "a1-accepted.task-1": accepted(), **later})
    assert facts.latest.was_given_up is was


def test_an_image_that_was_given_up_stays_so_where_the_record_of_its_tasks_end_is_gone():
    facts = {"a1-intent": INTENT, "a1-accepted.task-1": accepted(), "a1-archived-1": archived(an_image(0, "lost"))}
    assert [image.fate for image in fold("c-1", facts).latest.images] == [ImageFate.LOST]


@pytest.mark.parametrize(
    ("first", "second", "stands"),
    [
        ("lost", "archived", "archived"),
        ("lost", "quarantined", "quarantined"),
        ("quarantined", "archived", "archived"),
        ("quarantined", "lost", "quarantined"),
        ("archived", "lost", "archived"),
        ("extra", "quarantined", "extra"),
    ],
)
def test_of_two_words_on_an_image_the_weightier_stands(first, second, stands):
    assert _fates(archived(an_image(0, first), hours=25), archived(an_image(0, second), hours=26)) == {0: stands}


def test_of_two_runs_that_had_an_image_the_first_counts():
    facts = [archived(an_image(0, key="first")), archived(an_image(0, key="second"))]
    named = {f"a1-archived-{number}": record for number, record in enumerate(facts, 1)}
    (image,) = fold("c-1", {"a1-intent": INTENT, "a1-completed": completed("u0"), **named}).latest.images
    assert image.key == "first"


def test_the_tenth_record_on_images_comes_after_the_second():
    named = {f"a1-archived-{n}": archived(*([an_image(0, key=str(n))] if n in {2, 10} else [])) for n in (1, 2, 10)}
    attempt = fold("c-1", {"a1-intent": INTENT, "a1-completed": completed("u0"), **named}).latest
    assert (attempt.images[0].key, attempt.archived_facts) == ("2", 10)


def test_a_second_task_counts_as_reserved_until_its_cost_is_known():
    facts = {"a1-intent": an_intent(2), "a1-accepted.t1": a_fact(task="t1", credits="3.06")}
    second = {"a1-accepted.t2": a_fact(task="t2", credits="3.06", time=1)}
    assert money_of(fold("c", facts)).committed == Decimal("3.06")
    assert money_of(fold("c", facts | second)).committed == Decimal("6.12")
    told = {"a1-second.t2": a_fact(task="t2", credits="1.53", images=[])}
    assert money_of(fold("c", facts | second | told)) == Money(charged=Decimal("1.53"), reserved=Decimal("3.06"))


def test_a_task_that_is_anothers_counts_as_never_accepted():
    facts = {
        "a1-intent": an_intent(2),
        "a1-accepted.t1": a_fact(task="t1", credits="3.06"),
        "a1-unknown-1": a_fact(reason="the API answered with another's task"),
        "a1-disowned.t1": a_fact(task="t1", reason="another's"),
    }
    call = fold("c", facts)
    assert (call.stage, call.latest.tasks) == (Stage.UNKNOWN, ())
    assert money_of(call).at_risk == Decimal("3.06")
    true = fold("c", facts | {"a1-accepted.t2": a_fact(task="t2", credits="3.06", time=5)})
    assert (true.stage, true.latest.task) == (Stage.ACCEPTED, "t2")


@pytest.mark.parametrize(("links", "billed", "at_risk"), [(1, None, "1.53"), (3, None, "0"), (2, 2, "0"), (3, 2, "0")])
def test_the_part_of_a_charge_for_which_a_task_has_shown_nothing_is_at_risk(links, billed, at_risk):
    shown = [f"u{index}" for index in range(links)]
    facts = {
        "a1-intent": an_intent(2),
        "a1-accepted.t": a_fact(task="t", credits="3.06"),
        "a1-completed": a_fact(task="t", links=shown, reported=links, credits="3.06", billed=billed, final=False),
    }
    assert money_of(fold("c", facts)) == Money(charged=Decimal("3.06"), at_risk=Decimal(at_risk))


def test_a_purchase_that_was_withdrawn_by_no_plan_names_none():
    withdrawn = {"a1-intent": a_fact(outcome="withdrawn", reason="stopped")}
    assert fold("c-1", withdrawn).withdrawn_by == 0
    assert fold("c-1", {"a1-intent": INTENT}).withdrawn_by == 0
    assert fold("c-1", {}).withdrawn_by == 0
    assert fold("c-1", {"a1-intent": a_fact(outcome="withdrawn", reason="", revision=3)}).withdrawn_by == 3
