"""Where an edition may go on: with the API that it was bought from, and never from a stand-in to real money."""

import pytest

from adloom.core.origin import SANDBOX, UNKNOWN, Buying, Origin

REAL, MOVED = Origin("https://api.example"), Origin("https://new.example")
OWN, OTHER = Origin(SANDBOX, is_stand_in=True), Origin("http://127.0.0.1:9000", is_stand_in=True)
OLD_REAL, OLD_SANDBOX = Origin(), Origin(is_stand_in=True)
"""As the first versions wrote it: no address."""


@pytest.mark.parametrize("origin", [REAL, OWN, OTHER])
def test_an_edition_goes_on_where_it_was_bought(origin: Origin):
    assert Buying(origin).refusal(origin, has_bought=True) == ""


@pytest.mark.parametrize(("bought_from", "here"), [(REAL, OWN), (OWN, REAL), (REAL, MOVED), (OWN, OTHER)])
def test_an_edition_that_has_bought_goes_on_nowhere_else(bought_from: Origin, here: Origin):
    refusal = Buying(here).refusal(bought_from, has_bought=True)
    assert str(bought_from) in refusal
    assert str(here) in refusal


def test_an_edition_that_has_bought_nothing_may_have_had_a_wrong_address_but_not_other_money():
    assert Buying(MOVED).refusal(REAL, has_bought=False) == ""
    assert Buying(OTHER).refusal(OWN, has_bought=False) == ""
    assert Buying(REAL).refusal(OWN, has_bought=False)
    assert Buying(OWN).refusal(REAL, has_bought=False)


def test_a_person_can_say_that_a_real_api_has_moved_and_nothing_else():
    assert Buying(MOVED, same_api="it moved").refusal(REAL, has_bought=True) == ""
    assert Buying(REAL, same_api="it moved").refusal(OTHER, has_bought=True)
    assert Buying(OTHER, same_api="it moved").refusal(REAL, has_bought=True)
    assert Buying(REAL, same_api="it moved").refusal(OLD_SANDBOX, has_bought=True)


def test_editions_of_the_first_versions_are_told_by_whether_the_sandbox_was_asked_for():
    assert Buying(REAL).refusal(OLD_REAL, has_bought=True) == ""
    assert Buying(OWN, sandbox=True).refusal(OLD_REAL, has_bought=True)
    assert Buying(OWN, sandbox=True).refusal(OLD_SANDBOX, has_bought=True) == ""
    assert Buying(REAL).refusal(OLD_SANDBOX, has_bought=True)


def test_sums_that_were_not_real_money_say_so():
    assert (REAL.word, UNKNOWN.word, OWN.word, OTHER.word) == ("", "", "sandbox ", "sandbox ")
    assert [str(each) for each in (OWN, OLD_SANDBOX, OLD_REAL)] == ["the sandbox", "the sandbox", "the real API"]
