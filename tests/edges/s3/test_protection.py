"""Encryption, locks, owners and caches: asked for in the environment, refused where they make no sense."""

from datetime import UTC, datetime

import pytest

from adloom.core.errors import SettingInvalid
from adloom.edges.s3.protection import read_protection


def test_encryption_and_lock_are_passed_on_as_asked_for():
    asked = read_protection(
        {
            "ADLOOM_S3_SSE": "aws:kms",
            "ADLOOM_S3_SSE_KMS_KEY_ID": "alias/images",
            "ADLOOM_S3_OBJECT_LOCK_MODE": "GOVERNANCE",
            "ADLOOM_S3_OBJECT_LOCK_DAYS": "30",
        }
    )
    assert asked.for_puts() == {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "alias/images",
        "BucketKeyEnabled": True,
    }
    assert asked.for_creates(datetime(2026, 1, 1, tzinfo=UTC)) == {
        "ObjectLockMode": "GOVERNANCE",
        "ObjectLockRetainUntilDate": datetime(2026, 1, 31, tzinfo=UTC),
    }
    assert read_protection({}).for_puts() == read_protection({}).for_creates() == {}


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"ADLOOM_S3_SSE": "aes"}, "ADLOOM_S3_SSE: write AES256 or aws:kms"),
        ({"ADLOOM_S3_SSE": "AES256", "ADLOOM_S3_SSE_KMS_KEY_ID": "x"}, "it goes with ADLOOM_S3_SSE=aws:kms"),
        ({"ADLOOM_S3_OBJECT_LOCK_MODE": "GOVERNANCE"}, "for how many days"),
        ({"ADLOOM_S3_OBJECT_LOCK_DAYS": "3"}, "it goes with ADLOOM_S3_OBJECT_LOCK_MODE"),
        ({"ADLOOM_S3_BUCKET_OWNER": "my-account"}, "ADLOOM_S3_BUCKET_OWNER: write the 12 digits"),
        ({"ADLOOM_S3_CACHE": "everywhere"}, "ADLOOM_S3_CACHE: write private or public"),
    ],
)
def test_protection_that_makes_no_sense_is_refused(environ: dict[str, str], said: str):
    with pytest.raises(SettingInvalid, match=said):
        read_protection(environ)
