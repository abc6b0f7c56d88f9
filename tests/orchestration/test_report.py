"""A run in the tables and lines that Prefect shows."""

import json
from dataclasses import replace
from decimal import Decimal

from support.ended import a_result

from adloom.core.outcomes import Status
from adloom.orchestration.report import MOST_FAILURES, failures_of, keys_of, progress_text, result_report
from adloom.run.progress import Progress


def _line(number: int, status: Status) -> dict[str, object]:
    archived = status is Status.ARCHIVED
    return {
        "job": "hero", "row": "mug", "variant": number, "status": status, "reason": None if archived else "no",
        "task": "t", "key": f"assets/{number}.png" if archived else None, "prompt": "a secret plan", "take": 1,
    }  # fmt: skip


def _assets(*statuses: Status) -> bytes:
    return b"".join(json.dumps(_line(number, status)).encode() + b"\n" for number, status in enumerate(statuses, 1))


def test_what_did_not_come_is_listed_with_its_reason_and_without_its_prompt():
    rows, count = failures_of(_assets(Status.ARCHIVED, Status.SHORT, Status.OPEN, Status.HELD))
    assert count == 2
    assert [(row["variant"], row["status"], row["reason"]) for row in rows] == [(2, "short", "no"), (4, "held", "no")]
    assert "secret" not in json.dumps(rows)


def test_a_long_list_is_cut_and_still_counted():
    rows, count = failures_of(_assets(*[Status.FAILED] * (MOST_FAILURES + 3)))
    assert (len(rows), count) == (MOST_FAILURES, MOST_FAILURES + 3)


def test_the_keys_are_those_of_archived_images_in_order():
    assert keys_of(_assets(Status.ARCHIVED, Status.SHORT, Status.ARCHIVED)) == ["assets/1.png", "assets/3.png"]


def test_a_report_shows_money_even_where_it_is_nothing_and_leaves_other_zeros_out():
    report = result_report(a_result({Status.ARCHIVED: 2}), "test/main")
    assert report.startswith("## test/main: all archived")
    assert "| US dollars charged | 1.5 |" in report
    assert "| images archived | 2 |" in report
    assert "images held" not in report
    assert "credits at risk" not in report


def test_images_that_wait_for_a_decision_come_with_the_page_to_decide_on():
    ended = a_result({Status.ARCHIVED: 2}, waiting=2)
    assert "wait for a decision" not in result_report(ended, "x")
    assert "**2 images wait for a decision**: `review.html`" in result_report(replace(ended, review="review.html"), "x")


def test_progress_is_one_short_line_with_what_is_left_where_that_is_known():
    progress = Progress(
        wanted=2000, archived=1000, ended=1000, calls=1, in_flight=3, charged=Decimal(68), reserved=Decimal(0),
        cap=Decimal(680),
    )  # fmt: skip
    line = "1,000/2,000 images archived · 1 call · 3 in flight · $1.00 of $10.00"
    assert progress_text(progress, None) == line
    assert progress_text(progress, 90) == f"{line} · about 1 min 30 s left"
