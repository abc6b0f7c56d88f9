"""Frozen plans as the archive holds them: the newest is found, rows come back whole, and damage is named."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import (
    EDITION,
    a_row,
    few,
    references,
)
from support.freezing import JUG, MUG, a_desk

from adloom.core.campaign import Grouping
from adloom.core.crop import Focus
from adloom.core.delivery import Rights, Wanted
from adloom.core.errors import RecordUnreadable
from adloom.ledger.edition import to_json
from adloom.plan import revision as revision_module
from adloom.plan.planner import Planner
from adloom.plan.revision import newest_plan, planned_from_json, planned_rows, row_line, row_to_json, write_shards


async def test_the_newest_plan_is_the_one_with_the_highest_number(store):
    for number in (9, 10, 2):
        store.objects[EDITION.key(f"plan-r{number}.json")] = to_json({"revision": number})
    store.objects[EDITION.key("plan-rx.json")] = b"{}"
    store.objects["test/main2/plan-r99.json"] = b"{}"
    assert (await newest_plan(store, EDITION))["revision"] == 10


async def test_an_edition_without_a_plan_has_none(store):
    assert await newest_plan(store, EDITION) is None


async def test_a_frozen_row_comes_back_as_it_was(store, clock):
    row = a_row(
        "tea", references=references(3), variants=7, variables={"sku": "007", "more": {"名": "茶"}}, quality="",
        prompt='茶\r\n"quoted" \u2028 line', grouping=Grouping.INDEPENDENT,
    )  # fmt: skip
    desk = await a_desk(store, clock)
    revision = await desk.freeze(row, MUG)
    planned = [planned async for planned in planned_rows(store, EDITION, revision)]
    assert [p.row for p in planned] == [row, MUG]
    assert planned == list(Planner({}, {}).plan([row, MUG]))


async def test_what_a_call_buys_for_another_row_comes_back_as_it_was(store, clock):
    rows = [a_row(name, prompt="a mug", variants=2) for name in ("left", "right")]
    desk = await a_desk(store, clock)
    (call,) = await desk.calls(await desk.freeze(*rows))
    assert [(each.number, each.take, each.owner) for each in call.variants] == [
        (1, 1, ("hero", "left")),
        (2, 1, ("hero", "left")),
        (1, 1, None),
        (2, 1, None),
    ]


async def test_what_only_some_rows_have_comes_back_too(store, clock):
    row = a_row(
        "tea", variants=3, shared=1, options=(("watermark", "true"),), delivery=Wanted(("meta-story",)),
    )  # fmt: skip
    desk = await a_desk(store, clock)
    revision = await desk.freeze(row, MUG)
    assert [planned.row async for planned in planned_rows(store, EDITION, revision)] == [row, MUG]


async def test_a_file_of_the_plan_has_five_hundred_rows_at_most(store):
    planned = Planner({}, {}).plan(a_row(f"r{number}") for number in range(501))
    assert [shard.rows async for shard in write_shards(store, EDITION, planned)] == [500, 1]


@pytest.mark.parametrize("damage", [None, b"{}\n"])
async def test_a_damaged_shard_is_refused_by_name(store, clock, damage):
    desk = await a_desk(store, clock)
    revision = await desk.freeze(MUG)
    key = EDITION.key(revision.shards[0].name)
    if damage is None:
        del store.objects[key]
    else:
        store.objects[key] = damage
    with pytest.raises(RecordUnreadable, match=revision.shards[0].sha256):
        await desk.calls(revision)


async def test_a_plan_from_before_next_takes_were_counted_has_none(store, clock):
    await (await a_desk(store, clock)).freeze(MUG)
    content = store.objects[EDITION.key("plan-r1.json")]
    header = json.loads(content)
    assert revision_module.revision_of(header, content).new_takes == header["totals"].pop("new_takes") == 0
    assert revision_module.revision_of(header, content).new_takes == 0


async def test_a_plan_of_a_newer_version_is_refused(store, clock):
    desk = await a_desk(store, clock)
    await desk.freeze(MUG)
    key = EDITION.key("plan-r1.json")
    store.objects[key] = store.objects[key].replace(b"adloom.plan/1", b"adloom.plan/2")
    with pytest.raises(RecordUnreadable):
        await desk.freeze(MUG)


def test_a_planned_row_without_takes_reads_as_first_takes():
    (planned,) = Planner({}, {}).plan([JUG])
    record = json.loads(json.dumps({**revision_module._planned_to_json(planned)}))
    assert "takes" not in record
    assert planned_from_json(record) == planned


_ANY_TEXT = st.text(max_size=6)  # control characters, too
_FRACTIONS = st.floats(0, 1)


@few
@given(_ANY_TEXT, st.dictionaries(_ANY_TEXT, _ANY_TEXT | st.dictionaries(_ANY_TEXT, _ANY_TEXT)), _FRACTIONS)
def test_a_line_has_the_bytes_that_older_versions_wrote(text, variables, fraction):
    wanted = Wanted(("meta-story",), Focus(fraction, 0.00001), text, (Rights(valid_until="2027-01-31"),))
    row = a_row(text, variables=variables, references=references(1), options=(("watermark", "true"),), shared=1)
    for each in (row, replace(row, delivery=wanted), replace(row, delivery=replace(wanted, focus="auto"))):
        assert row_line(each) == to_json(row_to_json(each))
