"""Progress is counted as a run goes, and says at every moment what a recount of all facts would say."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from support.fakes import PRICE, a_fact, an_image, an_intent, few

from adloom.core.facts import CallFacts, fold, money_of
from adloom.core.outcomes import Status, outcomes
from adloom.run.progress import Counts, Progress

BOUGHT = {"a1-intent": an_intent(2)}
ACCEPTED = BOUGHT | {"a1-accepted.t": a_fact(task="t", credits=str(2 * PRICE))}
COMPLETED = ACCEPTED | {
    "a1-completed": a_fact(task="t", links=["u1", "u2"], reported=2, credits=str(2 * PRICE)),
    "a1-settled": a_fact(outcome="charged", credits=str(2 * PRICE)),
}
ARCHIVED = COMPLETED | {"a1-archived-1": a_fact(images=[an_image(0), an_image(1)])}
REFUSED = BOUGHT | {"a1-settled": a_fact(outcome="free", kind="moderation", final=True, reason="no")}
STAGES = (BOUGHT, ACCEPTED, COMPLETED, ARCHIVED, REFUSED)


@few
@given(st.lists(st.tuples(st.sampled_from(["c-1", "c-2", "c-3"]), st.sampled_from(STAGES)), max_size=12))
def test_counting_as_it_goes_agrees_with_a_recount(steps: list[tuple[str, dict[str, object]]]):
    counts, latest = Counts(), {}
    for call, records in steps:
        latest[call] = fold(call, records)
        counts.update(latest[call])
    ends = [end.status for facts in latest.values() for end in outcomes([facts]).values()]
    assert counts.archived == ends.count(Status.ARCHIVED)
    assert counts.ended == sum(end is not Status.OPEN for end in ends)
    assert counts.money == sum((money_of(facts) for facts in latest.values()), Counts().money)
    assert counts.calls == len(latest)


def test_a_call_counts_as_it_was_seen_last():
    counts = Counts()
    for records in (BOUGHT, ACCEPTED, COMPLETED, ARCHIVED):
        facts: CallFacts = fold("c-1", records)
        counts.update(facts)
    assert (counts.calls, counts.archived, counts.ended) == (1, 2, 2)
    assert (counts.money.charged, counts.money.reserved) == (2 * PRICE, 0)


def test_what_is_shown_in_dollars_is_what_was_charged():
    progress = Progress(
        wanted=2, archived=1, ended=1, calls=1, in_flight=1, charged=PRICE, reserved=PRICE, cap=Decimal(100)
    )
    assert progress.usd == Decimal("0.0225")
