"""What people type, converted or refused with what to write instead."""

from decimal import Decimal

import pytest

from adloom.campaign.files import Defaults
from adloom.cli.options import budget_of, defaults_of, only_of
from adloom.core.campaign import Budget
from adloom.core.decision import Verdict
from adloom.core.errors import SettingInvalid
from adloom.core.outcomes import Status


@pytest.mark.parametrize(
    ("text", "usd"), [("12.50", "12.50"), ("1", "1"), ("1e2", "100"), (" 3 ", "3"), ("999999999", "999999999")]
)
def test_a_budget_is_exact(text: str, usd: str):
    assert budget_of(text) == Budget(usd=Decimal(usd))


def test_no_budget_leaves_the_files_own():
    assert budget_of(None) is None


@pytest.mark.parametrize("text", ["", "0", "-1", "ten", "12,50", "$5", "nan", "inf", "1e", "1e9", "1e99999999", "1e-9"])
def test_what_is_not_an_amount_of_money_is_refused(text: str):
    with pytest.raises(SettingInvalid, match="--budget-usd") as refused:
        budget_of(text)
    assert "12.50" in refused.value.remedy


def test_what_to_ask_for_again_is_an_outcome_or_a_decision():
    assert only_of(["failed", "rejected", "failed"]) == {Status.FAILED, Verdict.REJECTED}
    assert only_of([]) == frozenset()


@pytest.mark.parametrize("word", ["archived", "held", "open", "Failed", "approved", ""])
def test_what_may_not_be_asked_for_again_is_refused(word: str):
    with pytest.raises(SettingInvalid, match="--only") as refused:
        only_of(["failed", word])
    assert "failed, short, refused or rejected" in refused.value.remedy


def test_what_a_yaml_file_says_itself_is_refused_as_an_option():
    with pytest.raises(SettingInvalid, match=r"--size, --variants: .*spring\.yaml") as refused:
        defaults_of("s3://bucket/spring.yaml", model=None, size="4:5", variants=2)
    assert "in the file" in refused.value.remedy
    assert defaults_of("spring.yaml", size=None) == Defaults()
    assert defaults_of("spring.csv", size="4:5", variants=2) == Defaults(size="4:5", variants=2)
