"""Errors of S3 and its client as adloom's: what may pass, what is refused, and what a person has to do."""

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from adloom.core.errors import StoreRefused, StoreUnavailable
from adloom.edges.s3.errors import Where, has_expired, is_missing, is_taken, may_pass, translated

WHERE = Where("s3://bucket/archive", "bucket", "PutObject camp/main/manifest.json")


def _answer(
    code: str, status: int = 400, message: str = "signed with s3cr3t", operation: str = "PutObject"
) -> ClientError:
    metadata = {"HTTPStatusCode": status}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata}, operation)


@pytest.mark.parametrize(
    "error",
    [
        _answer("SlowDown", 503),
        _answer("ConditionalRequestConflict", 409),
        _answer("BadDigest"),
        _answer("", 408),
        _answer("", 429),
        _answer("Odd", 500),
        EndpointConnectionError(endpoint_url="https://s3.example"),
        ReadTimeoutError(endpoint_url="https://s3.example"),
    ],
)
def test_what_may_pass_is_an_outage(error: Exception):
    assert may_pass(error)
    assert isinstance(translated(error, WHERE), StoreUnavailable)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (_answer("AccessDenied", 403), "s3:PutObject on bucket/archive/*"),
        (_answer("", 403), "s3:PutObject on bucket/archive/*"),  # a HEAD has no code
        (_answer("NoSuchBucket", 404), "Create the bucket bucket"),
        (_answer("NotImplemented", 501), "If-None-Match"),
        (_answer("RequestTimeTooSkewed", 403), "clock"),
        (_answer("PermanentRedirect", 301), "AWS_REGION"),
        (_answer("ExpiredToken"), "log in again"),
        (_answer("Unheard"), "Check the address"),
        (NoCredentialsError(), "AWS_*"),
    ],
)
def test_a_refusal_says_what_to_do(error: Exception, remedy: str):
    assert not may_pass(error)
    refused = translated(error, WHERE)
    assert isinstance(refused, StoreRefused)
    assert remedy in refused.remedy


def test_a_bucket_of_another_owner_is_thought_of_where_one_is_asked_for():
    owned = Where("s3://bucket/archive", "bucket", "PutObject x", owner="123456789012")
    assert "123456789012" in translated(_answer("AccessDenied", 403), owned).remedy
    assert "belong" not in translated(_answer("AccessDenied", 403), WHERE).remedy


def test_a_certificate_is_told_from_a_network_that_is_down():
    untrusted = translated(SSLError(endpoint_url="https://s3.example", error="self-signed"), WHERE)
    assert "AWS_CA_BUNDLE" in untrusted.remedy
    assert "network" in translated(EndpointConnectionError(endpoint_url="https://s3.example"), WHERE).remedy


def test_what_was_done_is_named_and_the_answers_own_words_are_not_repeated():
    message = str(translated(_answer("AccessDenied", 403), WHERE))
    assert "PutObject camp/main/manifest.json: AccessDenied (403)" in message
    assert "s3cr3t" not in message


def test_missing_taken_and_expired_are_told_apart():
    missing, no_bucket, taken = _answer("NoSuchKey", 404), _answer("NoSuchBucket", 404), _answer("X", 412)
    assert [is_missing(error) for error in (missing, no_bucket, taken)] == [True, False, False]
    assert [is_taken(error) for error in (missing, no_bucket, taken)] == [False, False, True]
    assert [has_expired(error) for error in (_answer("ExpiredToken"), _answer("AccessDenied", 403))] == [True, False]


@pytest.mark.parametrize("code", ["", "404"])
def test_a_404_without_a_code_is_a_gateways_and_says_nothing_of_the_object(code: str):
    """botocore reads no code from well-formed HTML, and puts the status in its place for any other text."""
    error = _answer(code, 404, operation="GetObject")
    assert not is_missing(error)
    assert may_pass(error)
    assert "AWS_ENDPOINT_URL_S3" in translated(error, WHERE).remedy
    assert is_missing(_answer(code, 404, operation="HeadObject"))
