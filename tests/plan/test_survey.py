"""A reading of a whole campaign: what it would buy, for how much, and nothing written."""

from support.fakes import (
    PRICE,
    FakeSource,
)
from support.freezing import JUG, MUG

from adloom.plan.survey import survey


async def test_a_survey_writes_nothing_and_tells_the_price(store):
    surveyed = survey(FakeSource([MUG, JUG]), {})
    assert surveyed.totals.credits == 23 * PRICE
    assert not store.objects
