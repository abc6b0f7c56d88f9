"""An empty archive in memory, and its clock."""

import pytest
from support.fakes import ManualClock, MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()
