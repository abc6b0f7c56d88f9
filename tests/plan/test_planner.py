import re
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fakes import PRICE, a_row, few, references, rows

from adloom.core.campaign import Grouping
from adloom.core.decision import Decision, Verdict
from adloom.core.delivery import Wanted
from adloom.core.errors import SettingInvalid
from adloom.core.identity import row_digest, variant_key
from adloom.core.limits import IMAGES_PER_CALL, REFERENCES_AND_IMAGES
from adloom.core.outcomes import Outcome, Status
from adloom.core.reference import approved_images_of
from adloom.core.selection import EVERYTHING, Selection, choose
from adloom.plan.planner import Planner


def _plan(given_rows, known=None, only=frozenset()):
    planner = Planner(known or {}, {}, only)
    return list(planner.plan(given_rows)), planner.totals


def _keys(planned):
    return [variant.key for row in planned for call in row.calls for variant in call.variants]


def _calls_by_row(planned):
    return {row.row.identity: [(call.id, call.variants) for call in row.calls] for row in planned}


def _bought(keys, status=Status.ARCHIVED, *, covered=True):
    return {key: Outcome(status, covered, "c-x", 1) for key in keys}


@few
@given(rows())
def test_every_wanted_variant_is_in_exactly_one_call(given_rows):
    planned, totals = _plan(given_rows)
    wanted = [variant.key for row in planned for variant in row.variants]
    assert sorted(_keys(planned)) == sorted(wanted)
    assert len(set(wanted)) == len(wanted) == totals.wanted == totals.images == sum(row.variants for row in given_rows)


@few
@given(rows())
def test_every_call_is_legal_and_of_one_row(given_rows):
    for planned in _plan(given_rows)[0]:
        own = {variant.key for variant in planned.variants}
        for call in planned.calls:
            assert 1 <= len(call.variants) <= IMAGES_PER_CALL
            assert len(planned.row.references) + len(call.variants) <= REFERENCES_AND_IMAGES
            assert {variant.key for variant in call.variants} <= own


@few
@given(rows())
def test_the_number_of_calls_is_the_fewest_that_is_legal(given_rows):
    planned, totals = _plan(given_rows)
    for row in planned:
        fewest = -(-row.row.variants // (15 - len(row.row.references)))
        assert len(row.calls) == (fewest if row.row.grouping is Grouping.SET else row.row.variants)
    assert totals.calls == sum(len(row.calls) for row in planned)
    assert totals.floor == sum(-(-row.variants // (15 - len(row.references))) for row in given_rows)


@few
@given(rows(), st.randoms(use_true_random=False))
def test_rows_may_be_moved_added_and_removed_without_touching_the_others(given_rows, random):
    before = _calls_by_row(_plan(given_rows)[0])
    changed = [row for row in given_rows if random.random() < 0.7] + [a_row("new", variants=3)]
    random.shuffle(changed)
    after = _calls_by_row(_plan(changed)[0])
    assert all(after[row.identity] == before[row.identity] for row in changed if row.identity in before)


@few
@given(rows(most=3), st.data())
def test_what_is_covered_is_never_bought_again_and_the_rest_is(given_rows, data):
    keys = _keys(_plan(given_rows)[0])
    covered = set(data.draw(st.lists(st.sampled_from(keys), unique=True)))
    statuses = {key: data.draw(st.sampled_from(Status)) for key in sorted(covered)}
    known = {key: Outcome(statuses[key], covered=True, call="c-x", attempt=1) for key in covered}
    given_up = data.draw(st.sampled_from([{}, _bought(set(keys) - covered, Status.OPEN, covered=False)]))
    planned, totals = _plan(given_rows, known | given_up)
    assert sorted(_keys(planned)) == sorted(set(keys) - covered)
    assert totals.images == len(keys) - len(covered)
    assert totals.found.total() == len(covered)
    for row in planned:
        room = 15 - len(row.row.references) if row.row.grouping is Grouping.SET else 1
        left = sum(len(call.variants) for call in row.calls)
        assert len(row.calls) == -(-left // room)


@few
@given(rows(most=3), st.integers(1, 20))
def test_more_variants_buy_only_the_new_ones(given_rows, more):
    known = _bought(_keys(_plan(given_rows)[0]))
    planned, _ = _plan([replace(row, variants=row.variants + more) for row in given_rows], known)
    for row, old in zip(planned, given_rows, strict=True):
        numbers = [variant.number for call in row.calls for variant in call.variants]
        assert numbers == list(range(old.variants + 1, old.variants + more + 1))


@pytest.mark.parametrize("known", [{}, _bought(["of another row"])], ids=["new", "known"])
def test_a_row_buys_none_of_the_variants_that_a_row_before_it_buys_as_well(known):
    (planned,), _ = _plan([a_row(variants=3, shared=2)], known)
    assert [[variant.number for variant in call.variants] for call in planned.calls] == [[3]]


def test_a_next_take_is_bought_apart_where_the_first_takes_of_its_row_are_packed_with_others():
    given_rows = [a_row(name, prompt="mug", variants=2) for name in ("r1", "r2")]
    known = _bought([variant_key(row_digest(given_rows[0]), 1)], Status.FAILED)
    only = frozenset({Status.FAILED})
    counted = Planner(known, {}, only)
    assert len(list(counted.plan(given_rows))) == 2
    packing = counted.packing_of(given_rows, (), EVERYTHING.picker())
    packing.start()
    planned = Planner(known, {}, only, packing=packing).plan(given_rows)
    calls = [[(variant.number, variant.take) for variant in call.variants] for row in planned for call in row.calls]
    assert calls == [[(1, 2)], [(2, 1), (1, 1), (2, 1)]]


@few
@given(rows(most=3))
def test_fewer_variants_buy_nothing(given_rows):
    known = _bought(_keys(_plan(given_rows)[0]))
    planned, totals = _plan([replace(row, variants=1) for row in given_rows], known)
    assert _keys(planned) == []
    assert totals.credits == 0


@few
@given(rows(most=3), st.sampled_from(["name", "label", "variables", "url", "grouping"]))
def test_what_only_looks_different_buys_nothing(given_rows, what):
    known = _bought(_keys(_plan(given_rows)[0]))
    changes = {
        "name": lambda row: {"name": row.name + "-2"},
        "label": lambda _: {"label": "another"},
        "variables": lambda _: {"variables": {"sku": "1"}},
        "url": lambda row: {"references": tuple(replace(r, url="https://new.example/x") for r in row.references)},
        "grouping": lambda row: {
            "grouping": Grouping.SET if row.grouping is Grouping.INDEPENDENT else Grouping.INDEPENDENT
        },
    }
    assert _keys(_plan([replace(row, **changes[what](row)) for row in given_rows], known)[0]) == []


@pytest.mark.parametrize("what", [{"prompt": "a jug"}, {"size": "16:9"}, {"quality": "4K"}, {"priority": "fast"}])
def test_what_means_something_else_is_all_new(what):
    old = a_row(variants=20)
    known = _bought(_keys(_plan([old])[0]))
    assert len(_keys(_plan([replace(old, **what)], known)[0])) == 20


@few
@given(rows())
def test_the_price_of_a_plan_is_exact(given_rows):
    _, totals = _plan(given_rows)
    assert totals.credits == Decimal("1.53") * totals.images
    assert totals.dearest == Decimal("1.53")


def test_a_hundred_thousand_images_cost_to_the_last_digit_what_one_costs_so_often():
    planner = Planner({}, {"doubao-seedream-4.0": Decimal("0.1")})
    for _ in planner.plan(a_row(f"r{n}", variants=1000) for n in range(100)):
        pass
    assert planner.totals.credits == 10_000


def test_each_model_is_counted_at_its_own_price():
    planner = Planner({}, {"other": Decimal("2.5")})
    list(planner.plan([a_row(variants=2), a_row("jug", model="other", variants=3)]))
    assert planner.totals.credits == 2 * PRICE + Decimal("7.5")
    assert planner.totals.dearest == Decimal("2.5")


def test_a_model_without_a_price_is_refused_before_anything_is_planned():
    with pytest.raises(SettingInvalid, match="other"):
        _plan([a_row(model="other")])


def test_call_ids_are_those_of_their_variants():
    row = a_row(variants=17, references=references(3))
    ids = [call.id for call in _plan([row])[0][0].calls]
    assert ids == [call.id for call in _plan([a_row("z"), row, a_row("a")])[0][1].calls]
    assert all(re.fullmatch("c-[0-9a-f]{32}", call) for call in ids)
    assert len(set(ids)) == 2


@pytest.mark.parametrize("status", [Status.SHORT, Status.FAILED])
def test_only_asks_for_the_next_take_of_what_ended_so(status):
    row = a_row(variants=4)
    keys = _keys(_plan([row])[0])
    known = _bought(keys[:2]) | _bought(keys[2:3], status) | _bought(keys[3:], Status.REFUSED)
    planned, totals = _plan([row], known, frozenset({status}))
    assert [(v.number, v.take) for call in planned[0].calls for v in call.variants] == [(3, 2)]
    assert [variant.take for variant in planned[0].variants] == [1, 1, 2, 1]
    assert totals.new_takes == 1
    assert _keys(_plan([row], known)[0]) == []


def test_a_refused_row_is_not_asked_for_again_unchanged():
    row = a_row(variants=2)
    known = _bought(_keys(_plan([row])[0]), Status.REFUSED)
    planned, totals = _plan([row], known, frozenset({Status.REFUSED, Status.SHORT, Status.FAILED}))
    assert _keys(planned) == []
    assert totals.new_takes == 0


def test_the_latest_take_is_the_one_that_counts():
    row = a_row(variants=1)
    first = _keys(_plan([row])[0])
    known = _bought(first, Status.SHORT)
    second = _keys(_plan([row], known, frozenset({Status.SHORT}))[0])
    known |= _bought(second, Status.FAILED)
    assert _keys(_plan([row], known)[0]) == []
    assert _keys(_plan([row], known, frozenset({Status.SHORT}))[0]) == []
    third = _plan([row], known, frozenset({Status.FAILED}))[0][0].variants[0]
    assert third.take == 3
    assert third.key not in {*first, *second}


def test_new_takes_share_no_call_with_first_ones():
    row = a_row(variants=4)
    keys = _keys(_plan([row])[0])
    planned, _ = _plan([row], _bought(keys[1:2], Status.FAILED), frozenset({Status.FAILED}))
    assert [[(v.number, v.take) for v in call.variants] for call in planned[0].calls] == [
        [(1, 1), (3, 1), (4, 1)],
        [(2, 2)],
    ]


def test_a_plan_knows_how_many_of_its_rows_the_archive_has_met():
    planned, _ = _plan([a_row(variants=2), a_row("jug")])
    _, totals = _plan([a_row(variants=2), a_row("jug"), a_row("pan")], _bought(_keys(planned[:1]), covered=False))
    assert totals.known_rows == 1


def _plan_part(given_rows, known=None, only=frozenset(), *, asked_only=False, **selection):
    choice = choose(Selection(**selection), lambda: given_rows)
    planner = Planner(known or {}, {}, only, choice.picker(), asked_only)
    return list(planner.plan(given_rows)), planner


def test_a_plan_in_part_has_every_row_and_counts_what_was_asked_for_beside_the_whole():
    three = [a_row("a", variants=2), a_row("b", variants=3), a_row("c", variants=40)]
    planned, planner = _plan_part(three, first=2)
    assert [len(row.calls) for row in planned] == [1, 1, 3]
    assert (planner.asked.rows, planner.asked.images, planner.asked.credits) == (2, 5, 5 * PRICE)
    assert (planner.totals.rows, planner.totals.images, planner.totals.credits) == (3, 45, 45 * PRICE)


def test_a_plan_that_reserves_a_part_has_calls_for_that_alone_and_the_variants_of_all():
    two = [a_row("a", variants=2), a_row("b", variants=3)]
    planned, _ = _plan_part(two, where='row == "b"', asked_only=True)
    whole, _ = _plan(two)
    assert [len(row.calls) for row in planned] == [0, 1]
    assert planned[1] == whole[1]
    assert [row.variants for row in planned] == [row.variants for row in whole]


def test_only_the_selected_rows_get_new_takes():
    two = [a_row("a"), a_row("b")]
    known = _bought(_keys(_plan(two)[0]), Status.FAILED)
    planned, planner = _plan_part(two, known, frozenset({Status.FAILED}), first=1)
    assert [[v.take for call in row.calls for v in call.variants] for row in planned] == [[2], []]
    assert planner.totals.new_takes == 1


def test_a_plan_for_new_takes_alone_asks_for_nothing_else():
    two = [a_row("a", variants=2), a_row("b", variants=9)]
    known = _bought(_keys(_plan(two)[0])[:1], Status.SHORT)
    planned, planner = _plan_part(two, known, frozenset({Status.SHORT}), asked_only=True)
    assert [[v.take for call in row.calls for v in call.variants] for row in planned] == [[2], []]
    assert planner.asked.credits == PRICE


def test_what_is_asked_for_of_the_whole_is_the_whole():
    """A run for every row counts them once; its price is that of the plan."""
    planner = Planner({}, {})
    rows = [a_row("r1", variants=17), a_row("r2", variants=2)]
    calls = [call for planned in planner.plan(rows) for call in planned.calls]
    asked, totals = planner.asked, planner.totals
    assert (asked.rows, asked.images, asked.calls, asked.floor) == (2, 19, len(calls), 3)
    assert asked.credits == totals.credits > 0
    assert (asked.dearest_call, asked.images_by_kind) == (totals.dearest_call, totals.images_by_kind)
    assert not asked.found


def test_what_is_delivered_counts_each_channel_and_each_kind_of_master_once():
    wishes = [("meta-feed", "meta-story"), ("meta-feed", "original"), ("original",), ()]
    given_rows = [a_row(f"row-{n}", variants=2, delivery=Wanted(channels)) for n, channels in enumerate(wishes)]
    saving = _plan(given_rows)[1].saving
    assert (len(saving.channels), len(saving.masters)) == (2, 1)
    assert (saving.images, saving.images_one_each) == (4, 6)
    assert (saving.credits, saving.credits_one_each) == (4 * PRICE, 6 * PRICE)


def test_only_a_rejected_image_gets_a_next_take():
    row = a_row(variants=2)
    first, second = _keys(_plan([row])[0])
    decided = {first: Decision(first, Verdict.REJECTED), second: Decision(second, Verdict.APPROVED)}
    planner = Planner(_bought([first, second]), {}, frozenset({Verdict.REJECTED}), decisions=decided)
    (planned,) = planner.plan([row])
    assert [(variant.number, variant.take) for call in planned.calls for variant in call.variants] == [(1, 2)]
    assert [(variant.number, variant.take) for variant in planned.variants] == [(1, 2), (2, 1)]


@pytest.mark.parametrize(
    ("covered", "came_back", "take"), [(True, True, 1), (True, False, 2), (False, True, 2), (False, False, 2)]
)
def test_a_take_that_was_asked_for_gives_way_only_to_a_former_one_that_completed_after_all(covered, came_back, take):
    row = a_row()
    (first,) = _keys(_plan([row])[0])
    (second,) = _keys(_plan([row], _bought([first], Status.FAILED), frozenset({Status.FAILED}))[0])
    known = {
        first: Outcome(Status.FAILED, covered, "c-1", 1, came_back=came_back),
        second: Outcome(Status.OPEN, covered=False, call="c-2", attempt=0),
    }
    assert [variant.take for variant in _plan([row], known)[0][0].variants] == [take]


@pytest.mark.parametrize(
    ("other", "overlaps"),
    [
        ({"delivery": Wanted(("meta-feed",))}, True),
        ({"delivery": Wanted(("meta-story",))}, False),
        ({"delivery": Wanted(("meta-feed",)), "job": "another"}, False),
        ({"delivery": Wanted(("meta-feed",)), "size": "1:1"}, False),
    ],
    ids=["one channel from two sizes", "a channel each", "two jobs", "one size"],
)
def test_what_is_saved_is_unknown_only_where_a_job_has_one_channel_from_several_sizes(other, overlaps):
    square = a_row("square", delivery=Wanted(("meta-feed",)))
    tall = a_row("tall", **{"size": "9:16", **other})
    assert _plan([square, tall])[1].saving.overlaps is overlaps


def test_what_the_dearest_image_and_call_cost_is_exact_where_a_credit_buys_several():
    planner = Planner({}, {"cheap": Decimal("0.1")})
    list(planner.plan([a_row(model="cheap", variants=3)]))
    assert (planner.totals.dearest, planner.totals.dearest_call) == (Decimal("0.1"), Decimal("0.3"))


def test_images_that_an_earlier_row_buys_are_not_bought_once_the_archive_has_some_of_the_row():
    row = a_row(variants=4, shared=2)
    keys = [variant.key for variant in _plan([row])[0][0].variants]
    planned, _ = _plan([row], _bought(keys[3:]))
    assert _keys(planned) == keys[2:3]


def test_a_row_that_waits_for_an_approval_has_its_first_takes_and_no_call():
    row = a_row(variants=3, references=(approved_images_of("logo"),))
    (planned,), totals = _plan([row])
    assert [(variant.number, variant.take) for variant in planned.variants] == [(1, 1), (2, 1), (3, 1)]
    assert (planned.calls, totals.waiting) == ((), {("hero", "logo"): 3})
