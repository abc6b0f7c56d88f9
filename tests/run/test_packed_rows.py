"""Rows that ask for the same share calls; every row keeps its images, also after a shortfall and a second run."""

from __future__ import annotations

import json

from support.desk import CliRig

CAMPAIGN = """
campaign: test
budget: {usd: 2}
defaults: {size: "1:1", quality: 1K}
jobs:
  - {id: hero, prompt: a red mug, rows: rows.csv}
  - {id: again, prompt: a red mug, variants: 4}
"""
ROWS = "id,variants\nfirst,2\nsecond,3\nthird,1\n"


def _lines(desk: CliRig) -> list[dict[str, object]]:
    return [json.loads(line) for line in (desk.edition / "assets.jsonl").read_text().splitlines()]


def test_four_rows_of_two_jobs_are_one_call_and_ten_lines(desk: CliRig):
    desk.write(ROWS, "rows.csv")
    source = desk.write(CAMPAIGN)
    planned = desk.run("plan", source)
    assert "10 images in 1 call (the fewest possible: 1)" in planned.stdout
    done = desk.run("run", source)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [charge["n"] for charge in desk.charges()] == [10]
    lines = _lines(desk)
    assert [(line["job"], line["row"], line["variant"]) for line in lines][:4] == [
        ("hero", "first", 1), ("hero", "first", 2), ("hero", "second", 1), ("hero", "second", 2),
    ]  # fmt: skip
    assert {line["status"] for line in lines} == {"archived"}
    assert len({line["sha256"] for line in lines}) == 10
    assert all(str(line["key"]).startswith(f"assets/{line['job']}/{line['row']}-") for line in lines[:6])
    assert desk.run("verify", str(desk.edition)).returncode == 0


def test_a_shortfall_is_asked_for_again_and_a_second_run_buys_nothing(desk: CliRig):
    desk.write(ROWS, "rows.csv")
    source = desk.write(CAMPAIGN)
    desk.change(tail_cut_rate=1)
    desk.run("run", source)
    desk.change(tail_cut_rate=0)
    before = len(desk.charges())
    again = desk.run("run", source)
    assert len(desk.charges()) == before, again.stdout
    assert len(_lines(desk)) == 10


def test_a_part_of_the_rows_is_bought_without_the_others(desk: CliRig):
    desk.write(ROWS, "rows.csv")
    source = desk.write(CAMPAIGN)
    assert desk.run("run", source, "--job", "again").returncode == 0
    assert [charge["n"] for charge in desk.charges()] == [4]
    assert desk.run("run", source).returncode == 0
    assert sorted(int(str(charge["n"])) for charge in desk.charges()) == [4, 6]
    assert {line["status"] for line in _lines(desk)} == {"archived"}


def test_what_a_plan_of_all_rows_reserved_is_not_bought_for_a_part_of_them(desk: CliRig):
    desk.write(ROWS, "rows.csv")
    source = desk.write(CAMPAIGN)
    desk.change(unavailable_models=["doubao-seedream-4.0"])
    assert desk.run("run", source).returncode == 7
    desk.change(unavailable_models=[])
    done = desk.run("run", source, "--job", "hero")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [charge["n"] for charge in desk.charges()] == [6]
