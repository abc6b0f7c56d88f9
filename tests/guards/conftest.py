"""An open gate."""

import pytest

from adloom.guards.gate import Gate


@pytest.fixture
def gate() -> Gate:
    return Gate()
