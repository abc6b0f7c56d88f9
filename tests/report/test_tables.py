"""A report as Markdown, CSV, data and a page: strangers' words stay text, and unknown is not 0."""

import csv
import io
from decimal import Decimal

from adloom.core.facts import Money
from adloom.core.outcomes import Status
from adloom.report.figures import Group, Report
from adloom.report.tables import COLUMNS, as_csv, as_data, as_markdown, as_page

HOSTILE = ("=cmd|1", "<script>alert(1)</script>", "a | b\nc")


def _report(*, sandbox: bool = False) -> Report:
    report = Report(sandbox=sandbox)
    for group in (Group("total", ""), *(Group("job", name) for name in HOSTILE)):
        figures = report.of(group)
        figures.calls += 1
        figures.money += Money(charged=Decimal("68.5"), at_risk=Decimal("3.4"))
        figures.found[Status.REFUSED] += 1
        figures.reasons["refused: <b>no</b>"] += 1
    return report


def _read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_spreadsheet_gets_no_formula():
    names = [row["name"] for row in _read(as_csv([_report()])) if row["group"] == "job"]
    assert sorted(names) == sorted(["'=cmd|1", *HOSTILE[1:]])


def test_a_page_and_a_text_show_words_as_words():
    page, text = as_page([_report()]), as_markdown([_report()])
    for shown in (page, text):
        assert "<script" not in shown
        assert "<b>" not in shown
        assert "&lt;script>" in shown or "&lt;script&gt;" in shown
    assert "| a \\| b c |" in text


def test_a_page_asks_for_nothing_from_anywhere():
    page = as_page([_report()])
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_money_keeps_every_digit_and_unknown_is_an_empty_cell():
    (total, *_) = _read(as_csv([_report()]))
    assert (total["credits_charged"], total["credits_at_risk"]) == ("68.5", "3.4")
    assert (total["credits_per_approved"], total["median_s"], total["approval"]) == ("", "", "")
    (data, *_) = as_data([_report()])
    assert list(data) == list(COLUMNS)
    assert (data["credits_per_approved"], data["refusal"]) == (None, 1)


def test_money_of_the_sandbox_is_never_in_one_table_with_real_money():
    both = [_report(), _report(sandbox=True)]
    assert [row["money"] for row in _read(as_csv(both)) if row["group"] == "total"] == ["real", "sandbox"]
    text = as_markdown(both)
    assert text.index("# Spending") < text.index("# Sandbox: play money")
    assert "for $1.01 (68.5 credits)" in text
    assert "for sandbox $1.01" in text


def test_money_at_risk_is_said_apart_from_what_was_charged():
    assert "$0.05 belong to purchases of unknown outcome" in as_markdown([_report()])


def test_an_archive_without_campaigns_has_a_sentence():
    assert as_markdown([]) == "There is no campaign in the archive yet.\n"
