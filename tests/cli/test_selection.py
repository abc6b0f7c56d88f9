"""Plans and runs for a part of a campaign, as people type them."""

import json
import time

import pytest
from support.desk import CliRig

MUGS = "id,prompt,locale,variants\n" + "".join(
    f"m{n},mug {n} on oak,{'zh-CN' if n % 3 == 0 else 'en'},2\n" for n in range(9)
)


def _answer(done) -> dict[str, object]:
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _archived(desk: CliRig) -> list[str]:
    lines = (desk.folder / "archive" / "mugs" / "main" / "assets.jsonl").read_text().splitlines()
    assert [json.loads(line)["row"] for line in lines] == [f"m{n}" for n in range(9) for _ in "12"]
    return sorted({line["row"] for line in map(json.loads, lines) if line["status"] == "archived"})


def test_a_part_is_planned_bought_and_followed_by_the_rest(desk: CliRig):
    source = desk.write(MUGS, "mugs.csv")
    where = ("--where", 'locale == "zh-CN"', "--first", "2")
    planned = desk.run("plan", source, *where, "--json")
    assert (_answer(planned)["images"], _answer(planned)["wanted"], _answer(planned)["left_out"]) == (4, 18, 14)
    assert 'selected  2 rows, 4 images: where locale == "zh-CN", first 2' in planned.stderr
    done = desk.run("run", source, "--budget-usd", "0.10", *where, "--json")
    assert done.returncode == 0, done.stderr
    assert _archived(desk) == ["m0", "m3"]
    assert (_answer(done)["exit_reason"], _answer(done)["status"]) == ("everything selected is archived", "partial")
    assert "14 images of other rows stay open" in done.stderr
    sampled = desk.run("run", source, "--budget-usd", "1", "--sample", "2", "--seed", "7", "--json")
    assert _answer(sampled)["selected"]["archived"] == 4
    assert desk.run("run", source, "--budget-usd", "1").returncode == 0
    assert len(_archived(desk)) == 9
    prompts = [charge["prompt"] for charge in desk.charges()]
    assert len(prompts) == len(set(prompts)) == 9


def test_parts_that_run_at_once_and_one_that_is_killed_buy_nothing_twice(desk: CliRig):
    desk.change(task_seconds=[0.2, 0.5])
    source = desk.write(MUGS, "mugs.csv")
    killed = desk.start("run", source, "--budget-usd", "1", "--first", "6", "--in-flight", "2")
    while len(desk.charges()) < 2:
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    parts = (("--first", "6"), ("--where", 'locale == "en"'))
    runs = [desk.start("run", source, "--budget-usd", "1", *part) for part in parts]
    for run in runs:
        run.communicate(timeout=240)
    whole = desk.run("run", source, "--budget-usd", "1", "--json")
    totals = _answer(whole)["totals"]
    assert totals["archived"] + totals["held"] == totals["wanted"] == 18
    assert whole.returncode == (6 if totals["held"] else 0), whole.stderr
    prompts = [charge["prompt"] for charge in desk.charges()]
    assert len(prompts) == len(set(prompts))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--job", "mug"), "did you mean 'mugs'?"),
        (("--first", "1", "--sample", "1"), "cannot be combined"),
    ],
)
def test_a_selection_that_cannot_be_used_exits_2_and_sends_nothing(desk: CliRig, options, told: str):
    source = desk.write(MUGS, "mugs.csv")
    for command in (("plan", source), ("run", source, "--budget-usd", "1")):
        done = desk.run(*command, *options)
        assert (done.returncode, told in done.stderr) == (2, True), done.stderr
    assert desk.state()["posts_received"] == 0
