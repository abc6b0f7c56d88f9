"""docs/archive.md names every file, record and field that the program writes."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.desk import open_desk

from adloom.core import rendition
from adloom.core.facts import _NAME
from adloom.core.manifest import COLUMNS
from adloom.core.outcomes import Status
from adloom.core.records import Decided, ImageFate, RefusalKind

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "archive.md").read_text(encoding="utf-8")
V1 = ROOT / "tests" / "archives" / "v1" / "store"
EVERY_FACT = {"schema", "time", "writer", "written"}
CAMPAIGN = """
campaign: test
budget: {usd: 5}
defaults: {variants: 2, size: "1:1", quality: 1K}
references: {sketch: {file: sketch.png}}
jobs:
  - {id: mugs, prompt: "a {{ colour }} mug", matrix: {colour: [red, blue]}}
  - {id: drawn, prompt: "a jug", references: [sketch]}
  - {id: bad, prompt: "a forbidden bowl"}
"""


def words(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    return [line.strip("| ").split(" | ") for line in section(title).splitlines() if re.match(r"\| [`a-z]", line)]


FACTS = {re.split(r"[-.`]", kind)[1]: words(fields) for kind, *_, fields in rows("Facts")}
SMALLER = {each: words(fields) for name, fields in rows("Smaller records") for each in words(name)}
FILES = [
    re.compile("".join("[^/]+" if part.startswith("<") else re.escape(part) for part in re.split(r"(<[^>]+>)", name)))
    for files, *_ in rows("Where things are")
    for path in [max(words(files), key=len)]
    for name in (path, *(path.rpartition("/")[0] + "/" + each for each in words(files) - {path}))
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An archive of today: a reference, images that were not made at first, a refusal."""
    with open_desk(tmp_path_factory.mktemp("today")) as desk:
        desk.change(moderated_at_submit=["forbidden"], hole_rate=0.3, seed=3)
        (desk.folder / "sketch.png").write_bytes((V1.parent / "sketch.png").read_bytes())
        done = desk.run("run", desk.write(CAMPAIGN), EVOLINK_FILES_URL=desk.base_url)
        assert done.returncode == 3, done.stdout + done.stderr
        delivered = desk.run("deliver", str(desk.edition), "--channel", "original")
        assert delivered.returncode == 0, delivered.stdout + delivered.stderr
        yield desk.folder / "archive"


def records(archive: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    for path in sorted(archive.rglob("*.json")):
        if not path.name.endswith(".probe.json"):
            yield path.relative_to(archive).as_posix(), json.loads(path.read_text(encoding="utf-8"))


def named_for(key: str, record: Mapping[str, object]) -> set[str]:
    """The fields that the page gives a record."""
    kind = str(record["schema"])
    if kind == "adloom.fact/1":
        return EVERY_FACT | FACTS[re.split(r"[-.]", key.rpartition("/")[2])[1]]
    titles = {"manifest": "manifest.json", "plan": "The plan", "seal": "Seals"}
    title = titles.get(kind.removeprefix("adloom.").partition("/")[0])
    if kind.startswith("adloom.delivery"):
        title = "Deliveries"
    return {"schema", *(words(section(title)) if title else SMALLER[kind])}


def test_every_object_of_an_archive_has_a_line(archive: Path):
    for root in (archive, V1):
        keys = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        assert {key for key in keys if not any(name.fullmatch(key) for name in FILES)} == set()


def test_every_field_of_every_record_is_named(archive: Path):
    seen = set()
    for root in (archive, V1):
        for key, record in records(root):
            assert set(record) <= named_for(key, record), key
            seen.add(key.rpartition("/")[2].partition(".")[0])
    assert {"a1-intent", "a1-refused-1", "a1-completed", "a1-archived-1", "a1-settled", "a1-failed"} <= seen


def test_totals_lines_and_rows_have_their_fields_named(archive: Path):
    manifest = json.loads((archive / "test" / "main" / "manifest.json").read_text())
    assert set(manifest["totals"]) | set(manifest["files"]["assets.csv"]) <= words(section("manifest.json"))
    plan = json.loads((archive / "test" / "main" / "plan-r1.json").read_text())
    lines = [line for path in archive.glob("test/main/plan/*.jsonl") for line in path.read_text().splitlines()]
    parts = [plan["totals"], plan["found"], *plan["shards"], *map(json.loads, lines)]
    assert {field for part in parts for field in part} <= words(section("The plan"))


def test_every_kind_of_fact_and_every_word_of_theirs_is_there():
    kinds = re.findall(r"\w+(?=[|)])", _NAME.pattern.replace(r"\d+", ""))
    assert FACTS.keys() == set(kinds)
    assert {*Decided, *RefusalKind, *ImageFate} <= words(section("Facts"))


def test_every_field_of_a_line_of_the_table_is_there():
    assert {*COLUMNS, *Status, "flags"} <= words(section("assets.jsonl and assets.csv"))
    assert {*rendition.COLUMNS, rendition.DELIVERED, rendition.REFUSED} <= words(section("Deliveries"))


def test_every_schema_of_the_program_is_there():
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "flows").glob("*.py")]
    schemas = {name for path in sources for name in re.findall(r'"(adloom\.[a-z-]+/\d+)"', path.read_text("utf-8"))}
    assert len(schemas) > 8
    assert schemas - words(PAGE) == {"adloom.seal/1"}, "only the last version of a schema is described"
