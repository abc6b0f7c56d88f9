"""The cheapest fallback of a campaign file is known once its rows were read, and the plan names it."""

from pathlib import Path

from support.desk import CliRig

from adloom.campaign.files import open_campaign

CAMPAIGN = """
campaign: spring
fallback: cheapest
budget: {usd: 1}
defaults: {quality: 2K, variants: %s}
jobs:
  - {id: hero, prompt: a red mug}
  - {id: wide, prompt: a red mug, size: "16:9"}
"""


def _fallback(tmp_path: Path, text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    path = tmp_path / "spring.yaml"
    path.write_text(text)
    source = open_campaign(path)
    assert len(list(source.rows())) == 2
    return source.campaign.fallback, source.warnings


def test_it_depends_on_the_calls_that_the_rows_make(tmp_path):
    assert _fallback(tmp_path, CAMPAIGN % 1) == (("doubao-seedream-5.0-flash",), ())
    assert _fallback(tmp_path, CAMPAIGN % 3) == (("doubao-seedream-5.0-lite",), ())


def test_without_one_there_is_a_warning(tmp_path):
    fallback, (warning,) = _fallback(tmp_path, (CAMPAIGN % 3).replace("2K", "1K"))
    assert fallback == ()
    assert "no other model" in warning


def test_the_plan_says_which_and_at_what_worst_price_and_a_run_uses_it(desk: CliRig):
    desk.write(CAMPAIGN % 1)
    planned = desk.run("plan", str(desk.folder / "campaign.yaml"))
    assert "fallback  doubao-seedream-5.0-flash (the cheapest that takes every row): at most" in planned.stdout
    assert "for the edition, whichever model makes the images\n" in planned.stdout
    desk.change(unavailable_models=["doubao-seedream-4.0"])
    done = desk.run("run", str(desk.folder / "campaign.yaml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert [charge["model"] for charge in desk.charges()] == ["doubao-seedream-5.0-flash"] * 2
