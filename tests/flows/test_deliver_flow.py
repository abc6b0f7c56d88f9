"""The form that delivers: the files of an edition, and states that say what a person has to do."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.desk import CliRig, open_desk

from adloom.flows.deliver import deliver_campaign

CAMPAIGN = """
campaign: test
budget: {usd: 5}
after_run: [deliver]
jobs: [{id: hero, prompt: mug, size: "1:1", quality: 1K, deliver: [linkedin-portrait]}]
"""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[CliRig]:
    """One without Prefect's server: the flow's own function runs here."""
    with open_desk(tmp_path) as desk:
        yield desk


def _delivered(desk: CliRig, monkeypatch, **fields: str):
    monkeypatch.chdir(desk.folder)
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    return asyncio.run(deliver_campaign.fn(campaign="campaigns/campaign.yaml", **fields))


def test_a_form_delivers_what_a_run_has_archived(desk: CliRig, monkeypatch):
    (desk.folder / "campaigns").mkdir()
    tables: list[object] = []

    async def show_table(rows: object, *_: str) -> None:
        tables.append(rows)

    monkeypatch.setattr("adloom.flows.deliver.get_run_logger", lambda: logging.getLogger("test"))
    monkeypatch.setattr("adloom.flows.deliver.show_table", show_table)
    path = desk.write(CAMPAIGN, "campaigns/campaign.yaml")
    state = _delivered(desk, monkeypatch)
    assert (state.type.value, "holds no" in state.message or "no archived" in state.message) == ("FAILED", True)
    done = desk.run("run", path)
    assert "delivered 1 file, 0 were there: " in done.stdout
    assert list((desk.edition / "delivery" / "linkedin-portrait").glob("*.jpg"))
    state = _delivered(desk, monkeypatch)
    assert (state.name, state.message.partition(":")[0]) == ("Completed", "0 files made, 1 were there, 0 refused")
    state = _delivered(desk, monkeypatch, channels="linkedin-square, linkedin-portrait")
    assert (state.name, "1 were there, 1 refused" in state.message) == ("Refused", True)
    assert len(tables) == 1
    state = _delivered(desk, monkeypatch, other_campaign=str(Path("/etc/passwd")))
    assert state.name == "BadInput"
