"""Figures of a report: every kind of group adds up to the whole, and what nobody knows is never guessed."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from support.fakes import PRICE, a_fact, an_intent, few

from adloom.core.decision import Decision, Verdict
from adloom.core.facts import CallFacts, Money, fold
from adloom.core.outcomes import Status
from adloom.report.figures import LOST, MOST_VALUES, NONE, UNPLANNED, Counting, Figures, Group, Report, axes_of

VARIABLES = {("hero", "mug"): {"colour": "red"}, ("hero", "jug"): {}}


def _counting(report: Report | None = None) -> Counting:
    return Counting(report or Report(sandbox=False), "test", "main", ("colour",), VARIABLES)


def _call(job: str, row: str, charged: Decimal) -> CallFacts:
    return fold(
        f"c-{row}",
        {
            "a1-intent": an_intent(1, job=job, row=row),
            "a1-accepted.t": a_fact(task="t", credits=str(PRICE), time=1),
            "a1-completed": a_fact(task="t", links=["u"], reported=1, credits=str(charged), time=7),
            "a1-settled": a_fact(outcome="charged", credits=str(charged), time=7),
        },
    )


def _line(status: Status, row: str = "mug", reason: str | None = None) -> dict[str, object]:
    return {"job": "hero", "row": row, "model": "m", "status": status, "reason": reason}


rows = st.sampled_from([("hero", "mug"), ("hero", "jug"), ("gone", "cup")])
charges = st.integers(0, 5000).map(lambda cents: Decimal(cents) / 100)


@few
@given(st.lists(st.tuples(rows, charges), max_size=8), charges)
def test_the_money_of_each_kind_of_group_adds_up_to_the_whole(calls, lost):
    counting = _counting()
    for (job, row), charged in calls:
        counting.add_call(_call(job, row, charged))
    counting.add_loss(lost)
    report = counting.report
    for kind in report.kinds():
        assert sum(figures.money.charged for _, figures in report.lines(kind)) == report.total.money.charged
    assert report.total.money.charged == sum(charged for _, charged in calls) + lost
    assert report.total.calls == len(calls)


def test_a_row_without_a_variable_one_that_is_no_longer_planned_and_lost_records_have_groups_of_their_own():
    counting = _counting()
    for job, row in (("hero", "mug"), ("hero", "jug"), ("gone", "cup")):
        counting.add_call(_call(job, row, PRICE))
    counting.add_loss(PRICE)
    assert {name for name, _ in counting.report.lines("axis test/colour")} == {"red", NONE, UNPLANNED, LOST}


def test_a_call_that_sent_nothing_cost_nothing_and_is_not_counted():
    counting = _counting()
    counting.add_call(fold("c-1", {"a1-intent": a_fact(outcome="withdrawn")}))
    assert counting.report.groups == {}


def test_a_call_takes_from_its_purchase_to_its_result():
    counting = _counting()
    counting.add_call(_call("hero", "mug", PRICE))
    assert counting.report.total.seconds_per_call == 7


def test_an_approved_image_costs_what_all_images_cost():
    counting = _counting()
    for verdict in (Verdict.APPROVED, Verdict.REJECTED, Verdict.REJECTED):
        counting.add_call(_call("hero", "mug", PRICE))
        counting.add_image(_line(Status.ARCHIVED), Decision("k", verdict), is_latest=True)
    counting.add_image(_line(Status.ARCHIVED), None, is_latest=True)
    total = counting.report.total
    assert (total.credits_per_approved, total.credits_per_image) == (3 * PRICE, 3 * PRICE / 4)
    assert total.approval == Decimal(1) / 3
    assert total.verdicts[Verdict.CLEARED] == 1


def test_earlier_takes_are_images_and_not_wanted_ones():
    counting = _counting()
    counting.add_image(_line(Status.ARCHIVED), None, is_latest=False)
    counting.add_image(_line(Status.SHORT, reason="one came"), None, is_latest=True)
    total = counting.report.total
    assert (total.wanted, total.images, total.rate(Status.SHORT)) == (1, 1, 1)
    assert dict(total.reasons) == {"short: one came": 1}


def test_before_the_first_decision_image_or_answer_nothing_is_known():
    figures = Figures()
    assert figures.approval is figures.credits_per_approved is figures.credits_per_image is None
    assert figures.seconds_per_call is figures.rate(Status.SHORT) is None


def test_groups_are_listed_by_what_they_cost():
    report = Report(sandbox=False)
    for name, charged in (("b", 1), ("a", 1), ("c", 2)):
        report.of(Group("job", name)).money += Money(charged=Decimal(charged))
    assert [name for name, _ in report.lines("job")] == ["c", "a", "b"]


def test_an_axis_is_a_variable_in_which_rows_differ_and_that_people_can_compare():
    rows_ = [{"colour": f"c{n % 3}", "one": "same", "sku": f"s{n}", "p": {"size": str(n % 2)}} for n in range(60)]
    assert axes_of(rows_) == ("colour", "p.size")
    assert axes_of([{"sku": str(n)} for n in range(MOST_VALUES)]) == ("sku",)
