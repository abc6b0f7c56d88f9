"""The short form of the small hostile files; `make torture` reads all of them and weighs their time."""

from __future__ import annotations

import pytest
from torture import hostile

SOME = (
    "a workbook with a cell in its last corner",
    "a template that concatenates 1 MB 6,000 times",
    "a template that does so with each of 2,000 cells",
    "3,000 exclusions of other values, 100,000 rows",
    "3,000 unknown names among 20,000 references",
)


@pytest.mark.parametrize("what", SOME)
def test_a_small_hostile_file_is_refused_in_little_memory(what: str):
    """A process that goes on for 60 s of the processor is killed, which is no exit code of bad input."""
    found = hostile.cost_of(hostile.FILES[what])
    assert found.code == hostile.BAD_INPUT, found.said
    assert "nothing was sent" in found.said
    assert found.peak_mb <= hostile.MOST_MB
