"""A clock that stands still while anybody works, and an open gate."""

import pytest
from support.fakes import ManualClock

from adloom.guards.gate import Gate


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def gate() -> Gate:
    return Gate()
