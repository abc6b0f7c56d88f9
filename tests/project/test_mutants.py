"""What ``make mutants`` changes, and which tests each change meets."""

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import mutants
from mutant_tests import Seen


@pytest.mark.parametrize("file", ["spend/unknown.py", "core/facts.py"])
def test_every_change_is_one_and_leaves_a_program(file: str):
    source = (mutants.SOURCES / file).read_bytes()
    found = list(mutants.mutants_of(file))
    changed = {source[: each.start] + each.text.encode() + source[each.end :] for each in found}
    assert source not in changed
    assert len(changed) == len(found) > 50
    for program in changed:
        ast.parse(program)


def test_a_changed_constant_meets_the_tests_that_execute_lines_which_name_it():
    tenfold = next(each for each in mutants.mutants_of("spend/unknown.py") if each.before == "5" and each.text == "50")
    lines = mutants.lines_of(tenfold)
    text = (mutants.SOURCES / "spend/unknown.py").read_text().splitlines()
    assert any("RESEND_GAP_INTERVALS *" in text[number - 1] for number in lines["spend/unknown.py"])


def test_tests_of_the_files_name_come_first_then_the_quickest_as_far_as_time_reaches():
    mutant = next(each for each in mutants.mutants_of("core/results.py") if each.kind == "return")
    seen = {mutant.file: frozenset(mutants.lines_of(mutant)[mutant.file])}
    limit = mutants.TESTS_CPU_S
    tests = [
        Seen("tests/core/test_facts.py::test_slow", 0.6 * limit, seen),
        Seen("tests/core/test_facts.py::test_quick", 0.1 * limit, seen),
        Seen("tests/core/test_facts.py::test_slower", 0.7 * limit, seen),
        Seen("tests/core/test_facts.py::test_elsewhere", 0.1 * limit, {"core/facts.py": frozenset({1})}),
        Seen("tests/core/test_results.py::test_it", 0.2 * limit, seen),
    ]
    names = [test.rpartition("::")[2] for test in mutants.tests_for(mutant, tests)]
    assert names == ["test_it", "test_quick", "test_slow"]


def test_a_mutant_that_makes_no_difference_has_its_reason():
    lines = mutants.EQUIVALENT.read_text().splitlines()
    every = [each for name in mutants.MONEY_AND_EVIDENCE for each in mutants.mutants_of(f"{name}.py")]
    known = {each.change for each in every} | {each.place for each in every}
    assert [line for line in lines if not line.startswith("#") and line not in known] == []
    assert all(lines[number - 1].startswith("#") for number, line in enumerate(lines) if not line.startswith("#"))
