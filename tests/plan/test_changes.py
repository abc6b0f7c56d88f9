from dataclasses import replace

import pytest
from support.fakes import PRICE, FakeSource, a_row

from adloom.core.identity import explicit_identity
from adloom.core.outcomes import Outcome, Status
from adloom.plan.changes import Changes, compare
from adloom.plan.planner import Planner

MUG, JUG, CUP = a_row("mug", variants=2), a_row("jug", variants=3), a_row("cup", variants=20)


async def _changes(before, after, *, bought=()):
    planned = list(Planner({}, {}).plan(before))
    keys = [variant.key for row in planned if row.row in bought for variant in row.variants]
    known = {key: Outcome(Status.ARCHIVED, covered=True, call="c-x", attempt=1) for key in keys}

    async def former():
        for row in planned:
            yield row

    return await compare(FakeSource(after), known, 4, former())


def _as(row, name, **more):
    return replace(row, identity=explicit_identity(more.get("job", row.job), name), name=name, label=name, **more)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((MUG, JUG), (JUG, MUG), {"kept": 2}),
        ((MUG,), (MUG, JUG), {"kept": 1, "new": 1, "credits": 3 * PRICE}),
        ((MUG, JUG), (JUG,), {"kept": 1, "removed": 1, "removed_images": 2}),
        ((MUG,), (replace(MUG, prompt="a kettle"),), {"edited": 1, "removed_images": 2, "credits": 2 * PRICE}),
        ((MUG,), (replace(MUG, quality="4K"),), {"edited": 1, "removed_images": 2, "credits": 2 * PRICE}),
        ((MUG,), (replace(MUG, variables={"sku": "1"}),), {"kept": 1}),
        ((MUG,), (replace(MUG, variants=5),), {"kept": 1, "more_images": 3, "credits": 3 * PRICE}),
        ((JUG,), (replace(JUG, variants=1),), {"kept": 1, "fewer_images": 2}),
    ],
    ids=["reordered", "added", "removed", "edited", "another quality", "a variable", "more variants", "fewer"],
)
async def test_a_change_is_said_with_its_price(before, after, expected):
    assert await _changes(before, after, bought=before) == Changes(4, **expected)


@pytest.mark.parametrize("renamed", [_as(MUG, "beaker"), _as(MUG, "mug", job="heroes")], ids=["row", "job"])
async def test_a_renamed_row_or_job_is_new_and_said_to_be_only_renamed(renamed):
    changes = await _changes((MUG, JUG), (renamed, JUG), bought=(MUG, JUG))
    assert (changes.new, changes.renamed, changes.removed, changes.kept) == (1, 1, 1, 1)
    assert changes.examples == (("hero/mug", f"{renamed.job}/{renamed.name}"),)
    assert changes.credits == 2 * PRICE


async def test_what_the_archive_has_of_an_older_plan_costs_nothing_again():
    changes = await _changes((MUG,), (MUG, JUG))
    assert changes.credits == 3 * PRICE
    planned = list(Planner({}, {}).plan([JUG]))
    known = {v.key: Outcome(Status.ARCHIVED, covered=True, call="c-x", attempt=1) for v in planned[0].variants}

    async def former():
        yield next(Planner({}, {}).plan([MUG]))

    again = await compare(FakeSource((MUG, JUG)), known, 1, former())
    assert (again.new, again.credits) == (1, 0)


async def test_what_was_left_open_before_is_no_cost_of_the_change():
    assert (await _changes((MUG, CUP), (CUP, MUG))).credits == 0


async def test_rows_that_share_their_images_are_told_apart_by_their_number():
    shared = replace(MUG, name="beaker", shared=2)
    assert await _changes((MUG, shared), (MUG, shared), bought=(MUG,)) == Changes(4, kept=2)
    assert await _changes((MUG,), (MUG, shared), bought=(MUG,)) == Changes(4, kept=1, new=1)
    assert await _changes((MUG, shared), (MUG,), bought=(MUG,)) == Changes(4, kept=1, removed=1)
