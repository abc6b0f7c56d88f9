"""Every example of the reference of campaign files is read as a campaign, beside the CSVs that the page shows."""

import re
import shutil
from pathlib import Path

import pytest

from adloom.core.limits import MODELS
from adloom.edges.campaign_files import open_campaign
from adloom.edges.campaign_schema import HeadFile, JobFile, SettingsFile

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "campaigns.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
TABLES = re.findall(r"`([a-z]+\.csv)`[^\n]*:\n\n```csv\n(.*?)```", PAGE, re.DOTALL)
ROWS = {"spring-launch": 4, "head": 1, "matrix": 6, "tables": 9, "references": 6}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "campaigns" / "references", tmp_path / "references")
    for name, text in TABLES:
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("text", EXAMPLES, ids=lambda text: text.split()[1])
def test_an_example_of_a_campaign_makes_the_rows_that_it_looks_like(folder: Path, text: str):
    path = folder / "example.yaml"
    path.write_text(text, encoding="utf-8")
    source = open_campaign(path)
    assert len(list(source.rows())) == ROWS[source.campaign.name]
    assert source.warnings == ()


def test_every_key_has_a_row_in_a_table():
    keys = {*HeadFile.model_fields, *SettingsFile.model_fields, *JobFile.model_fields, "jobs"}
    assert {key for key in keys if f"| `{key}` |" not in PAGE} == set()


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda model: model.name)
def test_the_table_of_models_says_what_the_code_knows(model):
    header, *lines = [line.split("|")[1:-1] for line in PAGE.partition("## Models\n\n")[2].splitlines()[:6]]
    column = [cell.strip(" `") for cell in header].index(model.name)
    qualities, priorities, pixels, price = (line[column].strip() for line in lines[1:])
    assert qualities.replace("*", "").split() == list(model.qualities)
    assert f"**{model.default_quality}**" in qualities
    assert priorities.split(", ") == list(model.priorities)
    assert pixels == f"{model.pixels[0]:,} to {model.pixels[1]:,}"
    assert price == str(model.credits_per_image)
