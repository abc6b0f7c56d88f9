"""A purchase that the probe repeats: whatever its second answer is, or if there is none, the ledger says so."""

from contextlib import nullcontext

import pytest
from support.fakes import (
    MODEL,
    PRICE,
    Crash,
    FakeSource,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_row,
    a_world,
    accepted,
    an_image,
    bought,
    completed,
    look_at,
    run_all,
)

from adloom.core.errors import AccountStopped, InputError, NotSent, OutcomeUnknown, StoreUnavailable
from adloom.core.facts import Money, Stage, money_of
from adloom.core.manifest import Tally, overall_status
from adloom.core.outcomes import Status, outcomes
from adloom.core.planned import Variant
from adloom.core.task import ListedTask, TaskState
from adloom.ledger.edition import Edition
from adloom.ledger.index import Entry, create_entry, open_editions
from adloom.ledger.ledger import Ledger
from adloom.run.closing import close_if_over, is_settled
from adloom.spend.held import RELEASE_AFTER_S, adopt, held_calls, release
from adloom.spend.purchase import repeat

PROBE = Edition("adloom-probe", "today")
CALL = "c-1"
LOST = OutcomeUnknown("the answer was lost")


class Listing(ScriptedApi):
    """An API that shows one task, which was made just now."""

    async def list_tasks(self, created_after):
        del created_after
        return [ListedTask("task-2", TaskState.PROCESSING, MODEL, int(self.clock.now()))]


@pytest.fixture
def api(clock: ManualClock) -> Listing:
    return Listing(clock)


async def ledger_of(store: MemoryStore, clock: ManualClock, writer: str = "later") -> Ledger:
    ledger = Ledger(store, PROBE, clock, writer)
    await ledger.load()
    return ledger


@pytest.fixture
async def ledger(store: MemoryStore, clock: ManualClock) -> Ledger:
    """The probe's purchase, complete and charged."""
    ledger = await ledger_of(store, clock, "probe")
    await ledger.decide(CALL, "a1-intent", bought([Variant("k1", 1, 1)]))
    await ledger.accept(CALL, 1, "task-1", str(PRICE))
    links = {"task": "task-1", "links": ["u1"], "reported": 1, "credits": str(PRICE)}
    await ledger.note(CALL, "a1-completed", links)
    await ledger.note(CALL, "a1-archived-1", {"images": [an_image(0)]})
    await ledger.decide(CALL, "a1-settled", {"outcome": "charged", "credits": str(PRICE)})
    return ledger


async def test_a_purchase_that_has_no_answer_is_not_repeated(store, clock, api):
    ledger = await ledger_of(store, clock, "probe")
    await ledger.decide(CALL, "a1-intent", bought([Variant("k1", 1, 1)]))
    with pytest.raises(InputError, match="has no answer to repeat"):
        await repeat(ledger, api, clock, CALL)
    assert api.posts == []


@pytest.mark.parametrize("end", [LOST, Crash()], ids=["no answer", "no process"])
async def test_a_repeated_purchase_without_an_answer_is_held_with_its_money(store, clock, api, ledger, end):
    api.answers = [end]
    with pytest.raises(type(end)):
        await repeat(ledger, api, clock, CALL)
    later = await ledger_of(store, clock)
    facts = later.facts(CALL)
    assert money_of(facts) == Money(charged=PRICE, reserved=PRICE, at_risk=PRICE)
    assert outcomes([facts])["k1"].reason.endswith("may have been bought twice")
    (held,) = held_calls(later, clock.now() + 60)
    assert (held.call, held.images, held.credits_at_risk, held.task, held.age_s) == (CALL, 1, PRICE, "", 60)
    assert "may have been bought twice: the probe sent it again" in held.reason
    assert not is_settled(later, clock.now())
    assert PROBE in await open_editions(store, clock.now())
    tally = Tally()
    tally.add_call(facts)
    found = {Status.ARCHIVED: 1}
    assert overall_status(found, (), doubtful=tally.doubtful) == "held"


async def test_what_is_to_be_held_is_on_record_before_it_leaves(store, clock, api, ledger):
    for what in ("open", "closed"):
        await create_entry(store, what, Entry(PROBE, "probe"), clock.now())
    assert PROBE not in await open_editions(store, clock.now())

    async def look(body, key):
        facts = (await ledger_of(store, clock)).facts(CALL)
        assert facts.doubtful is not None
        assert facts.latest.unknown[2].conflict is False
        assert PROBE in await open_editions(store, clock.now())
        return accepted("task-1")

    api.submit = look
    await repeat(ledger, api, clock, CALL)


@pytest.mark.parametrize(
    "answer", ["task-1", "task-2", AccountStopped("no credits", status=402), NotSent("no network")]
)
async def test_an_answer_leaves_no_doubt(store, clock, api, ledger, answer):
    api.answers = [accepted(answer, PRICE) if isinstance(answer, str) else answer]
    with nullcontext() if isinstance(answer, str) else pytest.raises(type(answer)):
        await repeat(ledger, api, clock, CALL)
    later = await ledger_of(store, clock)
    assert later.facts(CALL).doubtful is None
    assert held_calls(later, clock.now()) == []
    assert later.facts(CALL).latest.tasks == (("task-1", "task-2") if answer == "task-2" else ("task-1",))
    assert money_of(later.facts(CALL)) == Money(charged=PRICE, reserved=PRICE if answer == "task-2" else 0)
    assert await close_if_over(later, clock, lambda _: False)


async def test_a_second_task_is_claimed_at_once(store, clock, api, ledger):
    api.answers = [accepted("task-2", PRICE)]
    await repeat(ledger, api, clock, CALL)
    assert "tasks/task-2.json" in store.objects


@pytest.mark.parametrize(("task", "record"), [("task-1", "a1-refused-2"), ("task-2", "a1-accepted.task-2")])
async def test_an_answer_that_the_archive_does_not_take_is_told_and_held(
    store, clock, api, ledger, caplog, task, record
):
    def outage(operation, key):
        if operation == "create" and key.endswith(f"{record}.json"):
            raise StoreUnavailable("the disk is gone")

    api.answers, store.fault = [accepted(task, PRICE)], outage
    with pytest.raises(StoreUnavailable):
        await repeat(ledger, api, clock, CALL)
    assert f"`adloom resolve … {CALL} --adopt {task}` adopts it later" in caplog.text
    assert (await ledger_of(store, clock)).facts(CALL).doubtful is not None


async def test_an_archive_of_a_version_that_noted_no_outcome_is_read_as_before(ledger, clock):
    await ledger.decide(CALL, "a1-send-2", {"outcome": "bought", "probe": True})
    assert ledger.facts(CALL).doubtful is None
    assert held_calls(ledger, clock.now()) == []


async def test_its_second_task_is_no_other_purchases(store, clock, api, ledger):
    """The one unclaimed task of the list is either purchase's: it proves nothing."""
    api.answers = [LOST, LOST]
    with pytest.raises(OutcomeUnknown):
        await repeat(ledger, api, clock, CALL)
    world = a_world(store, clock, api, dedicated_key=True)
    result = await run_all(world, await look_at(world, FakeSource([a_row()])))
    assert result.exit_code == 6
    assert "tasks/task-2.json" not in store.objects


async def test_a_person_names_the_second_task_or_says_that_there_is_none(store, clock, api, ledger):
    api.answers = [LOST]
    with pytest.raises(OutcomeUnknown):
        await repeat(ledger, api, clock, CALL)
    api.states["task-2"] = completed("task-2", "u2")
    with pytest.raises(InputError, match="was sent 0 s ago"):
        await release(ledger, clock, CALL, "not in the console", "me")
    copy = MemoryStore()
    copy.objects = dict(store.objects)
    clock.advance(RELEASE_AFTER_S)
    released = await ledger_of(copy, clock)
    await release(released, clock, CALL, "not in the console", "me")
    await adopt(ledger, store, api, CALL, "task-2", "me")
    for settled, reserved in ((released, 0), (ledger, PRICE)):
        assert held_calls(settled, clock.now()) == []
        assert money_of(settled.facts(CALL)) == Money(charged=PRICE, reserved=reserved)
        assert settled.facts(CALL).latest.task == "task-1"
        assert settled.stage(CALL) is Stage.ARCHIVED
    with pytest.raises(InputError, match="is not held"):
        await release(released, clock, CALL, "again", "me")
