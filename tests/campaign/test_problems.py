"""Bad campaign files and what is said about them, each with line and column."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adloom.campaign.files import Defaults, open_campaign
from adloom.campaign.schema.campaign import CampaignFile
from adloom.core.errors import CampaignInvalid

JOB = "jobs: [{id: a, prompt: x}]\n"


def problems(path, **options) -> list[str]:
    with pytest.raises(CampaignInvalid) as caught:
        list(open_campaign(path, **options).rows())
    return [str(problem).replace(str(path.parent) + "/", "") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "c.yaml:1:1: the file is empty"),
        ("- a\n", "c.yaml:1:1: this is not a campaign"),
        ("campaign: [a\n", "c.yaml:1:11: this is not valid YAML"),
        ("campaign: a\n\tb: c\n", "c.yaml:2:1: this is not valid YAML"),
        ("campaign: a\n---\nb: c\n", "c.yaml:2:1: a second document starts here"),
        ("campaign: a\ncampaign: b\n" + JOB, 'c.yaml:2:1: the key "campaign" appears twice, first in line 1'),
        ("campaign: !!python/object/apply:os.system [ls]\n" + JOB, 'c.yaml:1:11: tags like "tag:yaml.org,2002:python'),
        ("campaign: &x a\n" + JOB, 'c.yaml:1:11: anchors like "&x" are not allowed'),
        ("campaign: a\nlimits: *x\n" + JOB, 'c.yaml:2:9: aliases like "*x" are not allowed'),
        ("campaign: a\nlimits: {<<: {in_flight: 3}}\n" + JOB, "c.yaml:2:10: merge keys (<<) are not allowed"),
        ("campaign: a\n[b]: c\n" + JOB, "c.yaml:2:1: a list or a mapping cannot be a key"),
        ('campaign: a\nx: "\\0"\n' + JOB, "c.yaml:2:4: the character '\\x00' is not allowed in a campaign"),
        (
            'campaign: a\nx: "\\ud800"\n' + JOB,
            'c.yaml:2:7: this is not valid YAML near "x: "\\ud800"": found invalid Unicode character',
        ),
        ("campaign: a\nx: b\0\n" + JOB, "c.yaml:2:5: a NUL character"),
        ("campaign: Spring Launch\n" + JOB, 'c.yaml:1:11: campaign: the text "Spring Launch" cannot be a name'),
        ("campaign: ../x\n" + JOB, 'c.yaml:1:11: campaign: the text "../x" cannot be a name'),
        (JOB, 'c.yaml:1:1: "campaign" is missing'),
        ("campaign: a\n", "c.yaml:1:1: a campaign needs a list of jobs"),
        ("campaign: a\njobs: []\n", "c.yaml:2:1: a campaign needs a list of jobs"),
        (
            "campaign: a\nbugdet: {usd: 3}\n" + JOB,
            'c.yaml:2:1: unknown key "bugdet", did you mean "budget"? (known here',
        ),
        ("campaign: a\nbudget: {usd: 3, images: 4}\n" + JOB, "c.yaml:2:9: budget: a budget has exactly one amount"),
        ("campaign: a\nbudget: {usd: $3}\n" + JOB, 'c.yaml:2:15: usd: the text "$3" is not an amount'),
        ("campaign: a\nbudget: {images: 012}\n" + JOB, 'c.yaml:2:18: images: the text "012" is not a whole number'),
        (
            "campaign: a\nbudget: 12\n" + JOB,
            'c.yaml:2:9: budget: the text "12" is not allowed here (like budget: {usd: 12.50}',
        ),
        ("campaign: a\nlimits: {in_flight: 1.0}\n" + JOB, 'c.yaml:2:21: in_flight: the text "1.0" is not a whole'),
        (
            "campaign: a\nprofile: strickt\n" + JOB,
            'c.yaml:2:10: profile: the text "strickt" is not known here, did you',
        ),
        ("campaign: a\nprices: {doubao: 3}\n" + JOB, 'c.yaml:2:10: the text "doubao" is not known here'),
        (
            "campaign: a\ncallback_url: http://x.example.com\n" + JOB,
            "c.yaml:2:15: callback_url: the address starts with",
        ),
        (
            "campaign: a\ncallback_url: https://10.0.0.1/\n" + JOB,
            'c.yaml:2:15: callback_url: "10.0.0.1" is an internal',
        ),
        (
            "campaign: a\ncallback_url: https://hooks.example.com/a#b\n" + JOB,
            "c.yaml:2:15: callback_url: nobody sends what follows a #, so no callback would arrive",
        ),
        (
            "campaign: a\nfallback: [doubao-seedream-9]\n" + JOB,
            'c.yaml:2:12: the text "doubao-seedream-9" is not known here, did you mean',
        ),
        (
            "campaign: a\nfallback: [doubao-seedream-4.5, doubao-seedream-4.5]\n" + JOB,
            "c.yaml:2:11: fallback: this list has a value twice",
        ),
        (
            "campaign: a\nfallback: [doubao-seedream-4.5]\njobs:\n  - {id: a, prompt: x, quality: 1K}\n",
            (
                'c.yaml:2:11: the fallback doubao-seedream-4.5 does not support every row: the quality "1K" is not '
                "available for doubao-seedream-4.5 (one of 2K, 4K; doubao-seedream-4.0, "
                "doubao-seedream-5.0-flash and doubao-seedream-5.0-pro support it)"
            ),
        ),
        ("campaign: a\nduplicates: drop\n" + JOB, 'c.yaml:2:13: duplicates: the text "drop" is not known here'),
        (
            "campaign: a\nreferences: {x: {url: a, file: b}}\n" + JOB,
            "c.yaml:2:17: x: a reference is one address or one",
        ),
        ("campaign: a\nreferences: {x: b.png}\n" + JOB, 'c.yaml:2:17: reference "x": there is no file "b.png"'),
        ("campaign: a\nmodel: m\n" + JOB, 'c.yaml:2:8: the model "m" is not known'),
        ("campaign: a\ndefaults: {size: 17:9}\n" + JOB, 'c.yaml:2:18: the size "17:9" is not known'),
        (
            "campaign: a\njobs:\n  - {id: a, prompt: x}\n  - {id: a, prompt: y}\n",
            'c.yaml:4:10: the job id "a" is already',
        ),
    ],
)
def test_a_bad_head_is_located(tmp_path, text, expected):
    path = tmp_path / "c.yaml"
    path.write_bytes(text.encode())
    assert any(each.startswith(expected) for each in problems(path)), problems(path)


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ("prompt: x\n    promt: y", '4:5: unknown key "promt", did you mean "prompt"?'),
        ("size: 1:1", '3:5: job "a" has no prompt'),
        ("prompt: ''", "3:13: prompt: text is needed here, this is nothing"),
        ("prompt: '{{ \"\" }}'", "3:13: the prompt is empty"),
        (
            "prompt: '{{ surfac }}'\n    matrix: {surface: [x, y]}",
            '3:13: the prompt of job "a": there is no variable "surfac"',
        ),
        ("prompt: '{{ x'", '3:13: the prompt of job "a": the template cannot be read'),
        ("prompt: x\n    size: 5000x5000", "4:11: the size 5000x5000 has 25,000,000 pixels"),
        ("prompt: x\n    size: 20000x100", "4:11: the size 20000x100 is too long"),
        ("prompt: x\n    size: 2k", '4:11: the size "2k" is not known, that is a quality'),
        ("prompt: x\n    size: 2048X2048", '4:11: the size "2048X2048" is not known, did you mean "2048x2048"?'),
        (
            "prompt: x\n    size: 9:21",
            '4:11: the size "9:21" is not known to the strict limits, but `profile: wide` allows it',
        ),
        ("prompt: x\n    size: 16：9", '4:11: the size "16：9" is not known, did you mean "16:9"?'),
        (
            "prompt: x\n    quality: 2k",
            '4:14: the quality "2k" is not available for doubao-seedream-4.0, did you mean "2K"?',
        ),
        (
            "prompt: x\n    model: [doubao-seedream-4.0, doubao-seedream-4.5]\n    quality: [2K, 1K]",
            (
                '5:14: the quality "1K" is not available for doubao-seedream-4.5 (one of 2K, 4K; doubao-seedream-4.0, '
                "doubao-seedream-5.0-flash and doubao-seedream-5.0-pro support it)"
            ),
        ),
        (
            "prompt: x\n    model: doubao-seedream-5.0-lite\n    priority: fast",
            (
                '5:15: the priority "fast" is not available for doubao-seedream-5.0-lite '
                "(one of standard; doubao-seedream-4.0 and doubao-seedream-5.0-pro support it)"
            ),
        ),
        (
            "prompt: x\n    model: doubao-seedream-4.5\n    size: 1024x1024",
            (
                "5:11: the size 1024x1024 has 1,048,576 pixels (3,686,400 to 16,777,216 for doubao-seedream-4.5; "
                "doubao-seedream-4.0, doubao-seedream-5.0-flash and doubao-seedream-5.0-pro support it)"
            ),
        ),
        (
            "prompt: x\n    model: doubao-seedream-5.0",
            '4:12: the model "doubao-seedream-5.0" is not known, did you mean',
        ),
        ("prompt: x\n    quality: [2K, 8K]", '4:14: the quality "8K" is not available for'),
        ("prompt: x\n    priority: urgent", '4:15: the priority "urgent" is not known (one of standard, fast)'),
        ("prompt: x\n    grouping: sets", '4:15: the grouping "sets" is not known, did you mean "set"?'),
        ("prompt: x\n    variants: 1001", '4:15: "1001" is not a number of variants (1 to 1,000'),
        ("prompt: x\n    variants: 1.0", '4:15: "1.0" is not a number of variants'),
        ("prompt: x\n    references: [botle]", '4:17: there is no reference "botle", did you mean "bottle"?'),
        ("prompt: x\n    references: [http://127.1/a.png]", '4:17: "127.1" is an internal host'),
        ("prompt: x\n    references: [../../etc/passwd]", "4:17: "),
        ("prompt: x\n    matrix: {}", "4:13: matrix: axes are needed here"),
        ("prompt: x\n    matrix: {a: []}", '4:13: matrix: the axis "a" needs a list'),
        ("prompt: x\n    matrix: {a b: [c]}", '4:13: matrix: "a b" cannot be the name of an axis'),
        ("prompt: x\n    rows: none.csv", '4:11: there is no file "none.csv" next to the campaign file'),
        ("prompt: x\n    rows: ../../x.csv", '4:11: "../../x.csv" is outside the campaign file\'s folder'),
        ("prompt: x\n    matrix: {a: [b]}\n    exclude: [{c: d}]", '5:15: exclude: there is no "c" in this job'),
        ("prompt: x\n    matrix: {a: [b]}\n    sample: {count: 0}", '5:21: count: the text "0" is not a whole number'),
        ("prompt: x\n    include: [{id: a/b}]", '4:15: the id "a/b" cannot be used'),
        ("prompt: x\n    include: [{id: b}, {id: b}]", '4:24: the id "b" is already taken in'),
        (
            "prompt: x\n    include: [{variants: {a: b}}]",
            '4:14: include: "variants" of an included row cannot be a mapping',
        ),
        ("prompt: " + "好" * 1300, "3:13: the prompt has about 2002 tokens with its count phrase"),
        ("prompt: " + "x" * 1990 + "\n    variants: 2", "3:13: the prompt has 2019 characters with its count phrase"),
    ],
)
def test_a_bad_job_is_located(tmp_path, job, expected):
    path = tmp_path / "c.yaml"
    head = "references: {bottle: 'https://example.com/b.png'}"
    path.write_text(f"{head}\njobs:\n  - {job}\n    id: a\ncampaign: a\n", encoding="utf-8")
    assert any(each.startswith("c.yaml:" + expected) for each in problems(path)), problems(path)


def test_all_problems_of_all_files_come_in_one_report(tmp_path):
    (tmp_path / "rows.csv").write_text("id,mood,size\nr1,calm,1:2\nr1,loud\nr2,,4:5\n")
    path = tmp_path / "c.yaml"
    path.write_text(
        "campaign: a\nbudget: {usd: x}\ndefaults: {variants: 0}\njobs:\n"
        "  - {id: a, prompt: '{{ mood }}', rows: rows.csv}\n  - {id: b, prompt: '{{ moood }}'}\n  - {id: c, promt: x}\n"
    )
    found = problems(path)
    assert [each.partition(": ")[0] for each in found] == [
        "c.yaml:2:15",
        "c.yaml:3:22",
        "c.yaml:6:21",
        "c.yaml:7:13",
        "rows.csv:2:3",
        "rows.csv:3:3",
        "rows.csv:4:1",
    ]


def test_a_wrong_size_does_not_hide_a_wrong_quality(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("campaign: a\njobs:\n  - {id: a, prompt: x, size: '17:99', quality: 2k}\n")
    size, quality = problems(path)
    assert 'the size "17:99" is not known' in size
    assert 'the quality "2k" is not known, did you mean "2K"?' in quality


def test_a_broken_head_cannot_be_used_and_says_everything(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("campaign: a\nbudget: {usd: x}\njobs:\n  - {id: a, prompt: x, size: 1:7}\n")
    with pytest.raises(CampaignInvalid) as caught:
        _ = open_campaign(path).campaign
    assert [problem.line for problem in caught.value.problems] == [2, 4]


@pytest.mark.timeout(60)  # made, it would take hours
def test_a_matrix_that_explodes_is_counted_but_never_made(tmp_path):
    path = tmp_path / "c.yaml"
    axis = "[" + ", ".join(map(str, range(100))) + "]"
    axes = ", ".join(f"a{number}: {axis}" for number in range(5))
    path.write_text(f"campaign: a\njobs:\n  - {{id: a, prompt: x, matrix: {{{axes}}}, sample: {{count: 3}}}}\n")
    assert problems(path)[0].startswith("c.yaml:3:32: this makes 10,000,000,000 rows")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [x]\n" + "".join(f"b{n}: &b{n} [{'*a, ' * 9}]\n" for n in range(9)), 'anchors like "&a"'),
        ("x: " + "[" * 100_000, "nested more than 20 levels deep"),
        ("x: " + "{a: " * 50_000, "nested more than 20 levels deep"),
        ("x: [" + "a, " * 150_000 + "]", "more than 100,000 values"),
        ("x: " + "a" * (1 << 20), "1,048,576 are allowed"),
    ],
    ids=["aliases", "lists", "mappings", "nodes", "bytes"],
)
@pytest.mark.timeout(60)  # half a second, as measured; unfolded, these would take hours or all memory
def test_yaml_bombs_are_refused_quickly(tmp_path, text, message):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    assert message in "\n".join(problems(path))


@pytest.mark.timeout(50)  # a second, as measured; every pattern held against every row, it would take a minute
def test_thousands_of_exclusions_cost_a_row_no_more_than_one(tmp_path):
    (tmp_path / "rows.csv").write_text("prompt,sku\n" + "".join(f"cup {n},{n}\n" for n in range(20_000)))
    excluded = ", ".join(f"{{sku: '{number}'}}" for number in range(9_000))
    path = tmp_path / "c.yaml"
    path.write_text(f"campaign: a\njobs:\n  - {{id: a, rows: rows.csv, exclude: [{excluded}]}}\n")
    campaign = open_campaign(path)
    assert [row.variables["sku"] for row in campaign.rows()] == [str(number) for number in range(9_000, 20_000)]
    assert campaign.warnings == ()


def test_exclusions_with_too_many_names_are_refused(tmp_path):
    path = tmp_path / "c.yaml"
    excluded = ", ".join(f"{{a: x, n{number}: y}}" for number in range(200))
    path.write_text(f"campaign: a\njobs:\n  - {{id: a, prompt: x, matrix: {{a: [y]}}, exclude: [{excluded}]}}\n")
    assert problems(path) == [
        (
            "c.yaml:3:51: exclude: its entries have 400 names to compare in every row "
            "(at most 256; entries with the same names count once)"
        )
    ]


@pytest.mark.timeout(60)  # half a second, as measured; minutes, when every name is held against every other
def test_thousands_of_unknown_references_are_told_with_hints_for_the_first_of_them(tmp_path):
    known = "".join(f"  name{number}: https://example.com/{number}.png\n" for number in range(20_000))
    unknown = "".join(f"name{number}x cup {number}\n".replace(" ", ",", 1) for number in range(3_000))
    (tmp_path / "rows.csv").write_text("references,prompt\n" + unknown)
    path = tmp_path / "c.yaml"
    path.write_text(f"campaign: a\nreferences:\n{known}jobs:\n  - {{id: a, rows: rows.csv}}\n")
    found = problems(path)
    assert found[-1] == "c.yaml: 2000 more problems are not listed here"
    assert len([each for each in found if "did you mean" in each]) == 20


@pytest.mark.timeout(60)
def test_a_template_that_multiplies_is_told_with_its_line(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(
        "campaign: a\njobs:\n"
        f"  - {{id: a, prompt: '{{{{ b{' ~ b' * 3000} }}}}', matrix: {{b: [{'x' * 9000}]}}}}\n"
        f"  - {{id: b, prompt: '{{{{ b|truncate(9) }}}}', matrix: {{b: [{'x' * 20_001}]}}}}\n"
    )
    assert problems(path) == [
        'c.yaml:3:21: the prompt of job "a": the template makes more than 20,000 characters (a shorter text)',
        'c.yaml:4:21: the prompt of job "b": the variable "b" has 20,001 characters (at most 20,000)',
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            "campaign: é\n".encode("latin-1"),
            'c.yaml:1:11: byte 10 (0xE9, after "campaign: ") is not UTF-8 text (save it as UTF-8)',
        ),
        ("campaign: a\n".encode("utf-16"), "c.yaml:1:1: this is UTF-16 text, not UTF-8"),
        (b"campaign: a\nx: \xed\xa0\x80\n", 'c.yaml:2:4: byte 15 (0xED, after "x: ") is not UTF-8 text'),
    ],
)
def test_other_encodings_are_refused_with_the_byte(tmp_path, content, expected):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    assert problems(path)[0].startswith(expected)


def test_a_byte_order_mark_is_no_problem(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_bytes(b"\xef\xbb\xbfcampaign: a\njobs: [{id: a, prompt: x}]\n")
    assert len(list(open_campaign(path).rows())) == 1


def test_a_bad_option_is_named_as_one(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("prompt\nx\n")
    size, variants = problems(path, defaults=Defaults(size="1:7", variants=0))
    assert size.startswith('--size: the size "1:7" is not known (auto, 1:1, 2:3,')
    assert variants == '--variants: "0" is not a number of variants (1 to 1,000, digits only)'


def test_long_and_strange_text_is_cut_and_made_harmless(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text('prompt,size\nx,"\x1b[31m\n' + "y" * 500 + '"\n')
    (found,) = problems(path)
    assert "\x1b" not in found
    assert "\n" not in found
    assert "y" * 80 not in found


GOOD = (Path(__file__).parents[2] / "campaigns" / "spring-launch.yaml").read_text(encoding="utf-8")


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(GOOD)), st.integers(0, 40), st.text("ab:-{}[]\"'|>&*!# \n,0", max_size=12))
def test_a_damaged_campaign_is_read_or_refused_but_never_crashes(tmp_path, start, length, put):
    path = tmp_path / "c.yaml"
    path.write_text(GOOD[:start] + put + GOOD[start + length :], encoding="utf-8")
    try:
        rows = list(open_campaign(path).rows())
    except CampaignInvalid as invalid:
        assert all(problem.message and problem.line >= 0 for problem in invalid.problems)  # noqa: PT017
    else:
        assert rows


def test_the_schema_for_editors_accepts_numbers_where_people_write_them():
    schema = CampaignFile.model_json_schema()
    assert schema["$defs"]["JobFile"]["properties"]["variants"]["anyOf"][0]["type"] == ["integer", "string"]
    assert set(schema["required"]) == {"campaign", "jobs"}
