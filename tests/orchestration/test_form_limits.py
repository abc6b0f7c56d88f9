"""What a form may name and spend is set by the worker: files elsewhere stay unread, ceilings only go down."""

from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State

from adloom.core.errors import SettingInvalid
from adloom.flows.campaign import run_campaign, run_csv
from adloom.flows.share import buy_share
from adloom.orchestration.form_limits import form_limits

CANARY = "CANARY-hunter2"
SECRETS = {
    "broken.yaml": f'db_password: "{CANARY}"\n  x: y\n',
    "config.yml": f"{CANARY}: 1\n",
    "users.csv": f"user,{CANARY}\nroot,{CANARY}\n",
}


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a deployment, beside another one with files that are not for the forms."""
    (tmp_path / "elsewhere").mkdir()
    for name, text in SECRETS.items():
        (tmp_path / "elsewhere" / name).write_text(text)
    folder = tmp_path / "deployment"
    (folder / "campaigns" / "deep").mkdir(parents=True)
    (folder / "campaigns" / "own.csv").write_text("id,prompt\na,a cup\n")
    (folder / "campaigns-too").mkdir()
    (folder / "campaigns-too" / "users.csv").write_text(SECRETS["users.csv"])
    for name in SECRETS:
        (folder / "campaigns" / f"linked-{name}").symlink_to(tmp_path / "elsewhere" / name)
    (folder / "campaigns" / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "campaigns" / "book.xlsx").symlink_to(tmp_path / "elsewhere" / "users.csv")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ADLOOM_ARCHIVE", str(tmp_path / "archive"))
    for name in ("ADLOOM_CAMPAIGN_ROOTS", "ADLOOM_MAX_USD", "ADLOOM_APPROVE_ABOVE_USD", "ADLOOM_MAX_RUNS"):
        monkeypatch.delenv(name, raising=False)
    return folder


def is_refused(state: State[Any], source: str) -> bool:
    assert CANARY not in str(state.message)
    return state.name == "BadInput" and f"{source[:80]!r} is not in a folder that a form may read" in str(state.message)


@pytest.mark.parametrize(
    "source",
    [
        "{elsewhere}/broken.yaml", "{elsewhere}/config.yml", "{elsewhere}/users.csv", "{elsewhere}/not-there.csv",
        "../elsewhere/users.csv", "campaigns/../../elsewhere/users.csv", "campaigns/linked-broken.yaml",
        "campaigns/linked/users.csv", "campaigns/deep/../linked/users.csv", "campaigns-too/users.csv",
        "campaigns/book.xlsx#May", "campaigns", "campaigns/\0.csv",
        "s3://bucket/campaigns/a.csv", "S3://bucket/a.csv", "file:///etc/passwd.csv",
    ],
)  # fmt: skip
async def test_a_file_that_is_not_the_deployments_is_neither_read_nor_quoted(deployed: Path, source: str):
    source = source.format(elsewhere=deployed.parent / "elsewhere")
    assert is_refused(await run_campaign.fn(other_campaign=source), source)
    assert is_refused(await run_campaign.fn(campaign=source), source)
    if source.lower().endswith(".csv"):
        state = await run_csv.fn(csv_file=source, prompt="{{ user }}", dry_run=False)
        assert is_refused(state, source)


async def test_a_name_that_no_disk_takes_is_told_in_a_sentence(deployed: Path):
    state = await run_campaign.fn(other_campaign=f"campaigns/{'x' * 5000}.csv")
    assert (state.name, len(str(state.message)) < 1000) == ("BadInput", True)
    assert "this campaign cannot be read: File name too long" in str(state.message)


async def test_what_is_there_and_what_is_not_looks_the_same_from_outside(deployed: Path):
    texts = {
        str((await run_campaign.fn(other_campaign=f"../elsewhere/{name}")).message).replace(name, "it")
        for name in ("users.csv", "not-there.csv")
    }
    assert len(texts) == 1


@pytest.mark.parametrize(
    ("roots", "source"),
    [
        ("", "campaigns/own.csv"),
        ("", "./campaigns/deep/../own.csv"),
        ("/srv/a, /srv/b", "/srv/b/c.csv"),
        ("s3://bucket/in/", "s3://bucket/in/deep/c.csv"),
        ("s3://bucket", "s3://bucket/c.csv"),
    ],
)
def test_what_lies_below_a_root_may_be_named(deployed: Path, roots: str, source: str):
    form_limits({"ADLOOM_CAMPAIGN_ROOTS": roots}).check_source("csv_file", source)


@pytest.mark.parametrize(
    ("roots", "source"),
    [
        ("/srv/a, /srv/b", "/srv/bc/c.csv"),
        ("/srv/a", "/srv/a/../b/c.csv"),
        ("s3://bucket/in", "s3://bucket/in"),
        ("s3://bucket/in", "s3://bucket/inner/c.csv"),
        ("s3://bucket/in", "s3://bucket-too/in/c.csv"),
        ("s3://bucket/in", "s3://bucket/in/../out/c.csv"),
        ("s3://bucket/in", "s3://bucket/in//c.csv"),
        ("s3://bucket/in", "s3://bucket/in/./c.csv"),
        ("/", "s3://bucket/c.csv"),
    ],
)
def test_roots_are_compared_by_whole_names(deployed: Path, roots: str, source: str):
    with pytest.raises(SettingInvalid, match="is not in a folder that a form may read"):
        form_limits({"ADLOOM_CAMPAIGN_ROOTS": roots}).check_source("csv_file", source)


async def test_a_root_of_the_worker_may_be_read(deployed: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ADLOOM_CAMPAIGN_ROOTS", str(deployed / "campaigns-too"))
    state = await run_campaign.fn(other_campaign="campaigns-too/users.csv")
    assert state.name == "BadInput"
    assert "no column is called prompt" in str(state.message)


async def test_a_pasted_csv_names_no_object_that_the_worker_alone_may_read(deployed: Path):
    text = "id,prompt,references\na,a cup,s3://confidential/plan.png\n"
    state = await run_csv.fn(csv_text=text, name="cups")
    assert state.name == "BadInput"
    assert 'cups.csv:2:3: "s3://confidential/plan.png" is not in a folder that a form may read' in str(state.message)


async def test_a_share_is_not_started_by_people_for_whom_nobody_asks(deployed: Path):
    state = await buy_share.fn(campaign="campaigns/own.csv", edition="main", number=0, runs=1)
    assert state.name == "BadInput"
    assert "which asks for approval first" in str(state.message)


@pytest.mark.parametrize(
    ("own", "asked", "above"),
    [(None, 0, 0), (None, 20, 20), ("5", 20, 5), ("5", 2, 2), ("5", 0, 5), ("0.5", 0.5, 0.5)],
)
def test_the_lower_of_two_sums_asks_for_approval(own: str | None, asked: float, above: float):
    limits = form_limits({"ADLOOM_APPROVE_ABOVE_USD": own} if own else {})
    assert limits.approve_above(asked) == above


@pytest.mark.parametrize(("own", "asked", "runs"), [("", 16, 16), ("4", 16, 4), ("4", 2, 2)])
def test_the_lower_of_two_counts_of_runs_counts(own: str, asked: int, runs: int):
    assert form_limits({"ADLOOM_MAX_RUNS": own}).runs(asked) == runs


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ADLOOM_MAX_USD", "$20", "not a number above 0"),
        ("ADLOOM_MAX_USD", "0", "not a number above 0"),
        ("ADLOOM_MAX_USD", "Infinity", "not a number above 0"),
        ("ADLOOM_MAX_USD", "1e99999999", "not a number above 0"),
        ("ADLOOM_APPROVE_ABOVE_USD", "-1", "not a number above 0"),
        ("ADLOOM_MAX_RUNS", "1.5", "not a whole number"),
        ("ADLOOM_CAMPAIGN_ROOTS", "https://a.example", "write folders and prefixes"),
        ("ADLOOM_CAMPAIGN_ROOTS", "s3://", "write folders and prefixes"),
    ],
)
async def test_a_limit_that_cannot_be_read_lets_nothing_through(
    deployed: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
):
    monkeypatch.setenv(name, value)
    state = await run_campaign.fn(campaign="campaigns/own.csv")
    assert state.name == "BadInput"
    assert f"{name}: {message}" in str(state.message)
