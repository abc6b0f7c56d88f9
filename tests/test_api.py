"""adloom from Python: the examples of the documentation, and what a program relies on."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from support.desk import CliRig
from support.shop import one_row

from adloom import api

ROOT = Path(__file__).parents[1]
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def here(desk: CliRig, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRig]:
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(desk.folder)
    return desk


def test_the_example_of_the_readme_buys_from_the_sandbox(tmp_path: Path):
    (tmp_path / "mugs.yaml").write_text(one_row(2), encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", EXAMPLE], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "all archived" in done.stdout
    assert len(list(tmp_path.glob("archive/*/main/assets/*/*"))) == 2


def test_a_plan_sends_and_writes_nothing(here: CliRig):
    planned = api.plan(here.write(one_row(3)), "elsewhere")
    assert (planned["images"], planned["usd"]) == (3, pytest.approx(3 * 1.53 / 68))
    assert here.state()["posts_received"] == 0
    assert not (here.folder / "elsewhere").exists()


def test_a_run_buys_once_and_a_second_one_nothing(here: CliRig):
    source = here.write(one_row(2))
    first, second = api.run(source), api.run(source)
    assert [each["exit_code"] for each in (first, second)] == [0, 0]
    assert [each["request_left"] for each in (first, second)] == [True, False]
    assert here.bought("table") == 2


def test_without_a_budget_nothing_is_sent(here: CliRig):
    source = here.write(one_row(2).replace("budget: {usd: 50}\n", ""))
    with pytest.raises(api.AdloomError, match="no budget"):
        api.run(source)
    assert api.run(source, budget_usd=Decimal("0.01"))["exit_code"] == 4
    assert here.state()["posts_received"] == 0


@pytest.mark.parametrize("usd", [Decimal(0), -1, Decimal("NaN"), Decimal("1e99999999")])
def test_a_budget_that_is_no_amount_is_refused(usd: Decimal | int):
    with pytest.raises(api.AdloomError, match="not an amount"):
        api.plan("mugs.yaml", budget_usd=usd)


async def test_a_program_with_an_event_loop_calls_it_in_a_thread(here: CliRig):
    planned = await asyncio.to_thread(api.plan, here.write(one_row(1)))
    assert planned["images"] == 1


def test_adloom_itself_imports_nothing():
    code = "import sys; before = set(sys.modules); import adloom; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['adloom']"
