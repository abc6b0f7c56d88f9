"""The import contracts hold, and each of them would notice an import against its direction."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AGAINST = {
    "Imports point downwards": ("plan/planner.py", "import adloom.spend.purchase"),
    "The core does no I/O": ("core/split.py", "import os"),
    "An adapter knows ports and records, not the steps": ("edges/settings.py", "import adloom.run.run"),
    "Only the orchestration imports Prefect": ("cli/text.py", "import prefect"),
    "The sandbox judges the product by tables of its own": ("sandbox/clock.py", "import adloom.core.split"),
    "The product knows nothing of the sandbox": ("edges/addresses.py", "import adloom.sandbox"),
}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src" / "adloom", tmp_path / "adloom", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "flows", tmp_path / "adloom" / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def _verdicts(package: Path) -> dict[str, str]:
    result = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=package, env={**os.environ, "PYTHONPATH": str(package), "COLUMNS": "200"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    found = dict(re.findall(r"^(.+?) (KEPT|BROKEN)\b", result.stdout, re.MULTILINE))
    assert found, result.stdout + result.stderr
    return found


def test_every_contract_is_kept(copied: Path):
    assert _verdicts(copied) == dict.fromkeys(AGAINST, "KEPT")


def test_an_import_against_its_direction_breaks_its_contract(copied: Path):
    for name, statement in AGAINST.values():
        path = copied / "adloom" / name
        lines = path.read_text().split("\n")
        path.write_text("\n".join([*lines, statement, ""]))
    assert _verdicts(copied) == dict.fromkeys(AGAINST, "BROKEN")
