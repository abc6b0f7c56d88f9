"""What the checked-in campaigns would buy is checked in as well."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.golden import GOLDEN, golden_of, plan_of, sources


@pytest.mark.parametrize("source", sources(), ids=lambda path: path.name)
def test_a_checked_in_campaign_is_planned_as_it_always_was(source: Path):
    assert plan_of(source) == golden_of(source).read_text(encoding="utf-8")


def test_every_golden_plan_belongs_to_a_campaign():
    assert set(GOLDEN.iterdir()) == {golden_of(source) for source in sources()}
