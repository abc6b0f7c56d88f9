"""A seed: what is bought, by whom, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random

from torture.simulated.api_tasks import MODEL, PRICE, TOKEN, Faults
from torture.simulated.handles import SimApi, SimClock, SimDecoder, SimStore
from torture.simulated.virtual_time import Killed
from torture.simulated.world import Process, World

from adloom.core.campaign import Budget, Campaign, Grouping, Pace, Row
from adloom.core.chain import Chains
from adloom.core.errors import AdloomError, PlanRefused
from adloom.core.exits import StopReason
from adloom.core.identity import explicit_identity
from adloom.core.outcomes import Status
from adloom.core.process import Process as ProcessName
from adloom.core.reference import Reference
from adloom.ledger.capabilities import record_capability
from adloom.ledger.edition import Edition
from adloom.plan.assessment import Wish, assess
from adloom.run.run import Result, Run
from adloom.spend.unknown import LONGEST_GAP_S
from adloom.world import World as RunWorld

EDITION = Edition("test", "main")
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
        """The faulty phase, then calm, then runs until nothing happens any more."""
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
        if self.proven and any("-unknown-" in key for key in world.under(EDITION.key("ledger/"))):
            world.note("waited for keys that rest")
            await asyncio.sleep(LONGEST_GAP_S)
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
