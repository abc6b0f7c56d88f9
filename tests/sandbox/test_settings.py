"""The switches: checked as a whole, changed while the sandbox runs, and restored."""

import pytest
from pydantic import ValidationError

from adloom.sandbox.settings import LiveSettings, SandboxSettings


@pytest.mark.parametrize("given", [0.5, "0.5", (0.5, 0.5), ["0.5"], "0.5,0.5", "0.5 , 0.5"])
def test_one_number_is_an_exact_time_in_every_spelling(given: object):
    assert SandboxSettings(task_seconds=given).task_seconds == (0.5, 0.5)


def test_two_numbers_are_a_range():
    assert SandboxSettings(task_seconds="0.5,2").task_seconds == SandboxSettings(task_seconds=(0.5, 2)).task_seconds


@pytest.mark.parametrize("wrong", [{"nonsense": 1}, {"lose_reply_rate": 1.5}, {"task_seconds": -1}, {"profile": "odd"}])
def test_a_switch_that_makes_no_sense_changes_nothing(wrong: dict[str, object]):
    live = LiveSettings(SandboxSettings(seed=7))
    with pytest.raises(ValidationError):
        live.change({"user_group": "vip", **wrong})
    assert live.settings == SandboxSettings(seed=7)


def test_switches_can_be_changed_one_by_one_and_restored():
    live = LiveSettings(SandboxSettings(seed=7))
    live.change({"user_group": "vip"})
    live.change({"lose_reply_rate": 0.5})
    assert (live.settings.seed, live.settings.user_group, live.settings.lose_reply_rate) == (7, "vip", 0.5)
    live.restore()
    assert live.settings == SandboxSettings(seed=7)
