"""Every example of the documentation works: campaigns are read, beside the CSVs that the page shows, commands exist."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer
from support.desk import CliRig

from adloom.campaign.files import open_campaign
from adloom.campaign.schema.campaign import HeadFile, JobFile, SettingsFile
from adloom.cli.app import app
from adloom.core.limits import MODELS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "campaigns.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
TABLES = re.findall(r"`([a-z-]+\.(?:csv|txt))`[^\n]*:\n\n```(?:csv|text)\n(.*?)```", PAGE, re.DOTALL)
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("src/adloom/starter/*.md")])
TEXTS = [*PAGES, *sorted(ROOT.glob("campaigns/*.yaml")), *sorted(ROOT.glob("src/adloom/starter/*.yaml"))]
IN_BACKTICKS = re.compile(r"`(?:\.venv/bin/)?(adloom [a-z][^`\n]*)`")
IN_SHELL = re.compile(r"```sh\n(.*?)```", re.DOTALL)
IN_COMMENTS = re.compile(r"^#.*: +(adloom [a-z].*)$", re.MULTILINE)
NOT_RUN = {
    *(
        "adloom deliver",
        "adloom init",
        "adloom inspect",
        "adloom keys new",
        "adloom plan",
        "adloom receive",
        "adloom resolve",
        "adloom review",
        "adloom run",
        "adloom verify",
    ),  # bare names
    *("adloom init DIR", "adloom plan FILE --explain JOB/ROW", "adloom plan SOURCE --explain JOB[/ROW]"),
    "adloom run … --prefect",
    "adloom deliver s3://bucket/prefix/mugs/main",  # with a bucket: deliver/test_from_s3
    "adloom run s3://my-images/campaigns/spring.yaml",  # with a bucket: test_s3_runs
    "adloom verify s3://bucket/prefix/spring-launch/main",
}
CLI_PAGE = "import sys; sys.path.insert(0, 'tools'); import cli_page; print(cli_page.page(), end='')"
ROWS = {
    "spring-launch": 4,
    "delivery": 4,
    "head": 1,
    "matrix": 6,
    "tables": 9,
    "references": 6,
    "banners": 2,
    "family": 10,
    "cheapest": 1,
    "axes": 18,
    "samples": 8,
    "locales": 7,
    "words": 4,
}


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
    rows = PAGE.partition("## Models\n\n")[2].partition("\n\n")[0].splitlines()
    header, _, *lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in rows]
    column = [cell.strip("`") for cell in header].index(model.name.removeprefix("doubao-seedream-"))
    told = {line[0]: line[column] for line in lines}
    qualities, priorities, pixels = (told[name] for name in ("Qualities (default **bold**)", "Priorities", "Pixels"))
    assert qualities.replace("*", "").split() == list(model.qualities)
    assert f"**{model.default_quality}**" in qualities
    assert priorities.split(", ") == list(model.priorities)
    assert pixels == f"{model.pixels[0]:,} to {model.pixels[1]:,}"
    prices = dict.fromkeys(model.credits_by_quality.values())
    assert told["Credits per image"].split(", ")[0].split(" / ") == [str(price) for price in prices]
    assert told["Images per call"] == ("1 to 15" if model.images_per_call > 1 else "1")
    assert told["References"] == str(model.references)
    options = told["Options"].replace("`", "").split(" ")
    assert options == (list(model.options) or ["none"])


def _commands() -> Iterator[tuple[Path, str]]:
    for page in TEXTS:
        text = page.read_text(encoding="utf-8")
        yield from ((page, found) for found in (*IN_BACKTICKS.findall(text), *IN_COMMENTS.findall(text)))


@pytest.mark.parametrize(("page", "command"), list(_commands()), ids=lambda value: getattr(value, "name", value))
def test_a_command_of_the_documentation_can_be_typed(page: Path, command: str):
    _, name, *arguments = shlex.split(command.replace("…", ""))
    group = typer.main.get_command(app)
    context = click.Context(group)
    assert name in group.list_commands(context), f"{page.name}: there is no command {name}"
    known = {option for parameter in group.get_command(context, name).params for option in parameter.opts}
    assert {each.partition("=")[0] for each in arguments if each.startswith("--")} <= known


def test_commands_of_the_documentation_do_what_they_say(desk: CliRig):
    commands = list(dict.fromkeys(command for _, command in _commands()))
    assert set(commands) >= NOT_RUN
    shutil.copytree(ROOT / "campaigns", desk.folder / "campaigns")
    shutil.copytree(ROOT / "src" / "adloom" / "starter", desk.folder, dirs_exist_ok=True)
    shutil.copy(ROOT / "campaigns" / "prompts.csv", desk.folder)
    shutil.copy(ROOT / "campaigns" / "calendar.xlsx", desk.folder / "book.xlsx")
    desk.write(_first_campaign(), "mugs.yaml")
    shutil.copy(ROOT / "docs" / "images" / "delivery.jpg", desk.folder / "mug.jpg")
    for command in commands:
        if command not in NOT_RUN:
            done = desk.run(*shlex.split(command)[1:])
            assert done.returncode == 0, command + done.stdout + done.stderr
    assert (desk.folder / "archive" / "mugs" / "main" / "gallery.html").exists()
    assert (desk.folder / "my-campaign" / "campaign.yaml").exists()


def test_the_commands_of_the_page_about_choosing_buy_what_was_rejected(desk: CliRig):
    page = (ROOT / "docs" / "review.md").read_text(encoding="utf-8")
    shutil.copytree(ROOT / "campaigns", desk.folder / "campaigns")
    commands = [line.partition("#")[0] for block in IN_SHELL.findall(page) for line in block.splitlines()]
    assert len(commands) == 4
    assert desk.run("run", "campaigns/spring-launch.yaml", "--job", "grid", "--first", "1").returncode == 0
    lines = map(json.loads, (desk.folder / "archive/spring-launch/main/assets.jsonl").read_text().splitlines())
    image = next(line for line in lines if line["key"])
    decided = [image[name] for name in ("job", "row", "variant", "take")]
    table = ["job,row,variant,take,decision", ",".join(map(str, [*decided, "rejected"]))]
    (desk.folder / "review.csv").write_text("\n".join(table) + "\n")
    said = []
    for command in commands:
        done = desk.run(*shlex.split(command)[1:])
        assert done.returncode == 0, command + done.stdout + done.stderr
        said.append(done.stdout)
    assert "1 decisions added" in said[1] or "1 decision added" in said[1]
    assert "1 image" in said[2]
    assert len(list((desk.folder / "archive/spring-launch/main/assets/grid").iterdir())) == 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_of_the_documentation_leads_somewhere(page: Path):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def _first_campaign() -> str:
    """The campaign of the README's first steps."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"   ```yaml\n(.*?)   ```", text, re.DOTALL)
    return example.replace("\n   ", "\n")[3:]


def test_the_campaign_of_the_first_steps_is_one(tmp_path: Path):
    (tmp_path / "mugs.yaml").write_text(_first_campaign(), encoding="utf-8")
    source = open_campaign(tmp_path / "mugs.yaml")
    assert [row.prompt for row in source.rows()][:2] == [
        "red mug on oak, morning light, no text",
        "red mug on linen, morning light, no text",
    ]
    (tmp_path / "prompts.csv").write_text("id,prompt,variants,size\na,a red mug,2,4:5\n")
    assert len(list(open_campaign(tmp_path / "prompts.csv").rows())) == 1


def test_every_sentence_about_money_in_the_table_is_one_that_the_program_says():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    table = page.partition("| It says | Because |")[2].partition("\n\n")[0]
    said = [words for line in table.splitlines()[2:] for words in re.findall(r"`([^`]+)`", line.split("|")[1])]
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "flows").glob("*.py")]
    program = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    assert len(said) > 20
    assert [words for words in said if words not in program] == []


def test_the_index_lists_every_page():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [page.name for page in PAGES if "starter" not in page.parts and page != ROOT / "docs" / "README.md"]
    assert [name for name in pages if f"{name})" not in index] == []


def test_the_page_of_the_command_line_is_that_of_the_commands():
    made = subprocess.run([sys.executable, "-c", CLI_PAGE], capture_output=True, text=True, check=True, cwd=ROOT)
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == made.stdout, "run: python tools/cli_page.py"


def test_the_glossary_explains_each_word_of_the_code_that_a_newcomer_cannot_know():
    glossary = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").partition("## Words\n")[2].partition("\n## ")[0]
    terms = {word for line in glossary.splitlines() for word in line.split(" | ")[0].strip("| ").split(", ")}
    assert terms >= {"job", "row", "variant", "take", "call", "attempt", "order", "task", "edition", "share", "asset"}
    assert terms >= {"ledger", "claim", "fold", "revision", "freeze", "gate", "stray", "top-up", "rescue", "sweep"}
    assert terms >= {"campaign", "held", "quarantine", "seal", "heartbeat"}


def test_every_test_that_the_reliability_page_names_is_there():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z0-9_]+/)*test_\w+)`", page))
    assert len(named) > 40
    assert {name for name in named if not (ROOT / "tests" / f"{name}.py").is_file()} == set()


def test_the_readme_names_every_command():
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Commands\n")[2].partition("\n## ")[0]
    group = typer.main.get_command(app)
    names = group.list_commands(click.Context(group))
    assert [name for name in names if not re.search(rf"`(adloom )?{name}\b", text)] == []
