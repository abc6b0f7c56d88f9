"""How one prompt came about: every value with the line that made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adloom.campaign.explain import explain
from adloom.campaign.files import Defaults, open_campaign
from adloom.core.errors import CampaignInvalid, SettingInvalid

CAMPAIGN = """\
campaign: c
model: doubao-seedream-4.0
defaults: {variants: 4, quality: 2K}
jobs:
  - id: hero
    prompt: "{{ product.name }} on {{ surface }}"
    size: ["1:1", "9:16"]
    matrix:
      product: [{name: serum, sku: "007"}]
      surface: [linen, oak]
      priority: [standard, fast]
    include:
      - {product: {name: gift}, surface: snow, variants: 8}
  - id: rows
    prompt: "{{ mood }}"
    rows: rows.csv
  - id: grid
    prompt: "{{ a }} {{ b }}"
    matrix: axes.csv
"""


@pytest.fixture
def origins(tmp_path):
    (tmp_path / "c.yaml").write_text(CAMPAIGN)
    (tmp_path / "rows.csv").write_text('id,mood,size,note\nr1,"a\nb",,x\nr2,loud,21:9,\n')
    (tmp_path / "axes.csv").write_text("a,b,quality\nx,1,1K\ny,2,\n")

    def of(wanted: str, number: int = 0) -> dict[str, tuple[str, str]]:
        found, _ = explain(open_campaign(tmp_path / "c.yaml"), wanted, 100)
        parts = (found[number].template, *found[number].variables, *found[number].settings)
        return {part.name: (part.value, part.origin.replace(f"{tmp_path}/", "")) for part in parts}

    return of


def test_a_row_of_a_matrix_names_the_line_of_each_value(origins):
    made = origins("hero", -3)  # the last before the included ones: oak, fast, 9:16
    assert made["template"] == ("{{ product.name }} on {{ surface }}", "c.yaml:6:13")
    assert made["product"] == ('{"name": "serum", "sku": "007"}', "c.yaml:9:17")
    assert made["surface"] == ("oak", "c.yaml:10:24")
    assert made["priority"] == ("fast", "this row, c.yaml:11:28")
    assert made["size"] == ("9:16", "an axis, c.yaml:7:11")
    assert made["variants"] == ("4", "c.yaml:3:22")
    assert made["model"] == ("doubao-seedream-4.0", "c.yaml:2:8")
    assert made["grouping"] == ("set", "the default")


def test_an_included_row_names_its_own_line(origins):
    made = origins("hero", -1)
    assert made["surface"] == ("snow", "c.yaml:13:9")
    assert made["variants"] == ("8", "this row, c.yaml:13:9")


def test_a_row_of_a_csv_names_line_and_cell(origins):
    made = origins("rows/r2")
    assert made["mood"] == ("loud", "rows.csv:4:2")
    assert made["note"] == ("", "rows.csv:4:4")
    assert made["size"] == ("21:9", "this row, rows.csv:4:3")
    assert origins("rows/r1")["size"] == ("auto", "the default")


def test_an_axis_of_a_csv_names_the_cell_of_each_value(origins):
    made = origins("grid", -1)
    assert made["a"] == ("y", "axes.csv:3:1")
    assert made["b"] == ("2", "axes.csv:3:2")
    assert made["quality"] == ("1K", "this row, axes.csv:2:3")


def test_an_option_is_named_as_one(tmp_path):
    (tmp_path / "x.csv").write_text("prompt\na cup\n")
    (found,), count = explain(open_campaign(tmp_path / "x.csv", defaults=Defaults(quality="1K")), "x", 5)
    assert {part.name: part.origin for part in found.settings}["quality"] == "the option --quality"
    assert count == 1


def test_a_large_job_is_counted_to_its_end(tmp_path):
    (tmp_path / "x.csv").write_text("prompt\n" + "".join(f"cup {n}\n" for n in range(50)))
    found, count = explain(open_campaign(tmp_path / "x.csv"), "x", 3)
    assert (len(found), count) == (3, 50)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [("heroo", "no such job, did you mean hero"), ("rows/r3", "job rows has no such row"), ("", "no such job")],
)
def test_a_name_that_nothing_goes_by_is_said_with_near_ones(origins, wanted, message):
    with pytest.raises(SettingInvalid, match=message) as caught:
        origins(wanted)
    assert "hero" in caught.value.remedy or "r1" in caught.value.remedy


def test_a_campaign_with_problems_explains_nothing_but_those(tmp_path):
    (tmp_path / "x.csv").write_text("prompt,size\na cup,1:7\n")
    with pytest.raises(CampaignInvalid, match="1:7"):
        explain(open_campaign(Path(tmp_path / "x.csv")), "x", 5)


@pytest.mark.parametrize(("looks", "reference", "said"), [(True, "logo", 1), (True, "own", 0), (False, "logo", 0)])
def test_a_row_says_that_its_addresses_are_looked_at(tmp_path, looks, reference, said):
    (tmp_path / "own.png").write_bytes((Path(__file__).parents[2] / "campaigns/references/bottle.png").read_bytes())
    (tmp_path / "c.yaml").write_text(
        f"campaign: c\ncheck_references: {str(looks).lower()}\n"
        "references: {logo: 'https://example.com/logo.png', own: {file: own.png}}\n"
        f"jobs: [{{id: a, prompt: x, references: [{reference}]}}]\n"
    )
    (explained,), _ = explain(open_campaign(tmp_path / "c.yaml"), "a", 1)
    assert sum(part.name == "check_references" and "looked at" in part.value for part in explained.settings) == said
