"""``duplicates: merge``: equal requests are bought once over all jobs, and different ones are never taken for equal."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from support.fakes import few

from adloom.campaign.files import open_campaign
from adloom.campaign.merging import MERGED_JOBS
from adloom.core.campaign import Row
from adloom.core.identity import content_identity, digest, row_digest, row_meaning, variant_key
from adloom.plan.planner import Planner

_ROWS = st.fixed_dictionaries(
    {"prompt": st.sampled_from(["a cup", "a jug", "a cup "])},
    optional={
        "size": st.sampled_from(["1:1", "4:5"]),
        "quality": st.sampled_from(["1K", "2K"]),
        "variants": st.sampled_from(["1", "2", "17"]),
        "grouping": st.just("independent"),
        "sku": st.sampled_from(["007", "012"]),
    },
)
_JOBS = st.lists(st.lists(_ROWS, min_size=1, max_size=4), min_size=1, max_size=4)


def rows_of(
    jobs: list[list[dict[str, str]]],
    duplicates: str,
    knows: Callable[[str], bool] | None = None,
    *,
    moved: bool = False,
) -> list[Row]:
    """The rows of a campaign whose jobs have these rows; ``moved`` turns the order of the jobs around."""
    named = [{"id": f"job-{number}", "include": rows} for number, rows in enumerate(jobs)]
    content = {
        "campaign": "merging",
        "duplicates": duplicates,
        "jobs": named[::-1] if moved else named,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "campaign.yaml"
        path.write_text(json.dumps(content), encoding="utf-8")  # which is YAML
        source = open_campaign(path)
        if knows is not None:
            source.knows(knows)
        return list(source.rows())


def own_key(row: Row) -> str:
    """The key of a row's first image where its own job bought it, as versions did that merged within jobs alone."""
    meaning = row_meaning(row)
    return variant_key(digest("row", content_identity(row.job, meaning, 1), meaning), 1)


@few
@given(_JOBS, st.data())
def test_merging_never_mixes_two_requests_and_loses_no_line_of_the_manifest(jobs, data):
    kept = rows_of(jobs, "keep")
    bought = frozenset(data.draw(st.sets(st.sampled_from(sorted(map(own_key, kept))))))
    merged = rows_of(jobs, "merge", bought.__contains__)
    assert [(row.job, row_meaning(row), row.variants, row.variables) for row in merged] == [
        (row.job, row_meaning(row), row.variants, row.variables) for row in kept
    ]
    assert len({(row.job, row.name) for row in merged}) == len(merged)
    meanings = {(row.identity, str(row_meaning(row))) for row in merged}
    assert len(meanings) == len({row.identity for row in merged})
    planned = list(Planner({}, {}).plan(merged))
    buyers = Counter(variant.key for each in planned for call in each.calls for variant in call.variants)
    assert set(buyers.values()) <= {1}
    assert set(buyers) == {variant.key for each in planned for variant in each.variants}
    for each in planned:
        assert {v.key for call in each.calls for v in call.variants} <= {v.key for v in each.variants}
    apart = {row_digest(row) for row in merged}
    most = {str(row_meaning(row)): 0 for row in merged}
    for row in merged:
        most[str(row_meaning(row))] = max(most[str(row_meaning(row))], row.variants)
    if not bought:
        assert len(apart) == len(most)
        assert sum(buyers.values()) == sum(most.values())
    own = {own_key(row): row for row in kept}
    for row in merged:  # what a job has bought for itself stays its own
        if own_key(row) in bought:
            assert row.identity == content_identity(row.job, row_meaning(row), 1)
    assert len(own) >= len(apart)


CUP, JUG = {"prompt": "a cup", "variants": "2"}, {"prompt": "a jug"}


def test_jobs_may_change_places_once_one_of_them_has_bought():
    jobs = [[CUP], [CUP, JUG]]
    first = rows_of(jobs, "merge")
    bought = {variant_key(row_digest(row), 1) for row in first}
    again = rows_of(jobs, "merge", bought.__contains__, moved=True)
    assert [row.job for row in again] == ["job-1", "job-1", "job-0"]
    assert {row_digest(row) for row in again} == {row_digest(row) for row in first}
    assert [row.shared for row in again] == [0, 0, 2]
    assert {row_digest(row) for row in rows_of(jobs, "merge", moved=True)} != {row_digest(row) for row in first}


def test_in_one_job_rows_are_who_they_were_before_merging_went_over_jobs():
    rows = rows_of([[CUP, *[{**CUP, "variants": wanted} for wanted in ("5", "5", "1")]]], "merge")
    assert {row.identity for row in rows} == {content_identity("job-0", row_meaning(rows[0]), 1)}
    assert [row.shared for row in rows] == [0, 2, 5, 1]


def test_a_campaign_of_very_many_jobs_merges_within_each_of_them_and_says_so(tmp_path: Path):
    jobs = "".join(f"  - {{id: j{number}, prompt: a cup}}\n" for number in range(MERGED_JOBS + 1))
    (tmp_path / "c.yaml").write_text("campaign: c\nduplicates: merge\njobs:\n" + jobs, encoding="utf-8")
    source = open_campaign(tmp_path / "c.yaml")
    assert len({row.identity for row in source.rows()}) == MERGED_JOBS + 1
    assert any("within each job only" in warning for warning in source.warnings)
