"""The model of two runs and two calls keeps its promises, needs its rules, and knows every story of the simulation."""

import json
import re
from random import Random

import pytest
from torture.model import APIS, WITHOUT, Attempt, Search, without
from torture.simulated.world import World
from torture.simulation import SHORT, play, quiet

FACT = re.compile(r".*/ledger/(?P<attempt>[^/]+/a\d+)-(?P<what>[a-z]+)(?:-(?P<number>\d+)|\..*)?\.json")
AFTER_ACCEPTED = ("completed", "failed", "held", "archived", "second")
"""Facts about a task that was accepted, as is a failure that keeps its charge: the model goes no further."""

SHORT_SEARCH = 5000
"""States of two calls; ``make torture`` searches all of them."""

MUST_HAPPEN = {
    ("unbought", "decided", "sending"),
    ("sending", "refused", "waiting"),
    ("sending", "accepted", "accepted"),
    ("sending", "unknown", "unknown"),
    ("unknown", "accepted", "accepted"),
    ("accepted", "free", "unbought"),
}


@pytest.mark.parametrize("api", APIS)
def test_no_interleaving_of_two_runs_breaks_a_promise_to_one_call(api: str):
    found = Search(api=APIS[api], calls=1).run()
    assert (found.problem, found.story) == ("", [])
    assert found.states > len(found.allowed)


@pytest.mark.parametrize("api", APIS)
def test_no_short_interleaving_of_two_runs_breaks_a_promise_to_two_calls(api: str):
    found = Search(api=APIS[api], most=SHORT_SEARCH).run()
    assert (found.problem, found.story) == ("", [])
    assert found.states >= SHORT_SEARCH


@pytest.mark.parametrize("rules", WITHOUT, ids=" and ".join)
def test_without_its_rules_the_model_breaks_a_promise(rules: tuple[str, ...]):
    assert Search(without(rules), WITHOUT[rules]).run().problem


@pytest.fixture(scope="module")
def allowed() -> set[tuple[str, str, str]]:
    return set().union(*(Search(api=api, calls=1).run().allowed for api in APIS.values()))


class Told:
    """What the model would say of each attempt of a simulated ledger, fact by fact in the order of writing."""

    def __init__(self) -> None:
        self.attempts: dict[str, Attempt] = {}
        self.steps: set[tuple[str, str, str]] = set()

    def hear(self, key: str, content: bytes) -> None:
        found = FACT.fullmatch(key)
        if found is None or found["what"] in AFTER_ACCEPTED:
            return
        outcome = json.loads(content).get("outcome", "")
        if outcome == "charged":
            return
        before = self.attempts.get(found["attempt"], Attempt())
        fact, after = _after(before, found["what"], int(found["number"] or 1), outcome)
        self.attempts[found["attempt"]] = after
        self.steps.add((before.stage, fact, after.stage))


def _after(before: Attempt, what: str, number: int, outcome: str) -> tuple[str, Attempt]:
    match what:
        case "intent" | "send" if outcome == "withdrawn":
            fact, after = "withdrawn", before._replace(withdrawn=True)
        case "intent" | "send":
            fact, after = "decided", before._replace(sends=max(before.sends, number))
        case "refused":
            fact, after = "refused", before._replace(refused=before.refused | 1 << number)
        case "unknown":
            fact, after = "unknown", before._replace(unknown=before.unknown | 1 << number)
        case "accepted":
            fact, after = "accepted", before._replace(tasks=1)
        case "disowned":
            fact, after = "disowned", before._replace(tasks=0)
        case _:
            assert what == "settled", what
            fact, after = "free", before._replace(free=True)
    return fact, after


def test_every_story_of_the_simulation_is_one_that_the_model_allows(
    allowed: set[tuple[str, str, str]], monkeypatch: pytest.MonkeyPatch
):
    told = Told()
    put = World.put

    def hear_and_put(world: World, key: str, content: bytes) -> None:
        told.hear(key, content)
        put(world, key, content)

    monkeypatch.setattr(World, "put", hear_and_put)
    with quiet():
        for seed in Random(2).sample(SHORT, 20):
            told.attempts.clear()
            assert not play(seed).problems
    assert told.steps - allowed == set()
    assert told.steps >= MUST_HAPPEN
