"""Translates errors of S3 and its client into adloom's: the one place for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    IncompleteReadError,
    ResponseStreamingError,
    SSLError,
)
from botocore.exceptions import (
    ConnectionError as ConnectionFailed,
)

from adloom.core.errors import StoreError, StoreRefused, StoreUnavailable

Failure = ClientError | BotoCoreError
"""Everything that a call of boto3's client raises."""

_PASSING = frozenset({
    "ConditionalRequestConflict", "OperationAborted",  # 409: somebody is writing it now, nothing is decided
    "SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException", "TooManyRequests",
    "RequestTimeout", "RequestTimeoutException", "ServiceUnavailable", "InternalError", "ServerError",
    "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody",  # the bytes were damaged in transit
})  # fmt: skip
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken"})
_NETWORK = (ConnectionFailed, HTTPClientError, IncompleteReadError, ResponseStreamingError)


@dataclass(frozen=True, slots=True)
class Where:
    """The operation and its target, for messages."""

    address: str
    bucket: str
    action: str
    owner: str = ""
    """The account that the bucket must belong to, if that is asked for."""


def code_of(error: Failure) -> str:
    """The code of an answer; empty where there was none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def status_of(error: Failure) -> int:
    """The HTTP status of an answer; 0 where there was none."""
    if not isinstance(error, ClientError):
        return 0
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def may_pass(error: Failure) -> bool:
    """Whether the same request may succeed later: no answer, an overloaded server, a conflict."""
    is_answer = code_of(error) in _PASSING or _is_status_that_passes(status_of(error))
    return isinstance(error, _NETWORK) or is_answer or _is_404_of_another(error)


def _is_status_that_passes(status: int) -> bool:
    return status in (408, 429) or (status >= 500 and status != 501)  # noqa: PLR2004 - 501: it will never know how


def has_expired(error: Failure) -> bool:
    """Whether the credentials used to be valid."""
    return code_of(error) in _EXPIRED


def is_missing(error: Failure) -> bool:
    """Whether the object does not exist (in a bucket that does)."""
    is_404 = status_of(error) == 404  # noqa: PLR2004
    return is_404 and code_of(error) != "NoSuchBucket" and not _is_404_of_another(error)


def _is_404_of_another(error: Failure) -> bool:
    """Whether a gateway in front of the store says 404, as some do while the store restarts: it knows no object.

    S3 gives each refusal a code of its own. A HEAD has no body, so it never has one.
    """
    if status_of(error) != 404 or not isinstance(error, ClientError):  # noqa: PLR2004
        return False
    code = code_of(error)
    return error.operation_name != "HeadObject" and (not code or code.isdigit())  # botocore puts the status there


def is_taken(error: Failure) -> bool:
    """Whether the condition of a create failed: the object already exists."""
    return status_of(error) == 412  # noqa: PLR2004


def translated(error: Failure, where: Where) -> StoreError:
    """The error that adloom raises instead."""
    if isinstance(error, _NETWORK):
        return _outage(error, where, _CERTIFICATE if isinstance(error, SSLError) else _NETWORK_DOWN)
    if not isinstance(error, ClientError):  # no credentials, no such profile, no region, a name that is none
        return _refused(error, where, "Check the AWS_* variables and ~/.aws: `aws sts get-caller-identity` must work.")
    if _is_404_of_another(error):
        return _outage(error, where, _GATEWAY)
    if may_pass(error):
        return _outage(error, where, "Run the same command again when the store has recovered.")
    return _refused(error, where, _remedy(error, where))


_CERTIFICATE = "Check the endpoint's certificate; AWS_CA_BUNDLE names your own certificate authority."
_GATEWAY = (
    "That answer is not S3's own. Run the same command again when the store has recovered, or correct "
    "AWS_ENDPOINT_URL_S3."
)
_NETWORK_DOWN = "Check the network and AWS_ENDPOINT_URL_S3, then run the same command again."


def _remedy(error: ClientError, where: Where) -> str:
    if code_of(error) in _REMEDIES:
        return _REMEDIES[code_of(error)](where)
    if status_of(error) == 403:  # noqa: PLR2004
        return _permissions(where)
    return "Check the address of the archive, the region and the endpoint."


def _permissions(where: Where) -> str:
    return (
        f"Allow s3:GetObject and s3:PutObject on {where.address.removeprefix('s3://')}/* and s3:ListBucket on "
        f"{where.bucket} to these credentials; docs/iam has policies to copy."
        + (f" The bucket must also belong to {where.owner} (ADLOOM_S3_BUCKET_OWNER)." if where.owner else "")
    )


def _of_the_region(where: Where) -> str:
    return f"Set AWS_REGION to the region of the bucket {where.bucket}."


_REMEDIES: dict[str, Callable[[Where], str]] = {
    "NoSuchBucket": lambda where: f"Create the bucket {where.bucket}, or correct its name, the region or the endpoint.",
    "InvalidBucketName": lambda where: f"{where.bucket} is not a valid bucket name: correct it.",
    "AccessDenied": _permissions,
    "AllAccessDisabled": _permissions,
    "InvalidAccessKeyId": lambda _: "The access key is not known there: check AWS_ACCESS_KEY_ID or AWS_PROFILE.",
    "SignatureDoesNotMatch": lambda _: "The secret does not match the access key: copy AWS_SECRET_ACCESS_KEY again.",
    "RequestTimeTooSkewed": lambda _: "This machine's clock is more than 15 minutes off: set it by NTP.",
    "RequestExpired": lambda _: "This machine's clock is more than 15 minutes off: set it by NTP.",
    "ExpiredToken": lambda _: "The session has expired: log in again (aws sso login), then run the same command again.",
    "ExpiredTokenException": lambda _: "The session has expired: log in again, then run the same command again.",
    "TokenRefreshRequired": lambda _: "The session has expired: log in again, then run the same command again.",
    "InvalidToken": lambda _: "The session token is not valid: unset AWS_SESSION_TOKEN, or log in again.",
    "PermanentRedirect": _of_the_region,
    "AuthorizationHeaderMalformed": _of_the_region,
    "IllegalLocationConstraintException": _of_the_region,
    "NotImplemented": lambda _: "Use an S3 store that supports If-None-Match on writes, or a folder.",
    "KMS.DisabledException": lambda _: "The bucket's KMS key is disabled: enable it, or choose another.",
    "KMS.NotFoundException": lambda _: "The bucket's KMS key does not exist: correct the key.",
}  # fmt: skip


def _outage(error: Failure, where: Where, remedy: str) -> StoreUnavailable:
    return StoreUnavailable(f"the archive {where.address} does not answer: {_told(error, where)}", remedy=remedy)


def _refused(error: Failure, where: Where, remedy: str) -> StoreRefused:
    return StoreRefused(f"the archive {where.address} cannot be used: {_told(error, where)}", remedy=remedy)


def _told(error: Failure, where: Where) -> str:
    """The operation and its answer. Only the code is shown: the message may contain what was signed."""
    said = f"{code_of(error)} ({status_of(error)})" if isinstance(error, ClientError) else str(error)
    return f"{where.action}: {said}"
