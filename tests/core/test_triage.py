import pytest

from adloom.core.records import RefusalKind
from adloom.core.triage import (
    MODEL_UNAVAILABLE_CODES,
    MODERATION_CODES,
    TRANSIENT_CODES,
    Verdict,
    failed_task,
    is_slow_reference,
)


def judged(code: str, attempts: int = 1, message: str = "") -> Verdict:
    """The verdict on a call whose tasks were all of one model."""
    return failed_task(code, message, attempts=attempts, of_model=attempts)


@pytest.mark.parametrize("code", sorted(TRANSIENT_CODES))
def test_a_transient_failure_is_tried_twice_more(code):
    assert [judged(code, attempts).final for attempts in (1, 2, 3, 4)] == [False, False, True, True]
    assert judged(code).kind is RefusalKind.TASK


@pytest.mark.parametrize("code", sorted(TRANSIENT_CODES))
def test_only_a_failure_that_speaks_of_the_model_counts_for_its_model_alone(code):
    assert failed_task(code, "", attempts=5, of_model=2).final is (code not in MODEL_UNAVAILABLE_CODES)
    assert failed_task(code, "", attempts=5, of_model=3).final


def test_no_content_is_tried_once_more():
    assert [judged("generation_failed_no_content", attempts).final for attempts in (1, 2)] == [False, True]


@pytest.mark.parametrize("code", sorted(MODERATION_CODES))
def test_refused_content_is_never_sent_again(code):
    verdict = judged(code)
    assert verdict.final
    assert verdict.kind is RefusalKind.MODERATION


@pytest.mark.parametrize(
    "code", ["invalid_parameters", "image_processing_error", "", "something_new", "SERVICE_ERROR "]
)
def test_every_other_failure_is_final(code):
    assert judged(code).final
    assert judged(code).kind is RefusalKind.TASK


def test_a_reference_that_was_not_fetched_in_time_is_tried_once_more():
    told = "Timeout while downloading url"
    assert [judged("image_processing_error", attempts, told).final for attempts in (1, 2)] == [False, True]
    assert judged("content_policy_violation", 1, told).final


@pytest.mark.parametrize(
    ("message", "is_slow"),
    [
        ("Error: Timeout while downloading url https://a.example/1.png", True),
        ("timed out fetching the image", True),
        ("the download of image 1 timed out", True),
        ("failed to download the image: 403", False),
        ("the request timed out", False),
        ("", False),
    ],
)
def test_only_words_about_time_and_a_download_mean_a_slow_reference(message, is_slow):
    assert is_slow_reference(message) is is_slow


def test_no_code_is_both_moderation_and_transient():
    assert not MODERATION_CODES & TRANSIENT_CODES
