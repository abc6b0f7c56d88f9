"""What is said of a bad campaign is read by somebody who has to mend it: every message is checked in."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.corpus import CORPUS, cases, expected_of, said_of


@pytest.mark.parametrize("path", cases(), ids=lambda path: path.relative_to(CORPUS).as_posix())
def test_a_bad_campaign_is_refused_with_the_words_that_were_agreed_on(path: Path):
    expected = expected_of(path)
    assert expected.exists(), "a new case: python tests/support/corpus.py writes what is said of it"
    assert said_of(path) == expected.read_text(encoding="utf-8")


def test_every_case_is_bad_and_says_where():
    told = {path: expected_of(path).read_text(encoding="utf-8") for path in cases()}
    assert len(told) >= 200
    assert [path.name for path, text in told.items() if "nothing was sent" not in text] == []
    assert set(CORPUS.glob("*/*.expected")) == {expected_of(path) for path in told}
