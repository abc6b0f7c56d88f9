"""Every interleaving of two runs that buy two calls from an API that wavers: an explicit-state model.

    python tests/torture/model.py

The model is small enough to be searched to its end, which no simulation is: each step below is one operation that the
store or the API does at once, any run may stand still or die before any of them, and any request may arrive at any
later time or never. What is checked in each state that can be reached:

* a call is paid for once (``paid twice``);
* a task belongs to one call (``two owners``), and to the call that made it (``wrong owner``);
* a paid task is known to its call, or its call is still unknown or being sent (``lost``).

``Rules`` are the rules that keep this so. Each can be taken away, and then the search must find a story that breaks a
promise: a model that cannot fail shows nothing. ``allowed`` are the steps of one attempt's facts that the model can
make; ``test_model`` holds every story of the simulation against them.
"""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from torture.tally import Tally

RUNS = (0, 1)
NOBODY = -1
FOREIGN = 9
"""A task of another account or purchase, whose id the API may answer by mistake."""


@dataclass(frozen=True)
class Rules:
    """What the product does; every one of them is there because a story without it breaks a promise."""

    intent_first: bool = True
    """A decision to send is create-once and stands before the POST."""
    look_again: bool = True
    """After the decision the ledger is read once more, and anything that was said about the call stops the POST."""
    end_by_deciding: bool = True
    """A refusal ends an attempt only with the decision that nobody sends it again, which one run alone can make."""
    unknown_is_not_free: bool = True
    """An answer that was lost does not make a new attempt possible."""
    resend_only_where_proven: bool = True
    """The same key is sent again only where the API is proven to remember it."""
    fail_twice: bool = True
    """A failure is believed at its second reading."""
    look_at_former: bool = True
    """After the decision on a new attempt the former task is read once more, and the ledger after that: what is read
    last is what a person or another run may have changed."""
    list_then_rivals_then_claims: bool = True
    """The order in which a run reads what settles an unknown purchase by elimination."""
    rivals_count: bool = True
    """A task of the list is taken only where no other call could have made it."""
    an_answer_counts_when_claimed: bool = True
    """A call whose answer named a task is a rival until that task is claimed for it: the API may have named another."""


@dataclass(frozen=True)
class Api:
    """What the API is like."""

    remembers_keys: bool = False
    proven: bool = False
    lists: bool = True
    """The list can be read, and nobody else uses the key."""
    attempts: tuple[int, int] = (1, 1)
    """By call: how many attempts there may be. Tasks of a call with two may fail, or read as failed once."""
    sends: tuple[int, int] = (1, 1)
    """By call: how often one key is sent."""
    false_ids: bool = False
    """An answer may name a task that another purchase made."""
    released: bool = False
    """A person releases what is unknown, rightly: no task of it is there or under way."""


class Attempt(NamedTuple):
    """The facts of one attempt. ``sends`` counts decisions, ``owner`` is the run of the latest one.

    ``refused`` and ``unknown`` are sets of sends, ``tasks`` of tasks: as bits, so that states have an order.
    """

    sends: int = 0
    owner: int = NOBODY
    refused: int = 0
    unknown: int = 0
    tasks: int = 0
    free: bool = False
    withdrawn: bool = False

    @property
    def stage(self) -> str:
        """The product's stages, by the same rules."""
        if self.free:
            return "unbought"
        if self.tasks:
            return "accepted"
        if self.sends and not 1 << self.sends & (self.unknown | self.refused) and not self.withdrawn:
            return "sending"
        if self.unknown & ~self.refused:
            return "unknown"
        return "unbought" if self.withdrawn or not self.sends else "waiting"


class Task(NamedTuple):
    """A task of the API: by which call's attempt it was made, and whether it brings images."""

    call: int
    attempt: int
    good: bool
    flickers: bool


class Step(NamedTuple):
    """Where a run stands with a call, and what it remembers of what it read on the way."""

    at: str = "idle"
    attempt: int = 0
    send: int = 0
    task: int = NOBODY
    listed: int = 0
    others: int = 0
    """Calls that were rivals, or tasks that were claimed, as bits: whichever was read first."""


class State(NamedTuple):
    """The whole world."""

    ledger: tuple[tuple[Attempt, ...], ...]
    claims: tuple[int, ...]
    """By task: the call that claimed it, -1 for none."""
    tasks: tuple[Task, ...]
    under_way: tuple[tuple[int, int], ...]
    """Requests, as call and attempt, whose sender has given up on an answer: they may arrive yet. In order."""
    runs: tuple[tuple[Step, ...], ...]
    """By run, by call; empty for a dead run."""


def start(calls: int) -> State:
    """Nothing was bought yet."""
    steps = tuple(Step() for _ in range(calls))
    return State(ledger=((Attempt(),),) * calls, claims=(), tasks=(), under_way=(), runs=(steps, steps))


@dataclass
class Search:
    """A breadth-first search of all states."""

    rules: Rules = Rules()
    api: Api = Api()
    calls: int = 2
    most: float = math.inf
    """So many states are enough: those that the fewest steps lead to."""
    states: int = 0
    steps: int = 0
    problem: str = ""
    story: list[str] = field(default_factory=list)
    allowed: set[tuple[str, str, str]] = field(default_factory=set)
    """Steps of an attempt's facts: stage before, fact, stage after."""

    def run(self) -> Search:
        """Search until a promise breaks or nothing new is reached."""
        first = start(self.calls)
        came_from: dict[State, tuple[State | None, str]] = {first: (None, "")}
        queue = deque([first])
        while queue and len(came_from) < self.most:
            state = queue.popleft()
            for name, reached in self._successors(state):
                self.steps += 1
                after = min(reached, _with_runs_swapped(reached))  # it makes no difference which run is which
                if after in came_from:
                    continue
                came_from[after] = state, name
                if problem := broken(after):
                    self.problem, self.story = problem, _story(after, came_from)
                    self.states = len(came_from)
                    return self
                queue.append(after)
        self.states = len(came_from)
        return self

    def _successors(self, state: State) -> Iterator[tuple[str, State]]:
        for call, attempt in state.under_way:
            rest = state._replace(under_way=tuple(other for other in state.under_way if other != (call, attempt)))
            for after in self._arrive(rest, call, attempt):
                yield f"the request of call {call} arrives late", after[0]
            yield f"the request of call {call} is lost for good", rest
        for run in RUNS:
            mine = state.runs[run]
            for call, step in enumerate(mine):
                for what, after in self._act(state, run, call, step):
                    yield f"run {run}, call {call}: {what}", after
            if any(step.at != "idle" for step in mine):
                yield f"run {run} dies", self._die(state, run, mine)

    def _die(self, state: State, run: int, steps: tuple[Step, ...]) -> State:
        left = {(call, step.attempt) for call, step in enumerate(steps) if step.at == "posted"}
        runs = tuple(() if number == run else other for number, other in enumerate(state.runs))
        return state._replace(runs=runs, under_way=tuple(sorted(left | set(state.under_way))))

    def _act(self, state: State, run: int, call: int, step: Step) -> Iterator[tuple[str, State]]:  # noqa: C901
        match step.at:
            case "idle":
                yield from self._begin(state, run, call)
            case "planned":
                yield from self._decide(state, run, call, step)
            case "decided" if step.attempt and self.rules.look_at_former:
                yield from self._look_at_former(state, run, call, step)
            case "decided" | "looked":
                yield from self._look_again(state, run, call, step)
            case "ready":
                yield from self._post(state, run, call, step)
            case "posted":
                yield from self._hear(state, run, call, step)
            case "told":
                yield "the answer is written down", self._note(state, run, call, step.attempt, "accepted", step.task)
            case "refused" | "silence":
                fact = "refused" if step.at == "refused" else "unknown"
                yield f"{fact} is written down", self._note(state, run, call, step.attempt, fact, step.send)
            case "ending":
                yield from self._end(state, run, call, step)
            case "ended":
                yield "takes the refusal for final", self._note(state, run, call, step.attempt, "free", 0)
            case "listed" | "weighed" | "chosen" | "claimed":
                yield from self._eliminate(state, run, call, step)
            case "failed once":
                yield from self._second_reading(state, run, call, step)

    # --- what a run decides from the ledger

    def _begin(self, state: State, run: int, call: int) -> Iterator[tuple[str, State]]:
        number, latest = len(state.ledger[call]) - 1, state.ledger[call][-1]
        stage = latest.stage
        may_buy_again = stage == "unbought" or (not self.rules.unknown_is_not_free and stage == "unknown")
        if may_buy_again and not (latest.sends == 0 and number == 0):
            if number + 1 < self.api.attempts[call]:
                yield "plans a new attempt", self._at(state, run, call, Step("planned", number + 1, 1))
        elif stage == "unbought":
            yield "plans the first attempt", self._at(state, run, call, Step("planned", 0, 1))
            yield "wants it no longer, by a newer plan", self._note(state, run, call, 0, "withdrawn", 0)
        elif stage == "waiting":
            if latest.sends < self.api.sends[call]:
                yield "plans to send again", self._at(state, run, call, Step("planned", number, latest.sends + 1))
            yield "plans to end it", self._at(state, run, call, Step("ending", number, latest.sends + 1))
        elif stage == "sending" and latest.owner != run:
            yield "takes over", self._note(state, run, call, number, "unknown", latest.sends)
        elif stage == "unknown":
            yield from self._climb(state, run, call, number, latest)
        elif stage == "accepted":
            yield from self._read(state, run, call, number, latest)

    def _climb(self, state: State, run: int, call: int, number: int, latest: Attempt) -> Iterator[tuple[str, State]]:
        if self.api.released and not self._is_or_may_be_made(state, call, number):
            yield "a person releases it", self._note(state, run, call, number, "free", 0)
        proven = self.api.proven or not self.rules.resend_only_where_proven
        if proven and latest.sends < self.api.sends[call]:
            yield "plans to send the key again", self._at(state, run, call, Step("planned", number, latest.sends + 1))
        if self.api.lists:
            listed = (1 << len(state.tasks)) - 1
            yield "reads the list", self._at(state, run, call, Step("listed", number, 0, listed=listed))

    def _is_or_may_be_made(self, state: State, call: int, number: int) -> bool:
        """Whether a task of an attempt exists, or a request for one has left or is about to."""
        made = any((task.call, task.attempt) == (call, number) for task in state.tasks)
        steps = (steps[call] for steps in state.runs if steps)
        leaving = any(step.attempt == number and step.at in ("ready", "posted", "told") for step in steps)
        return made or leaving or (call, number) in state.under_way

    def _decide(self, state: State, run: int, call: int, step: Step) -> Iterator[tuple[str, State]]:
        attempts = state.ledger[call]
        is_new = step.attempt == len(attempts) or (step.attempt == 0 and attempts[0] == Attempt())
        taken = step.attempt < len(attempts) and attempts[step.attempt].sends >= step.send
        is_withdrawn = step.attempt < len(attempts) and attempts[step.attempt].withdrawn
        if (taken or is_withdrawn) and self.rules.intent_first:
            yield "somebody else has decided", self._at(state, run, call, Step())
            return
        if not is_new and step.attempt >= len(attempts):
            yield "is late", self._at(state, run, call, Step())
            return
        after = self._note(state, run, call, step.attempt, "decided", step.send)
        yield "decides to send", self._at(after, run, call, step._replace(at="decided"))

    def _end(self, state: State, run: int, call: int, step: Step) -> Iterator[tuple[str, State]]:
        if not self.rules.end_by_deciding:
            yield "takes the refusal for final", self._note(state, run, call, step.attempt, "free", 0)
            return
        attempt = state.ledger[call][step.attempt]
        if attempt.sends >= step.send or attempt.withdrawn:
            yield "somebody else has decided", self._at(state, run, call, Step())
            return
        after = self._note(state, run, call, step.attempt, "withdrawn", 0)
        yield "decides that nobody sends it again", self._at(after, run, call, Step("ended", step.attempt))

    def _look_again(self, state: State, run: int, call: int, step: Step) -> Iterator[tuple[str, State]]:
        attempts = state.ledger[call]
        latest = attempts[-1]
        former_are_free = all(attempt.stage == "unbought" for attempt in attempts[:-1])
        former_are_free = former_are_free or not self.rules.unknown_is_not_free
        undisturbed = len(attempts) - 1 == step.attempt and latest.sends == step.send and latest.stage == "sending"
        if self.rules.look_again and not (undisturbed and former_are_free):
            yield (
                "sees that somebody said something, and sends nothing",
                self._at(state, run, call, step._replace(at="refused")),
            )
            return
        yield "looks again", self._at(state, run, call, step._replace(at="ready"))

    def _look_at_former(self, state: State, run: int, call: int, step: Step) -> Iterator[tuple[str, State]]:
        former = state.ledger[call][step.attempt - 1]
        good = [task for task in _members(former.tasks & ~(1 << FOREIGN)) if state.tasks[task].good]
        if good:
            after = self._note(state, run, call, step.attempt - 1, "adopted", good[0])
            yield (
                "adopts the former task, which is there after all",
                self._note(after, run, call, step.attempt, "refused", step.send),
            )
        else:
            yield "finds the former task failed", self._at(state, run, call, step._replace(at="looked"))

    # --- the API

    def _post(self, state: State, run: int, call: int, step: Step) -> Iterator[tuple[str, State]]:
        stage = state.ledger[call][step.attempt].stage
        self.allowed.add((stage, "post", stage))
        yield "posts", self._at(state, run, call, step._replace(at="posted"))
        yield "cannot connect", self._at(state, run, call, step._replace(at="refused"))

    def _hear(self, state: State, run: int, call: int, step: Step) -> Iterator[tuple[str, State]]:
        for after, task in self._arrive(state, call, step.attempt):
            yield "hears of its task", self._at(after, run, call, step._replace(at="told", task=task))
            yield "the answer is lost", self._at(after, run, call, step._replace(at="silence"))
            if self.api.false_ids:
                yield "hears of another's task", self._at(after, run, call, step._replace(at="told", task=FOREIGN))
        late = state._replace(under_way=tuple(sorted({*state.under_way, (call, step.attempt)})))
        yield "gives up waiting", self._at(late, run, call, step._replace(at="silence"))
        yield "is refused", self._at(state, run, call, step._replace(at="refused"))

    def _arrive(self, state: State, call: int, attempt: int) -> Iterator[tuple[State, int]]:
        known = [n for n, task in enumerate(state.tasks) if (task.call, task.attempt) == (call, attempt)]
        if known and self.api.remembers_keys:
            yield state, known[0]
            return
        kinds = ((True, False), (True, True), (False, False))
        for good, flickers in kinds if self.api.attempts[call] > 1 else kinds[:1]:
            task = Task(call, attempt, good, flickers)
            yield state._replace(tasks=(*state.tasks, task), claims=(*state.claims, NOBODY)), len(state.tasks)

    def _read(self, state: State, run: int, call: int, number: int, latest: Attempt) -> Iterator[tuple[str, State]]:
        if latest.tasks >> FOREIGN:
            if latest.unknown >> latest.sends & 1:
                yield "disowns it", self._note(state, run, call, number, "disowned", FOREIGN)
            else:
                yield "finds its task claimed", self._note(state, run, call, number, "unknown", latest.sends)
            return
        for task in _members(latest.tasks):
            made = state.tasks[task]
            if made.flickers or not made.good:
                tasks = tuple(t._replace(flickers=False) if n == task else t for n, t in enumerate(state.tasks))
                read = state._replace(tasks=tasks)
                if self.rules.fail_twice:
                    yield "reads that it failed", self._at(read, run, call, Step("failed once", number, 0, task))
                else:
                    yield "believes that it failed", self._note(read, run, call, number, "free", 0)

    def _second_reading(self, state: State, run: int, call: int, step: Step) -> Iterator[tuple[str, State]]:
        if state.tasks[step.task].good:
            yield "reads that it is there", self._at(state, run, call, Step())
        else:
            yield "reads that it failed, again", self._note(state, run, call, step.attempt, "free", 0)

    # --- elimination

    def _eliminate(self, state: State, run: int, call: int, step: Step) -> Iterator[tuple[str, State]]:
        rivals_first = self.rules.list_then_rivals_then_claims
        if step.at == "listed":
            others = self._rivals(state, call) if rivals_first else self._claimed(state)
            yield "reads what others do", self._at(state, run, call, step._replace(at="weighed", others=others))
        elif step.at == "weighed":
            rivals = step.others if rivals_first else self._rivals(state, call)
            claimed = self._claimed(state) if rivals_first else step.others
            free = _members(step.listed & ~claimed)
            if len(free) == 1 and not (rivals and self.rules.rivals_count):
                (task,) = free
                yield (
                    "finds one task that only it can have made",
                    self._at(state, run, call, Step("chosen", step.attempt, 0, task)),
                )
            else:
                yield "cannot tell", self._at(state, run, call, Step())
        elif step.at == "chosen":
            if state.claims[step.task] not in (NOBODY, call):
                yield "finds it claimed", self._at(state, run, call, Step())
                return
            claims = tuple(call if n == step.task else other for n, other in enumerate(state.claims))
            yield "claims it", self._at(state._replace(claims=claims), run, call, step._replace(at="claimed"))
        else:
            yield "adopts it", self._note(state, run, call, step.attempt, "accepted", step.task)

    def _rivals(self, state: State, call: int) -> int:
        return sum(1 << c for c, attempts in enumerate(state.ledger) if c != call and self._is_rival(attempts[-1]))

    def _is_rival(self, latest: Attempt) -> bool:
        is_unclaimed = self.rules.an_answer_counts_when_claimed and bool(latest.tasks >> FOREIGN)
        return latest.stage in ("sending", "unknown") or is_unclaimed

    def _claimed(self, state: State) -> int:
        claimed = sum(1 << task for task, call in enumerate(state.claims) if call != NOBODY)
        for attempts in state.ledger:
            for attempt in attempts:
                claimed |= attempt.tasks
        return claimed

    # --- changes

    def _at(self, state: State, run: int, call: int, step: Step) -> State:
        changed = tuple(step if n == call else other for n, other in enumerate(state.runs[run]))
        return state._replace(runs=tuple(changed if n == run else other for n, other in enumerate(state.runs)))

    def _note(self, state: State, run: int, call: int, number: int, fact: str, value: int) -> State:
        """Write a fact down, and be idle."""
        attempts = list(state.ledger[call])
        if number == len(attempts):
            attempts.append(Attempt())
        before = attempts[number]
        match fact:
            case "decided":
                after = before._replace(sends=max(before.sends, value), owner=run)
            case "accepted":
                after = before._replace(tasks=before.tasks | 1 << value)
            case "disowned":
                after = before._replace(tasks=before.tasks & ~(1 << value))
            case "adopted":
                after = before._replace(free=False)
            case "unknown":
                after = before._replace(unknown=before.unknown | 1 << value)
            case "refused":
                after = before._replace(refused=before.refused | 1 << value)
            case "withdrawn":
                after = before._replace(withdrawn=True)
            case _:
                after = before._replace(free=True)
        attempts[number] = after
        self.allowed.add((before.stage, fact, after.stage))
        ledger = tuple(tuple(attempts) if n == call else other for n, other in enumerate(state.ledger))
        return self._at(state._replace(ledger=ledger), run, call, Step())


def broken(state: State) -> str:
    """The promise that a state breaks; empty where all is well."""
    owners: dict[int, set[int]] = {}
    for call, attempts in enumerate(state.ledger):
        made = [task for task in state.tasks if task.call == call and task.good]
        if len(made) > 1:
            return f"paid twice: call {call}"
        for attempt in attempts:
            for task in _members(attempt.tasks & ~(1 << FOREIGN)):
                owners.setdefault(task, set()).add(call)
    if any(len(calls) > 1 for calls in owners.values()):
        return "two owners of one task"
    for task, calls in owners.items():
        if calls != {state.tasks[task].call}:
            return "wrong owner of a task"
    return _lost(state)


def _lost(state: State) -> str:
    for number, task in enumerate(state.tasks):
        attempt = state.ledger[task.call][task.attempt]
        is_known = attempt.tasks >> number & 1 or attempt.tasks >> FOREIGN & 1  # the latter is disowned before its use
        if task.good and not is_known and attempt.stage not in ("sending", "unknown"):
            return f"lost: task {number} of call {task.call} ({attempt.stage})"
    return ""


def _members(bits: int) -> list[int]:
    return [number for number in range(bits.bit_length()) if bits >> number & 1]


def _with_runs_swapped(state: State) -> State:
    swapped = tuple(
        tuple(a if a.owner == NOBODY else a._replace(owner=1 - a.owner) for a in attempts) for attempts in state.ledger
    )
    return state._replace(ledger=swapped, runs=state.runs[::-1])


def _story(state: State, came_from: dict[State, tuple[State | None, str]]) -> list[str]:
    steps = []
    before: State | None = state
    while before is not None:
        before, name = came_from[before]
        if name:
            steps.append(name)
    return steps[::-1]


APIS = {
    "forgets keys, a list, answers with false ids": Api(false_ids=True),
    "forgets keys, no list, a person releases": Api(lists=False, attempts=(2, 1), released=True),
    "forgets keys, no list": Api(lists=False, attempts=(2, 1)),
    "forgets keys, a list": Api(),
    "forgets keys, sends again after a refusal": Api(lists=False, sends=(2, 1)),
    "remembers keys, proven": Api(remembers_keys=True, proven=True, lists=False, sends=(2, 2)),
    "remembers keys, proven, a list": Api(remembers_keys=True, proven=True, sends=(2, 1)),
}

WITHOUT: dict[tuple[str, ...], Api] = {
    ("intent_first",): APIS["forgets keys, no list"],
    ("look_again",): Api(lists=False, attempts=(2, 1), released=True),
    ("end_by_deciding",): APIS["forgets keys, sends again after a refusal"],
    ("unknown_is_not_free",): APIS["forgets keys, no list"],
    ("resend_only_where_proven",): APIS["forgets keys, sends again after a refusal"],
    ("fail_twice", "look_at_former"): APIS["forgets keys, no list"],
    ("list_then_rivals_then_claims",): APIS["forgets keys, a list"],
    ("rivals_count",): APIS["forgets keys, a list"],
    ("an_answer_counts_when_claimed",): APIS["forgets keys, a list, answers with false ids"],
}
"""Rules, and the API at which their absence is punished. Two of them each catch one failure that was read wrongly."""


def without(rules: tuple[str, ...]) -> Rules:
    """All rules but these."""
    return replace(Rules(), **dict.fromkeys(rules, False))


def torture(*, until: float = math.inf) -> Tally:
    """Search every API to its end, and each rule's absence until something breaks."""
    tally = Tally("model of two runs and two calls")
    for name, api in APIS.items():
        if time.monotonic() > until:
            tally.count("searches left out for lack of time")
            continue
        found = Search(api=api).run()
        tally.count(f"states, {name}", found.states)
        tally.count("steps", found.steps)
        if found.problem:
            tally.failures.append(" / ".join((name, found.problem, *found.story)))
    for rules, api in WITHOUT.items():
        if not Search(without(rules), api).run().problem:
            tally.failures.append(f"without {' and '.join(rules)} nothing breaks")
        tally.count("rules whose absence breaks a promise")
    return tally


if __name__ == "__main__":
    sys.exit(torture().show())
