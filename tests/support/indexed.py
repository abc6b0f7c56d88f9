"""Editions that owe something or nothing, for the archive's index."""

import json

from support.fakes import (
    FakeSource,
    ManualClock,
    MemoryStore,
    ScriptedApi,
    a_row,
    a_world,
    an_intent,
    look_at,
    run_all,
)

from adloom.core.errors import OutcomeUnknown
from adloom.core.process import Process
from adloom.ledger.edition import Edition
from adloom.ledger.heartbeats import Heartbeat
from adloom.ledger.ledger import Ledger

OTHER = Edition("other", "main")


def lives(_: Process) -> bool:
    return False


async def bought(store: MemoryStore, clock: ManualClock, *, lost: bool = False, **more: object) -> ScriptedApi:
    api = ScriptedApi(clock)
    if lost:
        api.answers = [OutcomeUnknown("the answer was lost")]
    world = a_world(store, clock, api, **more)
    await run_all(world, await look_at(world, FakeSource([a_row()])))
    return api


async def beat(store: MemoryStore, edition: Edition, clock: ManualClock, run: str, *, ended: bool = False) -> None:
    heartbeat = Heartbeat(store, edition, clock, run, Process("host", 1, "1"), lambda: 0)
    await heartbeat.beat(ended=ended)


async def a_settled_ledger(store: MemoryStore, clock: ManualClock, edition: Edition = OTHER) -> Ledger:
    """A ledger of one purchase that was refused, so that nothing of it is out there."""
    ledger = Ledger(store, edition, clock, "writer")
    await ledger.load()
    await ledger.note("c-1", "a1-intent", an_intent(1))
    await ledger.note("c-1", "a1-settled", {"outcome": "free", "kind": "rejected", "final": True, "reason": ""})
    return ledger


def older_edition(name: str, *, facts: int = 1, **totals: object) -> dict[str, bytes]:
    """An edition of a version without an index: a purchase, and a manifest that knows so many facts."""
    settled = {"credits_reserved": 0, "credits_at_risk": 0, "held": 0, "open": 0, **totals}
    manifest = json.dumps({"totals": settled, "facts": facts}).encode()
    files = {"plan-r1.json": b"{}", "manifest.json": manifest, "ledger/c-1/a1-accepted.task-9.json": b"{}"}
    return {f"{name}/main/{file}": content for file, content in files.items()}
