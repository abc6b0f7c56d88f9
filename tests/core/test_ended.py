"""What is told from records without folding them says what the folded facts say."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from support.fakes import EDITION, ManualClock, MemoryStore, a_row
from support.finished import finish

from adloom.core.ended import ended_of
from adloom.core.facts import Stage, fold, money_of
from adloom.core.manifest import Tally
from adloom.core.outcomes import missing, outcomes_in_short
from adloom.ledger.ledger import Ledger
from adloom.run.progress import Counts

Records = dict[str, dict[str, Any]]


@pytest.fixture
async def records() -> Records:
    """The records of a call that went as most do."""
    ledger = Ledger(MemoryStore(), EDITION, ManualClock(), "run-a")
    call = await finish(ledger, a_row())
    return {name: copy.deepcopy(dict(entry["record"])) for name, entry in ledger.records(call).items()}


def _task(records: Records) -> str:
    return next(name for name in records if "-accepted." in name)


CHANGES: dict[str, Callable[[Records], object]] = {
    "withdrawn": lambda found: found["a1-intent"].update(outcome="withdrawn"),
    "a top-up": lambda found: found["a1-intent"].update(parent="c-1", round=1),
    "a change that a reviewer wished for": lambda found: found["a1-intent"]["variants"][0].update(change="brighter"),
    "asked for more": lambda found: found["a1-intent"]["variants"].append({"key": "k", "number": 2, "take": 1}),
    "another schema": lambda found: found["a1-completed"].update(schema="adloom.fact/9"),
    "reserved less": lambda found: found[_task(found)].update(credits="1.50"),
    "another task": lambda found: found[_task(found)].update(task="task-other"),
    "a second task": lambda found: found.update({"a1-accepted.task-2": {**found[_task(found)], "task": "task-2"}}),
    "not final": lambda found: found["a1-completed"].update(final=False),
    "billed more": lambda found: found["a1-completed"].update(billed=2),
    "showed one twice": lambda found: found["a1-completed"].update(reported=2),
    "more links": lambda found: found["a1-completed"]["links"].append("https://results.example/more"),
    "no links": lambda found: found["a1-completed"].update(links=[], reported=0),
    "released": lambda found: found["a1-settled"].update(outcome="released"),
    "given back": lambda found: found["a1-settled"].update(outcome="free"),
    "lost": lambda found: found["a1-archived-1"]["images"][0].update(fate="lost"),
    "an extra": lambda found: found["a1-archived-1"]["images"][0].update(fate="extra"),
    "another image": lambda found: found["a1-archived-1"]["images"][0].update(index=1),
    "no image": lambda found: found["a1-archived-1"].update(images=[]),
    "not archived": lambda found: found.pop("a1-archived-1"),
    "not settled": lambda found: found.pop("a1-settled"),
    "no answer": lambda found: found.pop(_task(found)),
    "a second attempt": lambda found: found.update({"a2-intent": dict(found["a1-intent"])}),
    "a refusal": lambda found: found.update({"a1-refused-1": {**found["a1-settled"], "kind": "throttled"}}),
    "held": lambda found: found.update({"a1-held": {**found["a1-settled"], "reason": "why"}}),
    "of a later version": lambda found: found.update({"a1-news": dict(found["a1-settled"])}),
    "a damaged price": lambda found: found["a1-completed"].update(credits="much"),
    "damaged images": lambda found: found["a1-archived-1"].update(images=3),
}


def test_equal_bytes_in_two_places_are_looked_at_more_closely(records: Records):
    """One of them may have been fetched for the other's place: ``core.facts`` tells."""
    first = records["a1-archived-1"]["images"][0]
    records["a1-intent"]["variants"].append({"key": "k", "number": 2, "take": 1})
    records["a1-completed"].update(links=["https://r.example/0", "https://r.example/1"], reported=2, billed=2)
    records["a1-archived-1"]["images"].append({**first, "index": 1, "sha256": "1" * 64})
    assert ended_of("c-1", records) is not None
    records["a1-archived-1"]["images"][1]["sha256"] = first["sha256"]
    assert ended_of("c-1", records) is None


def test_a_call_that_went_well_needs_no_folding(records: Records):
    ended, facts = ended_of("c-1", records), fold("c-1", records)
    assert ended is not None
    assert facts.stage is Stage.ARCHIVED
    assert missing(facts) is None
    assert outcomes_in_short([ended]) == outcomes_in_short([facts])
    assert facts.intent is not None
    assert (ended.variants, (ended.task,), ended.credits) == (
        tuple(variant.key for variant in facts.intent.variants),
        facts.latest.tasks,
        money_of(facts).charged,
    )
    counts = [Tally(), Tally()]
    counts[0].add_call(ended)
    counts[1].add_call(facts)
    assert counts[0].totals(1) == counts[1].totals(1)
    progress = [Counts(), Counts()]
    progress[0].update(ended)
    progress[1].update(facts)
    assert progress[0] == progress[1]
    assert all(ended.has(name) for name in records)
    assert not ended.has("a1-archived-2")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_call_that_differs_in_the_least_is_folded(records: Records, change: Callable[[Records], object]):
    change(records)
    assert ended_of("c-1", records) is None
