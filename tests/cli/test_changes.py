"""A campaign's files edited between runs, as people see it."""

import json

import pytest
from support.desk import CliRig
from support.shop import campaign_text

CAMPAIGN = """campaign: test
budget: {usd: 50}
defaults: {variants: 2, size: '1:1', quality: 1K}
jobs:
  - {id: hero, prompt: '{{ colour }} mug', matrix: {colour: [red, blue]}}
  - {id: table, rows: rows.csv}
"""


def test_a_plan_says_what_an_edit_changes_and_the_run_buys_just_that(desk: CliRig):
    source = desk.write(CAMPAIGN)
    desk.write("id,prompt\na,cup a\nb,cup b\nc,cup c\nd,cup d\n", "rows.csv")
    assert desk.run("run", source).returncode == 0
    assert "changed" not in desk.run("plan", source).stdout
    desk.write("id,prompt\nd,cup d\nb,cup b with a lid\nx,cup a\nn,cup n\n", "rows.csv")
    desk.write(CAMPAIGN.replace("red, blue", "blue, green, red"))
    planned = desk.run("plan", source, "--json")
    change = json.loads(planned.stdout.splitlines()[-1])["change"]
    counts = {"new": 3, "edited": 1, "kept": 3, "removed": 2, "renamed": 1, "removed_images": 6}
    assert change | counts == change
    assert change["credits"] == 4 * 2 * 1.53
    assert "renamed rows count as new and are bought again: 1 (table/a is now table/x)" in planned.stderr
    bought_before = len(desk.charges())
    assert desk.run("run", source).returncode == 0
    new = desk.charges()[bought_before:]
    assert sorted(str(charge["prompt"]).partition(": ")[2] for charge in new) == [
        "cup a",
        "cup b with a lid",
        "cup n",
        "green mug",
    ]
    assert len(list((desk.edition / "assets" / "table").iterdir())) == 14


@pytest.mark.parametrize(
    ("modes", "posts"), [(("keep", "merge"), [2, 2]), (("merge", "keep"), [2, 3]), (("merge", "merge"), [2, 2])]
)
def test_changing_what_becomes_of_duplicates_buys_nothing_again(desk: CliRig, modes: tuple[str, str], posts: list[int]):
    rows = "  - {id: a, prompt: a red cup, matrix: {x: [one, two]}}\n  - {id: b, prompt: a blue cup}\n"
    sent = []
    for mode in modes:
        source = desk.write(campaign_text(rows, more=f"duplicates: {mode}\n"))
        assert desk.run("run", source).returncode == 0
        sent.append(desk.state()["posts_received"])
        assert desk.manifest()["totals"]["archived"] == 3
    assert sent == posts
