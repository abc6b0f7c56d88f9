"""The state that a flow run ends in: Completed means that everything is archived, any other name says why not."""

import pytest
from support.ended import a_result

from adloom.core.errors import InputError, StoreUnavailable
from adloom.core.exits import Stop, StopReason
from adloom.core.outcomes import Status
from adloom.orchestration.states import bad_input, final_message, final_state

OUTAGE = Stop(StopReason.OUTAGE, "the archive is away", "Run it again.")


def test_only_a_run_that_archived_everything_is_completed():
    state = final_state(a_result({Status.ARCHIVED: 2}))
    assert state.is_completed()
    assert state.name == "Completed"


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ({Status.SHORT: 1}, "Short"),
        ({Status.REFUSED: 1}, "Refused"),
        ({Status.FAILED: 1}, "GivenUp"),
        ({Status.SHORT: 1, Status.FAILED: 1}, "Incomplete"),
        ({Status.HELD: 1}, "Held"),
        ({Status.HELD: 1, Status.SHORT: 1}, "Held"),
    ],
)
def test_a_run_that_fell_short_fails_with_a_name_that_says_how(found: dict[Status, int], name: str):
    state = final_state(a_result({Status.ARCHIVED: 2, **found}))
    assert state.is_failed()
    assert state.name == name


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        (StopReason.BUDGET, "OverBudget"),
        (StopReason.PRICE, "OverBudget"),
        (StopReason.ACCOUNT, "AccountStopped"),
        (StopReason.OUTAGE, "Outage"),
    ],
)
def test_a_run_that_was_stopped_says_by_what_and_what_to_do(reason: StopReason, name: str):
    state = final_state(a_result({Status.ARCHIVED: 1, Status.OPEN: 1}, Stop(reason, "it stopped", "Do this.")))
    assert (state.is_failed(), state.name) == (True, name)
    assert "Stopped: it stopped. Do this." in state.message


def test_an_interrupted_run_is_cancelled_and_no_failure():
    state = final_state(a_result({Status.OPEN: 1}, Stop(StopReason.INTERRUPTED, "Ctrl-C")))
    assert state.is_cancelled()
    assert state.name == "Interrupted"


def test_a_part_that_is_archived_is_completed_and_says_that_it_is_a_part():
    ended = a_result({Status.ARCHIVED: 2, Status.OPEN: 8}, asked={Status.ARCHIVED: 2}, selection="first 1")
    state = final_state(ended)
    assert state.is_completed()
    assert "2 of 10 images archived, 8 open" in state.message
    assert "part of it: first 1" in state.message


def test_what_has_to_be_bought_once_more_is_named_as_the_form_takes_it():
    message = final_message(a_result({Status.SHORT: 1, Status.FAILED: 1}))
    assert "only = short or failed" in message


def test_sandbox_money_is_called_that():
    ended = a_result({Status.ARCHIVED: 1})
    assert "no real money" in final_message(ended, is_sandbox=True)
    assert "no real money" not in final_message(ended)


def test_input_that_a_person_has_to_change_is_told_from_other_failures():
    assert bad_input(InputError("no such file", remedy="Give another.")).name == "BadInput"
    assert bad_input(StoreUnavailable("away", remedy="Wait.")).name == "Failed"
