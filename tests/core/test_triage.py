import pytest

from adloom.core.records import RefusalKind
from adloom.core.triage import MODERATION_CODES, TRANSIENT_CODES, failed_task, is_slow_reference


@pytest.mark.parametrize("code", sorted(TRANSIENT_CODES))
def test_a_transient_failure_is_tried_twice_more(code):
    assert [failed_task(code, attempts).final for attempts in (1, 2, 3, 4)] == [False, False, True, True]
    assert failed_task(code, 1).kind is RefusalKind.TASK


def test_no_content_is_tried_once_more():
    assert [failed_task("generation_failed_no_content", attempts).final for attempts in (1, 2)] == [False, True]


@pytest.mark.parametrize("code", sorted(MODERATION_CODES))
def test_refused_content_is_never_sent_again(code):
    verdict = failed_task(code, 1)
    assert verdict.final
    assert verdict.kind is RefusalKind.MODERATION


@pytest.mark.parametrize(
    "code", ["invalid_parameters", "image_processing_error", "", "something_new", "SERVICE_ERROR "]
)
def test_every_other_failure_is_final(code):
    assert failed_task(code, 1).final
    assert failed_task(code, 1).kind is RefusalKind.TASK


def test_a_reference_that_was_not_fetched_in_time_is_tried_once_more():
    told = "Timeout while downloading url"
    assert [failed_task("image_processing_error", attempts, told).final for attempts in (1, 2)] == [False, True]
    assert failed_task("content_policy_violation", 1, told).final


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
