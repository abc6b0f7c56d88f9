"""Axes side by side, from a file, beside rows and inside prompts; samples by axis and weight; prompts by locale."""

from pathlib import Path

import pytest

from adloom.campaign.explain import explain
from adloom.campaign.files import FileCampaign, open_campaign
from adloom.core.identity import explicit_identity, row_digest

ROWS = "id,visual,locale\n1,sea,en\n2,harbour,fr\n"


def _campaign(folder: Path, job: str, **files: str) -> FileCampaign:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    lines = "".join(f"    {line}\n" for line in job.strip().splitlines())
    (folder / "c.yaml").write_text(f"campaign: c\njobs:\n  - id: j\n{lines}", encoding="utf-8")
    return open_campaign(folder / "c.yaml")


def _prompts(source: FileCampaign) -> list[str]:
    return [row.prompt for row in source.rows()]


def test_axes_of_a_zip_advance_together_and_are_multiplied_with_the_others(tmp_path):
    job = 'prompt: "{{ a }} {{ b }} {{ c }}"\nmatrix: {a: [x, y]}\nzip: [{b: [k, l], c: ["1", "2"]}]'
    assert _prompts(_campaign(tmp_path, job)) == ["x k 1", "x l 2", "y k 1", "y l 2"]


def test_a_zip_may_hold_settings_and_values_from_a_file(tmp_path):
    job = 'prompt: "{{ b }}"\nzip: {b: {file: b.txt}, size: ["1:1", "9:16"]}'
    source = _campaign(tmp_path, job, b_txt="\ufeffoak\r\n\r\n linen \r\n")
    assert [(row.prompt, row.size) for row in source.rows()] == [("oak", "1:1"), ("linen", "9:16")]


def test_rows_are_combined_with_every_axis_and_keep_their_ids(tmp_path):
    job = 'prompt: "{{ visual }}"\nrows: r.csv\nmatrix: {mood: [calm, festive]}'
    rows = list(_campaign(tmp_path, job, r_csv=ROWS).rows())
    assert [row.name for row in rows] == ["1-calm", "1-festive", "2-calm", "2-festive"]
    assert [row.variables["mood"] for row in rows] == ["calm", "festive"] * 2
    assert len({row_digest(row) for row in rows}) == 4  # although two and two ask for the same
    assert rows[0].identity == explicit_identity("j", "1", {"mood": "calm"}) != explicit_identity("j", "1")


def test_a_row_of_a_table_may_be_excluded_by_a_value_of_an_axis(tmp_path):
    job = 'prompt: "{{ visual }} {{ m }}"\nrows: r.csv\nmatrix: {m: [a, b]}\nexclude: [{m: b, visual: sea}]'
    assert _prompts(_campaign(tmp_path, job, r_csv=ROWS)) == ["sea a", "harbour a", "harbour b"]


def test_alternatives_are_an_axis_that_rows_are_named_and_excluded_by(tmp_path):
    job = 'prompt: "a {red|blue} {cup|mug}"\nexclude: [{choice_1: red, choice_2: mug}]'
    source = _campaign(tmp_path, job)
    assert _prompts(source) == ["a red cup", "a blue cup", "a blue mug"]
    assert [row.label for row in source.rows()] == [
        "a-red-cup-red-cup",
        "a-blue-cup-blue-cup",
        "a-blue-mug-blue-mug",
    ]


def test_alternatives_of_a_cell_make_rows_of_one_id(tmp_path):
    source = _campaign(tmp_path, "rows: p.csv", p_csv="id,prompt\n7,a {red|blue} mug\n8,a {plain} mug\n")
    assert _prompts(source) == ["a red mug", "a blue mug", "a {plain} mug"]
    assert [row.name for row in source.rows()] == ["7-red", "7-blue", "8"]


def test_a_prompt_by_locale_is_an_axis_where_nothing_names_the_locale(tmp_path):
    rows = list(_campaign(tmp_path, "prompt: {en: a mug, zh-CN: 杯子}").rows())
    assert [(row.prompt, row.variables["locale"], row.label) for row in rows] == [
        ("a mug", "en", "en"),
        ("杯子", "zh-CN", "zh-cn"),
    ]


@pytest.mark.parametrize(
    ("locale", "prompt"), [("de", "Becher"), ("de-AT", "Becher"), ("zh-CN", "杯子"), ("zh-TW", "mug"), ("", "mug")]
)
def test_a_row_gets_the_prompt_of_its_locale_its_language_or_the_fallback(tmp_path, locale, prompt):
    job = "prompt: {de: Becher, zh-CN: 杯子, fallback: mug}\nrows: r.csv"
    assert _prompts(_campaign(tmp_path, job, r_csv=f"sku,locale\n1,{locale}\n")) == [prompt]


def test_a_sample_by_axis_takes_whole_values_and_the_same_ones_each_time(tmp_path):
    job = 'prompt: "{{ a }}{{ b }}"\nmatrix: {a: [k, l, m, n], b: [x, y]}\nsample: {axes: {a: 2}, seed: 5}'
    first = _prompts(_campaign(tmp_path, job))
    assert len(first) == 4
    assert len({prompt[0] for prompt in first}) == 2
    grown = _prompts(_campaign(tmp_path, job.replace("m, n]", "m, n, o]")))
    assert len({prompt[0] for prompt in first} & {prompt[0] for prompt in grown}) >= 1


def test_a_weight_of_nothing_is_never_taken_and_weights_that_are_equal_change_nothing(tmp_path):
    job = 'prompt: "{{ a }}{{ b }}"\nmatrix: {a: [k, l, m], b: [x, y, z]}\nsample: {count: 5, seed: 3%s}'
    plain = _prompts(_campaign(tmp_path, job % ""))
    assert _prompts(_campaign(tmp_path, job % ", weights: {a: {k: 2, l: 2, m: 2}}")) == plain
    without = _prompts(_campaign(tmp_path, job % ", weights: {b: {x: 0}}"))
    assert len(without) == 5
    assert {prompt[1] for prompt in without} == {"y", "z"}


def test_a_column_or_axis_called_like_an_option_stays_a_variable_where_the_prompt_uses_it(tmp_path):
    job = 'prompt: "a mug on {{ background }}"\nmatrix: {background: [oak, linen]}'
    assert _prompts(_campaign(tmp_path, job)) == ["a mug on oak", "a mug on linen"]
    job = "prompt: a mug\nmodel: doubao-seedream-5.0-pro\nmatrix: {watermark: [false, true], output_format: [png]}"
    rows = list(_campaign(tmp_path, job).rows())
    assert [row.options for row in rows] == [
        (("output_format", "png"),),
        (("output_format", "png"), ("watermark", "true")),
    ]


def test_explain_says_where_each_value_stands(tmp_path):
    prompt = 'prompt:\n  en: "{{ visual }} {x|y} {{ m }}"\n  fallback: "{{ visual }}"\n'
    job = prompt + "rows: r.csv\nmatrix: {m: {file: m.txt}}"
    source = _campaign(tmp_path, job, r_csv=ROWS, m_txt="\ncalm\n")
    (first, *_), count = explain(source, "j", 10)
    assert count == 3
    origins = {part.name: part.origin.removeprefix(f"{tmp_path}/") for part in (*first.variables, first.template)}
    assert origins == {
        "visual": "r.csv:2:2",
        "locale": "r.csv:2:3",
        "m": "m.txt:2:1",
        "choice_1": "c.yaml:5:11",
        "template": "c.yaml:5:11",
    }
