import tracemalloc
from collections.abc import Iterator
from decimal import Decimal

import pytest
from support.fakes import EDITION, FakeSource, ManualClock, MemoryStore, a_row
from support.finished import finish

from adloom.core.campaign import Budget, Row
from adloom.core.outcomes import outcomes, outcomes_in_short
from adloom.ledger import ledger as ledgers
from adloom.ledger import packing
from adloom.ledger.ledger import Ledger
from adloom.plan.assessment import Wish, assess

FEW, MANY = 50, 250
A_CALL_BYTES = 2_500
"""Its packed records, its images' keys and outcomes; the facts of a call alone would be three times that."""


class _Rows(FakeSource):
    """Rows that are made when they are asked for, as those of a table are."""

    def rows(self) -> Iterator[Row]:
        return (a_row(f"r{number:06d}") for number in range(len(self.given)))


@pytest.fixture
def _small_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few hundred calls are many."""
    monkeypatch.setattr(ledgers, "FOLDED_CALLS", 5)
    monkeypatch.setattr(packing.Records.__init__, "__defaults__", (5,))


async def _peak_of_assessing(calls: int) -> int:
    """The most memory that assessing a campaign takes all of whose calls are over."""
    store, clock = MemoryStore(), ManualClock()
    source = _Rows([a_row("r000000")] * calls, budget=Budget(usd=Decimal(1000)))
    ledger = Ledger(store, EDITION, clock, "run-a")
    for row in source.rows():
        await finish(ledger, row)
    del ledger
    tracemalloc.start()
    try:
        found = await assess(store, clock, source, EDITION, Wish())
        assert (found.to_buy, found.surveyed.totals.found.total()) == (0, calls)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("_small_caches")
async def test_assessing_a_campaign_never_holds_the_facts_of_all_its_calls():
    grown = await _peak_of_assessing(MANY) - await _peak_of_assessing(FEW)
    assert grown / (MANY - FEW) < A_CALL_BYTES


async def test_what_planning_needs_of_outcomes_is_what_the_outcomes_are():
    ledger = Ledger(MemoryStore(), EDITION, ManualClock(), "run-a")
    calls = sorted([await finish(ledger, a_row(f"r{number}")) for number in range(20)])
    whole, short = outcomes(map(ledger.facts, calls)), outcomes_in_short(map(ledger.facts, calls))
    assert whole.keys() == short.keys()
    for key, outcome in whole.items():
        assert (short[key].status, short[key].covered, short[key].call) == (
            outcome.status,
            outcome.covered,
            outcome.call,
        )
