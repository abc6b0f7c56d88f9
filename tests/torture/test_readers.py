"""The short form of the damaged files for the readers of campaigns; `make torture` has the long one."""

from __future__ import annotations

import pytest
from torture import readers


@pytest.mark.parametrize("kind", readers.READERS)
def test_a_damaged_file_is_read_or_refused_in_little_memory(kind: str):
    found = readers.in_a_child(kind, 300, seed=7)
    assert found.findings == []
    assert found.counts["inputs"] == 300
    assert found.counts["read"]
    assert found.counts["refused"]


@pytest.mark.parametrize("error", [MemoryError(), KeyError("x"), RecursionError()])
def test_what_is_neither_read_nor_refused_is_a_finding(tmp_path, monkeypatch, error: Exception):
    def fails(_path: object) -> None:
        raise error

    (tmp_path / "a.csv").write_text("prompt\na cup\n")
    assert readers.verdict(tmp_path / "a.csv") == "read"
    monkeypatch.setattr(readers, "open_campaign", fails)
    assert readers.verdict(tmp_path / "a.csv") not in ("read", "refused")
