"""SECURITY.md names for each of its rules tests that are there."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "SECURITY.md").read_text(encoding="utf-8")
RULES = [line for line in PAGE.splitlines() if re.match(r"\|.*::", line)]


def test_every_rule_names_tests_that_are_there():
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)
    assert len(named) >= len(RULES) > 0
    for file, test in named:
        assert re.search(rf"^(async )?def {test}\(", (TESTS / file).read_text(), re.MULTILINE), f"{file}::{test}"


def test_every_row_of_its_tables_of_rules_names_one():
    tables = PAGE.partition("## Which test enforces each rule")[2].partition("\n## ")[0]
    rows = [line for line in tables.splitlines() if line.startswith("| ") and line != "| Rule | Test |"]
    assert [row for row in rows if "::" not in row] == []
