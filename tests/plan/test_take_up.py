"""When a run takes up the newest plan, and when it refuses it: decided from values alone."""

from dataclasses import replace
from decimal import Decimal

import pytest
from support.fakes import EDITION, FakeSource, a_row

from adloom.core.errors import PlanRefused
from adloom.core.origin import Buying, Origin
from adloom.core.outcomes import Status
from adloom.core.selection import Choice, Selection
from adloom.plan.revision import revision_of
from adloom.plan.survey import survey
from adloom.plan.take_up import Found, Wanted, header_of, refuse

API = Origin("https://api.example.com", is_stand_in=False)
MUG = a_row("mug", variants=4)


def wanted(*rows, cap=Decimal(100), prices=None, **more):
    source = FakeSource(rows or (MUG,), prices=prices or {})
    surveyed = survey(source, {}, more.get("only", frozenset()), more.get("choice", Choice()))
    return Wanted(source, EDITION, {}, surveyed, cap, **{"buying": Buying(API), **more})


def frozen(of):
    """The revision that a run freezes where there is none."""
    planner = of.planner()
    list(planner.plan(of.source.rows()))
    header = header_of(of, None, planner, [], number=1, sent=0, token="token", time=0.0, writer="run-a")
    return revision_of(header, b"")


def test_a_plan_says_what_its_own_run_wants():
    assert wanted().is_said_by(frozen(wanted()))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(wanted(replace(MUG, variants=5)), id="rows"),
        pytest.param(wanted(cap=Decimal(99)), id="cap"),
        pytest.param(wanted(prices={MUG.model: Decimal(2)}), id="prices"),
        pytest.param(wanted(fallback=("doubao-seedream-4.5",)), id="fallback"),
        pytest.param(wanted(buying=Buying(Origin("https://other.example.com", is_stand_in=False))), id="API"),
        pytest.param(wanted(choice=Choice(Selection(first=1)), asked_only=True), id="part"),
        pytest.param(wanted(only=frozenset({Status.FAILED}), asked_only=True), id="status"),
    ],
)
def test_a_plan_is_not_taken_up_by_a_run_that_wants_anything_else(other):
    assert not other.is_said_by(frozen(wanted()))


def test_a_plan_without_an_api_is_taken_up_by_a_run_that_knows_its_own():
    assert wanted().is_said_by(frozen(wanted(buying=Buying())))


def found(**more):
    return Found(**{"newest": frozen(wanted()), "has_bought": True, "shares_a_row": True, **more})


def test_another_campaign_of_the_same_name_is_refused_unless_a_person_replaces_it():
    with pytest.raises(PlanRefused, match="another campaign named"):
        refuse(wanted(), found(shares_a_row=False))
    refuse(wanted(replace=True), found(shares_a_row=False))


def test_what_was_bought_from_one_api_is_not_continued_with_another():
    elsewhere = wanted(buying=Buying(Origin("https://other.example.com", is_stand_in=False)))
    with pytest.raises(PlanRefused):
        refuse(elsewhere, found())
    refuse(wanted(), found())
