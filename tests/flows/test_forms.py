"""The forms of the deployments: what the UI is given to render, and what a person's entries are held against."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import validate

from adloom.campaign.files import open_campaign
from adloom.core.errors import CampaignInvalid, SettingInvalid
from adloom.core.limits import DEFAULT_MODEL, MODELS, PROFILES, QUALITIES
from adloom.core.selection import Selection
from adloom.flows.campaign import PASTED_CHARACTERS, csv_source, run_campaign, run_csv, selection_of
from adloom.orchestration.form_limits import FormLimits

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("forms.json")
EVERY_DEPLOYMENT = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
DEPLOYMENTS = [each for each in EVERY_DEPLOYMENT if each["name"] != "share"]  # that one is for other flows
SECRET_WORDS = ("key", "token", "secret", "password", "archive")


def flow_of(deployment: dict[str, Any]) -> Flow[Any, Any]:
    path, _, name = deployment["entrypoint"].partition(":")
    assert (ROOT / path).is_file()
    found = getattr(importlib.import_module(f"adloom.flows.{Path(path).stem}"), name)
    assert isinstance(found, Flow)
    return found


def form(flow: Flow[Any, Any]) -> dict[str, Any]:
    return parameter_schema(flow).model_dump()


def test_the_forms_are_those_that_were_looked_at():
    """After a change on purpose: look at the form in the UI, then write this file anew."""
    forms = {flow.__name__: form(flow) for flow in dict.fromkeys(flow_of(deployment) for deployment in DEPLOYMENTS)}
    campaign = forms["run_campaign"]["properties"]["campaign"]
    assert campaign["default"] in campaign["enum"]
    for flow in ("run_campaign", "deliver_campaign"):
        campaign = forms[flow]["properties"]["campaign"]
        campaign |= {"default": "<the first>", "enum": ["<the campaign files of the folder>"]}
    text = json.dumps(forms, indent=2, ensure_ascii=False) + "\n"
    assert text == GOLDEN.read_text(), text


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_every_field_is_flat_has_a_default_and_help_and_is_no_secret(deployment: dict[str, Any]):
    schema = form(flow_of(deployment))
    assert not schema["required"]
    assert not schema["definitions"]
    for name, field in schema["properties"].items():
        assert field["type"] in {"string", "number", "integer", "boolean"}, name
        assert field["description"].rstrip().endswith("."), name
        assert not any(word in name for word in SECRET_WORDS)


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_every_deployment_has_parameters_that_its_form_takes_and_a_schedule_in_a_time_zone(deployment: dict[str, Any]):
    schema = form(flow_of(deployment))
    validate(deployment["parameters"], schema, raise_on_error=True)
    assert set(deployment["parameters"]) <= set(schema["properties"])
    for schedule in deployment.get("schedules", ()):
        CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"])  # refuses what it cannot read
        assert schedule["slug"]
    assert "pull" not in deployment


def test_nothing_that_a_clean_clone_schedules_spends_money():
    for deployment in DEPLOYMENTS:
        for schedule in deployment.get("schedules", ()):
            assert not schedule["active"] or deployment["entrypoint"] == "flows/sweep.py:sweep_archive"
    for flow in (run_campaign, run_csv):
        assert form(flow)["properties"]["dry_run"]["default"] is True


def test_the_choices_are_those_of_the_api():
    fields = form(run_csv)["properties"]
    assert tuple(fields["size"]["enum"]) == PROFILES["strict"].ratios
    assert tuple(fields["quality"]["enum"]) == QUALITIES
    assert fields["quality"]["default"] == MODELS[DEFAULT_MODEL].default_quality
    assert tuple(fields["model"]["enum"]) == tuple(MODELS)
    files = sorted(f"campaigns/{path.name}" for path in (ROOT / "campaigns").glob("*.yaml"))
    assert form(run_campaign)["properties"]["campaign"]["enum"] == files


@pytest.mark.parametrize(
    ("flow", "entry"),
    [
        (run_campaign, {"budget_usd": -1}),
        (run_campaign, {"campaign": "no-such.yaml"}),
        (run_campaign, {"only": "everything"}),
        (run_campaign, {"first_rows": "many"}),
        (run_csv, {"variants": 0}),
        (run_csv, {"model": "doubao-seedream-9"}),
        (run_csv, {"budget_usd": 0}),
        (run_csv, {"size": "969"}),
        (run_csv, {"csv_text": "x" * (PASTED_CHARACTERS + 1)}),
    ],
)
def test_a_wrong_entry_is_refused_by_the_form(flow: Flow[Any, Any], entry: dict[str, Any]):
    with pytest.raises(Exception, match=r"\S"):
        validate(entry, form(flow), raise_on_error=True)


@pytest.mark.parametrize(
    ("file", "text", "name", "message"),
    [
        ("", "", "", "neither csv_file nor csv_text is filled in"),
        ("a.csv", "id,prompt\n", "", "both csv_file and csv_text are filled in"),
        ("a.ods", "", "", "is not a .csv or .xlsx file"),
        ("", "id,prompt\n", "Lip Balm", "such as lip-balm"),
        ("", "id,prompt\n", "../../etc", "is not a valid job name"),
    ],
)
def test_a_csv_form_that_does_not_fit_is_told_in_a_sentence(file: str, text: str, name: str, message: str):
    with pytest.raises(SettingInvalid) as refused, csv_source(file, text, name, FormLimits()):
        pass
    assert message in str(refused.value)


async def test_a_campaign_file_that_is_not_there_ends_the_run_with_a_sentence():
    state = await run_campaign.fn(other_campaign="campaigns/nowhere.yaml", dry_run=False)
    assert (state.type, state.name) == ("FAILED", "BadInput")
    assert "campaigns/nowhere.yaml: this campaign does not exist." in str(state.message)


async def test_a_pasted_csv_cannot_be_shared_by_several_runs():
    state = await run_csv.fn(csv_text="id,prompt\na,cup\n", name="cups", runs=2)
    assert "Set runs to 1, or save the CSV where every worker can read it and fill in csv_file." in str(state.message)


def test_problems_of_a_pasted_csv_are_told_without_the_file_that_it_lay_in():
    with pytest.raises(CampaignInvalid) as refused, csv_source("", "id,prompt\na,\n", "cups", FormLimits()) as source:
        list(open_campaign(Path(source)).rows())
    assert str(refused.value).startswith("cups.csv:2:2: the prompt is empty")


def test_a_pasted_csv_is_read_under_its_own_name_wherever_it_lies():
    with (
        csv_source("", "id,prompt\na,一个杯子\n", "cups", FormLimits()) as first,
        csv_source("", "id,prompt\n", "cups", FormLimits()) as second,
    ):
        assert first != second
        assert Path(first).name == Path(second).name == "cups.csv"
        assert Path(first).read_text(encoding="utf-8") == "id,prompt\na,一个杯子\n"
    assert not Path(first).exists()


def test_a_pasted_csv_without_a_name_gets_one_from_its_text():
    with (
        csv_source("", "prompt\na cup\n", "", FormLimits()) as first,
        csv_source("", "prompt\na cup\n", "", FormLimits()) as again,
        csv_source("", "prompt\na mug\n", "", FormLimits()) as other,
    ):
        names = [Path(path).name for path in (first, again, other)]
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("pasted-")


def test_a_form_selects_jobs_and_rows_as_the_command_line_does():
    assert selection_of(" hero, grid", 'locale == "en"', 3) == Selection(("hero", "grid"), 'locale == "en"', 3)
    assert selection_of("", "", 0) == Selection()


async def test_a_csv_job_takes_its_model_and_pixels_from_the_form(tmp_path, monkeypatch):
    monkeypatch.setenv("ADLOOM_ARCHIVE", str(tmp_path))
    state = await run_csv.fn(csv_text="prompt\na cup\n", model="doubao-seedream-5.0-pro", pixels="3072x3072")
    assert "the size 3072x3072 has 9,437,184 pixels (921,600 to 4,624,220 for doubao-seedream-5.0-pro" in str(state)
