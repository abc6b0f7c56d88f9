"""The database that is laid out for Prefect's first start is the one that Prefect's own migrations make."""

import os
import runpy
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

pytest.importorskip("prefect")

from prefect.settings import (
    PREFECT_HOME,
    PREFECT_SERVER_DATABASE_CONNECTION_URL,
    get_current_settings,
    temporary_settings,
)

from adloom.orchestration import first_database
from adloom.orchestration.first_database import lay_out_first_database

TOOLS = Path(__file__).resolve().parents[2] / "tools"


def statements(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as database:
        return list(database.iterdump())


def in_any_order(statements: list[str]) -> list[list[str]]:
    """Statements and their lines, sorted: the migrations put constraints and indexes in another order each time."""
    return sorted(sorted(line.strip().rstrip(",") for line in statement.splitlines()) for statement in statements)


def laid_out(home: Path, url: str = "") -> Path:
    changed = {PREFECT_HOME: home}
    if url:
        changed[PREFECT_SERVER_DATABASE_CONNECTION_URL] = url
    with temporary_settings(changed):
        lay_out_first_database(get_current_settings())
    return home / "prefect.db"


def test_it_is_what_prefects_migrations_make(tmp_path: Path) -> None:
    wanted = runpy.run_path(str(TOOLS / "prefect_tables.py"))["migrated"]()
    assert in_any_order(statements(laid_out(tmp_path))) == in_any_order(wanted), "run tools/prefect_tables.py"


def test_prefect_has_nothing_left_to_migrate(tmp_path: Path) -> None:
    file = laid_out(tmp_path)
    before = statements(file)
    check = "import prefect_tables; exec(prefect_tables.MIGRATE)"
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment = {**own, "PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(TOOLS)}
    subprocess.run([sys.executable, "-c", check], env=environment, check=True)
    assert statements(file) == before


@pytest.mark.parametrize("name", ["prefect.db", "prefect.db-wal", "prefect.db-journal"])
def test_what_is_there_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    laid_out(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert not (tmp_path / name).read_bytes()


def test_another_database_is_prefects_own_matter(tmp_path: Path) -> None:
    laid_out(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/other.db")
    assert not list(tmp_path.iterdir())


def test_a_version_that_is_not_known_migrates_as_usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_database, "version", lambda _: "99.0")
    laid_out(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_home_that_cannot_be_written_is_for_prefect_to_report(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    laid_out(tmp_path / "file" / "home")


def test_the_pinned_version_is_known() -> None:
    assert first_database.tables_of(version("prefect"))
