"""The sandbox's clock goes with real time and forward only."""

import time

import pytest

from adloom.sandbox.clock import SandboxClock


def test_it_starts_with_real_time_and_jumps_ahead_as_often_as_asked():
    before = time.time()
    clock = SandboxClock()
    clock.advance(3600)
    clock.advance(60)
    assert before + 3660 - 1 <= clock.now() <= time.time() + 3660 + 1


def test_it_never_goes_back():
    clock = SandboxClock()
    with pytest.raises(ValueError, match="only moves forward"):
        clock.advance(-1)
    assert clock.now() <= clock.now()
