"""An archive in memory and a clock that is moved."""

import pytest
from support.fakes import ManualClock, MemoryStore


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()
