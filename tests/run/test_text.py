"""How a run ended, for people and for programs."""

from dataclasses import replace
from decimal import Decimal

import pytest
from support.ended import a_result

from adloom.core.exits import Sent, Stop, StopReason
from adloom.core.origin import SANDBOX, Origin
from adloom.core.outcomes import Status
from adloom.plan.text import dollars
from adloom.run.text import exit_reason, result_lines, result_summary

OUTAGE = Stop(StopReason.OUTAGE, "the archive is away", "Run it again.")


def test_a_run_is_told_by_its_ends_its_money_and_where_everything_is():
    lines = result_lines(replace(a_result({Status.ARCHIVED: 2, Status.SHORT: 1}), gallery="file:///gallery.html"))
    assert lines == [
        "3 images wanted: 2 archived, 1 short",
        "the edition so far: 4 purchases sent, $1.50 (102 credits) charged",
        "some variants are short, refused or failed; manifest: memory://test/main/manifest.json",
        "look at: file:///gallery.html",
    ]


def test_a_stop_comes_with_what_to_do():
    lines = result_lines(a_result({Status.OPEN: 1}, OUTAGE))
    at = lines.index("stopped: the archive is away")
    assert lines[at + 1] == "  Run it again."


def test_money_that_nobody_can_tell_of_is_said_apart():
    ended = a_result({Status.HELD: 1})
    ended.published.manifest["totals"]["credits_at_risk"] = 1.53
    risk = "$0.02 (1.53 credits) at risk in purchases that are not settled"
    assert f"{risk}: settle them with `adloom resolve memory://test/main`" in result_lines(ended)


@pytest.mark.parametrize(
    ("edition", "target"),
    [
        ("file:///my%20images/test/main", "'/my images/test/main'"),
        ("s3://bucket/images/test/main", "s3://bucket/images/test/main"),
    ],
)
def test_the_command_that_settles_takes_the_edition_as_it_is_named(edition: str, target: str):
    ended = a_result({Status.HELD: 1})
    ended.published.manifest["totals"]["credits_at_risk"] = 1.53
    at_risk = replace(ended, published=replace(ended.published, address=f"{edition}/manifest.json"))
    assert any(line.endswith(f"settle them with `adloom resolve {target}`") for line in result_lines(at_risk))


def test_half_a_cent_is_rounded_as_in_a_plan():
    ended = a_result({Status.ARCHIVED: 10})
    ended.published.manifest["totals"] |= {"credits_charged": 15.3, "usd": 0.225}
    assert f"the edition so far: 4 purchases sent, {dollars(Decimal('15.3'))} charged" in result_lines(ended)
    assert dollars(Decimal("15.3")) == "$0.22 (15.3 credits)"


def test_sandbox_money_is_called_that_in_every_line_about_money():
    ended = replace(a_result({Status.HELD: 1}), origin=Origin(SANDBOX, is_stand_in=True), notes=("a lower price",))
    ended.published.manifest["totals"]["credits_at_risk"] = 1.53
    lines = result_lines(ended)
    assert sum("sandbox " in line for line in lines) == 2
    assert "note (sandbox): a lower price" in lines
    assert (result_summary(ended)["origin"], result_summary(ended)["sandbox"]) == (SANDBOX, True)


def test_a_part_says_what_it_was_for_and_what_it_left():
    asked = {Status.ARCHIVED: 2, Status.OPEN: 1}
    ended = a_result({Status.ARCHIVED: 2, Status.OPEN: 9}, asked=asked, selection="first 1")
    (line,) = [line for line in result_lines(ended) if line.startswith("this run was for")]
    assert line.startswith("this run was for 3 of them (first 1): 2 archived, 1 open; 8 images of other rows stay open")
    whole = a_result({Status.ARCHIVED: 2, Status.OPEN: 8}, asked={Status.ARCHIVED: 2}, selection="first 1")
    assert exit_reason(whole) == "everything selected is archived"
    assert exit_reason(a_result({Status.ARCHIVED: 2})) == "all archived"


def test_programs_learn_whether_a_request_left_and_whether_money_may_have_moved():
    ended = replace(a_result({Status.OPEN: 1}, OUTAGE), sent=Sent(left=1, may_have_cost=0))
    summary = result_summary(ended)
    assert (summary["request_left"], summary["money_may_have_moved"]) == (True, False)
    assert summary["stops"] == [{"reason": "outage", "message": "the archive is away", "remedy": "Run it again."}]
    assert (summary["exit_code"], summary["selected"]["open"]) == (7, 1)
