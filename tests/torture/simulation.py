"""Seeded simulation: several runs of one campaign, killed, paused and lied to, then checked against the oracle.

    python tests/torture/simulation.py --seeds 0:10000 [--workers 2]
    python tests/torture/simulation.py --seed 17

A seed draws a campaign, an API, a store, a mix of faults and a crowd of processes. After the faulty phase all faults
are off, runs go on until one sends nothing, and the invariants are checked. Exit code 1 names the seeds to replay.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import hashlib
import json
import logging
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from torture import simulation_world
from torture.simulation_world import (
    EPOCH,
    LINKS_LIVE_S,
    MODEL,
    PRICE,
    TOKEN,
    Deadlock,
    Faults,
    Killed,
    Made,
    Process,
    SimApi,
    SimClock,
    SimDecoder,
    SimStore,
    VirtualLoop,
    World,
)
from torture.tally import Tally

from adloom.core.campaign import Budget, Campaign, Grouping, Pace, Row
from adloom.core.chain import Chains
from adloom.core.errors import AdloomError, PlanRefused
from adloom.core.exits import StopReason
from adloom.core.facts import Attempt, CallFacts, Stage, fold, money_of
from adloom.core.identity import explicit_identity
from adloom.core.outcomes import Status
from adloom.core.process import Process as ProcessName
from adloom.core.records import ImageFate
from adloom.core.reference import Reference
from adloom.ledger.capabilities import record_capability
from adloom.ledger.edition import Edition
from adloom.plan.assessment import Wish, assess
from adloom.run.run import Result, Run
from adloom.world import World as RunWorld

EDITION = Edition("test", "main")
SHORT = range(100)
"""The seeds that all runs of the tests play."""
RUNS_TO_QUIET = 12
CALM_RUN_S = 2 * 3600
"""With faults off a run ends within this virtual time: waiting for others takes ten minutes, a slow poll five."""


@dataclass(frozen=True)
class Source:
    """A campaign in memory."""

    given: tuple[Row, ...]
    budget: Budget
    pace: Pace
    prices: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def campaign(self) -> Campaign:
        return Campaign("test", "test.yaml", self.budget, self.pace, "strict", None, self.prices)

    def rows(self) -> Iterator[Row]:
        yield from self.given

    def knows(self, is_bought: Callable[[str], bool]) -> None:
        """No size depends on what was bought."""

    @property
    def chained(self) -> Mapping[str, tuple[str, ...]]:
        return {}

    def refer(self, chains: Chains) -> None:
        """No job of it names another."""

    @property
    def warnings(self) -> tuple[str, ...]:
        return ()


def a_row(seed: int, number: int, variants: int, references: int, grouping: Grouping) -> Row:
    """A row whose prompt carries a token that no other row of any seed has."""
    return Row(
        job="job",
        identity=explicit_identity("job", f"row-{number}"),
        name=f"row-{number}",
        label=f"row-{number}",
        prompt=f"<<tok-{seed}-{number}>>",
        variables={},
        model=MODEL,
        size="1:1",
        quality="1K",
        priority="standard",
        references=tuple(
            Reference(f"url:https://e.example/{n}", f"https://e.example/{n}", str(n)) for n in range(references)
        ),
        grouping=grouping,
        variants=variants,
    )


class Scenario:
    """One seed: what is bought, by whom, and what goes wrong."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.random = random = world.random
        self.rows_made = 0
        self.processes = 0
        self.living: dict[Process, asyncio.Task[object]] = {}
        self.results: list[tuple[str, Result]] = []
        self.only_runs = 0
        self.setbacks = Random(f"setbacks of {world.seed}")
        """Apart from all else, so that a ledger that is never set back has the story that it always had."""
        self.is_set_back = False
        self.source = self._first_source()
        self.dedicated = random.random() < 0.6
        self.can_tell_dead = random.random() < 0.5
        self.interval_s = 3.0
        world.idempotent = random.random() < 0.5
        self.proven = world.idempotent and random.random() < 0.7
        world.list_open = random.random() < 0.8
        world.fresh_links = random.random() < 0.5
        world.tells_credits = random.random() < 0.7
        world.tells_reserve = random.random() < 0.8 or world.price_wavers or world.overcharges
        world.list_skew_s = random.choice((0, 0, -60, 60))
        world.page_size = random.choice((3, 20, 1000, 1000))
        self._draw_links()

    def _draw_links(self) -> None:
        world, random = self.world, self.world.wavers
        world.link_form = random.choice(("path", "path", "query", "signature"))
        world.signs_each_reading = random.random() < 0.3
        world.turns_results = random.random() < 0.5

    # --- campaigns

    def _first_source(self) -> Source:
        random = self.random
        count = random.choice((1, 1, 2, 2, 3, 4, 6, 12))
        rows = tuple(self._new_row() for _ in range(count))
        in_flight = random.choice((1, 2, 4, 16))
        per_minute = random.choice((None, None, None, 60))
        return Source(rows, self._budget(rows), Pace(in_flight, per_minute))

    def _new_row(self) -> Row:
        random = self.random
        self.rows_made += 1
        variants = random.choice((1, 1, 2, 3, 4, 6, 15, 16, 20))
        references = random.choice((0, 0, 0, 1, 5, 9, 10))
        grouping = Grouping.SET if variants > 6 or random.random() < 0.7 else Grouping.INDEPENDENT
        return a_row(self.world.seed, self.rows_made, variants, references, grouping)

    def _budget(self, rows: Sequence[Row]) -> Budget:
        """Enough with room to spare, exactly enough, or too little."""
        needed = PRICE * sum(row.variants for row in rows)
        factor = self.random.choice((Decimal(3), Decimal(3), Decimal(1), Decimal(1), Decimal("0.8")))
        return Budget(credits=needed * factor)

    def edited(self, source: Source) -> Source:
        """The campaign as somebody changed it: rows, order, variants, grouping or budget."""
        random = self.random
        rows = list(source.given)
        for _ in range(random.choice((1, 1, 2))):
            change = random.choice(("add", "remove", "shuffle", "more", "fewer", "group", "budget"))
            at = random.randrange(len(rows))
            if change == "add":
                rows.insert(at, self._new_row())
            elif change == "remove" and len(rows) > 1:
                rows.pop(at)
            elif change == "shuffle":
                random.shuffle(rows)
            elif change == "more":
                rows[at] = replace(rows[at], variants=rows[at].variants + random.choice((1, 2, 5)))
            elif change == "fewer":
                rows[at] = replace(rows[at], variants=max(1, rows[at].variants - random.choice((1, 2, 5))))
            elif change == "group":
                other = {Grouping.SET: Grouping.INDEPENDENT, Grouping.INDEPENDENT: Grouping.SET}
                rows[at] = replace(rows[at], grouping=other[rows[at].grouping])
            self.world.note(f"edit {change}")
        return replace(source, given=tuple(rows), budget=self._budget(rows))

    # --- faults

    def draw_faults(self) -> Faults:
        """A mix of faults: few kinds at a time, so that each gets the chance to be the one that matters."""
        random = self.random
        kinds = (
            "not-sent", "429", "429-advised", "dropped", "5xx-before", "late", "5xx-after", "broken-200",
            "lost-reply", "slow",
        )  # fmt: skip
        outcomes = (
            "short", "zero", "surplus", "dup-link", "dup-bytes", "fail-transient", "fail-final", "fail-moderation",
            "fail-no-content", "cancelled", "stuck", "never-decodes",
        )  # fmt: skip
        some = {kind: random.choice((0.05, 0.15, 0.4)) for kind in random.sample(kinds, random.choice((0, 1, 2, 3)))}
        ends = {kind: random.choice((0.05, 0.15, 0.4)) for kind in random.sample(outcomes, random.choice((0, 1, 2, 3)))}
        downloads = {kind: 0.2 for kind in ("fails", "damaged") if random.random() < 0.2}
        faults = Faults(submit=some, outcome=ends, download=downloads)
        faults.store_lost_reply = random.choice((0, 0, 0.05, 0.2))
        faults.store_down_after = random.choice((0, 0, 0, 0.01, 0.03))
        faults.read_fails = random.choice((0, 0, 0, 0.1, 0.3))
        faults.slow = random.choice((0, 0, 0.05, 0.2))
        now = self.world.loop.time()
        self._draw_young_links(faults, now)
        for windows, probability in (
            (faults.store_windows, 0.1),
            (faults.account_windows, 0.12),
            (faults.full_windows, 0.03),
        ):
            if random.random() < probability:
                start = now + random.expovariate(1 / 15)
                windows.append((start, start + random.choice((5, 30, 200, 1000))))
        if random.random() < 0.06:
            self.world.loop.call_later(random.choice((0, 2, 10)), self._move_price)
        if random.random() < 0.1:
            token = TOKEN.search(random.choice(self.source.given).prompt)
            assert token
            random.choice((self.world.moderated, self.world.refused)).add(token[1])
        return faults

    def _draw_young_links(self, faults: Faults, now: float) -> None:
        """Links that are refused or bring a page while they are young, for some images or for all."""
        random = self.world.wavers
        faults.young = {kind: random.choice((0.1, 0.5)) for kind in ("refused", "page") if random.random() < 0.3}
        for windows in (faults.refused_windows, faults.page_windows):
            if random.random() < 0.1:
                start = now + random.expovariate(1 / 15)
                windows.append((start, start + random.choice((2, 30, 200, 5000))))

    def _move_price(self) -> None:
        if self.world.is_calm:
            return
        self.world.price = PRICE * self.random.choice((Decimal("1.04"), Decimal("1.2"), Decimal("0.9")))
        self.world.price_moved = True
        self.world.note("price step")

    # --- processes

    def launch(self, source: Source, *, wish: Wish = Wish(), delay: float = 0.0, doomed: bool = False) -> Process:  # noqa: B008
        """Start a process that runs the campaign; a doomed one is killed, paused or interrupted on its way."""
        random = self.random
        self.processes += 1
        process = Process(self.world, f"P{self.processes}", random.randrange(2**31))
        interrupt_after = 0.0
        if doomed:
            fate = random.choice(("none", "crash", "crash", "crash", "pause", "pause", "interrupt", "both"))
            if fate in ("crash", "both"):
                process.crash_at = int(random.triangular(1, 250, 40))
                process.crash_after_effect = random.random() < 0.6
            if fate in ("pause", "both"):
                process.pause_at = int(random.triangular(1, 200, 30))
                process.pause_s = random.choice((3, 65, 200, 400, 2000))
            if fate == "interrupt":
                interrupt_after = random.choice((0.5, 5, 40))
        main = self.world.loop.create_task(self._life(process, source, wish, delay, interrupt_after))
        process.main = main
        self.living[process] = main
        return process

    async def _life(self, process: Process, source: Source, wish: Wish, delay: float, interrupt_after: float) -> object:
        world = self.world
        run: Run | None = None
        result: Result | None = None
        try:
            await asyncio.sleep(delay)
            skew = process.random.choice((0.0, 0.0, -20.0, 20.0))
            store, clock = SimStore(process), SimClock(process, skew)
            assessment = await assess(store, clock, source, EDITION, wish)
            run = await Run.start(
                RunWorld(
                    store=store,
                    api=SimApi(process),
                    decoder=SimDecoder(),
                    clock=clock,
                    random=process.random,
                    process=process.identity,
                    is_gone=self._is_gone,
                    poll_interval_s=self.interval_s,
                    dedicated_key=self.dedicated,
                ),
                assessment,
            )
            if interrupt_after:
                world.note("interrupt")
                world.loop.call_later(interrupt_after, run.interrupt)
            await run.work()
            result = await run.finish()
        except PlanRefused:
            world.note("plan refused")
        except AdloomError as error:
            world.note(f"run ended by {type(error).__name__}")
            world.say(f"{process.name} ended by {error.message}")
        except (Killed, asyncio.CancelledError, BaseExceptionGroup) as error:
            if not process.dead:
                world.problem(f"{process.name} ended by {error!r}")
        except Exception as error:  # noqa: BLE001 - whatever it is, the product raised it
            if not process.dead:
                world.problem(f"{process.name} ended by {error!r}")
        if not process.dead:
            self._ended(process, run, result)
        self.living.pop(process, None)
        return result

    def _ended(self, process: Process, run: Run | None, result: Result | None) -> None:
        """The process is over: what it left running ends with it."""
        process.dead = True
        process.died.set()
        if run is not None:
            for task in run._background:
                task.cancel()
        if result is None:
            return
        self.world.say(f"{process.name} exits {result.exit_code} {sorted(stop.reason for stop in result.stops)}")
        self.results.append((process.name, result))
        if result.exit_code == 1:
            self.world.problem(f"{process.name} met an error that nobody expected")
        for stop in result.stops:
            self.world.note(f"stop {stop.reason.value}")
        if any(stop.reason is StopReason.OLDER_LEDGER for stop in result.stops) and not self.is_set_back:
            self.world.problem(f"I15 {process.name} takes a ledger for older that knows everything")

    def _is_gone(self, name: ProcessName) -> bool:
        if not self.can_tell_dead:
            return False
        return all(process.identity != name for process in self.living)

    # --- the whole story

    async def play(self) -> None:
        """The faulty phase, then calm, then quiet, then the checks."""
        random, world = self.random, self.world
        store = SimStore(Process(world, "doctor", 0))
        if self.proven:
            await record_capability(store, "account", replays_keys=True, now=world.now())
        for _ in range(random.choice((1, 1, 2, 3))):
            await self._one_round()
        await self._calm_down()
        if self.setbacks.random() < 0.3:
            await self._calm_run()
            await self._set_back(doomed=False)
        await self._run_to_quiet()
        Checks(self).all()

    async def _one_round(self) -> None:
        """Some processes at once, under faults of their own."""
        random, world = self.random, self.world
        world.faults = self.draw_faults()
        if random.random() < 0.4 and self.processes:
            self.source = self.edited(self.source)
        for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5))):
            source = self.source
            if random.random() < 0.15:
                source = self.source = self.edited(self.source)
            wish = Wish()
            if self.processes and random.random() < 0.1:
                wish = Wish(only=frozenset({Status.SHORT, Status.FAILED}))
                self.only_runs += 1
                world.note("only")
            self.launch(source, wish=wish, delay=random.choice((0, 0, 0.2, 3, 20, 70)), doomed=True)
        if self.living:
            await asyncio.wait(self.living.values(), timeout=random.choice((20, 100, 3000, 20000)))
        if random.random() < 0.15:
            await asyncio.sleep(random.choice((600, 8000, 20 * 3600, 26 * 3600)))
        if not self.living and self.setbacks.random() < 0.3:
            await self._set_back(doomed=True)

    async def _set_back(self, *, doomed: bool) -> None:
        """Let a run meet a ledger that went back to an earlier state, or is gone; then all is there again."""
        world = self.world
        facts = [key for key in world.objects if key.startswith(EDITION.key("ledger/")) and "/sealed/" not in key]
        kept = self.setbacks.choice((0, self.setbacks.randrange(len(facts) + 1)))
        manifest = json.loads(world.objects.get(EDITION.key("manifest.json"), b"{}"))
        if manifest.get("facts", 0) <= kept:  # nobody could see it
            return
        world.note("ledger set back")
        world.say(f"the ledger goes back from {len(facts)} to {kept} facts")
        hidden = world.hide([*facts[kept:], *world.under(EDITION.key("ledger/sealed/"))])
        before, self.is_set_back = world.posts, True
        process = self.launch(self.source, wish=Wish(replace=True), doomed=doomed)
        await asyncio.wait({self.living[process]}, timeout=CALM_RUN_S)
        process.kill()
        if world.posts != before:
            world.problem(f"I1 {process.name} buys on a ledger that went back")
        world.show(hidden)
        self.is_set_back = False

    async def _calm_down(self) -> None:
        world = self.world
        world.calm()
        for process in tuple(self.living):
            process.resume()
            process.crash_at = process.pause_at = 0
        if self.living:
            await asyncio.wait(self.living.values(), timeout=CALM_RUN_S)
        for process in tuple(self.living):
            world.problem(f"I11 {process.name} does not end")
            process.kill()
        await asyncio.sleep(700)

    async def _run_to_quiet(self) -> None:
        """Plain runs until one sends nothing, and again when the last links have died; one more changes nothing."""
        world = self.world
        result = await self._run_until_nothing_happens()
        if result is not None and any(stop.reason is StopReason.OUTAGE for stop in result.stops):
            world.note("waited for links to die")
            await asyncio.sleep(25 * 3600)
            await self._run_until_nothing_happens()
        lines = world.objects.get(EDITION.key("assets.jsonl"))
        ledger = world.under(EDITION.key("ledger/"))
        before = world.posts
        self.last = await self._calm_run()
        if world.posts != before:
            world.problem("I7 an unchanged run buys")
        if world.objects.get(EDITION.key("assets.jsonl")) != lines:
            world.problem("I7 an unchanged run changes assets.jsonl")
        added = sorted(set(world.under(EDITION.key("ledger/"))) - set(ledger))
        if added:
            world.problem(f"I7 an unchanged run adds {added}")

    async def _run_until_nothing_happens(self) -> Result | None:
        world = self.world
        for _ in range(RUNS_TO_QUIET):
            before = world.posts, len(world.under(EDITION.key("ledger/")))
            result = await self._calm_run()
            if (world.posts, len(world.under(EDITION.key("ledger/")))) == before:
                return result
        world.problem(f"I11 after {RUNS_TO_QUIET} runs without faults something still happens")
        return None

    async def _calm_run(self) -> Result | None:
        process = self.launch(self.source, wish=Wish(replace=True))
        main = self.living[process]
        await asyncio.wait({main}, timeout=CALM_RUN_S)
        if not main.done():
            self.world.problem(f"I11 {process.name} does not end without any fault")
            process.kill()
            return None
        return main.result()  # type: ignore[return-value]


class Checks:
    """The invariants, judged by the oracle and by the bytes in the store."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.world = scenario.world
        self.calls = self._read_calls()
        self.lines = self._read_lines()

    def all(self) -> None:
        self._bought_once()
        self._tasks_and_attempts()
        self._nothing_lost()
        self._manifest()
        self._money()
        self._nothing_left()
        self._short_rightly()
        self._count_paths()

    def _read_calls(self) -> dict[str, CallFacts]:
        found: dict[str, dict[str, object]] = {}
        for key in self.world.under(EDITION.key("ledger/")):
            call, name = key.rsplit("/", 2)[1:]
            if call != "sealed":
                found.setdefault(call, {})[name.removesuffix(".json")] = json.loads(self.world.objects[key])
        return {call: fold(call, facts) for call, facts in found.items()}  # type: ignore[arg-type]

    def _read_lines(self) -> list[dict[str, object]]:
        content = self.world.objects.get(EDITION.key("assets.jsonl"), b"")
        return [json.loads(line) for line in content.splitlines()]

    def _bought_once(self) -> None:
        """I1: images that a row's token was charged for, against the variants and takes that were ever wanted."""
        wanted: dict[str, dict[int, int]] = {}
        for key in self.world.under(EDITION.key("plan/")):
            for line in self.world.objects[key].splitlines():
                row = json.loads(line)
                takes = wanted.setdefault(TOKEN.search(row["prompt"])[1], {})  # type: ignore[index]
                for number in range(1, row["variants"] + 1):
                    takes[number] = max(takes.get(number, 1), row.get("takes", {}).get(str(number), 1))
        bought: Counter[str] = Counter()
        for made in self.world.tasks.values():
            bought[made.token] += 0 if made.failed_for_long else made.slots()
        for token, count in bought.items():
            if count > sum(wanted.get(token, {}).values()):
                self.world.note("double purchase")
                self.world.problem(f"I1 {token}: {count} images bought, {sum(wanted[token].values())} wanted")
        most = 1 + self.scenario.only_runs
        if any(take > most for takes in wanted.values() for take in takes.values()):
            self.world.problem("I1 a take that nobody asked for")

    def _tasks_and_attempts(self) -> None:
        """I3, and that every task belongs to the purchase that made it."""
        owners: dict[str, str] = {}
        for facts in self.calls.values():
            for attempt in facts.attempts:
                if len(attempt.tasks) > 1:
                    self.world.problem(f"I3 {facts.call} a{attempt.number} has the tasks {attempt.tasks}")
                for task in attempt.tasks:
                    if owners.setdefault(task, facts.call) != facts.call:
                        self.world.problem(f"I3 {task} belongs to {owners[task]} and {facts.call}")
                    made = self.world.tasks.get(task)
                    key = attempt.intent.idempotency_key if attempt.intent else ""
                    if made is None or made.key != key:
                        self.world.problem(f"I3 {task} was not made by {facts.call} a{attempt.number}")

    def _nothing_lost(self) -> None:
        """I2: every image is in the store, lost with a cause, or belongs to a purchase that is shown as unknown."""
        by_key = {a.intent.idempotency_key: (c, a) for c in self.calls.values() for a in c.attempts if a.intent}
        stored = {
            content.removeprefix(b"BAD|").removeprefix(b"PAGE|")
            for key, content in self.world.objects.items()
            if any(part in key for part in ("/assets/", "/extras/", "/quarantine/", "orphans/"))
        }
        for made in self.world.tasks.values():
            if not made.completed or not made.links(0) or made.failed_for_long:
                continue
            if made.key not in by_key:
                self.world.problem(f"I2 no intent has the key of {made.id}")
                continue
            facts, attempt = by_key[made.key]
            self._given_up_rightly(facts, attempt, made)
            lost = {_picture(attempt, image.index) for image in attempt.images if image.fate is ImageFate.LOST}
            self.world.seen["lost"] += len(lost)
            absent = {i for i, image in enumerate(made.images) if image not in stored}
            given_up = sum(image.fate is not ImageFate.ARCHIVED for image in attempt.images)
            if made.form == "signature" and len(absent) <= given_up:  # which of them is which, nobody can tell
                continue
            all_links_lost = len(lost) == len(set(made.links(0)))  # two images may share one link
            if not absent <= lost and not all_links_lost:
                if made.id not in attempt.tasks and attempt is facts.latest and facts.stage is Stage.UNKNOWN:
                    self._is_shown(facts)
                    continue
                self.world.problem(f"I2 {made.id} of {facts.call} ({facts.stage}): images {absent - lost} are nowhere")

    def _given_up_rightly(self, facts: CallFacts, attempt: Attempt, made: Made) -> None:
        """No image is given up before its link has had its time, by a clock that may be 20 seconds off."""
        for number, archived in attempt.archived.items():
            given_up = {
                image.index for image in archived.images if image.fate in (ImageFate.LOST, ImageFate.QUARANTINED)
            }
            seen = archived.unix_s - EPOCH
            if given_up and seen < made.ends + LINKS_LIVE_S - 60:
                self.world.problem(f"I2 images {given_up} of {facts.call} are given up early, in archived-{number}")

    def _is_shown(self, facts: CallFacts) -> None:
        """I10: what is unknown is held in the manifest, wherever its variants are still wanted."""
        if facts.latest.held is None:
            self.world.note("unknown but not held")

    def _manifest(self) -> None:
        """I5 and I10: the manifest's own sums, its files' hashes, and every asset's bytes."""
        content = self.world.objects.get(EDITION.key("manifest.json"))
        if content is None:
            self.world.problem("I5 there is no manifest")
            return
        manifest = json.loads(content)
        totals = manifest["totals"]
        counts = Counter(line["status"] for line in self.lines)
        if any(totals[status.value] != counts[status.value] for status in Status):
            self.world.problem(f"I5 totals {totals} are not the lines' {counts}")
        if totals["wanted"] != len(self.lines) or sum(totals[status.value] for status in Status) != totals["wanted"]:
            self.world.problem(f"I5 the totals do not add up: {totals}, {len(self.lines)} lines")
        if totals["wanted"] != sum(row.variants for row in self.scenario.source.given):
            self.world.problem("I5 the manifest is of another campaign")
        for name, entry in manifest["files"].items():
            if hashlib.sha256(self.world.objects[EDITION.key(name)]).hexdigest() != entry["sha256"]:
                self.world.problem(f"I5 {name} is not what the manifest says")
        self._assets()
        self._states(totals)

    def _assets(self) -> None:
        tokens = {row.name: TOKEN.search(row.prompt)[1] for row in self.scenario.source.given}  # type: ignore[index]
        seen: set[tuple[str, str]] = set()
        for line in self.lines:
            if line["status"] != "archived":
                continue
            image = self.world.objects.get(EDITION.key(str(line["key"])))
            if image is None or hashlib.sha256(image).hexdigest() != line["sha256"]:
                self.world.problem(f"I5 {line['key']} is not what the manifest says")
            elif not image.startswith(b"IMG|"):
                self.world.problem(f"I5 {line['key']} is no image")
            elif image.split(b"|")[1].decode() != tokens.get(str(line["row"])):
                self.world.problem(f"I5 {line['key']} shows another row's picture")
            if str(line["key"]) in seen:
                self.world.problem(f"I5 {line['key']} stands for two variants")
            seen.add(str(line["key"]))  # type: ignore[arg-type]

    def _states(self, totals: Mapping[str, object]) -> None:
        """I10: the ledger's unknown purchases are the manifest's held ones, and their money is at risk."""
        unknown = [facts for facts in self.calls.values() if facts.stage is Stage.UNKNOWN]
        at_risk = sum((money_of(facts).at_risk for facts in unknown), start=Decimal(0))
        quoted = sum((facts.latest.intent.credits for facts in unknown if facts.latest.intent), Decimal(0))
        if at_risk != quoted or Decimal(str(totals["credits_at_risk"])) < quoted:
            self.world.problem(f"I10 {quoted} credits are at risk, the manifest says {totals['credits_at_risk']}")
        lines = {(line["row"], line["variant"], line["take"]): line["status"] for line in self.lines}
        for facts in unknown:
            intent = facts.intent
            assert intent
            for variant in intent.variants:
                status = lines.get((intent.row, variant.number, variant.take))
                if status not in (None, "held", "archived"):
                    self.world.problem(f"I10 {facts.call} is unknown, its variant {variant.number} is {status}")

    def _money(self) -> None:
        """I6 at the end: what the ledger commits to covers what the oracle charged, and fits the highest cap."""
        guessed = not self.world.tells_credits and self.world.seen["outcome surplus"]
        if self.world.price_moved or guessed:  # images that nobody asked for are estimated at their price
            return
        committed = sum((money_of(facts).committed for facts in self.calls.values()), start=Decimal(0))
        cap = max(self.world.caps, default=Decimal(0))
        if committed > cap + self.world.not_foreseen():
            self.world.problem(f"I6 {committed} credits are committed, the highest cap was {cap}")
        if self.world.exposure() > committed:
            self.world.problem(f"I6 the API charged {self.world.exposure()}, the ledger knows of {committed}")

    def _nothing_left(self) -> None:
        """I12: without faults and without a reason to stop, every variant ends."""
        result = self.scenario.last
        if result is None:
            self.world.problem("I11 the last run wrote no result")
        elif not result.stops and any(line["status"] == "open" for line in self.lines):
            reasons = {line["reason"] for line in self.lines if line["status"] == "open"}
            self.world.problem(f"I12 variants are left open without a reason to stop: {reasons}")
        elif any(stop.reason is not StopReason.BUDGET for stop in result.stops):
            self.world.problem(f"I12 the last run stops without a fault: {[stop.message for stop in result.stops]}")

    def _short_rightly(self) -> None:
        """I13: a variant is short only after two calls in a row that brought nothing."""
        for line in self.lines:
            if line["status"] != "short":
                continue
            facts = self.calls[str(line["call"])]
            parent = self.calls.get(facts.intent.parent) if facts.intent else None
            if facts.latest.links or parent is None or parent.latest.links:
                self.world.problem(f"I13 {line['row']} {line['variant']} is short after {facts.call}, too early")

    def _count_paths(self) -> None:
        """What this seed reached."""
        note = self.world.note
        unknown = 0
        for facts in self.calls.values():
            intent = facts.intent
            if intent is not None and intent.round:
                note("top-up")
            if len([attempt for attempt in facts.attempts if attempt.tasks]) > 1:
                note("retry after a failed task")
            unknown += facts.stage is Stage.UNKNOWN
            for attempt in facts.attempts:
                self._count_attempt(attempt)
        if unknown > 1:
            note("two unknowns held")
        for line in self.lines:
            self.world.seen[f"variant {line['status']}"] += 1

    def _count_attempt(self, attempt: object) -> None:
        note = self.world.note
        for unknown in attempt.unknown.values():  # type: ignore[attr-defined]
            note("unknown")
            if "died" in unknown.reason:
                note("takeover of a dead owner")
        accepted = attempt.accepted  # type: ignore[attr-defined]
        if attempt.unknown and accepted is not None:  # type: ignore[attr-defined]
            by_list, by_key = accepted.via == "task list", accepted.replayed or attempt.sends > 1  # type: ignore[attr-defined]
            note("settled by list" if by_list else "settled by key" if by_key else "settled by a late reply")
        for image in attempt.images:  # type: ignore[attr-defined]
            note(f"image {image.fate}")


def _picture(attempt: Attempt, index: int) -> int:
    """Which picture of its task the link of this place leads to: an API may show them in another order."""
    found = re.search(r"/(\d+)(?:\?|$)|image=(\d+)", attempt.links[index])
    return int(found[1] or found[2]) if found else index


@dataclass
class Report:
    """What one seed came to."""

    seed: int
    problems: list[str]
    seen: Counter[str]
    posts: int
    calls: int
    trace: str
    log: list[str]


def simulate(seed: int, *, verbose: bool = False) -> Report:
    """Play one seed from start to end."""
    world = play(seed, verbose=verbose)
    return Report(
        seed,
        world.problems,
        world.seen,
        world.posts,
        len(world.decisions),
        world.trace.hexdigest(),
        world.log or [],
    )


def play(seed: int, *, verbose: bool = False) -> World:
    """The world after one seed's story."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    world = World(seed, loop)
    if verbose:
        world.log = []
    scenario = Scenario(world)
    try:
        loop.run_until_complete(scenario.play())
    except Deadlock:
        world.problem("I11 everybody waits for somebody else")
    finally:
        _close(loop)
    return world


def _close(loop: VirtualLoop) -> None:
    """End what dead processes left behind: some of it has to be told more than once."""
    for _ in range(20):
        leftover = asyncio.all_tasks(loop)
        if not leftover:
            break
        for task in leftover:
            task.cancel()
        with contextlib.suppress(Deadlock):
            loop.run_until_complete(asyncio.wait(leftover, timeout=1))
    with contextlib.suppress(Deadlock):
        loop.run_until_complete(loop.shutdown_asyncgens())
    asyncio.set_event_loop(None)
    loop.close()


def torture(*, seeds: range, workers: int, until: float = math.inf, wavering: bool = False) -> Tally:
    """Many seeds; what they reached, and which of them broke an invariant."""
    tally = Tally(f"simulation, seeds {seeds.start} to {seeds.stop - 1}" + (", all wavering" if wavering else ""))
    with ProcessPoolExecutor(workers, initializer=_make_all_waver if wavering else _be_quiet) as pool:
        for report in tally.of_each(pool, simulate, seeds, until):
            tally.count("seeds")
            tally.count("POSTs", report.posts)
            for name, number in report.seen.items():
                tally.count(name, number)
            if report.problems:
                tally.failures.append(f"seed {report.seed}: {'; '.join(report.problems[:4])}")
    return tally


def _make_all_waver() -> None:
    simulation_world.wavering_share = 1.0
    _be_quiet()


def _be_quiet() -> None:
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda _: None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No logs, and nothing of what Python says when it throws away the coroutines of the killed."""
    hook = sys.unraisablehook
    _be_quiet()
    try:
        yield
    finally:
        gc.collect()
        sys.unraisablehook = hook
        logging.disable(logging.NOTSET)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0:1000", help="from:to, the end not included")
    parser.add_argument("--seed", type=int, help="tell one seed's story")
    parser.add_argument("--wavering", action="store_true", help="the ends of tasks waver in every seed")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    if options.seed is not None:
        simulation_world.wavering_share = 1.0 if options.wavering else simulation_world.wavering_share
        logging.disable(logging.CRITICAL)
        report = simulate(options.seed, verbose=True)
        sys.stdout.write("\n".join((*report.log, *report.problems)) + "\n")
        return 1 if report.problems else 0
    start, end = map(int, options.seeds.split(":"))
    return torture(seeds=range(start, end), workers=options.workers, wavering=options.wavering).show()


if __name__ == "__main__":
    sys.exit(main())
