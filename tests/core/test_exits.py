from itertools import combinations

import pytest

from adloom.core.exits import EXIT_REASONS, Stop, StopReason, exit_code
from adloom.core.outcomes import Status

BY_PRECEDENCE = (
    ({StopReason.INTERRUPTED}, {}, 130),
    ({StopReason.ACCOUNT}, {}, 5),
    ({StopReason.OUTAGE}, {}, 7),
    ({StopReason.NEWER_PLAN}, {}, 7),
    ({StopReason.UNFINISHED}, {}, 7),
    ({StopReason.BUDGET}, {}, 4),
    ({StopReason.PRICE}, {}, 4),
    ({StopReason.UNCONFIRMED}, {}, 2),
    ({StopReason.INPUT_CHANGED}, {}, 2),
    (set(), {Status.HELD: 1}, 6),
    (set(), {Status.SHORT: 1}, 3),
    (set(), {Status.REFUSED: 1}, 3),
    (set(), {Status.FAILED: 1}, 3),
    (set(), {Status.ARCHIVED: 9}, 0),
    (set(), {}, 0),
)


def _code(reasons, found):
    return exit_code(tuple(Stop(reason, "why") for reason in sorted(reasons)), found)


@pytest.mark.parametrize(("reasons", "found", "code"), BY_PRECEDENCE)
def test_each_end_has_its_code(reasons, found, code):
    assert _code(reasons, found) == code


@pytest.mark.parametrize(("stronger", "weaker"), list(combinations(BY_PRECEDENCE, 2)))
def test_the_stronger_end_tells_the_code(stronger, weaker):
    assert _code(stronger[0] | weaker[0], weaker[1] | stronger[1]) == stronger[2]


@pytest.mark.parametrize("others", [{}, {Status.HELD: 1}, {Status.SHORT: 1}])
def test_a_run_that_leaves_something_open_without_a_reason_is_not_done(others):
    assert _code(set(), {Status.OPEN: 1, **others}) == 7


def test_what_a_stopped_run_leaves_open_is_told_by_its_stop():
    assert _code({StopReason.BUDGET}, {Status.OPEN: 1}) == 4


def test_counts_of_nothing_do_not_matter():
    assert _code(set(), dict.fromkeys(Status, 0)) == 0


def test_every_code_has_words():
    assert set(EXIT_REASONS) == {0, 1, 2, 3, 4, 5, 6, 7, 130}
