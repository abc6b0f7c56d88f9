import pytest
from support.fakes import a_fact, an_intent

from adloom.core.breaker import Breaker
from adloom.core.facts import fold
from adloom.core.triage import REQUEST_CODES

MODEL = "doubao-seedream-4.0"


def an_end(number, end, *, model=MODEL):
    """An attempt whose task ended as a failure with this code, completed (``ok``), or read failed once (``first``)."""
    facts = {"a1-intent": an_intent(1, model=model), f"a1-accepted.t{number}": a_fact(task=f"t{number}", credits="1")}
    if end == "ok":
        facts["a1-completed"] = a_fact(task=f"t{number}", links=["u"], reported=1, credits="1")
    else:
        code = "service_error" if end == "first" else end
        facts["a1-failed"] = a_fact(task=f"t{number}", code=code, reason=f"task t{number} failed: {code} (broken)")
    if end not in ("ok", "first"):
        facts["a1-settled"] = a_fact(outcome="free", kind="task", final=False, reason="because", credits="0")
    return fold("c-1", facts).latest


def broken_by(*ends, model=MODEL):
    breaker = Breaker()
    for number, end in enumerate(ends):
        breaker.note(an_end(number, end, model=model))
    return breaker.broken


BAD = ("service_error",)


@pytest.mark.parametrize("ends", [BAD * 8, BAD * 4 + ("ok",) * 2 + BAD * 4, ("ok",) * 50 + BAD * 8, ("",) * 8])
def test_eight_failures_among_the_last_ten_tasks_break_a_model(ends):
    assert list(broken_by(*ends)) == [MODEL]


@pytest.mark.parametrize("ends", [BAD * 7, BAD * 7 + ("ok",) * 3 + BAD * 7, (*BAD, "ok") * 20, ("first",) * 20])
def test_fewer_do_not_nor_what_is_not_settled(ends):
    assert broken_by(*ends) == {}


@pytest.mark.parametrize("code", sorted(REQUEST_CODES))
def test_failures_that_speak_of_the_request_say_nothing_of_the_model(code):
    assert broken_by(*(code,) * 20) == {}
    assert list(broken_by(*BAD * 4, *(code,) * 20, *BAD * 4)) == [MODEL]


def test_it_says_so_in_the_apis_own_words():
    assert broken_by(*BAD * 8)[MODEL] == (
        f"8 of the last 8 tasks of {MODEL} failed; task t7 failed: service_error (broken)"
    )


def test_a_task_counts_once_and_models_count_apart():
    breaker = Breaker()
    for _ in range(20):
        breaker.note(an_end(1, "service_error"))
    for number in range(2, 9):
        breaker.note(an_end(number, "service_error", model="another"))
    assert breaker.broken == {}
