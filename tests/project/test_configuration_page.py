"""docs/configuration.md names every environment variable that the program reads, with the default that it has."""

import re
from pathlib import Path

import pytest

from adloom.edges.settings import API_URL, ARCHIVE, FILES_URL, POLL_INTERVAL_S

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
NAME = re.compile(r"\b(?:ADLOOM|EVOLINK)_[A-Z0-9_]*[A-Z0-9]\b")
SOURCES = [
    *(path for folder in ("src", "flows") for path in sorted((ROOT / folder).rglob("*.py"))),
    *(ROOT / name for name in ("Makefile", "prefect.env", "prefect.yaml", "work-pool.json")),
]
READ = {name for path in SOURCES for name in NAME.findall(path.read_text(encoding="utf-8"))}


def row(name: str) -> list[str]:
    (line,) = (line for line in PAGE.splitlines() if line.startswith("| `") and f"`{name}`" in line.split(" | ")[0])
    return line.strip("| ").split(" | ")


def test_the_sources_read_some():
    assert {"EVOLINK_API_KEY", "ADLOOM_ARCHIVE", "ADLOOM_S3_CACHE", "ADLOOM_MAX_USD"} <= READ


@pytest.mark.parametrize("name", sorted(READ))
def test_every_variable_has_one_row(name: str):
    assert len(row(name)) >= 2


def test_no_row_is_of_a_variable_that_nothing_reads():
    assert set(NAME.findall(PAGE)) <= READ


@pytest.mark.parametrize(
    ("name", "default"),
    [
        ("EVOLINK_BASE_URL", API_URL),
        ("EVOLINK_FILES_URL", FILES_URL),
        ("ADLOOM_ARCHIVE", ARCHIVE),
        ("ADLOOM_POLL_INTERVAL_S", f"{POLL_INTERVAL_S:g}"),
    ],
)
def test_a_default_is_the_one_in_the_code(name: str, default: str):
    assert row(name)[1] == f"`{default}`"
