"""A store on a real S3 server, and a proxy before it that a test can tell to misbehave."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from support.s3_proxy import Proxy, running_proxy
from support.s3_server import BUCKET, S3Server

from adloom.edges.s3.store import S3Store


@pytest.fixture
def at_s3(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def proxy(s3: S3Server, at_s3: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with running_proxy(s3.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        yield proxy


@pytest.fixture
def prefix() -> str:
    return str(uuid4())


@pytest.fixture
def store(at_s3: None, prefix: str) -> S3Store:
    return S3Store(f"s3://{BUCKET}/{prefix}", patience_s=30)
