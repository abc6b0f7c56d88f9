from __future__ import annotations

import random
import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from adloom.campaign.files import Defaults, open_campaign
from adloom.core.campaign import Budget, Grouping, Pace
from adloom.core.errors import CampaignInvalid, InputError
from adloom.core.prompt import sent_prompt

CAMPAIGNS = Path(__file__).parents[2] / "campaigns"
HEAD = "campaign: spring\njobs:\n"


@pytest.fixture
def opened(tmp_path):
    def open_text(text: str, name: str = "spring.yaml", **options):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", newline="")
        return open_campaign(path, **options)

    return open_text


def identities(source) -> list[str]:
    return [row.identity for row in source.rows()]


def test_the_checked_in_campaign_reads_without_warnings():
    source = open_campaign(CAMPAIGNS / "spring-launch.yaml")
    rows = list(source.rows())
    assert source.warnings == ()
    assert [sum(row.variants for row in rows if row.job == job) for job in ("hero", "banners", "grid")] == [28, 7, 6]
    assert len({row.identity for row in rows}) == len(rows)
    assert source.campaign.budget == Budget(usd=Decimal("2.50"))


def test_the_checked_in_csv_keeps_its_cells_untouched():
    source = open_campaign(CAMPAIGNS / "prompts.csv")
    rows = {row.name: row for row in source.rows()}
    assert source.campaign.name == "prompts"
    assert rows["sku-card"].prompt.startswith("Studio packshot of product 0042 on")
    assert rows["mask-shelf"].variables["note"] == 'says "lived in" on purpose'
    assert "\nfresh snow" in rows["gift-box"].prompt
    assert rows["zh-serum"].variables == {"sku": "007", "market": "ZH", "note": "主视觉"}
    assert rows["zh-mask"].variables["note"] == ""


def test_a_head_is_read_as_written(opened):
    source = opened(
        "campaign: spring\nmodel: doubao-seedream-4.0\nbudget: {images: 40}\n"
        "limits: {in_flight: 4, submits_per_minute: 9}\n"
        "profile: wide\nprices: {doubao-seedream-4.0: 1.25}\ncallback_url: https://hooks.example.com/a\n"
        "jobs: [{id: a, prompt: A bottle, size: 9:21}]\n"
    )
    head = source.campaign
    assert (head.name, head.budget, head.pace, head.profile) == ("spring", Budget(images=40), Pace(4, 9), "wide")
    assert head.callback_url == "https://hooks.example.com/a"
    assert head.prices == {"doubao-seedream-4.0": Decimal("1.25")}


def test_unquoted_scalars_stay_text(opened):
    source = opened(
        HEAD + "  - id: a\n    prompt: '{{ sku }} {{ answer }} {{ number }}'\n    size: 16:9\n"
        "    matrix: {sku: [012], answer: [no], number: [1.0]}\n"
    )
    (row,) = source.rows()
    assert (row.size, row.prompt) == ("16:9", "012 no 1.0")
    assert row.variables == {"sku": "012", "answer": "no", "number": "1.0"}


def test_lists_are_axes_and_names_say_their_values(opened):
    source = opened(
        HEAD + "  - id: a\n    prompt: '{{ product.name }} on {{ surface }}'\n    size: ['1:1', 2048x2048]\n"
        "    quality: [1K, 2K]\n    matrix: {product: [{name: Clay Mask, sku: '012'}], surface: [linen]}\n"
    )
    rows = list(source.rows())
    assert [(row.size, row.quality) for row in rows] == [("1:1", "1K"), ("1:1", "2K"), ("2048x2048", "")]
    assert [row.label for row in rows] == [
        "clay-mask-linen-1-1-1k",
        "clay-mask-linen-1-1-2k",
        "clay-mask-linen-2048x2048",
    ]
    assert all(row.name == f"{row.label}-{row.identity[:6]}" for row in rows)


def test_exclude_include_and_sample(opened):
    text = HEAD + (
        "  - id: a\n    prompt: '{{ p.n }} {{ s }}'\n    size: ['1:1', '9:16']\n"
        "    matrix: {p: [{n: x}, {n: y}], s: [k, l]}\n"
        "    exclude: [{p: {n: x}, s: l}, {s: k, size: '9:16'}]\n"
        "    include: [{p: {n: gift}, s: snow, variants: 8, grouping: independent}]\n"
    )
    whole = [(row.prompt, row.size, row.variants) for row in opened(text).rows()]
    assert whole == [
        ("x k", "1:1", 1),
        ("y k", "1:1", 1),
        ("y l", "1:1", 1),
        ("y l", "9:16", 1),
        ("gift snow", "1:1", 8),
        ("gift snow", "9:16", 8),
    ]
    sampled = [
        (row.prompt, row.size, row.variants) for row in opened(text + "    sample: {count: 2, seed: 7}\n").rows()
    ]
    assert len(sampled) == 4
    assert sampled[2:] == whole[4:]
    assert set(sampled) < set(whole)


def test_what_a_model_does_not_take_can_be_excluded_from_an_axis_of_models(opened):
    four, five = "doubao-seedream-4.0", "doubao-seedream-4.5"
    job = f"  - {{id: a, prompt: x, size: '1:1', quality: [1K, 2K], model: [{four}, {five}]"
    with pytest.raises(CampaignInvalid, match=f"is not available for {five}"):
        list(opened(HEAD + job + "}\n").rows())
    rows = list(opened(HEAD + job + f", exclude: [{{model: {five}, quality: 1K}}]}}\n").rows())
    assert [(row.model, row.quality) for row in rows] == [(four, "1K"), (four, "2K"), (five, "2K")]


def test_defaults_jobs_and_rows_override_each_other(opened, tmp_path):
    (tmp_path / "rows.csv").write_text("id,size,grouping,mood\nr1,,,calm\nr2, 21:9 ,independent,loud\n")
    source = opened(
        "campaign: spring\ndefaults: {variants: 4, size: '4:5', quality: 1K, priority: fast}\njobs:\n"
        "  - {id: a, prompt: '{{ mood }}', rows: rows.csv, variants: 2}\n"
    )
    first, second = source.rows()
    assert (first.name, first.size, first.quality, first.variants, first.priority) == ("r1", "4:5", "1K", 2, "fast")
    assert (second.size, second.grouping) == ("21:9", Grouping.INDEPENDENT)
    assert second.variables == {"mood": "loud"}


def test_explicit_ids_keep_their_identity_across_axes(opened, tmp_path):
    (tmp_path / "rows.csv").write_text("id,mood\nr1,calm\n")
    source = opened(HEAD + "  - {id: a, prompt: '{{ mood }}', rows: rows.csv, size: ['1:1', '9:16']}\n")
    rows = list(source.rows())
    assert [row.name for row in rows] == ["r1-1-1", "r1-9-16"]
    assert len({row.identity for row in rows}) == 1


def test_names_that_would_collide_are_told_apart(opened):
    source = opened("id,prompt\nHero,one\nhero,two\n", "x.csv")
    first, second = source.rows()
    assert first.name == "Hero"
    assert second.name.startswith("hero-")
    assert first.name.lower() != second.name.lower()


def test_order_and_further_rows_change_no_identity(opened):
    lines = [f"prompt {number},{number}" for number in range(40)] + ["prompt 3,3", "prompt 3,3"]
    before = identities(opened("\n".join(["prompt,sku", *lines]), "x.csv"))
    random.Random(1).shuffle(lines)
    after = identities(opened("\n".join(["prompt,sku", "a new one,0", *lines]), "x.csv"))
    assert len(set(before)) == 42
    assert set(before) < set(after)


def test_look_alike_texts_are_one_content(opened):
    source = opened('prompt\ncaf\u00e9 light\ncafe\u0301 light  \n"caf\u00e9\u00a0light"\n', "x.csv")
    assert len(set(identities(source))) == 3
    assert "2 rows of job" in source.warnings[0]


@pytest.mark.parametrize(
    ("policy", "count", "shared", "warning"),
    [
        ("keep", 4, [0, 0, 0, 0], "buy separate images"),
        ("merge", 2, [0, 0, 3, 3], "share its images"),
        ("", 4, [0, 0, 0, 0], "buy separate images"),
    ],
)
def test_repeated_rows_are_kept_or_merged_and_said(opened, policy, count, shared, warning):
    chosen = f"duplicates: {policy}\n" if policy else ""
    source = opened(chosen + HEAD + "  - {id: a, prompt: '{{ s }}', matrix: {s: [x, y, x, x]}, variants: 3}\n")
    rows = list(source.rows())
    assert (len({row.identity for row in rows}), [row.shared for row in rows]) == (count, shared)
    assert len({row.name for row in rows}) == 4
    assert source.warnings[0].startswith("2 rows of job")
    assert warning in source.warnings[0]


def test_an_id_tells_equal_rows_apart_unless_they_are_to_share_their_images(opened, tmp_path):
    (tmp_path / "rows.csv").write_text("id,prompt,variants\na,x,2\nb,x,3\nc,x,1\n")
    job = "  - {id: a, rows: rows.csv}\n"
    kept = opened(HEAD + job)
    assert [row.shared for row in kept.rows()] == [0, 0, 0]
    assert (len(set(identities(kept))), kept.warnings) == (3, ())
    merged = opened("duplicates: merge\n" + HEAD + job)
    rows = list(merged.rows())
    assert [(row.name, row.variants, row.shared) for row in rows] == [("a", 2, 0), ("b", 3, 2), ("c", 1, 1)]
    assert len({row.identity for row in rows}) == 1


def test_repeated_rows_can_be_an_error(opened, tmp_path):
    (tmp_path / "rows.csv").write_text("mood\ncalm\nloud\ncalm\n")
    source = opened("duplicates: error\n" + HEAD + "  - {id: a, prompt: '{{ mood }}', rows: rows.csv}\n")
    with pytest.raises(CampaignInvalid, match=r"rows\.csv:4:1: this row of job \"a\" is the same .* from line 2"):
        list(source.rows())
    (tmp_path / "rows.csv").write_text("id,mood\na,calm\nb,loud\nc,calm\n")
    with pytest.raises(CampaignInvalid, match=r"rows\.csv:4:1: "):
        list(source.rows())


def test_rows_can_be_read_as_often_as_needed():
    source = open_campaign(CAMPAIGNS / "spring-launch.yaml")
    assert list(source.rows()) == list(source.rows())


def test_options_fill_what_a_bare_csv_leaves_open(opened):
    options = Defaults(size="9:16", quality="1K", variants=3, prompt="{{ product }} at dawn")
    source = opened("product,size,variants\nserum,,\nmask,1:1,2\n", "x.csv", defaults=options)
    assert [(row.prompt, row.size, row.quality, row.variants) for row in source.rows()] == [
        ("serum at dawn", "9:16", "1K", 3),
        ("mask at dawn", "1:1", "1K", 2),
    ]


@pytest.mark.parametrize(("stem", "name"), [("Spring Sale 2026", "spring-sale-2026"), ("春季", "campaign-")])
def test_a_bare_csv_is_named_after_its_file(opened, stem, name):
    assert opened("prompt\nx\n", f"{stem}.csv").campaign.name.startswith(name)


def test_references_come_by_name_address_or_template(opened):
    source = opened(
        "campaign: spring\nreferences: {logo: 'https://example.com/logo.png?token=1#x'}\njobs:\n"
        "  - id: a\n    prompt: x {{ p }}\n    references: [logo, 'https://example.com/{{ p }}.png', logo]\n"
        "    matrix: {p: [serum]}\n"
    )
    (row,) = source.rows()
    assert [each.url for each in row.references] == [
        "https://example.com/logo.png?token=1#x",
        "https://example.com/serum.png",
    ]
    assert row.references[0].shown == "https://example.com/logo.png"
    assert row.references[0].content == "url:https://example.com/logo.png?token=1#x"


def test_references_may_differ_by_job_by_row_and_by_value_of_an_axis(opened, tmp_path):
    shutil.copytree(CAMPAIGNS / "references", tmp_path / "pictures")
    (tmp_path / "rows.csv").write_text("id,prompt,references\na,x,logo\nb,y,\nc,z,pictures/bottle.png|logo\n")
    source = opened(
        "campaign: spring\ndefaults: {size: '1:1'}\n"
        "references: {logo: 'https://example.com/logo.png', bottle: {file: pictures/bottle.png}}\njobs:\n"
        "  - {id: job, prompt: x, references: [bottle, logo]}\n"
        "  - {id: row, references: bottle, rows: rows.csv}\n"
        "  - {id: axis, prompt: x, matrix: {references: [bottle, 'https://example.com/2.png']}}\n"
        "  - {id: value, prompt: 'x {{ p.n }}', references: ['{{ p.photo }}', logo],\n"
        "     matrix: {p: [{n: '1', photo: bottle}, {n: '2', photo: ''}, {n: '3', photo: pictures/bottle.png}]}}\n"
        "  - {id: none, prompt: x, references: bottle, include: [{prompt: y, references: []}]}\n"
    )
    found = [(row.job, [each.shown for each in row.references]) for row in source.rows()]
    bottle, logo = "pictures/bottle.png", "https://example.com/logo.png"
    assert found == [
        ("job", [bottle, logo]),
        ("row", [logo]),
        ("row", [bottle]),
        ("row", [bottle, logo]),
        ("axis", [bottle]),
        ("axis", ["https://example.com/2.png"]),
        ("value", [bottle, logo]),
        ("value", [logo]),
        ("value", [bottle, logo]),
        ("none", []),
    ]
    contents = {each.content for row in source.rows() for each in row.references if each.url is None}
    assert len(contents) == 1


def test_a_cell_of_references_is_split_at_bars_or_blanks(opened):
    source = opened(
        "prompt,references\nx,https://a.example/1.png https://a.example/2.png\ny,https://a.example/1.png|\n", "x.csv"
    )
    assert [len(row.references) for row in source.rows()] == [2, 1]


def test_doubtful_prompts_are_warned_about_with_their_first_lines(opened):
    lines = ["Generate 4 images of a cup"] * 1 + [f"{n} different images of a mug" for n in range(5)]
    source = opened("\n".join(["prompt", *lines, "x" * 1100]), "x.csv")
    list(source.rows())
    own, long = source.warnings
    assert own.startswith("6 prompts seem to name a number of images")
    assert own.endswith("x.csv:4, …)")
    assert long.startswith("1 prompts have more than 1,000 characters")


def test_a_missing_or_foreign_file_is_said_plainly(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: this campaign does not exist"):
        open_campaign(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="is not a file"):
        open_campaign(tmp_path)
    (tmp_path / "a.ods").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"a campaign is a \.yaml, \.csv or \.xlsx file"):
        open_campaign(tmp_path / "a.ods")


def test_every_setting_of_a_row_can_be_excluded_by(opened):
    source = opened(
        HEAD + "  - id: a\n    prompt: '{{ s }}'\n    matrix: {s: [x, y], priority: [standard, fast]}\n"
        "    exclude: [{s: x, priority: fast}, {s: y, priority: standard, grouping: set, variants: '1'}]\n"
    )
    assert [(row.prompt, row.priority) for row in source.rows()] == [("x", "standard"), ("y", "fast")]
    assert source.warnings == ()


def test_an_axis_of_languages_gives_each_prompt_the_count_phrase_of_its_own(opened):
    source = opened(
        HEAD + "  - id: a\n    variants: 3\n    matrix: {locale: [en, zh-CN]}\n"
        "    prompt: \"{% if locale == 'zh-CN' %}红色杯子{% else %}red mug{% endif %}\"\n"
    )
    assert [sent_prompt(row.prompt, 3) for row in source.rows()] == [
        "Generate 3 different images: red mug",
        "生成3张不同的图片：红色杯子",
    ]
