"""The type checker sees the real types of the machinery behind the flows, and of the whole package."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
MISTAKE = """\
from adloom.orchestration.form_limits import FormLimits


def mistaken(limits: FormLimits) -> None:
    limits.ceiling_of_the_room()
"""


def test_a_mistake_of_a_flow_with_a_value_of_the_orchestration_is_an_error(tmp_path: Path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "flows", tmp_path / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / "flows" / "mistaken.py").write_text(MISTAKE)
    checked = subprocess.run(
        [Path(sys.executable).parent / "mypy", "--no-color-output", "flows/mistaken.py"],
        cwd=tmp_path, env={**os.environ, "MYPYPATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    errors = [line for line in checked.stdout.splitlines() if ": error: " in line]
    assert errors == [
        'flows/mistaken.py:5: error: "FormLimits" has no attribute "ceiling_of_the_room"  [attr-defined]'
    ], checked.stdout + checked.stderr


def test_all_of_the_package_and_of_the_flows_is_checked_strictly():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
    assert settings["strict"] is True
    assert settings["files"] == ["src", "flows"]
    relaxed = [name for override in settings["overrides"] for name in override["module"]]
    assert [name for name in relaxed if name.split(".")[0] in ("adloom", "flows", "*")] == []
