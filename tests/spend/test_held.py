"""Held purchases: what a person sees, and when adopting or releasing one is refused."""

from dataclasses import replace
from decimal import Decimal

import pytest
from support.fakes import EDITION, PRICE, ManualClock, MemoryStore, ScriptedApi, a_ledger, bought, completed

from adloom.core.callbacks import inbox
from adloom.core.errors import InputError
from adloom.core.facts import Stage
from adloom.core.outcomes import Status, outcomes
from adloom.core.planned import Variant
from adloom.ledger.edition import to_json
from adloom.ledger.ledger import Ledger
from adloom.spend.held import API_CLOCK_OFF_S, RELEASE_AFTER_S, adopt, held_calls, release


@pytest.fixture
def api(clock: ManualClock) -> ScriptedApi:
    return ScriptedApi(clock)


@pytest.fixture
async def ledger(store: MemoryStore, clock: ManualClock) -> Ledger:
    return await a_ledger(store, clock)


async def _lose(ledger: Ledger, call: str) -> None:
    """A purchase whose answer was lost."""
    await ledger.decide(call, "a1-intent", bought([Variant(f"{call}-k1", 1, 1), Variant(f"{call}-k2", 2, 1)]))
    await ledger.note(call, "a1-unknown-1", {"reason": "the answer was lost"})


async def test_what_is_held_is_shown_oldest_first_with_its_age_and_the_money_at_risk(ledger, clock):
    await _lose(ledger, "c-1")
    clock.advance(3600)
    await _lose(ledger, "c-2")
    clock.advance(60)
    first, second = held_calls(ledger, clock.now())
    assert (first.call, second.call) == ("c-1", "c-2")
    assert (round(first.age_s), round(second.age_s)) == (3660, 60)
    assert (first.images, first.credits_at_risk, first.reason) == (2, 2 * PRICE, "the answer was lost")


async def test_a_purchase_that_went_well_is_not_held(ledger, clock):
    await ledger.decide("c-1", "a1-intent", bought([Variant("k1", 1, 1)]))
    await ledger.accept("c-1", 1, "t-1", str(PRICE))
    assert held_calls(ledger, clock.now()) == []
    with pytest.raises(InputError, match="is not held"):
        await release(ledger, clock, "c-1", "no task", "me")


async def test_a_purchase_whose_task_a_callback_has_named_is_not_released(ledger, store, clock):
    await _lose(ledger, "c-1")
    clock.advance(RELEASE_AFTER_S)
    store.objects[f"{inbox(EDITION.prefix, 'c-1', 1)}t-1.json"] = b"{}"
    with pytest.raises(InputError, match="a callback has named task t-1"):
        await release(ledger, clock, "c-1", "the console shows none", "me")
    store.objects["tasks/t-1.json"] = to_json({"edition": EDITION.prefix, "call": "c-2", "attempt": 1})
    await release(ledger, clock, "c-1", "that task is another call's", "me")
    assert ledger.facts("c-1").stage is Stage.UNBOUGHT


async def test_a_release_is_taken_back_while_nothing_was_bought_instead(ledger, store, clock, api):
    for call in ("c-1", "c-2"):
        await _lose(ledger, call)
    clock.advance(RELEASE_AFTER_S)
    for call in ("c-1", "c-2"):
        await release(ledger, clock, call, "the console shows none", "me")
    await adopt(ledger, store, api, "c-1", "t-1", "me")
    assert (ledger.facts("c-1").stage, ledger.facts("c-1").latest.tasks) == (Stage.ACCEPTED, ("t-1",))
    await ledger.decide("c-2", "a2-intent", bought([Variant("c-2-k1", 1, 1)]))
    with pytest.raises(InputError, match="is not held"):
        await adopt(ledger, store, api, "c-2", "t-2", "me")


async def test_what_was_held_while_it_was_unknown_is_held_again_when_its_task_does_not_end(ledger, store, clock):
    await _lose(ledger, "c-1")
    for _ in range(2):
        await ledger.note_held("c-1", 1, "nothing could tell")
    clock.advance(60)
    await ledger.accept("c-1", 1, "t-1", str(PRICE))
    assert held_calls(ledger, clock.now()) == []
    clock.advance(60)
    for _ in range(2):
        await ledger.note_held("c-1", 1, "its task does not end")
    (held,) = held_calls(ledger, clock.now())
    assert (held.task, held.reason) == ("t-1", "its task does not end")
    assert outcomes([ledger.facts("c-1")])["c-1-k1"].status is Status.HELD
    assert {name for name in store.names("ledger/c-1/") if "held" in name} == {"a1-held", "a1-held-2"}


async def test_an_adopted_task_is_evidence_like_any_other(ledger, store, api):
    await _lose(ledger, "c-1")
    api.states["t-1"] = completed("t-1", "u1", "u2")
    await adopt(ledger, store, api, "c-1", "t-1", "me")
    facts = ledger.facts("c-1")
    assert (facts.stage, facts.latest.task) == (Stage.ACCEPTED, "t-1")
    assert facts.latest.accepted.via == "adopted by me"


async def test_a_task_that_the_api_does_not_know_or_another_call_has_is_not_adopted(ledger, store, api):
    await _lose(ledger, "c-1")
    await _lose(ledger, "c-2")
    api.states |= {"t-0": None, "t-1": completed("t-1", "u1")}
    with pytest.raises(InputError, match="does not know"):
        await adopt(ledger, store, api, "c-1", "t-0", "me")
    await adopt(ledger, store, api, "c-1", "t-1", "me")
    with pytest.raises(InputError, match="belongs to c-1"):
        await adopt(ledger, store, api, "c-2", "t-1", "me")
    assert ledger.facts("c-2").stage is Stage.UNKNOWN


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({"model": "doubao-seedream-4.5"}, "was made with doubao-seedream-4.5"),
        ({"created_at": -API_CLOCK_OFF_S - 1}, "was made at"),
    ],
)
async def test_a_task_that_cannot_be_the_calls_is_not_adopted(ledger, store, api, clock, made, says):
    await _lose(ledger, "c-1")
    if "created_at" in made:
        made = {"created_at": int(clock.now()) + made["created_at"]}
    api.states["t-1"] = replace(completed("t-1", "u1"), **made)
    with pytest.raises(InputError, match=says):
        await adopt(ledger, store, api, "c-1", "t-1", "me")
    assert ledger.facts("c-1").stage is Stage.UNKNOWN
    api.states["t-1"] = replace(completed("t-1", "u1"), model="internal-7", created_at=int(clock.now()) - 60)
    await adopt(ledger, store, api, "c-1", "t-1", "me")


async def test_a_held_purchase_shows_what_to_look_for(ledger, clock):
    await ledger.decide("c-1", "a1-intent", {**bought([Variant("k1", 1, 1)]), "body": '{"prompt": "a red mug"}'})
    await ledger.note("c-1", "a1-unknown-1", {"reason": "the answer was lost"})
    clock.advance(60)
    (held,) = held_calls(ledger, clock.now())
    assert (held.model, held.prompt, held.sent_s) == ("doubao-seedream-4.0", "a red mug", clock.now() - 60)


async def test_a_release_waits_a_quarter_of_an_hour_for_a_late_answer(ledger, clock):
    await _lose(ledger, "c-1")
    clock.advance(RELEASE_AFTER_S - 1)
    with pytest.raises(InputError, match=r"was sent 899 s ago"):
        await release(ledger, clock, "c-1", "no task in the console", "me")
    assert held_calls(ledger, clock.now())
    clock.advance(1)
    await release(ledger, clock, "c-1", "no task in the console", "me")
    assert held_calls(ledger, clock.now()) == []
    settled = ledger.facts("c-1").latest.settled
    assert (settled.kind, settled.reason, settled.credits) == ("person", "no task in the console", Decimal(0))


async def test_a_purchase_with_a_task_was_bought_and_is_never_released(ledger, clock):
    await _lose(ledger, "c-1")
    await ledger.accept("c-1", 1, "t-1", str(PRICE))
    await ledger.note_held("c-1", 1, "stuck")
    clock.advance(RELEASE_AFTER_S)
    (held,) = held_calls(ledger, clock.now())
    assert (held.task, held.reason) == ("t-1", "stuck")
    with pytest.raises(InputError, match="it was bought"):
        await release(ledger, clock, "c-1", "no task", "me")


async def test_of_two_people_the_second_hears_that_the_first_has_settled_it(ledger, store, clock):
    await _lose(ledger, "c-1")
    clock.advance(RELEASE_AFTER_S)
    other = await a_ledger(store, clock, "run-b")
    await release(other, clock, "c-1", "mine", "other")
    with pytest.raises(InputError, match="settled by somebody else"):
        await release(ledger, clock, "c-1", "mine too", "me")
