"""A run before it buys: what it knows of the archive, and the plan that it freezes or takes up."""

from decimal import Decimal

from support.fakes import (
    EDITION,
    FakeSource,
    a_ledger,
    a_row,
    bought,
    references,
)

from adloom.core.outcomes import outcomes
from adloom.core.selection import EVERYTHING
from adloom.plan.freeze import freeze
from adloom.plan.revision import planned_rows, read_newest
from adloom.plan.survey import survey
from adloom.plan.take_up import Wanted

CAP = Decimal(1000)


class FreezeRig:
    """One run before it buys: what it knows of the archive, and the revision that it takes up or makes."""

    def __init__(self, store, clock, ledger):
        self.store, self.clock, self.ledger = store, clock, ledger
        self.seen = 0

    async def look(self):
        """Read the archive: its newest plan, then its ledger."""
        newest = await read_newest(self.store, EDITION)
        self.seen = newest.number if newest else 0
        await self.ledger.load()

    def known(self):
        return outcomes([self.ledger.facts(call) for call in self.ledger.calls()])

    async def freeze(self, *rows, cap=CAP, only=frozenset(), prices=None, choice=EVERYTHING, **more):
        source = FakeSource(rows, prices=prices or {})
        known = self.known()
        surveyed = survey(source, known, only, choice)
        wanted = Wanted(source, EDITION, known, surveyed, cap, only=only, choice=choice, seen=self.seen, **more)
        revision = await freeze(wanted, self.store, self.ledger, self.clock)
        self.seen = revision.number
        return revision

    async def calls(self, revision):
        return [call async for planned in planned_rows(self.store, EDITION, revision) for call in planned.calls]

    async def buy(self, call, status=None):
        """Record that a call was bought, and how it ended."""
        variants = call.variants
        intent = bought(variants, model=MUG.model)
        decided, mine = await self.ledger.decide(call.id, "a1-intent", intent)
        if status:
            end = {"outcome": "free", "kind": "task", "final": True, "reason": "r"}
            await self.ledger.decide(call.id, "a1-settled", end)
        return mine and decided["outcome"] == "bought"


async def a_desk(store, clock, writer="run-a"):
    desk = FreezeRig(store, clock, await a_ledger(store, clock, writer))
    await desk.look()
    return desk


MUG = a_row("mug", variants=20)


JUG = a_row("jug", variants=3, references=references(2))
