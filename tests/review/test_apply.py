"""Decisions from files: what they add, what they leave, and what is said of a file that cannot be applied."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.reviewer import Reviewer
from support.shop import SandboxRig, campaign_text

from adloom.core.errors import CampaignInvalid, InputError
from adloom.review.summary import overruled_lines, review_lines, review_summary
from adloom.review.table import read_review

MUGS = campaign_text("  - {id: mug, prompt: 'mug {{ n }}', variants: 2, rows: mugs.csv}\n")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def reviewed(shop: SandboxRig, reviewer: Reviewer) -> Reviewer:
    shop.write(MUGS)
    await shop.run()
    return reviewer


async def test_the_same_file_twice_adds_nothing_even_when_somebody_decided_between(reviewed: Reviewer):
    text = "job,row,variant,take,decision,stars,note\nmug,a,1,1,rejected,2,too dark\nmug,b,1,1,approved,,\n"
    assert len((await reviewed.apply(text)).added) == 2
    assert (await reviewed.apply(text)).added == ()
    await reviewed.decide("a,1,1,approved,", by="bob")
    again = await reviewed.apply(text)
    assert (again.added, [standing.by for _, standing in again.overruled]) == ((), ["bob"])
    assert overruled_lines(again.overruled) == [
        "  mug/a, variant 1: not applied again, bob has approved it since: change the line to decide again"
    ]
    assert len(reviewed.facts()) == 3


async def test_files_of_two_reviewers_merge_by_time_in_either_order_and_the_conflict_is_listed(reviewed: Reviewer):
    head = "job,row,variant,take,decision,by,time\n"
    bob = head + "mug,a,1,1,approved,bob,2026-03-01T12:05:00Z\n"
    ann = head + "mug,a,1,1,rejected,ann,2026-03-01T12:00:00Z\n"
    for text in (bob, ann):
        await reviewed.apply(text)
    choosing = await reviewed.choosing()
    assert [decision["by"] for decision in review_summary(choosing)["decisions"]] == ["bob"]
    assert "conflict  mug/a, variant 1: bob approved it last and counts; before, ann rejected it" in review_lines(
        choosing
    )
    assert (await reviewed.apply(ann)).added == ()


async def test_a_column_that_is_left_out_leaves_what_stands_and_an_empty_cell_empties_it(reviewed: Reviewer):
    full = "row,variant,take,decision,stars,note,change"
    await reviewed.decide("a,1,1,rejected,3,dark,brighter", header=full)
    await reviewed.decide("a,1,1,approved", header="row,variant,take,decision")
    (decision,) = review_summary(await reviewed.choosing())["decisions"]
    assert (decision["decision"], decision["stars"], decision["note"]) == ("approved", 3, "dark")
    await reviewed.decide("a,1,1,,5,,", header=full)
    (decision,) = review_summary(await reviewed.choosing())["decisions"]
    assert (decision["decision"], decision["stars"], decision["note"]) == ("approved", 5, "")


async def test_lines_that_say_nothing_are_passed_over(reviewed: Reviewer):
    assert (await reviewed.decide("a,1,1,,", "nowhere,1,1,,")).added == ()


async def test_json_is_applied_like_csv_and_what_review_shows_can_be_applied_again(reviewed: Reviewer):
    text = '{"decisions": [{"job": "mug", "row": "a", "variant": 1, "take": 1, "decision": "rejected", "stars": 1}]}'
    assert len((await reviewed.apply(text, name="review.json")).added) == 1
    import json  # noqa: PLC0415

    shown = json.dumps(review_summary(await reviewed.choosing()))
    assert (await reviewed.apply(shown, name="again.json")).added == ()


async def test_half_of_a_character_is_found_before_anything_is_written(reviewed: Reviewer):
    text = """[{"job": "mug", "row": "a", "variant": 1, "take": 1, "decision": "rejected"},
    {"job": "mug", "row": "b", "variant": 1, "take": 1, "decision": "rejected", "note": "a\\ud800b"},
    {"job": "mug", "row": "\\udfff", "variant": 1, "take": 1, "decision": "rejected"}]"""
    with pytest.raises(CampaignInvalid, match="the note has half of a character") as told:
        await reviewed.apply(text, name="review.json")
    assert [problem.line for problem in told.value.problems] == [2, 3]
    assert reviewed.facts() == []


async def test_every_problem_is_reported_with_its_line_and_nothing_is_written(reviewed: Reviewer):
    with pytest.raises(CampaignInvalid) as told:
        await reviewed.apply(
            "job,row,variant,take,decision,stars\n"
            "mug,a,1,1,rejected,\n"
            "mug,z,1,1,rejected,\n"
            "mug,a,2,1,maybe,\n"
            "mug,b,1,1,approved,9\n"
            "mug,b,2,x,approved,1\n"
            "mug,a,1,1,approved,\n"
        )
    lines = [problem.line for problem in told.value.problems]
    assert lines == [3, 4, 5, 6, 7]
    assert "there is no image mug/z, variant 1, take 1" in told.value.message
    assert reviewed.facts() == []


async def test_an_image_that_there_is_not_yet_cannot_be_decided_on(shop: SandboxRig, reviewer: Reviewer):
    shop.write(MUGS)
    shop.sandbox.script(route="outcome", fault="empty", times=4)
    await shop.run()
    with pytest.raises(CampaignInvalid, match="has no image to decide on: it is short"):
        await reviewer.decide("a,1,1,rejected,", "a,2,1,rejected,", "b,1,1,rejected,")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.csv", b"job,row,variant,take\n", "r.csv:1: the header does not have decision"),
        ("r.csv", b"job,row,variant,take,decision,decision\n", "r.csv:1: the header has decision twice"),
        ("r.csv", b"job,row,variant,take,decision\na,b,1,1,approved,x\n", "r.csv:2: this line has 6 cells"),
        ("r.csv", b"job,row,variant,take,decision\nhero,oak\n", "this line does not have variant, take, decision"),
        ("r.csv", b'job,row,variant,take,decision\na,"b,1,1\n', "this is not a CSV"),
        ("r.csv", "job,row,variant,take,decision\na,\xe9".encode("latin-1"), "r.csv:2: this is not UTF-8"),
        ("r.csv", b"job,row,variant,take,decision,time\na,b,1,1,approved,2026-03-02T12:00Z\n", "has not come yet"),
        ("r.csv", b"job,row,variant,take,decision,time\na,b,1,1,approved,2026-03-01T12:00\n", "of which zone"),
        ("r.csv", b"job,row,variant,take,decision,time\na,b,1,1,approved,0206-03-01T12:00Z\n", "before the year 2000"),
        ("r.csv", b"job,row,variant,take,decision,time\na,b,1,1,approved,0001-01-01T00:00+14:00\n", "before the year"),
        ("r.json", b'[\n{"job": "a"}]', "r.json:2: this decision does not have row, variant, take, decision"),
        ("r.json", b"[\n[]]", "r.json:2: this is not a decision"),
        ("r.json", b'[\n{"job": ]', "r.json:2: this is not JSON"),
        ("r.json", b'[{},\n{"job": "a", "job": "b"}]', "r.json:2: this is not a decision"),
        ("r.json", b'{"decisions": [], "decisions": []}', "there is no list of decisions"),
        ("r.json", b"{}", "there is no list of decisions"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_the_line(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    file = read_review(tmp_path / name, NOW)
    with pytest.raises(CampaignInvalid, match=r".") as told:
        file.refuse_problems()
    assert message in told.value.message


def test_a_spreadsheet_with_semicolons_and_a_mark_is_read(tmp_path: Path):
    (tmp_path / "r.csv").write_text("\ufeffJob;Row;Variant;Take;Decision\r\nmug;a;1;1;Reject\r\n", encoding="utf-8")
    (said,) = read_review(tmp_path / "r.csv", NOW).said
    assert (said.place, said.verdict) == (("mug", "a", 1, 1), "rejected")


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("[", "]"),
        (' {\n"decisions" : [', "]}"),
        ('{"decision\\u0073":[', '\n] , "more": [1, {"decisions": [{}]}] }\n'),
        ('{"conflicts": [{"decisions": []}],\n"a, b]": "{", "c": {}, "decisions": [', "]}"),
    ],
)
def test_every_item_of_json_is_read_with_its_line(tmp_path: Path, start: str, end: str):
    items = [f'{{"job": "mug, ]", "row": "{row}", "variant": 1, "take": 1, "decision": "approved"}}' for row in "abc"]
    (tmp_path / "r.json").write_text(f"{start}\n{items[0]},\n\n{items[1]},{items[2]}{end}")
    file = read_review(tmp_path / "r.json", NOW)
    file.refuse_problems()
    first = start.count("\n") + 2
    assert [(said.place[1], said.line) for said in file.said] == [("a", first), ("b", first + 2), ("c", first + 2)]


def test_a_decision_may_be_as_old_as_2000(tmp_path: Path):
    (tmp_path / "r.csv").write_text("job,row,variant,take,decision,time\nmug,a,1,1,approved,2000-01-01T00:00Z\n")
    (said,) = read_review(tmp_path / "r.csv", NOW).said
    assert said.time == datetime(2000, 1, 1, tzinfo=UTC)


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        read_review(tmp_path / "none.csv", NOW)


async def test_a_sheet_that_is_older_than_a_decision_brings_nothing_of_the_former_one_back(reviewed: Reviewer):
    """Every row of an exported sheet has the decision that stood then; the team fills in one and applies them all."""
    await reviewed.apply("job,row,variant,take,decision\nmug,a,1,1,approved\n", by="ann")
    (ann,) = review_summary(await reviewed.choosing())["decisions"]
    await reviewed.apply("job,row,variant,take,decision,note\nmug,a,1,1,rejected,legal says no\n", by="bob")
    head = "job;row;variant;take;decision;stars;note;change;by;decided_at;time\n"
    sheet = f"{head}mug;a;1;1;approved;;;;ann;{ann['time']};9 am\nmug;b;1;1;approved;;;;;;10 am\n"
    applied = await reviewed.apply(sheet, by="carl")
    assert (len(applied.added), applied.known) == (1, 1)
    now = {each["row"]: each for each in review_summary(await reviewed.choosing())["decisions"]}
    assert (now["a"]["decision"], now["a"]["by"], now["a"]["note"]) == ("rejected", "bob", "legal says no")
    assert (now["b"]["decision"], now["b"]["by"]) == ("approved", "carl")


async def test_who_changes_a_row_of_a_sheet_has_decided_it_now(reviewed: Reviewer):
    await reviewed.apply("job,row,variant,take,decision,note\nmug,a,1,1,approved,fine\n", by="ann")
    (ann,) = review_summary(await reviewed.choosing())["decisions"]
    head = "job,row,variant,take,decision,note,by,decided_at\n"
    await reviewed.apply(f"{head}mug,a,1,1,rejected,fine,ann,{ann['time']}\n", by="dan")
    (dan,) = review_summary(await reviewed.choosing())["decisions"]
    assert (dan["decision"], dan["note"], dan["by"]) == ("rejected", "fine", "dan")
    assert dan["time"] > ann["time"]


@pytest.mark.parametrize("twins", ["same job", "another job"])
async def test_rows_that_share_an_image_share_its_decision(twins: str, shop: SandboxRig, reviewer: Reviewer):
    """Every row has its line in assets.jsonl, so a file made from that has a line for each."""
    jobs = (
        "  - {id: mug, prompt: a mug, variants: 2, include: [{id: a}, {id: b}]}\n"
        if twins == "same job"
        else "  - {id: mug, prompt: a mug, variants: 2, include: [{id: a}]}\n"
        "  - {id: cup, prompt: a mug, variants: 2, include: [{id: b}]}\n"
    )
    shop.write("duplicates: merge\n" + campaign_text(jobs))
    await shop.run()
    lines = [json.loads(line) for line in (shop.edition() / "assets.jsonl").read_text("utf-8").splitlines()]
    head = "job,row,variant,take,decision\n"

    def said(verdict: str, only: str = "ab") -> str:
        wanted = [line for line in lines if line["variant"] == 1 and line["row"] in only]
        return "".join(f"{line['job']},{line['row']},1,1,{verdict}\n" for line in wanted)

    with pytest.raises(CampaignInvalid) as caught:
        await reviewer.apply(head + said("approved", "a") + said("rejected", "b"))
    (problem,) = caught.value.problems
    assert "is the same image as that of line 2, which differs" in problem.message
    assert len((await reviewer.apply(head + said("rejected", "b"))).added) == 1
    applied = await reviewer.apply(head + said("approved"))
    assert (len(applied.added), applied.known, len(reviewer.facts())) == (1, 1, 2)
    assert [decision["decision"] for decision in review_summary(await reviewer.choosing())["decisions"]] == ["approved"]
