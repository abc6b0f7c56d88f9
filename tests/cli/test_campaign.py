"""What the command line says of campaign files: one row explained, the schema, a project to start from."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml
from support.desk import CliRig

ROOT = Path(__file__).parents[2]
CAMPAIGNS = sorted((ROOT / "campaigns").glob("*.yaml"))


def test_plan_explains_a_row_and_sends_nothing(desk: CliRig):
    source = str(ROOT / "campaigns" / "spring-launch.yaml")
    done = desk.run("plan", source, "--explain", "banners/newsletter-mask", "--json", EVOLINK_API_KEY=None)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout.splitlines()[-1])["explained"]
    assert row["settings"]["size"]["value"] == "21:9"
    assert row["settings"]["size"]["origin"].endswith("campaigns/banners.csv:3:5")
    assert row["sent"][0].startswith("Generate 2 different images: An open jar of clay mask")
    assert "banners.csv:3:2" in done.stderr
    assert desk.state()["posts_received"] == 0


def test_a_new_project_plans_and_runs_at_once(desk: CliRig):
    folder = desk.folder / "project"
    made = desk.run("init", str(folder))
    assert made.returncode == 0, made.stderr
    planned = desk.run("plan", str(folder / "campaign.yaml"))
    assert planned.returncode == 0, planned.stderr
    assert "enough" in planned.stdout
    assert "warning" not in planned.stdout
    done = desk.run("run", str(folder / "campaign.yaml"), "--json", "--yes")
    assert done.returncode == 0, done.stderr
    totals = json.loads(done.stdout.splitlines()[-1])["totals"]
    assert totals["archived"] == totals["wanted"] == 15
    prompts = [charge["prompt"] for charge in desk.charges()]
    assert any(prompt.startswith("生成2张不同的图片：红色搪瓷杯放在橡木桌上") for prompt in prompts)
    assert any(prompt.startswith("Generate 2 different images: A red enamel mug on an oak table") for prompt in prompts)


def test_a_project_overwrites_nothing(desk: CliRig):
    folder = desk.folder / "project"
    folder.mkdir()
    (folder / "rows.csv").write_text("mine")
    refused = desk.run("init", str(folder))
    assert refused.returncode == 2
    assert "rows.csv" in refused.stderr
    assert [path.name for path in folder.iterdir()] == ["rows.csv"]
    assert (folder / "rows.csv").read_text() == "mine"


def test_a_project_can_join_other_files(desk: CliRig):
    (desk.folder / "notes.txt").write_text("mine")
    assert desk.run("init", str(desk.folder)).returncode == 0
    assert (desk.folder / "campaign.yaml").exists()


@pytest.mark.parametrize("path", CAMPAIGNS, ids=lambda path: path.name)
def test_editors_are_pointed_to_a_schema_that_takes_the_checked_in_campaigns(desk: CliRig, path: Path):
    hint = path.read_text(encoding="utf-8").splitlines()[0]
    assert hint == "# yaml-language-server: $schema=campaign.schema.json"
    schema = json.loads((path.parent / "campaign.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema)


def test_the_checked_in_schema_is_the_one_that_is_written(desk: CliRig):
    written = desk.folder / "schema.json"
    assert desk.run("schema", str(written)).returncode == 0
    assert written.read_text(encoding="utf-8") == (ROOT / "campaigns" / "campaign.schema.json").read_text(
        encoding="utf-8"
    )
    assert desk.run("schema").stdout == written.read_text(encoding="utf-8")


def test_what_was_written_is_told_to_machines_too(desk: CliRig):
    folder, schema = desk.folder / "new", desk.folder / "schema.json"
    made = json.loads(desk.run("init", str(folder), "--json").stdout)
    assert sorted(made["wrote"]) == sorted(map(str, folder.iterdir()))
    assert json.loads(desk.run("schema", str(schema), "--json").stdout) == {"wrote": [str(schema)]}
    (line,) = desk.run("schema", "--json").stdout.splitlines()
    assert json.loads(line) == json.loads(schema.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "wrong",
    [
        "campaign: a\njobs: []",
        "campaign: a\njobs: [{id: a, promt: x}]",
        "campaign: a\nbugdet: {usd: 1}\njobs: [{id: a, prompt: x}]",
        "campaign: a\nprofile: loose\njobs: [{id: a, prompt: x}]",
        "campaign: a\nreferences: {a: {uri: 'https://example.com/a.png'}}\njobs: [{id: a, prompt: x}]",
    ],
)
def test_the_schema_shows_an_editor_what_is_wrong(wrong: str):
    schema = json.loads((ROOT / "campaigns" / "campaign.schema.json").read_text(encoding="utf-8"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(wrong), schema)
