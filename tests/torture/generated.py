"""A provider that may answer anything the API's facts permit, and the shortest story that breaks a promise.

    python tests/torture/generated.py --histories 100000 [--workers 2]

A Hypothesis state machine plays histories: runs, two runs at once, kills and hours that pass. The real client and the
real steps read HTTP answers that Hypothesis draws: fields that are missing or in another shape, ends without links,
states that go back, 404 before 200, another order, another price, one id for two purchases, links that are dead at
first. ``Provider`` holds the truth: what was made and charged. Afterwards the answers are plain, runs go on until
nothing happens, and the simulation's invariants are checked. Hypothesis shrinks what fails.

A lie ends: ``SHORT_LIE_S`` for what the contract believes at the second reading, ``LONG_LIE_S`` for what it does not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import math
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from torture.simulated.api_tasks import EPOCH, MODEL, PRICE, Made
from torture.simulated.checks import Checks
from torture.simulated.handles import SimClock, SimDecoder, SimStore
from torture.simulated.scenario import EDITION, RUNS_TO_QUIET, Source, a_row
from torture.simulated.virtual_time import Deadlock, Killed, VirtualLoop
from torture.simulated.world import Process, World
from torture.simulation import _be_quiet, _close
from torture.tally import Tally

from adloom.core.campaign import Budget, Grouping, Pace
from adloom.core.errors import AdloomError, PlanRefused
from adloom.core.exits import StopReason
from adloom.edges.evolink import transport
from adloom.edges.evolink.client import EvoLink
from adloom.edges.settings import read_settings
from adloom.ledger.capabilities import record_capability
from adloom.plan.assessment import Wish, assess
from adloom.run.run import Result, Run
from adloom.spend import unknown
from adloom.world import World as RunWorld

BASE = "https://api.example"
SHORT_LIE_S = 4.0
"""A reading that the second one confirms is believed: this must end before the earliest second reading, 5 s later."""
LONG_LIE_S = 1000.0
"""Past the 100 intervals for which a run reads on: the images are held then, and a later run finds them."""
LENGTHS_S = (SHORT_LIE_S, 60.0, LONG_LIE_S)
RESERVE_TOLD = ("plain", "slow", "false-id")
"""The answers that tell the reserve. Without it a charge is no bill: two readings 5 min apart are believed."""
RUN_S = 3 * 3600
LINKS_LIVE_S = 24 * 3600
PURSUED_INTERVALS = 3
"""What is unknown is pursued so often after a run's last call, not twenty times: these readings see the same tasks, and
were more than half of what a history cost."""

EXCHANGED = re.compile(r"I3 \S+ was not made by|shows another row's picture|\(archived\): images .* are nowhere")
"""Two purchases that the API gave each other's task: who heard the id first keeps it. Both are flagged, neither is
bought again; that each shows the other's picture, nobody but a person can see, and where one of them is held, the task
that nobody has is the one that a person adopts for it."""

UNKNOWABLE = re.compile(r"I[1236] ")
"""An answer names the task of a purchase whose own answer nobody has heard. At that moment nothing contradicts it, so
the task is taken for this purchase's, with all that follows. Where keys are remembered, sending the other purchase
again contradicts it later; adloom flags both then and leaves the tasks where they are. Excused; it could be better.
"""

POST_ANSWERS = (
    "plain", "bare", "slow", "throttled", "throttled-advised", "not-sent", "lost", "never-arrived", "html-502-taken",
    "html-502", "json-500-taken", "broken-200-taken", "no-id-taken", "status-102-taken", "outcome-unknown", "refused",
    "account", "false-id", "zero-reserve",
)  # fmt: skip
ENDS = ("made", "short", "none", "surplus", "failed", "failed-charged", "cancelled")
LIES = ("none", "empty", "null", "missing", "partial", "failed", "processing", "not-found", "strange-word", "zero")
SHAPES = ("strings", "objects", "result_data", "reversed", "repeated", "no-usage", "cost", "billing")
FETCHES = ("image", "404", "403", "410", "503", "page", "nothing", "cut")
BATCHES = ("open", "closed", "no-links", "part", "summary")


@dataclass
class Script:
    """How a task is shown: what is said falsely after its end, for how long, and in which shapes."""

    lie: str
    lie_s: float
    shapes: Sequence[str]
    fetches: Sequence[str]
    readings: int = 0
    fetched: dict[int, int] = field(default_factory=dict)


class Provider(World):
    """The truth about tasks and charges, and whatever is answered about it."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(0, loop)
        self.data: Any = None
        self.batch = "open"
        self.scripts: dict[str, Script] = {}
        self.told_false_id = False
        self.told_unheard_id = False
        self.how = ""
        """The answer that the present purchase will get."""

    def choose(self, options: Sequence[Any], label: str) -> Any:
        """One of the options: the first when all is calm, else what Hypothesis draws."""
        if self.is_calm:
            return options[0]
        return self.data.draw(st.sampled_from(options), label=label)

    def _make(self, body: bytes, key: str, token: str, n: int) -> Made:
        number = len(self.tasks) + 1
        end = self.choose(ENDS, "end")
        count = {"made": n, "short": max(0, n - 1), "surplus": n + 1}.get(end, 0)
        made = Made(
            id=f"task-unified-{int(self.now())}-{number:08}",
            key=key,
            body=body,
            token=token,
            n=n,
            price=self.price,
            created=self.loop.time(),
            ends=self.loop.time() + self.choose((2, 0.1, 40), "duration"),
            outcome={"failed": "fail-transient", "failed-charged": "fail-transient"}.get(end, end),
            images=[f"IMG|{token}|task-{number}|{index}".encode() for index in range(count)],
            charge_mode="kept" if end == "failed-charged" else "released",
        )
        self.scripts[made.id] = self._script()
        return made

    def _script(self) -> Script:
        lie = self.choose(LIES, "lie")
        shapes = self.choose(((), *((shape,) for shape in SHAPES), ("no-usage", "reversed")), "shapes")
        is_billed = self.tells_credits and "no-usage" not in shapes
        is_other_price = self.how not in RESERVE_TOLD and self.price != PRICE  # a part may pay for a part at the plan's
        believed = lie in ("failed", "zero") or (lie == "partial" and (is_other_price or not is_billed))
        lengths = (SHORT_LIE_S, 60.0) if lie == "partial" and self.how not in RESERVE_TOLD else LENGTHS_S
        length = SHORT_LIE_S if believed else self.choose(lengths, "length of the lie")
        return Script(lie, length, shapes, () if self.is_calm else self.data.draw(_FETCHES, label="fetches"))

    # --- HTTP

    async def answer_api(self, request: httpx.Request, process: Process) -> httpx.Response:
        path = request.url.path
        if path == "/v1/images/generations":
            return await self._answer_purchase(request, process)
        await process.enter(f"{request.method} {path}")
        response = self._answer_read(request, path)
        await process.leave("read")
        return response

    def _answer_read(self, request: httpx.Request, path: str) -> httpx.Response:
        if path == "/v1/tasks/batch":
            return self._answer_batch(json.loads(request.content)["task_ids"])
        if path == "/v1/tasks":
            return self._answer_list(int(request.url.params["page"]))
        if path.startswith("/v1/tasks/"):
            shown = self._show(path.rsplit("/", 1)[1])
            return httpx.Response(404, json=_error(404, "no such task")) if shown is None else _ok(shown)
        assert path == "/v1/credits", path
        return _ok({"data": {"token": {"unlimited_credits": True}, "user": {"remaining_credits": 1e6}}})

    async def _answer_purchase(self, request: httpx.Request, process: Process) -> httpx.Response:
        await process.enter("submit")
        body, key = request.content, request.headers["Idempotency-Key"]
        how = self.choose(POST_ANSWERS, "answer to a purchase")
        self.how = how
        self.note(f"purchase {how}")
        self.note_post(body, key, process)
        if how == "not-sent":
            raise httpx.ConnectError("no route")
        await request.extensions["trace"]("http11.send_request_headers.started", {})
        refusal = {
            "throttled": (429, {}, _error(429, "slow down")),
            "throttled-advised": (429, {"Retry-After": "20"}, _error(429, "slow down")),
            "html-502": (502, {}, None),
            "outcome-unknown": (400, {}, _error("paid_outcome_unknown", "who knows")),
            "refused": (400, {}, _error(400, "bad request")),
            "account": (402, {}, _error(402, "no credits")),
        }.get(how)
        if how == "never-arrived":
            await asyncio.sleep(60)
            await process.leave("submit")
            raise httpx.ReadTimeout("nothing came")
        if refusal is not None:
            status, headers, content = refusal
            await process.leave("submit")
            return httpx.Response(status, headers=headers, json=content) if content else _page(status)
        made, replayed = self.take(body, key)
        await process.leave("submit")
        return await self._tell(how, made, process, replayed=replayed)

    async def _tell(self, how: str, made: Made, process: Process, *, replayed: bool) -> httpx.Response:
        """The answer about a task that was made."""
        match how:
            case "lost":
                await asyncio.sleep(30)
                await process.here()
                raise httpx.ReadError("reset")
            case "html-502-taken":
                return _page(502)
            case "json-500-taken":
                return httpx.Response(500, json=_error(500, "oops"))
            case "broken-200-taken":
                return httpx.Response(200, content=b'{"id": "task-uni')
            case "no-id-taken":
                return _ok({"status": "pending"})
            case "status-102-taken":
                return httpx.Response(102)
            case "slow":
                await asyncio.sleep(45)
                await process.here()
        told: dict[str, Any] = {"id": made.id, "status": "pending", "model": MODEL}
        if how == "false-id":
            told["id"] = next(iter(self.tasks))  # the first task of all: its own id only if this is the first
            self.told_false_id = True
            heard = any(f"-accepted.{told['id']}." in key for key in self.objects)
            self.told_unheard_id = self.told_unheard_id or (told["id"] != made.id and not heard)
        if how != "bare":
            told["usage"] = {"credits_reserved": float(made.price * made.n) * (how != "zero-reserve")}
        headers = {"idempotency-replayed": "true"} if replayed else {}
        return httpx.Response(200, json=told, headers=headers)

    def _answer_batch(self, task_ids: Sequence[str]) -> httpx.Response:
        if self.batch == "closed":
            return httpx.Response(404, json=_error(404, "no such endpoint"))
        shown = [task for task_id in task_ids if (task := self._show(task_id)) is not None]
        if self.batch == "no-links" and not self.is_calm:
            shown = [{name: value for name, value in task.items() if not name.startswith("result")} for task in shown]
        if self.batch == "part" and not self.is_calm:
            shown = shown[: len(shown) // 2]
        if self.batch == "summary" and not self.is_calm:
            shown = [self._summary(task) for task in shown]
        return _ok({"data": shown})

    def _summary(self, task: dict[str, Any]) -> dict[str, Any]:
        """A line with the first link of a task alone, and the charge for that one."""
        few = {name: value[:1] for name, value in task.items() if name.startswith("result") and value}
        made = self.tasks[task["id"]]
        if not few or len(made.images) > made.n:  # nobody waits for a surplus
            return task
        self.note("summary in a batch")
        bill = {"usage": {"credits_used": float(made.price)}} if self.tells_credits else {}
        return {**task, **few, **bill}

    def _answer_list(self, page: int) -> httpx.Response:
        if not self.list_open:
            return httpx.Response(403, json=_error(403, "not for this key"))
        lines = [
            {"id": made.id, "status": "processing", "model": MODEL, "created_at": int(EPOCH + made.created)}
            for made in reversed(self.tasks.values())
        ]
        return _ok({"data": lines[(page - 1) * 50 : page * 50]})

    def _show(self, task_id: str) -> dict[str, Any] | None:
        """A task as it is shown now: the truth, or the lie that its script tells for a while."""
        made = self.tasks.get(task_id)
        if made is None:
            return None
        now = self.loop.time()
        if not made.is_over(now):
            return {"id": task_id, "status": "processing", "progress": 40}
        script = self.scripts[task_id]
        script.readings += 1
        lying = not self.is_calm and now < made.ends + script.lie_s
        lie = script.lie if lying else "none"
        if lie != "none":
            self.note(f"lie {lie}")
        match lie:
            case "not-found":
                return None
            case "processing" | "strange-word":
                return {"id": task_id, "status": "processing" if lie == "processing" else "finalising"}
            case "failed":
                return {"id": task_id, "status": "failed", "error": {"code": "service_error", "message": "oops"}}
        return self._truth(made, script, lie)

    def _truth(self, made: Made, script: Script, lie: str) -> dict[str, Any]:
        status = "completed" if made.completed else "cancelled" if made.outcome == "cancelled" else "failed"
        shown: dict[str, Any] = {"id": made.id, "status": status}
        if not made.completed:
            kept = made.charge_mode == "kept"
            shown["error"] = {"code": "service_error", "message": "it did not work"}
            shown["billing"] = {"charge_status": "charged" if kept else "released"}
            return shown
        links = [f"{link}&sig={script.readings}" for link in made.links(0)]
        shapes = () if self.is_calm else script.shapes
        if "reversed" in shapes and script.readings % 2 == 0:
            links.reverse()
        if "repeated" in shapes:
            links += links[:1]
        links = {"empty": [], "zero": [], "partial": links[: min(len(links) // 2, made.n - 1)]}.get(lie, links)
        shown["results"] = [{"url": link} for link in links] if "objects" in shapes else links
        if "result_data" in shapes:
            shown["result_data"] = [{"url": link} for link in shown.pop("results")]
        if lie in ("null", "missing"):
            shown.pop("result_data", None)
            shown["results"] = None
            if lie == "missing":
                del shown["results"]
        return {**shown, "usage": {"credits_used": 0}} if lie == "zero" else self._bill(shown, made, shapes)

    def _bill(self, shown: dict[str, Any], made: Made, shapes: Sequence[str]) -> dict[str, Any]:
        used = float(made.charge(self.loop.time()))
        if not self.tells_credits or "no-usage" in shapes:
            return shown
        if "cost" in shapes:
            return {**shown, "usage": {"cost": {"credits": used}}}
        if "billing" in shapes:
            return {**shown, "billing": {"charge_status": "charged", "charged_credits": used}}
        return {**shown, "usage": {"credits_used": used}}

    async def answer_result(self, request: httpx.Request, process: Process) -> httpx.Response:
        await process.enter("download")
        task_id, index = request.url.path.strip("/").split("/")
        made, script = self.tasks[task_id], self.scripts[task_id]
        times = script.fetched[int(index)] = script.fetched.get(int(index), 0) + 1
        how = "image" if self.is_calm or times > len(script.fetches) else script.fetches[times - 1]
        if self.loop.time() > made.ends + LINKS_LIVE_S:
            made.expired_for_good = True
            how = "404"
        self.note(f"fetch {how}")
        await process.leave("download")
        if how.isdigit():
            return _page(int(how))
        content = made.images[int(index)]
        sent = {"page": b"<html>Checking your browser</html>", "nothing": b"", "cut": b"BAD|" + content}
        return httpx.Response(200, content=sent.get(how, content))

    async def reply(self, process: Process, request: httpx.Request) -> httpx.Response:
        """Any request of a process."""
        if request.url.host == "api.example":
            response = await self.answer_api(request, process)
        else:
            assert "authorization" not in request.headers, "the key went to the result host"
            response = await self.answer_result(request, process)
        return httpx.Response(response.status_code, headers=response.headers, stream=_Body(response.content))


class _Body(httpx.AsyncByteStream):
    """Bytes that have not been read yet, as from a network."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


_FETCHES = st.lists(st.sampled_from(FETCHES), max_size=5)


def _ok(content: object) -> httpx.Response:
    return httpx.Response(200, json=content)


def _page(status: int) -> httpx.Response:
    return httpx.Response(status, content=b"<html>error code: 1010</html>")


def _error(code: object, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "type": "error"}}


class Histories(RuleBasedStateMachine):
    """One campaign and one provider."""

    tally: Tally | None = None

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        asyncio.set_event_loop(self.loop)
        self.world = Provider(self.loop)
        self.processes = 0
        self.last: Result | None = None
        self.only_runs = 0
        self.dedicated = False
        self.hurry = patch.object(unknown, "PURSUED_INTERVALS", PURSUED_INTERVALS)
        self.hurry.start()

    @initialize(data=st.data(), variants=st.lists(st.sampled_from((1, 2, 4, 16)), min_size=1, max_size=3))
    def a_campaign(self, data: st.DataObject, variants: list[int]) -> None:
        world = self.world
        world.data = data
        grouping = world.choose((Grouping.SET, Grouping.INDEPENDENT), "grouping")
        rows = tuple(
            a_row(0, number, count, 0, grouping if count < 16 else Grouping.SET)
            for number, count in enumerate(variants, start=1)
        )
        self.source = Source(
            rows, Budget(credits=PRICE * 3 * sum(variants)), Pace(world.choose((4, 1, 16), "pace"), None)
        )
        world.idempotent = world.choose((True, False), "keys are remembered")
        world.list_open = world.choose((True, False), "the list is open")
        world.tells_credits = world.choose((True, False), "credits are told")
        world.batch = world.choose(BATCHES, "the batch endpoint")
        self.dedicated = world.choose((True, False), "the key is used by nobody else")
        if world.idempotent and world.choose((True, False), "that is proven"):
            store = SimStore(Process(world, "doctor", 0))
            self._until(record_capability(store, "account", replays_keys=True, now=world.now()))

    @rule(data=st.data())
    def run(self, data: st.DataObject) -> None:
        self.world.data = data
        self._until(self._together(1))

    @rule(data=st.data())
    def two_runs(self, data: st.DataObject) -> None:
        self.world.data = data
        self._until(self._together(2))

    @rule(data=st.data(), operation=st.integers(1, 120), after=st.booleans())
    def a_run_that_is_killed(self, data: st.DataObject, operation: int, after: bool) -> None:  # noqa: FBT001 - drawn
        self.world.data = data
        self._until(self._together(1, crash_at=operation, after=after))

    @rule(hours=st.sampled_from((0.1, 3, 25)))
    def time_passes(self, hours: float) -> None:
        self._until(asyncio.sleep(hours * 3600))

    @rule(factor=st.sampled_from((Decimal("1.5"), Decimal("0.5"), Decimal(1))))
    def the_price_moves(self, factor: Decimal) -> None:
        self.world.price = PRICE * factor
        self.world.price_moved = True

    def teardown(self) -> None:
        try:
            if hasattr(self, "source"):
                self.world.calm()
                self._until(self._run_to_quiet())
                Checks(self).all()  # type: ignore[arg-type] - it reads world, source, last and only_runs
        finally:
            self.hurry.stop()
            self._count()
            _close(self.loop)
        problems = [text for text in self.world.problems if not self._is_excused(text)]
        assert not problems, problems

    def _is_excused(self, problem: str) -> bool:
        return bool(
            (self.world.told_false_id and EXCHANGED.search(problem))
            or (self.world.told_unheard_id and UNKNOWABLE.match(problem))
        )

    def _count(self) -> None:
        if self.tally is not None:
            self.tally.count("histories")
            self.tally.count("purchases", self.world.posts)
            for what, number in self.world.seen.items():
                self.tally.count(what, number)

    def _until(self, work: Any) -> None:
        try:
            self.loop.run_until_complete(work)
        except Deadlock:
            self.world.problem("everybody waits for somebody else")

    async def _together(self, runs: int, *, crash_at: int = 0, after: bool = False) -> list[Result | None]:
        lives = []
        for _ in range(runs):
            self.processes += 1
            process = Process(self.world, f"P{self.processes}", self.processes)
            process.crash_at, process.crash_after_effect = crash_at, after
            process.main = self.loop.create_task(self._life(process))
            lives.append(process.main)
        done, late = await asyncio.wait(lives, timeout=RUN_S)
        for life in late:
            self.world.problem("a run does not end")
            life.cancel()
        return [life.result() for life in done]  # type: ignore[misc]

    async def _life(self, process: Process) -> Result | None:
        world = self.world
        run: Run | None = None
        result: Result | None = None
        try:
            with client_of(partial(world.reply, process), world.now) as api:
                run, result = await self._run(process, api)
        except PlanRefused:
            world.note("plan refused")
        except AdloomError as error:
            world.note(f"ended by {type(error).__name__}")
        except (Killed, asyncio.CancelledError, Exception, BaseExceptionGroup) as error:  # noqa: BLE001 - whatever it is, the product raised it
            if not process.dead:
                world.problem(f"{process.name} ended by {error!r}")
        process.dead = True
        process.died.set()
        for task in run._background if run else ():
            task.cancel()
        return result

    async def _run(self, process: Process, api: EvoLink) -> tuple[Run, Result]:
        store, clock = SimStore(process), SimClock(process)
        assessment = await assess(store, clock, self.source, EDITION, Wish(replace=True))
        run = await Run.start(
            RunWorld(
                store=store,
                api=api,
                decoder=SimDecoder(),
                clock=clock,
                random=process.random,
                process=process.identity,
                is_gone=lambda _name: False,
                dedicated_key=self.dedicated,
            ),
            assessment,
        )
        await run.work()
        result = await run.finish()
        if result.exit_code == 1:
            self.world.problem(f"{process.name} met an error that nobody expected")
        return run, result

    async def _run_to_quiet(self) -> None:
        """Plain runs until one changes nothing, and again when the last links have died: none is given up before."""
        await asyncio.sleep(700)
        await self._run_until_nothing_happens()
        if self.last is not None and any(stop.reason is StopReason.OUTAGE for stop in self.last.stops):
            self.world.note("waited for links to die")
            await asyncio.sleep(LINKS_LIVE_S)
            await self._run_until_nothing_happens()

    async def _run_until_nothing_happens(self) -> None:
        for _ in range(RUNS_TO_QUIET):
            before = self.world.posts, len(self.world.under(EDITION.key("ledger/")))
            (self.last,) = await self._together(1)
            await asyncio.sleep(700)
            if (self.world.posts, len(self.world.under(EDITION.key("ledger/")))) == before:
                return
        self.world.problem(f"after {RUNS_TO_QUIET} plain runs something still happens")


@contextlib.contextmanager
def client_of(reply: Any, now: Any) -> Iterator[EvoLink]:
    """The real client, with a function in the place of its network."""

    def client(*_args: Any, **_kwargs: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(reply), headers=transport.HEADERS)

    environ = {"EVOLINK_API_KEY": "sk-evo-" + "0" * 32, "EVOLINK_BASE_URL": BASE}
    with patch.object(transport, "paid_client", client), patch.object(transport, "free_client", client):
        api = EvoLink(read_settings(environ), now=now)
    yield api


def play(histories: int, first_seed: int, *, steps: int = 4) -> Tally:
    """Many histories of one seed; what they met, and the shortest story of the first failure."""
    tally = Tally(f"generated provider, seed {first_seed}")
    machine = type("Counted", (Histories,), {"tally": tally})
    chosen = settings(
        max_examples=histories,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.normal,
        print_blob=False,
    )
    try:
        run_state_machine_as_test(seed(first_seed)(machine), settings=chosen)
    except BaseException as error:  # noqa: BLE001 - a failure of the product is this program's finding, however raised
        tally.failures.append("\n".join((f"seed {first_seed}: {error!r}", *getattr(error, "__notes__", ()))))
    return tally


def torture(*, histories: int, workers: int, until: float = math.inf) -> Tally:
    """Histories in parts of a thousand, each with a seed of its own."""
    total = Tally(f"generated provider, {histories} histories")
    seeds = range(math.ceil(histories / 1000))
    with ProcessPoolExecutor(workers, initializer=_be_quiet) as pool:
        for part in total.of_each(pool, partial(play, min(histories, 1000)), seeds, until):
            total.counts.update(part.counts)
            total.failures += part.failures
    return total


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--histories", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, help="one seed alone")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if options.seed is not None:
        _be_quiet()
        return play(options.histories, options.seed).show()
    return torture(histories=options.histories, workers=options.workers).show()


if __name__ == "__main__":
    sys.exit(main())
