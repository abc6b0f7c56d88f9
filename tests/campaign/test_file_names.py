"""``name``: what delivered files will be called is known, and looked at, before anything is bought."""

from __future__ import annotations

from pathlib import Path

import pytest

from adloom.campaign.files import open_campaign
from adloom.core.campaign import Row
from adloom.core.errors import CampaignInvalid, Problem
from adloom.core.identity import row_digest

HEAD = "campaign: names\ndefaults: {size: '1:1', quality: 2K}\njobs:\n"


def rows(folder: Path, text: str, **tables: str) -> list[Row]:
    for name, table in tables.items():
        (folder / f"{name}.csv").write_text(table, encoding="utf-8")
    (folder / "campaign.yaml").write_text(HEAD + text, encoding="utf-8")
    return list(open_campaign(folder / "campaign.yaml").rows())


def problems(folder: Path, text: str, **tables: str) -> list[Problem]:
    with pytest.raises(CampaignInvalid) as invalid:
        rows(folder, text, **tables)
    return list(invalid.value.problems)


def test_two_rows_of_one_name_are_an_error_with_both_lines(tmp_path: Path):
    table = "sku,visual\n007,a cup\n012,a jug\n007,a mug\n"
    job = '  - {id: a, prompt: "{{ visual }}", rows: t.csv, name: "{{ sku }}"}\n'
    (problem,) = problems(tmp_path, job, t=table)
    assert (Path(problem.file).name, problem.line, problem.column) == ("t.csv", 4, 1)
    assert problem.message.startswith('two images would be delivered as "original/007": one is from ')
    assert problem.message.endswith("t.csv:2")
    assert "{{ variant }}" in problem.allowed


@pytest.mark.parametrize(
    ("prompts", "name"), [(("a", "b"), "same"), (("a", "b"), "{{ x|upper }}"), (("a", "b"), "{{ x }}.")]
)
def test_names_that_a_file_system_takes_for_one_are_one(tmp_path: Path, prompts: tuple[str, str], name: str):
    table = "visual,x\n" + "".join(f"{prompt},{x}\n" for prompt, x in zip(prompts, ("One", "one"), strict=True))
    job = f'  - {{id: a, prompt: "{{{{ visual }}}}", rows: t.csv, name: "{name}"}}\n'
    (problem,) = problems(tmp_path, job, t=table)
    assert "two images would be delivered as" in problem.message


def test_jobs_share_the_folder_of_a_channel_and_its_names(tmp_path: Path):
    jobs = '  - {id: a, prompt: a cup, name: "x"}\n  - {id: b, prompt: a jug, name: "x"}\n'
    (problem,) = problems(tmp_path, jobs)
    assert (problem.line, "campaign.yaml:4" in problem.message) == (5, True)
    apart = jobs.replace('cup, name: "x"', 'cup, deliver: meta-story, size: "9:16", name: "x"')
    assert len(rows(tmp_path, apart)) == 2


def test_images_of_one_row_need_the_variant_in_their_names(tmp_path: Path):
    job = '  - {id: a, prompt: a cup, variants: 2, name: "{{ job }}"}\n'
    (problem,) = problems(tmp_path, job)
    assert 'delivered as "original/a"' in problem.message
    (row,) = rows(tmp_path, job.replace("{{ job }}", "{{ job }}-{{ variant }}"))
    assert row.delivery.name == "{{ job }}-{{ variant }}"


def test_one_size_for_each_channel_may_have_one_name_where_the_channels_differ(tmp_path: Path):
    job = '  - {id: a, prompt: a cup, size: fit, deliver: [meta-story, google-landscape], name: "{{ job }}"}\n'
    assert len(rows(tmp_path, job)) == 2
    assert len(rows(tmp_path, job.replace("{{ job }}", "{{ channel }}"))) == 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("{{ nothing }}", 'name: there is no variable "nothing"'),
        ("{{ job", "name: the template cannot be read"),
        ("{{ sku|base64 }}", 'name: there is no filter "base64"'),
        ("{{ sku.x }}", 'name: there is no "x" inside a text'),
        ("海报", 'name: it is empty for "a/'),
        ("../{{ '.' }}/", 'name: it is empty for "a/'),
    ],
)
def test_a_template_that_makes_no_name_is_an_error_at_its_own_place(tmp_path: Path, name: str, said: str):
    job = f'  - id: a\n    prompt: a cup\n    name: "{name}"\n    matrix: {{sku: ["007"]}}\n'
    (problem,) = problems(tmp_path, job)
    assert (problem.line, problem.column) == (6, 11)
    assert problem.message.startswith(said)


def test_a_name_of_the_defaults_counts_for_all_jobs_and_a_job_s_own_instead(tmp_path: Path):
    head = HEAD.replace("{size", '{name: "d-{{ job }}", size')
    (tmp_path / "campaign.yaml").write_text(
        head + "  - {id: a, prompt: a cup}\n  - {id: b, prompt: a jug, name: own}\n", encoding="utf-8"
    )
    found = open_campaign(tmp_path / "campaign.yaml").rows()
    assert [row.delivery.name for row in found] == ["d-{{ job }}", "own"]


def test_a_name_buys_nothing_again_and_a_variable_of_that_name_stays_one(tmp_path: Path):
    job = '  - {id: a, prompt: "{{ name }}", matrix: {name: [cup, jug]}}\n'
    without = rows(tmp_path, job)
    named = rows(tmp_path, job.replace("prompt", 'name: "{{ name }}", prompt'))
    assert [*map(row_digest, named)] == [*map(row_digest, without)]
    assert [row.name for row in named] == [row.name for row in without]
    assert {row.delivery.name for row in without} == {""}


def test_equal_labels_are_a_warning_where_images_are_delivered(tmp_path: Path):
    """The default name has the row's label, and what has no Latin letter has none of its own."""
    job = "  - {{id: mug, prompt: '{{{{ c }}}} mug', size: '9:16', {}, matrix: {{c: [{}]}}}}\n"

    def warnings(deliver: str, values: str) -> list[str]:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "campaign.yaml").write_text(HEAD + job.format(deliver, values), encoding="utf-8")
        campaign = open_campaign(folder / "campaign.yaml")
        assert len(list(campaign.rows())) == 3
        return [each for each in campaign.warnings if "would be delivered as" in each]

    (warning,) = warnings("deliver: meta-story", "红色, 蓝色, 绿色")
    assert "meta-story/mug-" in warning
    assert "give their rows an id" in warning
    assert warnings("variants: 1", "红色, 蓝色, 绿色") == []
    assert warnings("deliver: meta-story", "red, blue, green") == []
