"""A poller before a scripted API."""

from collections.abc import AsyncIterator
from random import Random

import pytest
from support.fakes import ManualClock, ScriptedApi
from support.polling import INTERVAL_S, running

from adloom.collect.poller import Poller
from adloom.guards.gate import Gate


@pytest.fixture
def api(clock: ManualClock) -> ScriptedApi:
    return ScriptedApi(clock)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
async def poller(api: ScriptedApi, gate: Gate, clock: ManualClock) -> AsyncIterator[Poller]:
    poller = Poller(api=api, gate=gate, clock=clock, random=Random(1), interval_s=INTERVAL_S)
    async with running(poller):
        yield poller
