"""Choosing by command: what is shown, what is applied, what it costs, and the exit codes."""

import json

from support.desk import CliRig
from support.shop import campaign_text

MUGS = campaign_text("  - {id: mug, prompt: 'mug {{ n }}', variants: 2, rows: mugs.csv}\n")


def test_rejecting_pricing_buying_and_deciding_again(desk: CliRig):
    source = desk.write(MUGS)
    assert desk.run("run", source).returncode == 0
    shown = desk.run("review", source)
    assert "4 images: 0 approved, 0 rejected, 4 wait for a decision" in shown.stdout
    review = desk.write("job,row,variant,take,decision,change\nmug,a,1,1,rejected,brighter\n", "review.csv")
    applied = desk.run("review", source, "--apply", review, "--by", "ann", "--json")
    answer = json.loads(applied.stdout.splitlines()[-1])
    assert (answer["added"], answer["counts"]["rejected"], answer["next_takes"]) == (1, 1, 1)
    assert "mug/a, variant 1: rejected by ann; the next take gets 'brighter'" in applied.stderr
    price = json.loads(desk.run("plan", source, "--only", "rejected", "--json").stdout.splitlines()[-1])
    assert (price["images"], price["credits"]) == (1, answer["credits"])
    assert desk.run("run", source, "--only", "rejected").returncode == 0
    assert desk.bought("brighter") == 1
    assert desk.run("run", source, "--only", "rejected").returncode == 0
    assert len(desk.charges()) == 3
    assert desk.run("verify", source).returncode == 0


def test_an_unknown_image_is_named_with_its_line_and_ends_with_2(desk: CliRig):
    source = desk.write(MUGS)
    desk.run("run", source)
    review = desk.write("job,row,variant,take,decision\nmug,a,9,1,rejected\n", "review.csv")
    refused = desk.run("review", source, "--apply", review)
    assert refused.returncode == 2
    assert "review.csv:2: there is no image mug/a, variant 9, take 1" in refused.stderr


def test_an_edition_without_a_plan_has_nothing_to_choose_from(desk: CliRig):
    refused = desk.run("review", desk.write(MUGS))
    assert refused.returncode == 2
    assert "Run the campaign first" in refused.stderr
